"""Gaussian posteriors that are known exactly, made wrong on purpose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NOISE = 0.5


@dataclass(frozen=True)
class Gaussian:
    """Posterior of a standard normal theta of which x = theta + noise is seen; wider than it is, and beside it, as asked.

    Attributes:
        scale: the width, in right widths.
        shift: of the first parameter, in right widths.
    """

    scale: float = 1.0
    shift: float = 0.0

    def mean(self, x):
        right = x / (1 + NOISE**2)
        return right + self.shift * self.width(1.0) * (np.arange(x.shape[1]) == 0)

    @staticmethod
    def width(scale):
        return scale * NOISE / np.sqrt(1 + NOISE**2)

    def sample(self, x, draws, rng):
        return self.mean(x)[:, None] + self.width(self.scale) * rng.normal(size=(len(x), draws, x.shape[1]))

    def log_prob(self, theta, x):
        return -0.5 * (((theta - self.mean(x)[:, None]) / self.width(self.scale)) ** 2).sum(axis=2)


def simulated(rng, n, d):
    """Return parameters (n, d) and data (n, d)."""
    theta = rng.normal(size=(n, d))
    return theta, theta + NOISE * rng.normal(size=(n, d))
