"""The mean transmission of the Lyα forest: what simulations draw it around, and what templates of quasars are multiplied with.

References:
    Faucher-Giguère et al. (2008), ApJ 681, 831 (τ_eff = 0.0018 (1 + z)^3.92, for z of 2 to 4.2); Becker et al. (2013), MNRAS 430,
    2067 (the same to z of 5).
"""

from __future__ import annotations

import numpy as np

ALPHA = 1215.67
"""Å, Lyα at rest in vacuum."""


def effective_depth(z: np.ndarray) -> np.ndarray:
    """Return the effective optical depth of the Lyα forest: -ln of the mean transmission."""
    return np.asarray(0.0018 * (1 + z) ** 3.92)


def mean_transmission(wave: np.ndarray) -> np.ndarray:
    """Return the mean transmission of the forest at observed wavelengths, Å: it depends on no quasar, only on where its gas is."""
    return np.asarray(np.exp(-effective_depth(wave / ALPHA - 1)))
