"""A survey's mask numbers in our mask bits."""

from __future__ import annotations

import numpy as np

from ...catalog.flags import PIXEL
from .stage import MaskPlane


def translate(values: np.ndarray, bitpix: int, config: MaskPlane) -> np.ndarray:
    """Return our mask bits.

    Args:
        values: (y, x) int64, as the survey wrote them.
        bitpix: of the file; a negative number there has the highest bit set.
        config: what the numbers mean.

    Returns:
        (y, x) int32 of `PIXEL` bits.
    """
    out = np.zeros(values.shape, np.int32)
    if config.nonzero is not None:
        out[values != 0] = PIXEL[config.nonzero]
        return out
    if config.codes is not None:
        rest = (values != 0) & ~np.isin(values, config.ignore)
        for name, codes in config.codes.items():
            hit = np.isin(values, codes)
            out[hit] |= PIXEL[name]
            rest &= ~hit
    else:
        if bitpix in (16, 32):
            values = values & ((1 << bitpix) - 1)
        known = _union(config.ignore)
        for name, bits in (config.bits or {}).items():
            union = _union(bits)
            out[(values & union) != 0] |= PIXEL[name]
            known |= union
        rest = (values & ~known) != 0
    if config.other is not None:
        out[rest] |= PIXEL[config.other]
    return out


def _union(bits: list[int]) -> int:
    value = 0
    for bit in bits:
        value |= bit
    return value
