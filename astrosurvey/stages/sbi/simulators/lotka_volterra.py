"""`simulate.lotka_volterra`: hunters and their prey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..rows import RowRandom
from .ode import integrate
from .one_mode import OneMode

PREY, HUNTERS, SCATTER = 30.0, 1.0, 0.1
TIMES = 0.1 * np.arange(0, 201, 21)
_FEWEST, _MOST = 1e-10, 1e4


class LotkaVolterra(OneMode):
    """Simulate numbers of hunters and prey by the equations of Lotka and Volterra, with errors of a tenth.

    Prior, beginning and times are those of the benchmark sbibm.

    References: Lotka (1920), PNAS 6, 410; Volterra (1926), Nature 118, 558; Lueckmann et al. (2021), arXiv:2101.04653, task T.10.
    """

    name, version, scope = "simulate.lotka_volterra", 2, "tile"
    parameters: ClassVar[Mapping[str, str]] = {"alpha": "", "beta": "", "gamma": "", "delta": ""}
    features: ClassVar[tuple[str, ...]] = tuple(f"{who}_{k + 1}" for who in ("prey", "hunters") for k in range(len(TIMES)))
    prior: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "alpha": {"log_normal": [-0.125, 0.5]},
        "beta": {"log_normal": [-3.0, 0.5]},
        "gamma": {"log_normal": [-0.125, 0.5]},
        "delta": {"log_normal": [-3.0, 0.5]},
    }

    def simulate(self, theta: np.ndarray, random: RowRandom) -> np.ndarray:
        """Return (n, 20) the counts of prey, then those of hunters."""
        return np.exp(log_numbers(theta) + SCATTER * random.normal(2 * len(TIMES)))

    def log_likelihood(self, theta: np.ndarray, data: np.ndarray) -> np.ndarray:
        """Return (n,) log p(x | theta), log-normal in each number."""
        log = np.log(data)
        z = (log - log_numbers(theta)) / SCATTER
        return np.asarray((-0.5 * z**2 - np.log(SCATTER * np.sqrt(2 * np.pi)) - log).sum(axis=1))


def log_numbers(theta: np.ndarray) -> np.ndarray:
    """Return (n, 20) the natural logarithms of the numbers of prey, then of hunters, at `TIMES`."""

    def rate(y: np.ndarray, theta: np.ndarray) -> np.ndarray:
        # In the logarithms neither number can become negative, and a crash by ten orders of magnitude is no matter.
        return np.stack([theta[:, 0] - theta[:, 1] * np.exp(y[:, 1]), theta[:, 3] * np.exp(y[:, 0]) - theta[:, 2]], axis=1)

    states = integrate(rate, np.log([PREY, HUNTERS]), TIMES, theta)
    return np.clip(np.concatenate([states[:, :, 0], states[:, :, 1]], axis=1), np.log(_FEWEST), np.log(_MOST))
