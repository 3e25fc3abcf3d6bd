"""What the analytic templates are built of: black bodies, absorption lines and bands, and how they change with temperature.

Positions are laboratory wavelengths in vacuum. Depths and widths are round numbers that give the run of the classical
strengths with spectral type; no spectrum was fitted.

References: Jaschek & Jaschek (1987), The Classification of Stars; Kirkpatrick et al. (1991), ApJS 77, 417 (bands of cold stars).
"""

from __future__ import annotations

import numpy as np

HC_OVER_K = 1.438777e8
"""Å K."""

BALMER_LIMIT = 3647.0
RYDBERG = 911.753
"""Å; wavelengths of hydrogen are RYDBERG / (1 / low² - 1 / high²)."""

IONISED_HELIUM = ((4687.0, 0.25), (4542.9, 0.2), (5413.0, 0.2), (4201.0, 0.15))
HELIUM = ((4472.7, 0.3), (4027.3, 0.3), (5877.2, 0.25), (4922.9, 0.15), (6680.0, 0.15), (4389.2, 0.15), (7067.2, 0.12))
CALCIUM = ((3934.8, 0.85), (3969.6, 0.75), (8500.4, 0.3), (8544.4, 0.45), (8664.5, 0.4))
NEUTRAL = ((4227.9, 0.5), (5168.8, 0.35), (5174.1, 0.4), (5185.0, 0.4), (5891.6, 0.4), (5897.6, 0.35), (8185.5, 0.15), (8197.0, 0.18))
IRON = ((4384.8, 0.25), (4046.9, 0.2), (4064.7, 0.15), (4930.0, 0.12), (5271.0, 0.3), (5329.5, 0.25), (5407.0, 0.12), (6496.0, 0.12))
ULTRAVIOLET = ((2799.9, 0.6), (2852.9, 0.55), (2600.0, 0.4), (2382.8, 0.4), (3735.0, 0.3), (3835.0, 0.3), (3581.0, 0.3), (3441.0, 0.3))
"""(wavelength in Å, depth at the type where it is strongest)."""

TITANIUM_OXIDE = (
    (4762, 0.4),
    (4956, 0.45),
    (5168, 0.5),
    (5450, 0.4),
    (5865, 0.45),
    (6161, 0.55),
    (6653, 0.5),
    (7055, 0.65),
    (7590, 0.5),
    (8434, 0.4),
)
COLD = ((7336, 0.4), (7855, 0.4), (8613, 0.45), (8695, 0.3), (9897, 0.4))
"""(head of a band in Å, depth there): TiO; VO, CrH and FeH. Bands degrade to the red."""

IRON_FOREST = 160
"""Weak lines between 3000 and 6600 Å, that stand for the blends of iron-peak elements; the denser the bluer."""


def planck(wave: np.ndarray, temperature: float) -> np.ndarray:
    """Return a black body's flux density per Å, 1 at 5500 Å, in float64."""
    x = HC_OVER_K / temperature
    flux: np.ndarray = (5500.0 / wave) ** 5 * np.expm1(x / 5500.0) / np.expm1(np.minimum(x / wave, 600.0))
    return flux


def hydrogen(low: int, high: int) -> float:
    """Return the vacuum wavelength in Å of hydrogen's line from level `high` to `low`."""
    return RYDBERG / (1 / low**2 - 1 / high**2)


def bump(log_t: float, center: float, width: float) -> float:
    """Return how strong a feature is at a temperature: 1 at its best, falling as a Gaussian of log10(T)."""
    return float(np.exp(-0.5 * ((log_t - np.log10(center)) / width) ** 2))


def step(log_t: float, center: float, width: float) -> float:
    """Return how strong a feature is that grows towards cold stars: from 0 to 1 around `center` (K)."""
    return float(1 / (1 + np.exp((log_t - np.log10(center)) / width)))


def absorb(flux: np.ndarray, wave: np.ndarray, center: float, depth: float, width: float) -> None:
    """Absorb a Gaussian line of this depth at its centre, with sigma `width` (Å); `flux` is changed in place."""
    first, last = np.searchsorted(wave, (center - 5 * width, center + 5 * width))
    flux[first:last] *= 1 - depth * np.exp(-0.5 * ((wave[first:last] - center) / width) ** 2)


def absorb_band(flux: np.ndarray, wave: np.ndarray, head: float, depth: float, reach: float = 130.0) -> None:
    """Absorb a molecular band, in place: it begins at its head and recovers to the red over `reach` (Å)."""
    first, last = np.searchsorted(wave, (head - 40, head + 6 * reach))
    beyond = wave[first:last] - head
    flux[first:last] *= 1 - depth * (0.5 + 0.5 * np.tanh(beyond / 8.0)) * np.exp(-np.clip(beyond, 0, None) / reach)


def balmer(wave: np.ndarray, strength: float, width: float) -> np.ndarray:
    """Return the transmission of the Balmer and Paschen lines and their continua.

    Args:
        wave: Å.
        strength: 1 gives an A star's: 0.65 deep, and 0.6 less light behind the Balmer limit.
        width: Å, of Hβ; a dense atmosphere has broad lines.
    """
    out = np.ones_like(wave)
    for low, depth, wing in ((2, 0.65, width), (3, 0.25, width)):
        for high in range(low + 1, 22):
            center = hydrogen(low, high)
            core = depth * min(1.0, 1.3 * (high - low) ** -0.15) * strength
            out *= 1 - core / (1 + ((wave - center) / wing) ** 2) ** 1.2
    jump = 0.6 * strength
    limit = BALMER_LIMIT + 12.0 * strength
    out *= 1 - jump / (1 + np.exp((wave - limit) / 15.0)) * np.clip(wave / BALMER_LIMIT, 0, 1) ** 2
    merged = 0.5 - 0.5 * np.tanh(
        (wave - limit - 150.0) / 80.0
    )  # near the limit lines overlap, and take no more than the continuum behind it
    return np.clip(out, np.maximum((1 - jump) * merged, 0.02), None)


def absorb_iron(flux: np.ndarray, wave: np.ndarray, strength: float) -> None:
    """Absorb many weak lines, in place, at places that a low-discrepancy sequence gives; the same in every template."""
    number = np.arange(1, IRON_FOREST + 1)
    centers = 3000.0 + 3600.0 * ((number * 0.6180339887498949) % 1.0) ** 1.7
    depths = 0.35 * (0.3 + (number * 0.7548776662466927) % 1.0) * (4000.0 / centers) ** 2
    for center, depth in zip(centers, depths, strict=True):
        absorb(flux, wave, float(center), min(float(depth * strength), 0.9), 2.6)
