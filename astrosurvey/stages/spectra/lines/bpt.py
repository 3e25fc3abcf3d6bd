"""What ionises the gas of a galaxy: its place among the boundaries of Baldwin, Phillips and Terlevich's diagram.

Probabilities are the parts of the lines' error distribution on each side of the boundaries.

References:
    Baldwin, Phillips & Terlevich (1981), PASP 93, 5; Kewley et al. (2001), ApJ 556, 121, eq. 5;
    Kauffmann et al. (2003), MNRAS 346, 1055, eq. 1.
"""

from __future__ import annotations

import numpy as np

LINES = ("halpha", "nii_6583", "hbeta", "oiii_5007")
"""In the order of the arguments below."""
LABELS = ("star-forming", "composite", "agn", "undetermined")
"""By the boundaries of Kauffmann et al. and of Kewley et al.; undetermined where a Balmer line is no emission line."""
DRAWS = 1000
SURE = 3.0
"""All four lines must have this S/N; else the flag FAINT_LINES is set."""


def kauffmann(log_nii: np.ndarray) -> np.ndarray:
    """Return log10([O III]/Hβ) below which galaxies only form stars, by log10([N II]/Hα)."""
    return np.where(log_nii < 0.05, 0.61 / np.minimum(log_nii - 0.05, -1e-9) + 1.3, -np.inf)


def kewley(log_nii: np.ndarray) -> np.ndarray:
    """Return log10([O III]/Hβ) above which no star formation reaches, by log10([N II]/Hα)."""
    return np.where(log_nii < 0.47, 0.61 / np.minimum(log_nii - 0.47, -1e-9) + 1.19, -np.inf)


def probabilities(flux: np.ndarray, error: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the probability of each label.

    All spectra share their random numbers, so that what is drawn for one does not depend on the others.

    Args:
        flux: (n, 4) of `LINES`.
        error: (n, 4) of these.
        rng: of the numbers.

    Returns:
        (n, 4), which sum to 1.
    """
    normal = rng.standard_normal((DRAWS // 2, len(LINES)))
    normal = np.concatenate([normal, -normal])
    found = np.empty((len(flux), len(LABELS)))
    for row, (mean, sigma) in enumerate(zip(flux, error, strict=True)):
        label = classes(mean + sigma * normal)
        found[row] = np.bincount(label, minlength=len(LABELS)) / DRAWS
    return found


def classes(flux: np.ndarray) -> np.ndarray:
    """Return which of the `LABELS` fluxes belong to; a forbidden line that is no emission line is infinitely faint.

    Args:
        flux: (n, 4) of `LINES`.
    """
    halpha, nii, hbeta, oiii = np.asarray(flux, np.float64).T
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.where(nii > 0, np.log10(np.abs(nii / halpha)), -np.inf)
        y = np.where(oiii > 0, np.log10(np.abs(oiii / hbeta)), -np.inf)
    # Behind its asymptote a curve lies at minus infinity, where even a missing [O III] is not below it.
    forming = (y < kauffmann(x)) | ((y == -np.inf) & (x < 0.05))
    below = (y < kewley(x)) | ((y == -np.inf) & (x < 0.47))
    label = np.where(forming, 0, np.where(below, 1, 2))
    return np.where((halpha > 0) & (hbeta > 0), label, 3)
