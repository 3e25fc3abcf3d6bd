"""Whether two samples come from one distribution: the maximum mean discrepancy, and its p-value by exchanging members.

References:
    Gretton et al. (2012), JMLR 13, 723 (unbiased estimate, median heuristic, permutation test).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist, pdist

MOST = 1000
"""Members of a sample that are compared, at most; of more, evenly chosen ones."""


def mmd_test(first: np.ndarray, second: np.ndarray, rng: np.random.Generator, exchanges: int = 499) -> tuple[float, float]:
    """Return the unbiased squared discrepancy of (n, d) and (m, d) samples, and how often it is as large by chance.

    The kernel is a Gaussian as wide as the median distance of all members. Both samples need two members.

    Args:
        first, second: such as white summaries of simulations and of observations.
        rng: chooses who changes sides.
        exchanges: how often; the least p-value is 1 / (exchanges + 1).
    """
    first, second = (sample[:: max(1, -(-len(sample) // MOST))] for sample in (first, second))
    n, m = len(first), len(second)
    both = np.concatenate([first, second])
    width = float(np.median(pdist(both)))
    kernel = np.exp(-cdist(both, both, "sqeuclidean") / (2 * width**2 if width > 0 else 1.0))
    np.fill_diagonal(kernel, 0.0)
    side = np.zeros((n + m, exchanges + 1))
    side[:n, 0] = 1.0
    side[np.argsort(rng.random((exchanges, n + m)), axis=1)[:, :n].T, np.arange(1, exchanges + 1)] = 1.0
    over = kernel @ side
    within, all_of = (side * over).sum(axis=0), over.sum(axis=0)
    across = all_of - within
    other = kernel.sum() - within - 2 * across
    found = within / (n * (n - 1)) + other / (m * (m - 1)) - 2 * across / (n * m)
    return float(found[0]), float((1 + (found[1:] >= found[0] - 1e-12).sum()) / (exchanges + 1))
