"""How heavy the tail of importance weights is: whether their means can be trusted, which the effective number of draws does not tell.

Where the tail is so heavy that weights have no variance, a few draws carry the sum, and more of them would carry another one. A generalised
Pareto distribution is fitted to the largest weights; its shape k says how many moments there are, 1/k of them.

References:
    Vehtari et al. (2024), JMLR 25, 72 (k and its limit); Zhang & Stephens (2009), Technometrics 51, 316 (the fit).
"""

from __future__ import annotations

import numpy as np

LIMIT = 0.7
"""Beyond it the error of a mean falls so slowly with the number of draws that it cannot be told."""
FEWEST = 5
"""Weights, at least, that a tail is made of."""
_CENTRE, _WEIGHT = 0.5, 10
"""A k that is expected beforehand, and how many weights it counts as: fits to few of them scatter less."""


def tail_shape(log_weight: np.ndarray) -> float:
    """Return k of (n,) logs of weights, of which some may be -inf; NaN where too few count to be fitted."""
    height = np.sort(log_weight[np.isfinite(log_weight)])
    number = min(int(np.ceil(min(0.2 * len(log_weight), 3 * np.sqrt(len(log_weight))))), len(height) - 1)
    if number < FEWEST:
        return float("nan")
    weight = np.exp(height - height[-1])
    excess = weight[-number:] - weight[-number - 1]
    return _fitted(excess[excess > 0]) if (excess > 0).sum() >= FEWEST else float("nan")


def _fitted(excess: np.ndarray) -> float:
    """Return k of (n,) rising numbers over zero: the mean over scales, each by its likelihood, with a weak prior."""
    n = len(excess)
    scales = 30 + int(np.sqrt(n))
    b = 1 / excess[-1] + (1 - np.sqrt(scales / (np.arange(scales) + 0.5))) / (3 * excess[int(n / 4 + 0.5) - 1])
    k = np.log1p(-b[:, None] * excess).mean(axis=1)
    likelihood = n * (np.log(-b / k) - k - 1)
    weight = np.exp(likelihood - likelihood.max())
    best = (b * weight).sum() / weight.sum()
    return float((n * np.log1p(-best * excess).mean() + _WEIGHT * _CENTRE) / (n + _WEIGHT))
