"""`simulate.enrichment`: the abundances of a galaxy's stars, from one well-mixed zone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ....core.stage import StageConfig
from ..rows import RowRandom
from ..simulator import Simulator

OXYGEN, IRON, IRON_IA = 0.015, 0.0012, 0.0017
"""Mass of oxygen and iron that core-collapse supernovae, and of iron that type Ia supernovae give per mass of stars formed."""
SUN = (0.0056, 0.0012)
"""Mass fractions of oxygen and iron in the Sun."""
RECYCLED, DELAY, IA_TIME = 0.4, 0.15, 1.5
"""Share of stars' mass that comes back at once; Gyr until the first type Ia supernova, and e-folding time of the later ones."""
_STEPS = 240
_IRON_EDGES, _RATIO_EDGES = np.linspace(-1.6, 0.6, 13), np.linspace(-0.3, 0.6, 10)


class Enrichment(Simulator):
    """Simulate [Fe/H] and [O/Fe] of stars that formed in one well-mixed zone with inflow and outflow.

    Gas is a constant depletion time's worth of star formation, which fades exponentially; core-collapse supernovae enrich it at once,
    type Ia supernovae after a delay.

    References: Weinberg, Andrews & Freudenburg (2017), ApJ 837, 183 (equations and constants); Andrews et al. (2017), ApJ 835, 224.
    """

    name, version, scope = "simulate.enrichment", 2, "tile"
    parameters: ClassVar[Mapping[str, str]] = {"yields": "", "ia_yields": "", "depletion_time": "Gyr", "outflow": "", "history": "Gyr"}
    prior: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "yields": {"log_uniform": [0.5, 2]},
        "ia_yields": {"log_uniform": [0.5, 2]},
        "depletion_time": {"log_uniform": [0.3, 5], "unit": "Gyr"},
        "outflow": {"uniform": [0, 4]},
        "history": {"uniform": [2, 15], "unit": "Gyr"},
    }

    class Config(StageConfig):
        """The stars that are observed."""

        stars: int = Field(200, ge=1, le=100_000, description="stars in each simulation, or most of them")
        fewest: int | None = Field(
            None,
            ge=1,
            description="each simulation has so many stars or more, up to `stars`, all numbers as probable; unset: always `stars`",
        )
        age: float = Field(12.5, gt=0.5, le=14, description="Gyr from the first stars to now")
        errors: tuple[float, float] = Field((0.05, 0.03), description="dex, standard errors of [Fe/H] and [O/Fe]")
        data: Literal["histogram", "stars"] = Field(
            "histogram",
            description="histogram: counts on a grid of [Fe/H] and [O/Fe], as a vector; stars: both abundances of each star, NaN where "
            "there are fewer than `stars`",
        )

        @model_validator(mode="after")
        def _fewest_first(self) -> Self:
            if self.fewest is not None and self.fewest > self.stars:
                raise ValueError(f"`fewest` is {self.fewest}, more than the {self.stars} `stars`")
            return self

    def at_once(self) -> int:
        """Return fewer simulations when they have many stars."""
        return max(1, 400_000 // self.config.stars)

    def simulate(self, theta: np.ndarray, random: RowRandom) -> np.ndarray:
        """Return (n, 108) counts, or (n, star, 2) abundances."""
        times = np.linspace(0, self.config.age, _STEPS + 1)
        oxygen, iron = tracks(theta, times)
        # Stars form in proportion to exp(-t / history); none in the first step, before there is anything but hydrogen.
        history = theta[:, 4:5]
        share = random.uniform(self.config.stars)
        first = np.exp(-times[1] / history)
        born = -history * np.log(first - share * (first - np.exp(-times[-1] / history)))
        place = np.clip(born / times[1], 1, _STEPS - 1e-9)
        k, part = place.astype(np.int64), place % 1
        with np.errstate(divide="ignore"):
            feh, oh = (np.log10(z / sun) for z, sun in ((iron, SUN[1]), (oxygen, SUN[0])))
        feh, oh = ((1 - part) * np.take_along_axis(z, k, 1) + part * np.take_along_axis(z, k + 1, 1) for z in (feh, oh))
        noise = random.normal(2, self.config.stars)
        feh, ratio = feh + self.config.errors[0] * noise[:, 0], oh - feh + self.config.errors[1] * noise[:, 1]
        number = self._number(random, len(theta))
        there = np.arange(self.config.stars) < number[:, None]
        if self.config.data == "stars":
            return np.where(there[..., None], np.stack([feh, ratio], axis=2), np.nan)
        # What lies beyond the grid counts in its outermost cells.
        i, j = (np.clip(np.searchsorted(e, v) - 1, 0, len(e) - 2) for e, v in ((_IRON_EDGES, feh), (_RATIO_EDGES, ratio)))
        cells = (len(_IRON_EDGES) - 1) * (len(_RATIO_EDGES) - 1)
        where = np.arange(len(theta))[:, None] * cells + i * (len(_RATIO_EDGES) - 1) + j
        return np.bincount(where[there], minlength=len(theta) * cells).reshape(len(theta), cells).astype(float)

    def _number(self, random: RowRandom, simulations: int) -> np.ndarray:
        """Return (n,) how many stars there are in each simulation."""
        if self.config.fewest is None:
            return np.full(simulations, self.config.stars)
        share = random.uniform(1)[:, 0]
        return self.config.fewest + (share * (self.config.stars - self.config.fewest + 1)).astype(np.int64)


def tracks(theta: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, t) the mass fractions of oxygen and iron in the gas at evenly spaced times (Gyr) from 0.

    dZ/dt = source / depletion - Z ((1 + outflow - recycled) / depletion - 1 / history), solved exactly for sources that are straight
    lines within a step.
    """
    yields, ia, depletion, outflow, history = (theta[:, k, None] for k in range(5))
    source = np.stack(
        np.broadcast_arrays(OXYGEN * yields / depletion, (IRON * yields + IRON_IA * yields * ia * _ia_rate(times, history)) / depletion)
    )
    rate = ((1 + outflow - RECYCLED) / depletion - 1 / history)[:, 0]
    step = times[1] - times[0]
    x = rate * step
    x = np.where(np.abs(x) < 1e-6, 1e-6, x)
    decay = np.exp(-x)
    one, two = -np.expm1(-x) / x, (x + np.expm1(-x)) / x**2
    z = np.zeros((2, len(theta), len(times)))
    for k in range(len(times) - 1):
        a, b = source[:, :, k], source[:, :, k + 1]
        z[:, :, k + 1] = decay * z[:, :, k] + step * (a * one + (b - a) * two)
    return z[0], z[1]


def _ia_rate(times: np.ndarray, history: np.ndarray) -> np.ndarray:
    """Return (n, t) how many type Ia supernovae there are, in units of those that the present star formation will ever cause."""
    late = np.maximum(times - DELAY, 0)
    difference = 1 / IA_TIME - 1 / history
    difference = np.where(np.abs(difference) < 1e-6, 1e-6, difference)
    return np.asarray(np.exp(DELAY / history) * -np.expm1(-late * difference) / (IA_TIME * difference) * (times > DELAY))
