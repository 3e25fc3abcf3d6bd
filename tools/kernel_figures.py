"""Compile every kernel's CUDA functions for an H200 without a GPU: `python tools/kernel_figures.py FILE [NAME…]`.

Writes, as JSON by kernel and function, what ptxas says: registers, spilled bytes, shared and local memory;
and what the PTX shows: whether it calculates in double precision, or contracts a multiplication and an
addition. Needs NVVM and ptxas of a CUDA toolkit, no driver and no NVRTC. From tools/kernel_figures.json,
which is committed, the page of the kernels is made where there is no toolkit.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KEPT = Path(__file__).with_suffix(".json")
CAPABILITY = (9, 0)
"""Of an H100 or H200."""


@cache
def ptxas() -> Path | None:
    """Return the toolkit's assembler if the toolkit has NVVM beside it; else None."""
    for home in filter(None, (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")):
        found = Path(home) / "bin" / "ptxas"
        if found.is_file() and any(Path(home).glob("**/libnvvm.so*")):
            return found
    return None


def toolkit() -> dict[str, str]:
    """Return the versions of the compilers, of which the figures depend."""
    from importlib.metadata import version

    said = subprocess.run([str(ptxas()), "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release ([\d.]+)", said)
    return {"ptxas": release[1] if release else "?", "numba-cuda": version("numba-cuda"), "numba": version("numba")}


def without_a_gpu() -> None:
    """Have numba-cuda compile for one capability and ask neither a driver nor NVRTC, which PTX does not need."""
    from numba.cuda import cuda_paths, dispatcher
    from numba.cuda.cudadrv import nvrtc

    home = ptxas()
    assert home is not None
    os.environ.setdefault("CUDA_HOME", str(home.parents[1]))
    nvrtc.get_supported_ccs = lambda: (CAPABILITY,)
    cuda_paths._get_nvrtc_path = lambda: cuda_paths._env_path_tuple("absent", None)
    # Helpers that a kernel calls are compiled for the device at hand.
    dispatcher.get_current_device = lambda: type("Device", (), {"compute_capability": CAPABILITY})


def figures(launch: Any) -> dict[str, Any]:
    """Compile one CUDA function and return its figures."""
    from numba.core import types
    from numba.core.sigutils import normalize_signature
    from numba.cuda import compile_ptx

    arguments, result = normalize_signature(launch.signature)
    assert result in (None, types.void), f"{launch.function.__name__}: a CUDA function returns nothing; its signature is void(…)"
    ptx, _ = compile_ptx(launch.function, arguments, cc=CAPABILITY)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx, encoding="utf-8")
        command = [str(ptxas()), f"-arch=sm_{CAPABILITY[0]}{CAPABILITY[1]}", "-v", str(source), "-o", f"{source}.cubin"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{launch.function.__name__}: ptxas says: {done.stderr.strip()}")
    return {"threads": launch.threads, **_assembled(done.stderr), **_arithmetic(ptx)}


def _assembled(said: str) -> dict[str, int]:
    """Return the numbers in what `ptxas -v` says."""

    def number(pattern: str) -> int:
        return max((int(value) for value in re.findall(pattern, said)), default=0)

    return {
        "registers": number(r"Used (\d+) registers"),
        "shared": number(r"(\d+) bytes smem"),
        "stack": number(r"(\d+) bytes stack frame"),
        "spills": number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
    }


def _arithmetic(ptx: str) -> dict[str, bool]:
    """Return what the PTX calculates with; loads, stores and moves of doubles are no arithmetic.

    Where contraction is allowed, an addition or multiplication names no rounding. Instructions fma may stand
    in a function of libdevice, such as exp, and say nothing.
    """
    instructions = [re.sub(r"^@!?%\w+\s+", "", line.strip()) for line in ptx.splitlines()]
    return {
        "float64": any(re.match(r"(?!ld|st|mov)[\w.]+\.f64\b", line) for line in instructions),
        "contracted": any(re.match(r"(mul|add|sub)\.(ftz\.)?f(32|64)\b", line) for line in instructions),
    }


def compiled(names: list[str]) -> dict[str, Any]:
    """Return the figures by kernel and function; of a kernel that does not compile, the error under "error"."""
    from astrosurvey import kernels
    from astrosurvey.kernels._numba import without_contraction

    without_contraction()
    without_a_gpu()
    found: dict[str, Any] = {}
    for kernel in kernels.load():
        if names and kernel.name not in names:
            continue
        try:
            found[kernel.name] = {launch.function.__name__: figures(launch) for launch in kernel.launches}
        except Exception as error:
            found[kernel.name] = {"error": f"{type(error).__name__}: {error}"}
    return found


def main() -> int:
    """Write the figures; exit status 1 when a kernel does not compile."""
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 1
    if ptxas() is None:
        print(f"{sys.argv[1]} stays: no CUDA toolkit with ptxas and NVVM was found; CUDA_HOME may name one", file=sys.stderr)
        return 0
    versions, found = toolkit(), compiled(sys.argv[2:])
    blocks = [f"  {json.dumps(name)}: {{\n{_rows(functions)}\n  }}" for name, functions in found.items()]
    text = f'{{\n "toolkit": {json.dumps(versions)},\n "kernels": {{\n' + ",\n".join(blocks) + "\n }\n}\n"
    Path(sys.argv[1]).write_text(text, encoding="utf-8")
    errors = [functions["error"] for functions in found.values() if "error" in functions]
    print("\n".join(errors), file=sys.stderr)
    return int(bool(errors))


def _rows(functions: dict[str, Any]) -> str:
    return ",\n".join(f"   {json.dumps(name)}: {json.dumps(values)}" for name, values in functions.items())


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
