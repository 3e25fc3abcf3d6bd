"""From spreads to probabilities: stars and galaxies as a mixture, fitted to the sources of the tile itself.

A star's spread is zero but for noise, and for what the PSF model is wrong by. A galaxy's own spread follows a log-normal
distribution whose middle moves with brightness; noise is added to it. The part of stars among the sources is a
logistic function of brightness. All is fitted by maximum likelihood under weak priors, which are what a tile
with few sources is left with: they hold deep fields at high galactic latitude.

References:
    Sebok (1979), AJ 84, 1526; Henrion et al. (2011), MNRAS 412, 2286.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FAINTEST = 5.0
"""Sources of less signal-to-noise ratio are not fitted to; their spread is hardly Gaussian."""
MOST = 3000
"""Sources to fit to: evenly picked by brightness where there are more."""
PIVOT = 1.5
"""log10 of the signal-to-noise ratio about which brightness is counted."""
LOG_SPREAD = np.linspace(np.log(2e-5), np.log(0.5), 121)
"""ln of the spreads on which galaxies are counted."""

# Middle and width of the priors: scatter of the stars (ln), their offset in units of it, galaxies' ln spread at the pivot, its
# slope, its scatter (ln), log-odds of a star at the pivot, and their slope.
_MIDDLE = np.array([np.log(3e-4), 0.0, np.log(0.009), 0.7, np.log(0.6), -1.5, 1.5])
_WIDTH = np.array([2.0, 0.7, 0.7, 0.4, 0.3, 2.0, 1.0])


@dataclass(frozen=True)
class Mixture:
    """The fitted mixture; see `fit`."""

    parameters: np.ndarray

    def probability(self, value: np.ndarray, error: np.ndarray, snr: np.ndarray) -> np.ndarray:
        """Return the probability (n,) that a source is unresolved; NaN where its spread is.

        Args:
            value, error: (n,) spreads and their standard deviations.
            snr: (n,) signal-to-noise ratios.
        """
        known = np.isfinite(value) & np.isfinite(error) & (snr > 0)
        result = np.full(len(value), np.nan)
        star, galaxy = _log_likelihoods(self.parameters, value[known], error[known], np.log10(snr[known]))
        with np.errstate(over="ignore"):
            result[known] = 1.0 / (1.0 + np.exp(galaxy - star))
        return result

    @property
    def scatter(self) -> float:
        """Standard deviation of the stars' spread that their noise does not explain."""
        return float(np.exp(self.parameters[0]))


def fit(value: np.ndarray, error: np.ndarray, snr: np.ndarray) -> Mixture:
    """Fit the mixture to sources.

    Args:
        value, error: (n,) spreads and their standard deviations; sources without are left out.
        snr: (n,) signal-to-noise ratios.
    """
    from scipy.optimize import minimize

    use = np.flatnonzero(np.isfinite(value) & np.isfinite(error) & (snr >= FAINTEST))
    if len(use) > MOST:
        use = use[np.argsort(snr[use], kind="stable")][np.linspace(0, len(use) - 1, MOST).round().astype(int)]
    brightness = np.log10(snr[use])

    def cost(parameters: np.ndarray) -> float:
        star, galaxy = _log_likelihoods(parameters, value[use], error[use], brightness)
        prior = 0.5 * np.sum(((parameters - _MIDDLE) / _WIDTH) ** 2)
        return float(prior - np.logaddexp(star, galaxy).sum())

    limits = [(m - 4 * w, m + 4 * w) for m, w in zip(_MIDDLE, _WIDTH, strict=True)]
    return Mixture(minimize(cost, _MIDDLE, method="L-BFGS-B", bounds=limits, options={"maxiter": 60}).x)


def _log_likelihoods(parameters: np.ndarray, value: np.ndarray, error: np.ndarray, brightness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ln of prior times likelihood of each source as a star and as a galaxy, (n,) each."""
    log_scatter, offset, middle, slope, log_width, odds, odds_slope = parameters
    scatter = np.exp(log_scatter)
    width = np.exp(log_width)
    noise = np.hypot(error, scatter)
    relative = brightness - PIVOT
    log_odds = np.clip(odds + odds_slope * relative, -12.0, 12.0)
    # A few sources are neither, for a neighbour or a cosmic ray is in them: tails that fall slowly keep them from deciding.
    off = (value - offset * scatter) / noise
    star = np.logaddexp(np.log(0.99) - 0.5 * off**2, np.log(0.01 / 10.0) - 0.5 * (off / 10.0) ** 2) - np.log(noise)
    at = np.exp(LOG_SPREAD)
    step = LOG_SPREAD[1] - LOG_SPREAD[0]
    # Between two spreads of the grid the density is flat, so the kernel is at least as wide as half of the distance.
    blur = np.sqrt(noise[:, None] ** 2 + (0.5 * step * at) ** 2)
    here = np.clip(middle + slope * relative, LOG_SPREAD[0], LOG_SPREAD[-1])
    weight = np.exp(-0.5 * ((LOG_SPREAD - here[:, None]) / width) ** 2)
    weight /= weight.sum(axis=1, keepdims=True)
    density = (weight * np.exp(-0.5 * ((value[:, None] - at) / blur) ** 2) / blur).sum(axis=1)
    galaxy = np.log(0.99 * density + 0.01 * np.exp(-0.5 * (value / 0.1) ** 2) / 0.1 + 1e-300)
    return star - np.logaddexp(0.0, -log_odds), galaxy - np.logaddexp(0.0, log_odds)
