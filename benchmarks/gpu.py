"""A GPU beside this machine's CPU: `python benchmarks/gpu.py [--size 4096] [--repeats 5] [--out gpu.json]`.

Every kernel is run on both with the arguments that the stages give it on a simulated image (the largest of each), and
`spectra.resample`'s on a plate of spectra. `error` counts the elements that differ by more than the kernel's tolerance.
`cpu` is on all cores; `gpu` is with all transfers from and to host memory; `device` is the time of the CUDA functions alone, as
CUPTI measures it, and `bandwidth` is arguments plus results over that time, as a fraction of what a copy on the device reaches.
Then the stages as a whole, with transfers, in seconds: medians of the repeats, after a first call that compiles.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
from image_tools import product_for
from images import simulate

from astrosurvey import Box, Context, Image, Tile, kernels, plugins
from astrosurvey.kernels.spec import KernelSpec

CHAINS = {
    "classical": ("background.mesh", "detection.matched", "deblending.persistence", "photometry.total", "photometry.forced"),
    "network": ("background.mesh", "detection.unet"),
}


def arrays(value: Any) -> Iterator[np.ndarray]:
    """Yield the arrays within arguments or results."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from arrays(part)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from arrays(getattr(value, name))


def size_of(value: Any) -> int:
    """Return the bytes of all arrays."""
    return sum(array.nbytes for array in arrays(value))


def recorded(run: Callable[[], Any]) -> dict[str, tuple[Any, ...]]:
    """Run stages on the CPU and return the arguments of the largest call of every kernel."""
    found: dict[str, tuple[Any, ...]] = {}
    original = KernelSpec.on

    def on(self: KernelSpec, device: Any) -> Callable[..., Any]:
        twin = original(self, device)

        def call(*arguments: Any) -> Any:
            if size_of(arguments) > size_of(found.get(self.name, ())):
                found[self.name] = arguments
            return twin(*arguments)

        return call

    KernelSpec.on = on  # type: ignore[method-assign]
    try:
        run()
    finally:
        KernelSpec.on = original  # type: ignore[method-assign]
    return found


def stages(image: Image, chain: str, device: str, seconds: dict[str, float]) -> dict[str, Any]:
    """Run one of our pipelines and return its products; `seconds` gets how long each stage took."""
    registry = plugins.load()
    ny, nx = image.data.shape[1:]
    tile = Tile("benchmark", number=1, index=0, window=Box(0, 0, nx, ny), core=Box(0, 0, nx, ny))
    products: dict[str, Any] = {"image": image}
    for name in CHAINS[chain]:
        cls = registry.stages[name]
        stage = cls(cls.Config())
        with tempfile.TemporaryDirectory() as scratch:
            context = Context(
                tile, np.random.default_rng(1), device, logging.getLogger("benchmark"), lambda done, total: None, Path(scratch)
            )
            inputs = {port: product_for(cls, port, products, registry, None) for port in cls.inputs}
            stage.setup(context)
            began = time.perf_counter()
            products.update(stage.run(context, **inputs))
            seconds[name] = time.perf_counter() - began
    return products


def timed(call: Callable[[], Any], repeats: int) -> float:
    """Return the median seconds of a call."""
    spent = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        torch.cuda.synchronize()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def on_device(call: Callable[[], Any]) -> float:
    """Return the seconds of the CUDA functions within a call, copies and fills apart."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        call()
        torch.cuda.synchronize()
    events = [event for event in profile.key_averages() if not event.key.startswith(("Memcpy", "Memset"))]
    return float(sum(event.device_time_total for event in events)) / 1e6


def copy_rate() -> float:
    """Return the bytes per second that a copy on the device reads and writes."""
    source = torch.empty(2**28, dtype=torch.float32, device="cuda").normal_()
    target = torch.empty_like(source)
    target.copy_(source)
    torch.cuda.synchronize()
    return 2 * source.nbytes / timed(lambda: target.copy_(source), 7)


def compare(kernel: KernelSpec, arguments: tuple[Any, ...], repeats: int, rate: float) -> dict[str, float]:
    """Return how a kernel's twins agree and what they cost."""
    wanted = list(arrays(kernel.cpu(*arguments)))
    got = list(arrays(kernel.cuda(*arguments)))
    wrong, elements = 0, 0
    for a, b in zip(got, wanted, strict=True):
        if a.dtype != b.dtype or a.shape != b.shape:
            raise ValueError(f"{kernel.name}: {a.dtype} {a.shape} on the GPU, {b.dtype} {b.shape} on the CPU")
        same = np.isclose(a, b, kernel.rtol, kernel.atol, equal_nan=True) if a.dtype.kind == "f" else a == b
        wrong, elements = wrong + int((~same).sum()), elements + a.size
    moved = size_of(arguments) + size_of(got)
    device = on_device(lambda: kernel.cuda(*arguments))
    return {
        "megabytes": moved / 1e6,
        "elements": elements,
        "error": wrong,
        "cpu": timed(lambda: kernel.cpu(*arguments), repeats),
        "gpu": timed(lambda: kernel.cuda(*arguments), repeats),
        "device": device,
        "bandwidth": moved / device / rate if device else float("nan"),
    }


def measure(size: int, seed: int, repeats: int) -> dict[str, Any]:
    """Return all figures."""
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.npz"
        simulate(seed, size, {}, {"settings": {}, "models": {}}, scene)
        with np.load(scene) as kept:
            data, noise, psf = np.ascontiguousarray(kept["data"][None]), float(kept["noise"]), np.ascontiguousarray(kept["psf"][None])
    image = Image(data, ("r",), variance=np.full_like(data, noise**2), psf=psf)
    rate = copy_rate()
    report: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "size": size,
        "copy": rate / 1e12,
        "kernels": {},
        "stages": {},
        "sources": {},
    }
    arguments: dict[str, tuple[Any, ...]] = {}
    for chain, names in CHAINS.items():
        cpu: dict[str, float] = {}
        stages(image, chain, "cpu", cpu)  # compiles
        found = recorded(lambda chain=chain: stages(image, chain, "cpu", {}))  # type: ignore[misc]
        arguments = {**found, **arguments}
        by_device = {}
        for device in ("cpu", "cuda"):
            spent: list[dict[str, float]] = []
            for turn in range(1 + repeats if device == "cuda" else 2):
                seconds: dict[str, float] = {}
                products = stages(image, chain, device, seconds)
                spent += [seconds] if turn else []
            by_device[device] = {name: statistics.median(one[name] for one in spent) for name in names}
            report["sources"][f"{chain} on {device}"] = len(products["sources"])
        report["stages"][chain] = by_device
        print(json.dumps({chain: by_device, "sources": report["sources"]}), flush=True)
    arguments["resample"] = next(one for one in kernels.load() if one.name == "resample").large(np.random.default_rng(1))  # type: ignore[misc]
    for kernel in kernels.load():
        if kernel.name in arguments:
            try:
                report["kernels"][kernel.name] = compare(kernel, arguments[kernel.name], repeats, rate)
            except Exception as error:
                report["kernels"][kernel.name] = {"failed": f"{type(error).__name__}: {error}"[:2000]}
            print(kernel.name, json.dumps(report["kernels"][kernel.name]), flush=True)
    return report


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096, help="side of the image, pixels")
    parser.add_argument("--seed", type=int, default=607)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    report = measure(arguments.size, arguments.seed, arguments.repeats)
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
