"""Colours: four galaxy spectra from red to blue seen at any redshift, and the stellar locus.

The spectra are knots read off the templates of Coleman, Wu & Weedman (1980), scaled to the observed
colours of nearby galaxies, with the break at Lyman alpha that intergalactic hydrogen makes at high
redshift; a galaxy's type may lie anywhere between two of them. The locus follows Covey et al. (2007).
They are good to about a tenth of a magnitude, which is less than the scatter among galaxies of a type.

References:
    Coleman, Wu & Weedman (1980); Madau (1995); Fukugita, Shimasaku & Ichikawa (1995);
    Covey et al. (2007), arXiv:0707.4473.
"""

from __future__ import annotations

import numpy as np

BANDS = ("u", "g", "r", "i", "z", "y")
REFERENCE = BANDS.index("r")
"""Magnitudes are drawn in this band; colours carry them to the others."""

_LOW = np.array([3300.0, 4020.0, 5520.0, 6920.0, 8210.0, 9290.0])
_HIGH = np.array([3980.0, 5480.0, 6910.0, 8170.0, 9220.0, 10400.0])
_THROUGH_BAND = np.array([0.1, 0.3, 0.5, 0.7, 0.9])

# f_nu relative to 5500 Å at these rest-frame wavelengths (Å): E, Sbc, Scd, Im
_WAVE = np.log([700, 911, 940, 1200, 1260, 1500, 2000, 2500, 3000, 3560, 3900, 4150, 4770, 5500, 6230, 7630, 9130, 12000])
_TEMPLATES = np.log(
    [
        [1e-5, 1e-5, 2e-3, 3e-3, 5e-3, 6e-3, 8e-3, 0.016, 0.055, 0.120, 0.190, 0.41, 0.61, 0.92, 1.24, 1.78, 2.20, 2.70],
        [1e-5, 1e-5, 1.3e-2, 2.2e-2, 4e-2, 5e-2, 6e-2, 0.075, 0.110, 0.200, 0.290, 0.50, 0.68, 0.94, 1.18, 1.60, 1.90, 2.25],
        [1e-5, 1e-5, 4e-2, 6e-2, 0.11, 0.13, 0.15, 0.170, 0.200, 0.280, 0.370, 0.59, 0.76, 0.95, 1.13, 1.39, 1.60, 1.80],
        [1e-5, 1e-5, 0.11, 0.19, 0.33, 0.35, 0.36, 0.370, 0.390, 0.440, 0.500, 0.70, 0.84, 0.96, 1.07, 1.20, 1.28, 1.35],
    ]
)


def galaxy_flux(template: np.ndarray, redshift: np.ndarray) -> np.ndarray:
    """Return each galaxy's flux in all of `BANDS` relative to its flux in the reference band.

    Args:
        template: (n,), 0 (elliptical) to 3 (irregular).
        redshift: (n,).

    Returns:
        (n, band).
    """
    log_flux = galaxy_log_light(template, redshift)
    return np.exp(log_flux - log_flux[:, REFERENCE : REFERENCE + 1])


def galaxy_log_light(template: np.ndarray, redshift: np.ndarray) -> np.ndarray:
    """Return the natural logarithm of each galaxy's f_nu in all of `BANDS`, relative to its own at 5500 Å at rest.

    Args:
        template: (n,), 0 (elliptical) to 3 (irregular).
        redshift: (n,).

    Returns:
        (n, band).
    """
    wave = _LOW[:, None] + (_HIGH - _LOW)[:, None] * _THROUGH_BAND
    rest = np.log(wave[None] / (1.0 + redshift)[:, None, None])
    spectra = np.stack([np.exp(np.interp(rest, _WAVE, knots)).mean(axis=2) for knots in _TEMPLATES], axis=2)
    redder = np.clip(template.astype(np.int64), 0, len(_TEMPLATES) - 2)
    part = (template - redder)[:, None]
    rows = np.arange(len(template))
    return np.asarray((1.0 - part) * np.log(spectra[rows, :, redder]) + part * np.log(spectra[rows, :, redder + 1]))


# main sequence: g-i, and the colours u-g, g-r, r-i, i-z, z-y there
_G_MINUS_I = np.array([0.2, 0.4, 0.6, 1.0, 1.5, 2.0, 2.5, 3.0, 3.4])
_LOCUS = np.array(
    [
        [0.95, 1.02, 1.12, 1.55, 2.20, 2.50, 2.58, 2.62, 2.65],
        [0.17, 0.31, 0.45, 0.74, 1.08, 1.33, 1.41, 1.44, 1.46],
        [0.03, 0.09, 0.15, 0.26, 0.42, 0.67, 1.09, 1.56, 1.94],
        [-0.02, 0.03, 0.07, 0.14, 0.23, 0.37, 0.59, 0.83, 1.03],
        [-0.02, 0.00, 0.02, 0.05, 0.10, 0.18, 0.29, 0.43, 0.55],
    ]
)


def star_flux(g_minus_i: np.ndarray) -> np.ndarray:
    """Return each main-sequence star's flux in all of `BANDS` relative to the reference band.

    Args:
        g_minus_i: (n,), AB magnitude.

    Returns:
        (n, band).
    """
    colours = np.stack([np.interp(g_minus_i, _G_MINUS_I, locus) for locus in _LOCUS], axis=1)
    magnitude = np.concatenate([np.zeros((len(g_minus_i), 1)), -np.cumsum(colours, axis=1)], axis=1)
    return np.asarray(10.0 ** (-0.4 * (magnitude - magnitude[:, REFERENCE : REFERENCE + 1])))
