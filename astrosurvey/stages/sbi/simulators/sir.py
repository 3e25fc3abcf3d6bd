"""`simulate.sir`: an epidemic, as a random thousand people saw it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..rows import RowRandom
from .ode import integrate
from .one_mode import OneMode

POPULATION, INFECTED, TESTED = 1e6, 1.0, 1000
DAYS = np.arange(0, 161, 17.0)


class Sir(OneMode):
    """Simulate an epidemic by the SIR equations, and how many of a thousand people are infected on ten days.

    Prior, population and days are those of the benchmark sbibm.

    References: Kermack & McKendrick (1927), Proc. R. Soc. A 115, 700; Lueckmann et al. (2021), arXiv:2101.04653, task T.9.
    """

    name, version, scope = "simulate.sir", 2, "tile"
    parameters: ClassVar[Mapping[str, str]] = {"contact_rate": "d**-1", "recovery_rate": "d**-1"}
    features: ClassVar[tuple[str, ...]] = tuple(f"infected_{day:.0f}" for day in DAYS)
    prior: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "contact_rate": {"log_normal": [np.log(0.4), 0.5], "unit": "d**-1"},
        "recovery_rate": {"log_normal": [np.log(0.125), 0.2], "unit": "d**-1"},
    }

    def simulate(self, theta: np.ndarray, random: RowRandom) -> np.ndarray:
        """Return (n, 10) how many of those tested are infected."""
        return random.binomial(TESTED, infected(theta))

    def log_likelihood(self, theta: np.ndarray, data: np.ndarray) -> np.ndarray:
        """Return (n,) log p(x | theta), a binomial on each day."""
        from scipy.special import gammaln, xlog1py, xlogy

        share = infected(theta)
        ways = gammaln(TESTED + 1) - gammaln(data + 1) - gammaln(TESTED - data + 1)
        return np.asarray((ways + xlogy(data, share) + xlog1py(TESTED - data, -share)).sum(axis=1))


def infected(theta: np.ndarray) -> np.ndarray:
    """Return (n, 10) the share of the population that is infected on each of `DAYS`."""

    def rate(y: np.ndarray, theta: np.ndarray) -> np.ndarray:
        # The logarithm of the infected keeps its accuracy when they are few.
        force = theta[:, 0] * y[:, 0]
        return np.stack([-force * np.exp(y[:, 1]), force - theta[:, 1]], axis=1)

    share = INFECTED / POPULATION
    states = integrate(rate, np.array([1 - share, np.log(share)]), DAYS, theta)
    return np.clip(np.exp(states[:, :, 1]), 0, 1)
