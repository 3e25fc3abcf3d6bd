"""Many small systems of ordinary differential equations at once, each with a step of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_A = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
)
_B = (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)
_E = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
"""Dormand and Prince's pair: what the fifth order differs from the fourth by."""

Rate = Callable[[np.ndarray, np.ndarray], np.ndarray]


def integrate(
    rate: Rate, start: np.ndarray, times: np.ndarray, theta: np.ndarray, *, tolerance: float = 1e-7, steps: int = 5000
) -> np.ndarray:
    """Return (n, t, d) the solutions of dy/dt = rate(y, theta) at the given times.

    Args:
        rate: from (m, d) states and (m, p) parameters to (m, d) slopes.
        start: (d,) or (n, d) states at `times[0]`.
        times: (t,) ascending.
        theta: (n, p) parameters, one row a system.
        tolerance: of a step's error, absolute and relative.
        steps: how many a system may take; the solution of one that needs more is NaN.

    References: Dormand & Prince (1980), J. Comput. Appl. Math. 6, 19.
    """
    n = len(theta)
    y = np.array(np.broadcast_to(start, (n, np.shape(start)[-1])), float)
    out = np.full((n, len(times), y.shape[1]), np.nan)
    out[:, 0] = y
    now, goal = np.full(n, times[0], float), np.ones(n, np.int64)
    step = np.full(n, 1e-3 * (times[-1] - times[0]))
    slope = rate(y, theta)
    rows = np.arange(n)  # those that are not done
    with np.errstate(all="ignore"):  # of a system that fails
        for _ in range(steps):
            if not len(rows):
                break
            left = times[goal[rows]] - now[rows]
            h = np.minimum(step[rows], left)
            k = [slope[rows]]
            for a in _A[1:]:
                k.append(rate(y[rows] + h[:, None] * _sum(a, k), theta[rows]))
            end = y[rows] + h[:, None] * _sum(_B, k)
            k.append(rate(end, theta[rows]))
            size = tolerance * (1 + np.maximum(np.abs(y[rows]), np.abs(end)))
            error = np.sqrt(np.mean((h[:, None] * _sum(_E, k) / size) ** 2, axis=1))
            good = error <= 1  # NaN is not
            factor = 0.9 * np.maximum(np.nan_to_num(error, nan=1e5, posinf=1e5), 1e-5) ** -0.2
            moved = rows[good]
            y[moved], slope[moved] = end[good], k[-1][good]
            arrived = good & (h >= left)
            now[moved] += h[good]
            there = rows[arrived]
            now[there] = times[goal[there]]
            out[there, goal[there]] = y[there]
            goal[there] += 1
            # A step that was cut to arrive in time says nothing about the next one's length unless it failed.
            step[rows] = np.where(arrived & (factor > 1), step[rows], h * np.clip(factor, 0.2, 5.0))
            rows = rows[goal[rows] < len(times)]
    return out


def _sum(weights: Sequence[float], slopes: Sequence[np.ndarray]) -> np.ndarray:
    """Return a weighted sum, term by term: a row's must not depend on how many rows there are, as a matrix product's does."""
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        total = total + weight * slope
    return total
