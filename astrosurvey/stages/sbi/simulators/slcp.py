"""`simulate.slcp`: a simple likelihood, and a complex posterior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..importance import Weighted, by_rejection
from ..rows import RowRandom
from ..simulator import Simulator

POINTS = 4
_BOUND, _FLOOR = 3.0, 1e-6
_CELLS = 48
_FALL = 16.0
"""Cells whose density is below the highest by this much in the logarithm are left out when the grid is drawn anew."""


class Slcp(Simulator):
    """Simulate four points of a Gaussian in the plane whose scales are squares: a posterior with four modes.

    Prior and constants are those of the benchmark sbibm.

    References: Papamakarios, Sterratt & Murray (2019), arXiv:1805.07226; Lueckmann et al. (2021), arXiv:2101.04653, task T.3.
    """

    name, version, scope = "simulate.slcp", 2, "tile"
    parameters: ClassVar[Mapping[str, str]] = {f"theta_{k + 1}": "" for k in range(5)}
    features: ClassVar[tuple[str, ...]] = tuple(f"{axis}_{k + 1}" for k in range(POINTS) for axis in "xy")
    prior: ClassVar[Mapping[str, Mapping[str, Any]]] = {f"theta_{k + 1}": {"uniform": [-_BOUND, _BOUND]} for k in range(5)}

    def simulate(self, theta: np.ndarray, random: RowRandom) -> np.ndarray:
        """Return (n, 8) the points, one after the other."""
        xx, xy, yy = covariance(theta[:, 2:])
        noise = random.normal(POINTS, 2)
        first = np.sqrt(xx)[:, None] * noise[:, :, 0]
        second = (xy / np.sqrt(xx))[:, None] * noise[:, :, 0] + np.sqrt(yy - xy**2 / xx)[:, None] * noise[:, :, 1]
        return (theta[:, None, :2] + np.stack([first, second], axis=2)).reshape(len(theta), -1)

    def log_likelihood(self, theta: np.ndarray, data: np.ndarray) -> np.ndarray:
        """Return (n,) log p(x | theta)."""
        points = data.reshape(-1, POINTS, 2)
        mean = points.mean(axis=1)
        scatter = _products(points - mean[:, None]).sum(axis=1) + POINTS * _products(mean - theta[:, :2])
        return _log_gauss(theta[:, 2:], scatter, POINTS)

    def weighted(self, observed: np.ndarray, number: int, rng: np.random.Generator) -> Weighted:
        """Return draws for the posterior of one (8,) observation under the usual prior, with weights.

        The mean has a Gaussian posterior once the covariance is given, so only the three parameters of that are drawn from a grid.
        """
        points = observed.reshape(POINTS, 2).astype(float)
        mean = points.mean(axis=0)
        scatter = _products(points - mean).sum(axis=0)

        def height(u: np.ndarray) -> np.ndarray:  # of (ln |theta_3|, ln |theta_4|, theta_5), the mean integrated out
            shape = np.concatenate([np.exp(u[:, :2]), u[:, 2:]], axis=1)
            xx, xy, yy = covariance(shape)
            return _log_gauss(shape, scatter, POINTS) + 0.5 * np.log(xx * yy - xy**2) + u[:, 0] + u[:, 1]

        low, high = np.array([np.log(1e-3)] * 2 + [-_BOUND]), np.array([np.log(_BOUND)] * 2 + [_BOUND])
        for _ in range(3):  # a grid over everything, then over where the posterior is
            width = (high - low) / _CELLS
            cells = np.stack(np.meshgrid(*(np.arange(_CELLS),) * 3, indexing="ij"), axis=-1).reshape(-1, 3)
            log = height(low + (cells + 0.5) * width)
            there = cells[log > log.max() - _FALL]
            bottom, low = low, np.maximum(low, low + (there.min(axis=0) - 1) * width)
            high = np.minimum(high, bottom + (there.max(axis=0) + 2) * width)
        share = np.exp(log - log.max())
        which = rng.choice(len(cells), number, p=share / share.sum())
        u = bottom + (cells[which] + rng.random((number, 3))) * width
        shape = np.concatenate([np.exp(u[:, :2]) * np.where(rng.random((number, 2)) < 0.5, -1.0, 1.0), u[:, 2:]], axis=1)
        xx, xy, yy = (part / POINTS for part in covariance(shape))
        noise = rng.standard_normal((number, 2))
        x = mean[0] + np.sqrt(xx) * noise[:, 0]
        y = mean[1] + xy / np.sqrt(xx) * noise[:, 0] + np.sqrt(yy - xy**2 / xx) * noise[:, 1]
        theta = np.concatenate([x[:, None], y[:, None], shape], axis=1)
        weight = np.where((np.abs(theta) <= _BOUND).all(axis=1), height(u) - log[which], -np.inf)
        return Weighted(theta, weight)

    def reference(self, observed: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        """Return (number, 5) draws of that posterior, by importance."""
        return by_rejection(lambda count: self.weighted(observed, count, rng), number, rng)


def covariance(shape: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the elements xx, xy, yy, each (n,), of the covariance that (n, 3) theta_3, theta_4, theta_5 give."""
    s1, s2, rho = shape[:, 0] ** 2, shape[:, 1] ** 2, np.tanh(shape[:, 2])
    return s1**2 + _FLOOR, rho * s1 * s2, s2**2 + _FLOOR


def _products(v: np.ndarray) -> np.ndarray:
    """Return (…, 3) the products xx, xy, yy of (…, 2) vectors."""
    return np.stack([v[..., 0] ** 2, v[..., 0] * v[..., 1], v[..., 1] ** 2], axis=-1)


def _log_gauss(shape: np.ndarray, scatter: np.ndarray, points: int) -> np.ndarray:
    """Return (n,) the log density of points whose products about the mean add up to (…, 3) `scatter`."""
    xx, xy, yy = covariance(shape)
    determinant = xx * yy - xy**2
    square = (yy * scatter[..., 0] - 2 * xy * scatter[..., 1] + xx * scatter[..., 2]) / determinant
    return np.asarray(-0.5 * square - 0.5 * points * np.log(determinant) - points * np.log(2 * np.pi))
