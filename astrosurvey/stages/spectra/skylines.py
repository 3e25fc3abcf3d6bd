"""Where the night sky and the atmosphere leave their marks."""

from __future__ import annotations

import numpy as np

from ...catalog.flags import SPECTRUM_PIXEL

# The brightest lines of the night sky, Å in vacuum: mercury, oxygen and sodium, and behind 7200 Å the strongest
# of each hydroxyl band's P and Q branches.
LINES = np.concatenate(
    [
        [4047.7, 4359.6, 5199.3, 5462.3, 5578.9, 5891.6, 5897.6, 6302.0, 6365.5],
        [6865.0, 6925.2, 7278.3, 7318.3, 7342.9, 7753.0, 7796.1, 7823.3, 7915.7, 7966.6, 7995.6],
        [8027.7, 8346.9, 8401.8, 8432.6, 8467.9, 8507.2, 8780.8, 8829.5, 8870.0, 8888.3, 8906.1, 8922.1, 8945.8, 8960.5],
        [9378.5, 9422.4, 9442.3, 9461.1, 9479.2, 9505.4, 9522.5, 9555.2, 9570.0, 9722.8, 9794.2],
    ]
)
"""References: Osterbrock et al. (1996), PASP 108, 277; Hanuschik (2003), A&A 407, 1157."""

HALF_WIDTH = 4.0
"""Å; covers the wings of a line at a resolving power of 2000, and 30 km/s of the Earth's motion."""

BANDS = np.array([(6868.0, 6945.0), (7594.0, 7695.0), (9310.0, 9560.0)])
"""Å in vacuum: the B and A bands of oxygen, and the strongest water band below 1 µm."""


def marks(wave: np.ndarray) -> np.ndarray:
    """Return the mask bits SKY_LINE and TELLURIC of pixels.

    Args:
        wave: Å in vacuum, (pixel,) or (n, pixel), increasing.

    Returns:
        int32, shaped as `wave`. A line always marks at least the pixels on both sides of it.
    """
    bits = np.zeros(wave.shape, np.int32)
    for row, out in zip(np.atleast_2d(wave), np.atleast_2d(bits), strict=True):
        for name, spans in (("SKY_LINE", np.column_stack([LINES - HALF_WIDTH, LINES + HALF_WIDTH])), ("TELLURIC", BANDS)):
            first, last = np.searchsorted(row, spans[:, 0]), np.searchsorted(row, spans[:, 1], side="right")
            inside = (spans[:, 1] > row[0]) & (spans[:, 0] < row[-1])
            for start, stop in zip(first[inside], last[inside], strict=True):
                out[start if stop > start else max(start - 1, 0) : max(stop, start + 1)] |= SPECTRUM_PIXEL[name]
    return bits
