"""A compiled loop, for the toy stage that runs one."""

from __future__ import annotations

from astrosurvey.kernels._numba import parallel, prange


@parallel
def squares(n, out):
    """Fill `out` with squares."""
    for i in prange(n):
        out[i] = i * i
