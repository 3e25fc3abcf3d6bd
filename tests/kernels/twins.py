"""Runs kernels' twins in a process of its own: `python -m tests.kernels.twins OUT.npz NAME…`.

With NUMBA_ENABLE_CUDASIM=1 and NUMBA_NUM_THREADS=2 it keeps what each kernel's example gives on the CPU in
one thread, in two, and in numba's simulator of a GPU; errors as text under their own key.
"""

from __future__ import annotations

import sys
import traceback

import numpy as np

SEED = 20261126


def examples(kernel):
    """Return the arguments of a kernel's example; the same in every process."""
    return list(kernel.example(np.random.default_rng(SEED)))


def flat(result):
    """Return a kernel's result as a list of arrays."""
    return [np.asarray(part) for part in (result if isinstance(result, tuple | list) else (result,))]


def assert_agree(got, wanted, kernel, what):
    """Fail unless two results have the same shapes, types and, within the kernel's tolerance, values."""
    assert len(got) == len(wanted), f"{what}: {len(got)} results, not {len(wanted)}"
    for k, (a, b) in enumerate(zip(got, wanted, strict=True)):
        place = f"{what}, result {k}"
        assert a.shape == b.shape, f"{place}: shape {a.shape}, not {b.shape}"
        assert a.dtype == b.dtype, f"{place}: type {a.dtype}, not {b.dtype}"
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=kernel.rtol, atol=kernel.atol, equal_nan=True, err_msg=place)
        else:
            np.testing.assert_array_equal(a, b, err_msg=place)


def main():
    import numba
    from numba.cuda.simulator import kernel as numbas

    from astrosurvey import kernels

    from .simulator import Block

    numbas.BlockManager = Block
    out, names = sys.argv[1], sys.argv[2:]
    kept = {}
    for kernel in kernels.load():
        if kernel.name not in names:
            continue
        for i, arguments in enumerate(examples(kernel)):
            for way, twin, threads in (("one", kernel.cpu, 1), ("two", kernel.cpu, 2), ("simulator", kernel.cuda, 1)):
                numba.set_num_threads(threads)
                try:
                    for k, part in enumerate(flat(twin(*arguments))):
                        kept[f"{kernel.name}/{way}/{i}/{k}"] = part
                except Exception:
                    kept[f"{kernel.name}/{way}/{i}/error"] = np.array(traceback.format_exc()[-3000:])
    np.savez(out, **kept)


if __name__ == "__main__":
    main()
