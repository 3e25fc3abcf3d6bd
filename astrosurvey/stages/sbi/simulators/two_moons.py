"""`simulate.two_moons`: a crescent, and a posterior of two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..rows import RowRandom
from ..simulator import Simulator

RADIUS, WIDTH, OFFSET = 0.1, 0.01, 0.25
_ROOT = np.sqrt(2.0)


class TwoMoons(Simulator):
    """Simulate "two moons": a crescent of noise around a point that two parameter values share.

    The posterior has two crescents. Prior and constants are those of the benchmark sbibm.

    References: Greenberg et al. (2019), arXiv:1905.07488; Lueckmann et al. (2021), arXiv:2101.04653, task T.8.
    """

    name, version, scope = "simulate.two_moons", 2, "tile"
    parameters: ClassVar[Mapping[str, str]] = {"theta_1": "", "theta_2": ""}
    features: ClassVar[tuple[str, ...]] = ("x_1", "x_2")
    prior: ClassVar[Mapping[str, Mapping[str, Any]]] = {"theta_1": {"uniform": [-1, 1]}, "theta_2": {"uniform": [-1, 1]}}

    def simulate(self, theta: np.ndarray, random: RowRandom) -> np.ndarray:
        """Return (n, 2) points."""
        angle = np.pi * (random.uniform(1)[:, 0] - 0.5)
        radius = RADIUS + WIDTH * random.normal(1)[:, 0]
        crescent = np.stack([radius * np.cos(angle) + OFFSET, radius * np.sin(angle)], axis=1)
        return crescent + _place(theta)

    def log_likelihood(self, theta: np.ndarray, data: np.ndarray) -> np.ndarray:
        """Return (n,) log p(x | theta): the density of radius and angle, over the Jacobian r."""
        offset = data - _place(theta) - [OFFSET, 0.0]
        # A negative radius, ten standard deviations away, is left out.
        radius = np.hypot(offset[:, 0], offset[:, 1])
        log = -0.5 * ((radius - RADIUS) / WIDTH) ** 2 - np.log(WIDTH * np.sqrt(2 * np.pi)) - np.log(np.pi * radius)
        return np.where(offset[:, 0] >= 0, log, -np.inf)

    def reference(self, observed: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        """Return (number, 2) exact draws of the posterior of one (2,) observation under the usual prior."""
        found = np.empty((0, 2))
        while len(found) < number:
            angle, radius = np.pi * (rng.random(number) - 0.5), RADIUS + WIDTH * rng.standard_normal(number)
            crescent = np.stack([radius * np.cos(angle) + OFFSET, radius * np.sin(angle)], axis=1)
            shift = observed - crescent  # what the parameters must add
            side = np.where(rng.random(number) < 0.5, -1.0, 1.0)
            total, difference = side * _ROOT * shift[:, 0], _ROOT * shift[:, 1]
            theta = np.stack([total - difference, total + difference], axis=1) / 2
            found = np.concatenate([found, theta[(shift[:, 0] <= 0) & (np.abs(theta) <= 1).all(axis=1)]])
        return found[:number]


def _place(theta: np.ndarray) -> np.ndarray:
    """Return (n, 2) where the parameters put the crescent."""
    return np.stack([-np.abs(theta[:, 0] + theta[:, 1]), theta[:, 1] - theta[:, 0]], axis=1) / _ROOT
