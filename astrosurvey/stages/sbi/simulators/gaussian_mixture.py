"""`simulate.gaussian_mixture`: one mean, two widths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..rows import RowRandom
from ..simulator import Simulator

WIDTHS = np.array([1.0, 0.1])
_BOUND = 10.0


class SpikeAndSlab(Simulator):
    """Simulate the common mean of a broad and a narrow Gaussian: a posterior with a spike on a pedestal.

    Prior and widths are those of the benchmark sbibm, whose version 1.1.0 chooses the width for each simulation by itself.

    References: Sisson et al. (2007), PNAS 104, 1760; Lueckmann et al. (2021), arXiv:2101.04653, task T.7.
    """

    name, version, scope = "simulate.gaussian_mixture", 2, "tile"
    parameters: ClassVar[Mapping[str, str]] = {"theta_1": "", "theta_2": ""}
    features: ClassVar[tuple[str, ...]] = ("x_1", "x_2")
    prior: ClassVar[Mapping[str, Mapping[str, Any]]] = {name: {"uniform": [-_BOUND, _BOUND]} for name in ("theta_1", "theta_2")}

    def simulate(self, theta: np.ndarray, random: RowRandom) -> np.ndarray:
        """Return (n, 2) points, each with one of the widths in both directions."""
        width = WIDTHS[(random.uniform(1) < 0.5).astype(np.int64)]
        return theta + width * random.normal(2)

    def log_likelihood(self, theta: np.ndarray, data: np.ndarray) -> np.ndarray:
        """Return (n,) log p(x | theta)."""
        square = ((data - theta) ** 2).sum(axis=1)
        log = -0.5 * square[:, None] / WIDTHS**2 - np.log(2 * np.pi * WIDTHS**2)
        return np.asarray(np.logaddexp(log[:, 0], log[:, 1]) - np.log(2))

    def reference(self, observed: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        """Return (number, 2) exact draws of the posterior of one (2,) observation under the usual prior."""
        found = np.empty((0, 2))
        while len(found) < number:
            width = WIDTHS[rng.integers(2, size=(number, 1))]
            theta = observed + width * rng.standard_normal((number, 2))
            found = np.concatenate([found, theta[(np.abs(theta) <= _BOUND).all(axis=1)]])
        return found[:number]
