"""Priors: how a pipeline declares them, and their draws, densities and bounds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from ...core.stage import DataError, StageConfig
from ...products import Samples
from .distributions import KINDS, Marginal

META = "prior"
"""Where `Samples.meta` holds the prior's JSON."""

Numbers = tuple[float, ...]


def normal_unit(text: str) -> str:
    """Return a unit as the Virtual Observatory writes it; "" is dimensionless.

    Raises:
        ValueError: it is no unit.
    """
    if not text.strip():
        return ""
    from astropy.units import Unit

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units that the standard spells otherwise
        try:
            return str(Unit(text.strip()).to_string("vounit"))
        except ValueError as error:
            raise ValueError(f"{text!r} is no unit; write it as VOUnit does, such as 'km.s**-1', or '' for none") from error


def same_unit(one: str, other: str) -> bool:
    """Tell whether two texts mean one unit, however they are spelt; what is no unit means nothing but itself."""
    try:
        return one == other or normal_unit(one) == normal_unit(other)
    except ValueError:
        return False


class ParameterPrior(StageConfig):
    """The prior of one parameter: one of the distributions below, and a unit."""

    uniform: Numbers | None = Field(None, description="[low, high]")
    log_uniform: Numbers | None = Field(None, description="[low, high], both positive; even in the logarithm")
    normal: Numbers | None = Field(None, description="[mean, standard deviation]")
    truncated_normal: Numbers | None = Field(None, description="[mean, standard deviation, low, high]")
    log_normal: Numbers | None = Field(None, description="[mean, standard deviation] of the natural logarithm")
    categorical: Numbers | None = Field(None, description="values that are equally probable")
    unit: str = Field("", description="VOUnit of the parameter; '' is dimensionless")

    @field_validator("unit")
    @classmethod
    def _is_unit(cls, value: str) -> str:
        return normal_unit(value)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [kind for kind in DECLARED if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of {', '.join(DECLARED)}, not {' and '.join(given) or 'none'}")
        if problem := KINDS[given[0]].problem(getattr(self, given[0])):
            raise ValueError(f"{given[0]}: {problem}")
        return self

    def marginal(self, name: str) -> Marginal:
        """Return it as the distribution of the parameter `name`."""
        kind = next(kind for kind in DECLARED if getattr(self, kind) is not None)
        return Marginal(name, self.unit, kind, tuple(getattr(self, kind)))


DECLARED = tuple(name for name in ParameterPrior.model_fields if name != "unit")


@dataclass(frozen=True)
class Prior:
    """A prior: independent parameters, each with its distribution, perhaps cut to a box.

    Attributes:
        marginals: one for each parameter, in the order of the columns of `theta`.
    """

    marginals: tuple[Marginal, ...]

    @classmethod
    def declared(cls, parameters: Mapping[str, ParameterPrior | Mapping[str, Any]]) -> Prior:
        """Return the prior that a pipeline declares as `parameters: {name: {uniform: [0, 1], unit: …}, …}`."""
        return cls(tuple(ParameterPrior.model_validate(value).marginal(name) for name, value in parameters.items()))

    @classmethod
    def of(cls, samples: Samples) -> Prior:
        """Return the prior that parameter draws were made from.

        Raises:
            DataError: they do not say, what they say is about other parameters, or they are weighted, and so draws of something else.
        """
        if META not in samples.meta:
            raise DataError(
                "the parameters do not say which prior they were drawn from (meta['prior']); draw them with sbi.prior, "
                "or have the stage that makes them write it"
            )
        if samples.weights is not None:
            raise DataError("the parameters are weighted, and estimators learn from plain draws; draw them anew by weight")
        prior = cls.from_json(samples.meta[META])
        if prior.names != samples.parameters:
            raise DataError(f"the prior is one of {', '.join(prior.names)}, and the parameters are {', '.join(samples.parameters)}")
        return prior

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names."""
        return tuple(m.name for m in self.marginals)

    @property
    def units(self) -> tuple[str, ...]:
        """The parameters' units."""
        return tuple(m.unit for m in self.marginals)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """(p,) lower and (p,) upper ends of where the density is positive, infinite where it has none."""
        low, high = np.array([m.support for m in self.marginals]).T
        return low, high

    @property
    def has_density(self) -> bool:
        """Whether `log_density` knows the density; not when a parameter is only known to lie in a box ("joint")."""
        return all(KINDS[m.kind].density for m in self.marginals)

    def __len__(self) -> int:
        return len(self.marginals)

    def draw(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """Return (number, p) float64 draws."""
        return self.quantile(rng.random((number, len(self))))

    def quantile(self, probability: np.ndarray) -> np.ndarray:
        """Return (…, p) the values below which these probabilities of each parameter lie."""
        return np.stack([m.quantile(probability[..., k]) for k, m in enumerate(self.marginals)], axis=-1)

    def probability(self, theta: np.ndarray) -> np.ndarray:
        """Return (…, p) the probabilities, of each parameter, of values below these: what `quantile` takes."""
        return np.stack([m.probability(theta[..., k]) for k, m in enumerate(self.marginals)], axis=-1)

    def log_density(self, theta: np.ndarray) -> np.ndarray:
        """Return (…,) the natural logarithm of the density at (…, p) points, normalised; -inf outside.

        That of a categorical parameter is the logarithm of its probability.
        """
        return np.asarray(sum(m.log_density(theta[..., k]) for k, m in enumerate(self.marginals)))

    def inside(self, theta: np.ndarray) -> np.ndarray:
        """Return (…,) bool: where the density at (…, p) points is positive. NaN is outside."""
        return np.asarray(np.all([m.inside(theta[..., k]) for k, m in enumerate(self.marginals)], axis=0))

    def centre(self, mean: np.ndarray, likely: np.ndarray) -> np.ndarray:
        """Return (…, p) where a posterior's density is told: at its mean; of categorical parameters, which have none, at a likely value."""
        return np.where([m.kind == "categorical" for m in self.marginals], likely, mean)

    def to_base(self, theta: np.ndarray) -> np.ndarray:
        """Return (…, p) the places of parameters on the scales on which the prior is even or normal, such as the logarithm."""
        return np.stack([KINDS[m.kind].base(theta[..., k], m.args) for k, m in enumerate(self.marginals)], axis=-1)

    def from_base(self, base: np.ndarray) -> np.ndarray:
        """Return (…, p) the parameters at places on these scales."""
        return np.stack([KINDS[m.kind].value(base[..., k], m.args) for k, m in enumerate(self.marginals)], axis=-1)

    def log_slope(self, theta: np.ndarray) -> np.ndarray:
        """Return (…,) log |d base / d theta|, by which a density of the parameters is more than one on these scales."""
        return np.asarray(sum(m.log_slope(theta[..., k]) for k, m in enumerate(self.marginals)))

    def truncated(self, low: Sequence[float], high: Sequence[float]) -> Prior:
        """Return this prior cut to the box from (p,) `low` to (p,) `high`, and to where it was cut before.

        Raises:
            DataError: nothing is left of it.
        """
        return Prior(tuple(m.truncated(float(a), float(b)) for m, a, b in zip(self.marginals, low, high, strict=True)))

    def cut_of(self, other: Prior) -> bool:
        """Tell whether this is another prior, or what is left of it within a box."""
        (low, high), (other_low, other_high) = self.bounds, other.bounds
        whole = [[replace(m, low=-math.inf, high=math.inf) for m in prior.marginals] for prior in (self, other)]
        return bool(whole[0] == whole[1] and (low >= other_low).all() and (high <= other_high).all())

    def samples(self, draws: np.ndarray, meta: Mapping[str, Any] | None = None) -> Samples:
        """Return (n, p) draws of this prior as the product that says so."""
        return Samples(np.ascontiguousarray(draws, np.float64), self.names, self.units, None, {**(meta or {}), META: self.to_json()})

    def to_json(self) -> list[dict[str, Any]]:
        """Return {name, unit, kind, args} for each parameter, with `low` and `high` where it was cut."""
        return [m.to_json() for m in self.marginals]

    @classmethod
    def from_json(cls, values: Any) -> Prior:
        """Return the prior that `to_json` wrote.

        Raises:
            DataError: it is something else.
        """
        if not isinstance(values, list) or not values:
            raise DataError(f"a prior is a list with {{name, unit, kind, args}} for each parameter, not {str(values)[:80]}")
        marginals = tuple(Marginal.from_json(value) for value in values)
        if len({m.name for m in marginals}) != len(marginals):
            raise DataError(f"the prior names a parameter twice: {', '.join(m.name for m in marginals)}")
        return cls(marginals)
