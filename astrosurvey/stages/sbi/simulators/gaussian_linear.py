"""`simulate.gaussian_linear`: the mean of a Gaussian under a Gaussian prior, whose posterior is one too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..rows import RowRandom
from ..simulator import Simulator

DIMENSION, VARIANCE = 10, 0.1


class GaussianLinear(Simulator):
    """Simulate the mean of a Gaussian in ten dimensions: what an estimator must get right before all else.

    Prior and noise have the variance 0.1, as in the benchmark sbibm, so the posterior is Gaussian with half of it.

    References: Lueckmann et al. (2021), arXiv:2101.04653, task T.1.
    """

    name, version, scope = "simulate.gaussian_linear", 2, "tile"
    parameters: ClassVar[Mapping[str, str]] = {f"theta_{k + 1}": "" for k in range(DIMENSION)}
    features: ClassVar[tuple[str, ...]] = tuple(f"x_{k + 1}" for k in range(DIMENSION))
    prior: ClassVar[Mapping[str, Mapping[str, Any]]] = {name: {"normal": [0, VARIANCE**0.5]} for name in parameters}

    def simulate(self, theta: np.ndarray, random: RowRandom) -> np.ndarray:
        """Return (n, 10) the mean with noise."""
        return theta + VARIANCE**0.5 * random.normal(DIMENSION)

    def log_likelihood(self, theta: np.ndarray, data: np.ndarray) -> np.ndarray:
        """Return (n,) log p(x | theta)."""
        return np.asarray(-0.5 * ((data - theta) ** 2).sum(axis=1) / VARIANCE - 0.5 * DIMENSION * np.log(2 * np.pi * VARIANCE))

    def reference(self, observed: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        """Return (number, 10) exact draws of the posterior of one (10,) observation under the usual prior."""
        return observed / 2 + (VARIANCE / 2) ** 0.5 * rng.standard_normal((number, DIMENSION))
