"""Distributions of one parameter: quantiles and densities, cut to an interval where asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...catalog.schema import suggestion
from ...core.stage import DataError

Args = Sequence[float]


@dataclass(frozen=True)
class Kind:
    """A kind of distribution.

    Attributes:
        names: what the arguments are called; empty when there may be any number of them.
        rule: says what is wrong with arguments of the right number; "" for nothing.
        support: from arguments to the interval on which the density is positive.
        base: from values and arguments to the place on the scale on which the kind is uniform or standard normal.
        value: the other way.
        gaussian: whether that scale is the standard normal's; else the distribution is even on it.
        logarithmic: whether that scale is one of the logarithm.
        density: whether the density is known.
    """

    names: tuple[str, ...]
    rule: Callable[[Args], str]
    support: Callable[[Args], tuple[float, float]]
    base: Callable[[Any, Args], Any] = lambda x, args: x
    value: Callable[[Any, Args], Any] = lambda u, args: u
    gaussian: bool = False
    logarithmic: bool = False
    density: bool = True

    def problem(self, args: Args) -> str:
        """Return what is wrong with the arguments; "" for nothing."""
        if not args or (self.names and len(args) != len(self.names)):
            return f"needs [{', '.join(self.names) or 'value, …'}], not {list(args)}"
        return self.rule(args) if np.isfinite(args).all() else f"needs finite numbers, not {list(args)}"


def _ordered(a: Args) -> str:
    return "" if a[0] < a[1] else f"low must be below high, not [{a[0]:g}, {a[1]:g}]"


def _positive(a: Args) -> str:
    return _ordered(a) or ("" if a[0] > 0 else f"low must be positive, not {a[0]:g}")


def _spread(a: Args) -> str:
    return "" if a[1] > 0 else f"the standard deviation must be positive, not {a[1]:g}"


def _distinct(a: Args) -> str:
    return "" if len(set(a)) == len(a) else "each value once"


def _whole(a: Args) -> tuple[float, float]:
    return -math.inf, math.inf


KINDS: dict[str, Kind] = {
    "uniform": Kind(("low", "high"), _ordered, lambda a: (a[0], a[1])),
    "log_uniform": Kind(
        ("low", "high"),
        _positive,
        lambda a: (a[0], a[1]),
        lambda x, a: np.log(np.maximum(x, 1e-300)),
        lambda u, a: np.exp(u),
        logarithmic=True,
    ),
    "normal": Kind(("mean", "std"), _spread, _whole, lambda x, a: (x - a[0]) / a[1], lambda u, a: a[0] + a[1] * u, gaussian=True),
    "truncated_normal": Kind(
        ("mean", "std", "low", "high"),
        lambda a: _spread(a) or _ordered(a[2:]),
        lambda a: (a[2], a[3]),
        lambda x, a: (x - a[0]) / a[1],
        lambda u, a: a[0] + a[1] * u,
        gaussian=True,
    ),
    "log_normal": Kind(
        ("mean", "std"),
        _spread,
        lambda a: (0.0, math.inf),
        lambda x, a: (np.log(np.maximum(x, 1e-300)) - a[0]) / a[1],
        lambda u, a: np.exp(a[0] + a[1] * u),
        gaussian=True,
        logarithmic=True,
    ),
    "categorical": Kind((), _distinct, lambda a: (min(a), max(a))),
    "joint": Kind(("low", "high"), _ordered, lambda a: (a[0], a[1]), density=False),
}
"""By name. Of a `joint` parameter only the interval is known: a stage of somebody's own drew it together with others."""


@dataclass(frozen=True)
class Marginal:
    """The distribution of one parameter.

    Attributes:
        name: of the parameter.
        unit: VOUnit; "" is dimensionless.
        kind: a key of `KINDS`.
        args: what the kind asks for.
        low: the distribution is cut here; -inf where it is not.
        high: as well.
    """

    name: str
    unit: str
    kind: str
    args: tuple[float, ...]
    low: float = -math.inf
    high: float = math.inf

    @property
    def support(self) -> tuple[float, float]:
        """The interval on which the density is positive."""
        if self.kind == "categorical":
            return float(self._values.min()), float(self._values.max())
        low, high = KINDS[self.kind].support(self.args)
        return max(low, self.low), min(high, self.high)

    @property
    def _values(self) -> np.ndarray:
        values = np.array(self.args, float)
        return values[(values >= self.low) & (values <= self.high)]

    def inside(self, x: np.ndarray) -> np.ndarray:
        """Return (…,) bool: where the density is positive."""
        if self.kind == "categorical":
            return np.isin(x, self._values)
        low, high = self.support
        return np.asarray((x >= low) & (x <= high))

    def quantile(self, probability: np.ndarray) -> np.ndarray:
        """Return (…,) the values below which these probabilities lie; uniform probabilities give draws."""
        if self.kind == "categorical":
            values = np.sort(self._values)
            return np.asarray(values[np.minimum((probability * len(values)).astype(np.int64), len(values) - 1)])
        kind = KINDS[self.kind]
        if not kind.density:
            raise DataError(f"the distribution of {self.name!r} is known only where it was drawn; it cannot be drawn again")
        low, high = self.support
        a, b = (kind.base(edge, self.args) for edge in (low, high))
        u = normal_quantile(probability, a, b) if kind.gaussian else a + probability * (b - a)
        return np.clip(kind.value(u, self.args), low, high)

    def probability(self, x: np.ndarray) -> np.ndarray:
        """Return (…,) the probabilities of values below these; of a categorical one, with half of its own."""
        if self.kind == "categorical":
            values = np.sort(self._values)
            return np.asarray((np.searchsorted(values, x) + 0.5) / len(values))
        kind = KINDS[self.kind]
        low, high = self.support
        a, b = (kind.base(edge, self.args) for edge in (low, high))
        u = np.clip(kind.base(x, self.args), a, b)
        return _normal_probability(u, a, b) if kind.gaussian else np.asarray((u - a) / (b - a))

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Return (…,) the logarithm of the density; of the probability for a categorical parameter; -inf outside."""
        if self.kind == "categorical":
            return np.where(self.inside(x), -math.log(len(self._values)), -np.inf)
        kind = KINDS[self.kind]
        if not kind.density:
            raise DataError(f"the density of {self.name!r} is not known: its prior is one of a stage that says where it lies and no more")
        low, high = self.support
        a, b = (kind.base(edge, self.args) for edge in (low, high))
        inside = self.inside(x)
        x = np.where(inside, x, low if np.isfinite(low) else high if np.isfinite(high) else 0.0)
        if kind.gaussian:
            log = -0.5 * kind.base(x, self.args) ** 2 - 0.5 * math.log(2 * math.pi) - log_mass(a, b)
        else:
            log = np.full(np.shape(x), -math.log(b - a))
        return np.where(inside, log + self.log_slope(x), -np.inf)

    def log_slope(self, x: np.ndarray) -> np.ndarray:
        """Return (…,) log |d base / d x|, with the base of its kind."""
        kind = KINDS[self.kind]
        slope = np.full(np.shape(x), -math.log(self.args[1]) if kind.gaussian else 0.0)
        return slope - np.log(np.maximum(x, 1e-300)) if kind.logarithmic else slope

    def truncated(self, low: float, high: float) -> Marginal:
        """Return it cut to an interval.

        Raises:
            DataError: nothing is left.
        """
        cut = replace(self, low=max(self.low, low), high=min(self.high, high))
        empty = not len(cut._values) if self.kind == "categorical" else not cut.support[0] < cut.support[1]
        if empty:
            raise DataError(f"nothing is left of the prior of {self.name!r} between {low:g} and {high:g}")
        return cut

    def to_json(self) -> dict[str, Any]:
        """Return its JSON values."""
        cut = {name: edge for name, edge in (("low", self.low), ("high", self.high)) if math.isfinite(edge)}
        return {"name": self.name, "unit": self.unit, "kind": self.kind, "args": list(self.args), **cut}

    @classmethod
    def from_json(cls, value: Any) -> Marginal:
        """Return what `to_json` wrote.

        Raises:
            DataError: it is something else.
        """
        try:
            name, unit, kind = (str(value[key]) for key in ("name", "unit", "kind"))
            args = tuple(float(number) for number in value["args"])
            low, high = float(value.get("low", -math.inf)), float(value.get("high", math.inf))
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise DataError(f"a parameter's prior is {{name, unit, kind, args}}, not {str(value)[:80]}") from error
        if kind not in KINDS:
            raise DataError(f"the prior of {name!r} is of the unknown kind {kind!r}{suggestion(kind, KINDS)}")
        if problem := KINDS[kind].problem(args):
            raise DataError(f"the prior of {name!r}: {kind}: {problem}")
        return cls(name, unit, kind, args, low, high)


def log_mass(a: Any, b: Any) -> Any:
    """Return the logarithm of the standard normal's probability between places, exact in the tails."""
    from scipy.special import log_ndtr

    a, b, _ = _mirrored(a, b)
    upper, lower = log_ndtr(b), log_ndtr(a)
    return upper + np.log1p(-np.exp(lower - upper))


def normal_quantile(probability: np.ndarray, a: Any, b: Any) -> np.ndarray:
    """Return the places below which a probability of the standard normal cut to [a, b] lies, exact in the tails."""
    from scipy.special import log_ndtr, ndtri_exp

    a, b, mirrored = _mirrored(a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = ndtri_exp(np.logaddexp(log_ndtr(a), np.log(np.where(mirrored, 1 - probability, probability)) + log_mass(a, b)))
    return np.where(mirrored, -place, place)


def _normal_probability(x: np.ndarray, a: float, b: float) -> np.ndarray:
    """Return the probabilities below these places of the standard normal cut to [a, b], exact in the tails."""
    from scipy.special import log_ndtr

    if a > 0:
        return 1 - _normal_probability(-x, -b, -a)
    with np.errstate(divide="ignore", invalid="ignore"):
        upper, lower = log_ndtr(x), float(log_ndtr(a))
        return np.where(x > a, np.exp(upper + np.log1p(-np.exp(lower - upper)) - log_mass(a, b)), 0.0)


def _mirrored(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """Return intervals of the standard normal, those above zero in the mirror, where probabilities are small instead of close to one."""
    above = np.asarray(a) > 0
    return np.where(above, np.negative(b), a), np.where(above, np.negative(a), b), above
