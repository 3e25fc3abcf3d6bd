"""Scales on which networks see data and parameters.

Data are centred by their median, divided by their median absolute deviation, and bent like the inverse hyperbolic sine: values
within a few deviations stay as they are, and outliers, which would push everything else together, come in logarithmically.
Parameters are seen on the scales on which their priors are even or normal, such as the logarithm.

References:
    Huber (1981), Robust Statistics; Lupton, Gunn & Szalay (1999), AJ 118, 1406 (the inverse hyperbolic sine).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .distributions import KINDS
from .priors import Prior

EDGE = np.sqrt(3.0)
"""Parameters whose prior is even reach from minus this to this, where they have unit variance."""
LINEAR = 3.0
"""Robust deviations within which data stay nearly as they are."""
FAR = 7.0
"""A normal prior that is cut beyond this many standard deviations has no end there."""
TAIL = 0.02
"""Part of the data on either side that has no say in what remains to be centred and scaled."""


@dataclass(frozen=True, eq=False)
class DataScaling:
    """From data to what a network sees.

    Attributes:
        centre, width: (feature,), or (1,) for all alike: median and robust deviation.
        mean, std: the same of what that and the bending leave.
        varies: bool, the same: of constant features a network sees nothing.
    """

    centre: np.ndarray
    width: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    varies: np.ndarray

    @classmethod
    def learnt(cls, data: np.ndarray) -> DataScaling:
        """Return the scaling of (n, feature) data, all finite."""
        data = data.astype(np.float64)
        centre = np.median(data, axis=0)
        deviation = 1.4826 * np.median(np.abs(data - centre), axis=0)
        # More than half of the values may be one and the same, as in counts.
        width = np.where(deviation > 0, deviation, data.std(axis=0))
        varies = width > 1e-7 * np.abs(centre)
        width = np.where(varies, width, 1.0)
        bent = _bend((data - centre) / width)
        bent = np.clip(bent, *np.quantile(bent, [TAIL, 1 - TAIL], axis=0))
        mean, std = bent.mean(axis=0), bent.std(axis=0)
        return cls(centre, width, mean, np.where(varies & (std > 0), std, 1.0), varies)

    def __call__(self, data: np.ndarray) -> np.ndarray:
        """Return (n, varying feature) float32 of (n, feature) data."""
        # In the data's own precision and in place, for a field may be large.
        kind = np.result_type(data.dtype, np.float32)
        scaled = data - self.centre.astype(kind)
        scaled *= (1 / (LINEAR * self.width)).astype(kind)
        np.arcsinh(scaled, out=scaled)
        scaled *= (LINEAR / self.std).astype(kind)
        scaled -= (self.mean / self.std).astype(kind)
        return np.ascontiguousarray(self._varying(scaled), np.float32)

    def log_slope(self, data: np.ndarray) -> np.ndarray:
        """Return (n,) the log of the volume in what a network sees of a volume of (n, feature) data."""
        apart = (data - self.centre) / self.width / LINEAR
        slope = -0.5 * np.log1p(apart**2) - np.log(self.width * self.std)
        return np.asarray(self._varying(slope).sum(axis=1))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return what it has learnt, by name."""
        return {field.name: np.array(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> DataScaling:
        """Return the scaling of which these, or lists of their values, are the arrays.

        Raises:
            KeyError: one of them is missing.
        """
        return cls(*(np.array(arrays[field.name]) for field in fields(cls)))

    def _varying(self, features: np.ndarray) -> np.ndarray:
        return features if self.varies.all() else features[:, self.varies]


def _bend(x: np.ndarray) -> np.ndarray:
    return LINEAR * np.arcsinh(x / LINEAR)


class ParameterScaling:
    """From parameters to what a flow sees, and back: on scales on which the prior is standard normal, or even with unit variance.

    What is left of a normal prior that was cut to a narrow piece counts as even. Categorical parameters fill a cell of their own for each
    value, evenly.

    Args:
        prior: of the parameters.
    """

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        self._values = [np.sort([v for v in m.args if m.inside(np.array(v))]) if m.kind == "categorical" else None for m in prior.marginals]
        ends = np.stack([prior.to_base(bound) for bound in prior.bounds])
        for k, values in enumerate(self._values):
            if values is not None:
                ends[:, k] = 0.0, len(values)
        # A narrow piece of a normal distribution is nearly even, and would be no more than a point on its scale.
        narrow = ends[1] - ends[0] < 2 * EDGE
        self._even = narrow | ~np.array([KINDS[m.kind].gaussian for m in prior.marginals])
        self._low, self._wide = np.where(self._even, ends[0], 0.0), np.where(self._even, ends[1] - ends[0], 1.0)
        self._ends = np.where(self._even | (np.abs(ends) < FAR), ends, np.nan)

    def to_flow(self, theta: np.ndarray, within: np.ndarray | float = 0.5) -> np.ndarray:
        """Return (…, p) what a flow sees of (…, p) parameters.

        Args:
            theta: the parameters.
            within: (…, p) the place within a categorical value's cell, between 0 and 1.
        """
        part = (self._base(theta, within) - self._low) / self._wide
        return np.where(self._even, (2 * part - 1) * EDGE, part)

    def from_flow(self, z: np.ndarray) -> np.ndarray:
        """Return (…, p) parameters of what a flow drew, be they within the prior or not; NaN beyond all values of a categorical one."""
        z = z.astype(np.float64)
        base = self._low + np.where(self._even, (z / EDGE + 1) / 2, z) * self._wide
        with np.errstate(over="ignore"):
            theta = self.prior.from_base(base)
        for k, values in enumerate(self._values):
            if values is not None:
                cell = np.floor(base[..., k])
                there = (cell >= 0) & (cell < len(values))
                theta[..., k] = np.where(there, values[np.where(there, cell, 0).astype(np.int64)], np.nan)
        return theta

    def place(self, theta: np.ndarray) -> np.ndarray:
        """Return (…, p) where parameters stand between the ends of the prior, from 0 to 1; NaN where it has not both, or only values."""
        ordered = np.array([values is None for values in self._values])
        low, high = self._ends
        return np.where(ordered, (self._base(theta, 0.5) - low) / (high - low), np.nan)

    def log_slope(self, theta: np.ndarray) -> np.ndarray:
        """Return (…,) the log of the volume in what a flow sees of a volume of parameters, by which its density is more."""
        continuous = [k for k, values in enumerate(self._values) if values is None]
        slope = np.where(self._even, np.log(2 * EDGE), 0.0) - np.log(self._wide)
        slope_of_base = sum(self.prior.marginals[k].log_slope(theta[..., k]) for k in continuous)
        return np.asarray(slope_of_base + slope.sum())

    def _base(self, theta: np.ndarray, within: np.ndarray | float) -> np.ndarray:
        base = self.prior.to_base(theta)
        within = np.broadcast_to(within, theta.shape)
        for k, values in enumerate(self._values):
            if values is not None:
                base[..., k] = np.searchsorted(values, theta[..., k]) + within[..., k]
        return base
