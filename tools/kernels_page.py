"""The reference page of the numerical kernels, made from their declarations and from tools/kernel_figures.json."""

from __future__ import annotations

import json

from .kernel_figures import KEPT
from .reference import cell, doc, head


def kernels_page() -> str:
    """Return the page that lists every kernel: what it does, its tolerance, and what its CUDA functions take."""
    from astrosurvey import kernels

    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    versions = kept["toolkit"]
    text = (
        "Each kernel is written three times with one meaning: a NumPy reference, which is what to read; a compiled CPU twin, which runs in"
        " threads without the GIL; and a CUDA twin. Tests compare all three on dirty examples, the CUDA twin in numba's simulator, and"
        " compile it for an H100 or H200 without one. A result does not depend on the number of threads. Multiplications and additions"
        " are not contracted, so that a GPU rounds as a CPU does. [Add a kernel](../concepts/kernels.md) says how to write one."
    )
    lines = head("Kernels", text)
    lines += ["| kernel | what it does | relative tolerance | absolute | double precision on a GPU |", "| --- | --- | --- | --- | --- |"]
    for kernel in kernels.load():
        row = [
            f"[`{kernel.name}`](#{kernel.name})",
            cell(kernel.summary),
            f"{kernel.rtol:g}",
            f"{kernel.atol:g}",
            cell(kernel.float64 or "no"),
        ]
        lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        f"Registers and memory as ptxas {versions['ptxas']} says for sm_90, with numba-cuda {versions['numba-cuda']}; nothing spills.",
        "",
    ]
    for kernel in kernels.load():
        lines += [f"## {kernel.name}", "", *doc(kernel.reference), ""]
        if kernel.host:
            lines += [f"On device `cuda`, too, it runs on the host: {kernel.host}.", ""]
            continue
        lines += [
            "| CUDA function | threads a block | registers a thread | shared bytes | local bytes |",
            "| --- | --- | --- | --- | --- |",
        ]
        for name, f in kept["kernels"].get(kernel.name, {}).items():
            lines.append(f"| `{name}` | {f['threads']} | {f['registers']} | {f['shared']} | {f['stack']} |")
        lines.append("")
    return "\n".join(lines)
