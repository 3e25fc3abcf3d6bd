"""The lines as they are fitted: which emit, which absorb, and which of them have a fixed ratio.

References:
    Storey & Zeippen (2000), MNRAS 312, 813, for the ratios of [O III] and [N II]. The other ratios are those of the transition
    probabilities over the wavelengths (NIST Atomic Spectra Database).
"""

from __future__ import annotations

from typing import NamedTuple

from ....catalog.lines import LINES, Line

__all__ = ["ABSORPTION", "BY_KEY", "DOUBLETS", "EMISSION", "LINES", "Doublet", "Line"]


class Doublet(NamedTuple):
    """Two lines from one upper level: the stronger has `ratio` times the flux of the weaker, whatever the gas."""

    strong: str
    weak: str
    ratio: float


DOUBLETS = (
    Doublet("nev_3426", "nev_3346", 2.70),
    Doublet("neiii_3869", "neiii_3967", 3.30),
    Doublet("oiii_5007", "oiii_4959", 2.98),
    Doublet("oi_6300", "oi_6363", 3.13),
    Doublet("nii_6583", "nii_6548", 3.05),
)

BY_KEY = {line.key: line for line in LINES}

EMISSION = tuple(line for line in LINES if line.kind != "absorption")
ABSORPTION = tuple(line for line in LINES if line.kind == "absorption")
