"""Where the night sky and the atmosphere leave their marks."""

from __future__ import annotations

import numpy as np

from ...catalog.flags import SPECTRUM_PIXEL

# The brightest lines of the night sky, Å in vacuum: mercury, oxygen and sodium, and behind 7200 Å hydroxyl. Those below
# 7200 Å and the strongest of each hydroxyl band are the atlas's; the others are the peaks of the mean sky that the
# SDSS and BOSS spectra record in their column `sky`, above 3.5 times its median.
LINES = np.array(
    [
        *(4047.7, 4359.6, 5199.3, 5462.3, 5578.9, 5891.6, 5897.6, 6302.0, 6365.5, 6865.0, 6925.2, 7246.0, 7278.3, 7318.3),
        *(7342.9, 7370.6, 7526.6, 7717.9, 7753.0, 7796.1, 7823.3, 7856.0, 7915.7, 7923.2, 7966.6, 7995.6, 8027.7, 8283.2),
        *(8290.9, 8300.4, 8346.9, 8354.1, 8384.9, 8401.8, 8417.8, 8432.6, 8454.7, 8467.9, 8507.2, 8629.8, 8661.6, 8761.9),
        *(8770.0, 8780.8, 8829.5, 8838.9, 8870.0, 8888.3, 8906.1, 8922.1, 8945.8, 8960.5, 8990.8, 9003.3, 9051.1, 9315.4),
        *(9326.1, 9339.0, 9378.5, 9403.7, 9422.4, 9442.3, 9461.1, 9479.2, 9505.4, 9522.5, 9555.2, 9570.0, 9609.5, 9622.8),
        *(9671.6, 9682.8, 9700.6, 9722.8, 9740.9, 9794.2, 9801.7, 9851.4, 9874.2, 9896.9, 9917.4, 9949.5, 9958.6, 9974.7),
        *(10016.1, 10027.7, 10062.4, 10085.6, 10106.5, 10127.4, 10155.5, 10174.2, 10193.0, 10204.7, 10214.1, 10228.2, 10289.6, 10299.1),
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
