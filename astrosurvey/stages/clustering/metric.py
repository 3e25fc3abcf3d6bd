"""From columns to points: what a distance between two rows of a catalogue is.

Right ascension and declination together are a direction: they become a unit vector of three columns, so that the
seam at 0h and the poles are places like any other. All other columns become one column each. Every sum is taken in
an order of its own, so that points do not depend on the order of the rows.

References:
    Rousseeuw & Croux (1993), JASA 88, 1273 (robust scale); Mahalanobis (1936), Proc. Nat. Inst. Sci. India 2, 49.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from ...core.stage import DataError
from .features import DIRECTION, Columns, FeatureConfig

CENTRAL = 0.6826894921370859
"""The fraction of a Gaussian that lies within one standard deviation."""
CLIP = 3.0
"""Spreads from the median beyond which values no longer pull on a covariance."""
ALONG = 1e-10
"""Part of a whitened column's variance that must be its own: less, and the others determine it."""


@dataclass(frozen=True, eq=False)
class Metric:
    """How values of columns become points; made once from all of a catalogue, and then good for other draws of its values.

    Attributes:
        columns: indices of the non-constant columns that are no direction.
        direction: indices of `ra` and `dec`; None without them.
        angle: rad that count as one unit of distance; 0 if the direction is constant, and so left out.
        transform: (k, k) lower triangular, of the k columns; the points are `transform @ values`.
        shift: (k,) what is subtracted before, so that no digits are lost.
        period: (k,) of the columns, in their own units; 0 for none.
        names: see `Points`.
        combinations: how many of the columns others determine.
    """

    columns: tuple[int, ...]
    direction: tuple[int, int] | None
    angle: float
    transform: np.ndarray
    shift: np.ndarray
    period: np.ndarray
    names: tuple[str, ...]
    combinations: int = 0

    @property
    def dimension(self) -> int:
        """The intrinsic dimension; see `Points`."""
        return (2 if self.direction else 0) + len(self.columns) - self.combinations

    @property
    def box(self) -> np.ndarray:
        """(d,) periods of the points' columns."""
        return np.concatenate([np.zeros(3 if self.direction else 0), self.period * np.diag(self.transform)])

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return (n, d) points of (n, c) values of the chosen columns, C-contiguous."""
        flat = values[:, list(self.columns)] - self.shift
        flat = np.where(self.period > 0, np.mod(flat, np.where(self.period > 0, self.period, 1.0)), flat)
        result = np.zeros((len(values), len(self.box)))
        first = len(self.box) - len(self.columns)
        if self.direction:
            ra, dec = (values[:, index] for index in self.direction)
            result[:, :first] = _unit_vectors(ra, dec) / self.angle
        # A matrix product would round a row differently from place to place.
        for i, j in zip(*np.nonzero(self.transform), strict=True):
            result[:, first + i] += self.transform[i, j] * flat[:, j]
        result[(self.box > 0) & (result >= self.box)] = 0.0  # rounded onto the far side of the box
        return result


def metric_of(columns: Columns, config: FeatureConfig, log: logging.Logger) -> Metric:
    """Return the metric that the settings ask for, measured on the columns.

    Raises:
        DataError: units differ in a plain metric, all columns are constant, or one is a combination of others.
    """
    direction = tuple(columns.names.index(name) for name in DIRECTION) if DIRECTION[0] in columns.names else None
    others = [index for index, name in enumerate(columns.names) if name not in DIRECTION]
    if config.metric == "plain":
        _require_one_unit(columns, config)
    spreads = {index: _spread(columns.values[:, index]) for index in others}
    constant = [columns.names[index] for index in others if spreads[index] == 0]
    angle = _angle(columns.values[:, list(direction)], config) if direction else 0.0
    if direction and angle == 0:
        constant, direction = [*DIRECTION, *constant], None
    kept = [index for index in others if spreads[index] > 0]
    if constant and len(columns.rows) > 1:
        if not kept and not direction:
            raise DataError(f"all of the columns {', '.join(constant)} are constant; there is nothing to cluster")
        log.warning("left out because constant: %s", ", ".join(constant))
    if len(columns.rows) <= 1:  # nothing can be measured, and nothing is needed
        kept, spreads = others, dict.fromkeys(others, 1.0)
    names = [columns.names[index] for index in kept]
    period = np.array([config.box.get(name, 0.0) for name in names])
    for index, length in zip(kept, period, strict=True):
        if length and len(columns.rows) and (span := np.ptp(columns.values[:, index])) > length * (1 + 1e-9):
            raise DataError(f"column {columns.names[index]!r} spans {span:.6g}, more than its period {length:g}; correct `box`")
    shift = np.where(period > 0, 0.0, [_middle(columns.values[:, index]) for index in kept])
    if config.metric == "whitened":
        transform = _whitening(columns.values[:, kept] - shift, names)
    else:
        measured = [CENTRAL / 2 * length or spreads[index] for index, length in zip(kept, period, strict=True)]
        default = measured if config.metric == "scaled" else np.ones(len(kept))
        transform = np.diag([1 / config.scales.get(name, unit) for name, unit in zip(names, default, strict=True)]).reshape(
            len(kept), len(kept)
        )
    combined = _combinations(columns.values[:, kept] - shift, [spreads[index] for index in kept])
    if combined:
        log.warning(
            "%s: constant but for outliers, or a combination of the columns before; the points count as filling %d dimensions",
            ", ".join(names[index] for index in combined), (2 if direction else 0) + len(kept) - len(combined),
        )  # fmt: skip
    chosen = ((*DIRECTION,) if direction else ()) + tuple(names)
    pair = (direction[0], direction[1]) if direction else None
    return Metric(tuple(kept), pair, angle, transform, shift, period, chosen, len(combined))


def _require_one_unit(columns: Columns, config: FeatureConfig) -> None:
    units: dict[str, list[str]] = {}
    scaled = {*config.scales, *(DIRECTION if any(name in config.scales for name in DIRECTION) else ())}
    for name, unit in zip(columns.names, columns.units, strict=True):
        units.setdefault("" if name in scaled else unit, []).append(name)
    if len(units) > 1:
        listed = "; ".join(f"{', '.join(names)} in {unit or 'no unit'}" for unit, names in units.items())
        raise DataError(f"a plain distance cannot mix units ({listed}); set `scales` for the columns, or the metric scaled")


def _spread(values: np.ndarray) -> float:
    """Return half the range that the central 68 % of values take; their standard deviation if that is none; 0 for constants."""
    if len(values) == 0 or values.min() == values.max():
        return 0.0
    low, high = np.quantile(values, [(1 - CENTRAL) / 2, (1 + CENTRAL) / 2])
    if high > low:
        return float(high - low) / 2
    middle = _middle(values)
    return float(np.sqrt(np.sort((values - middle) ** 2).mean()))


def _middle(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _angle(degrees: np.ndarray, config: FeatureConfig) -> float:
    """Return the angle, in rad, that counts as one unit: as declared, a degree if plain, or else measured on each axis."""
    declared = [config.scales[name] for name in DIRECTION if name in config.scales]
    unit = _unit_vectors(degrees[:, 0], degrees[:, 1])
    constant = len(unit) > 1 and bool((degrees == degrees[0]).all())
    if declared or config.metric == "plain" or len(unit) <= 1:
        return 0.0 if constant else float(np.radians(declared[0] if declared else 1.0))
    if constant:
        return 0.0
    mean = np.sort(unit, axis=0).sum(axis=0)
    length = np.sqrt((mean**2).sum())
    # Directions all over the sky have no middle to measure from: there, a radian is as good a unit as any.
    if length < 0.1 * len(unit):
        return 1.0
    apart = 2 * np.arcsin(np.minimum(np.sqrt(((unit - mean / length) ** 2).sum(axis=1)) / 2, 1))
    # In two dimensions, half of a Gaussian lies within sqrt(2 ln 2) standard deviations.
    return float(np.median(apart) / np.sqrt(2 * np.log(2)) or np.sqrt(np.sort(apart**2).mean() / 2))


def _unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return (n, 3) unit vectors of directions in degrees."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _combinations(values: np.ndarray, spreads: list[float]) -> list[int]:
    """Return which of (n, k) columns are sums of multiples of those before them to the last digits, outliers apart, or constant."""
    scaled = values / np.array(spreads)
    inner = scaled[(np.abs(scaled) < CLIP).all(axis=1)]  # a value far out would make all columns alike
    if len(inner) < 2 * len(spreads) + 2:
        return []
    inner -= inner.mean(axis=0)
    covariance = inner.T @ inner  # its digits depend on the order of rows, but what it is asked is far from them
    found, factor = [], np.zeros_like(covariance)
    for i in range(len(covariance)):  # Cholesky's, passing over what is determined
        for j in range(i + 1):
            rest = covariance[i, j] - factor[i, :j] @ factor[j, :j]
            if i == j and rest <= ALONG * covariance[i, i]:
                found.append(i)
            elif i == j or j not in found:
                factor[i, j] = np.sqrt(rest) if i == j else rest / factor[j, j]
    return found


def _whitening(values: np.ndarray, names: list[str]) -> np.ndarray:
    """Return the (k, k) matrix after which (n, k) values have unit variance and no correlation, outliers apart.

    Raises:
        DataError: a column is a combination of others.
    """
    if len(values) <= 1:
        return np.eye(len(names))
    spread = np.array([_spread(column) for column in values.T])
    clipped = np.clip(values / spread, -CLIP, CLIP)
    clipped = clipped - np.sort(clipped, axis=0).mean(axis=0)
    k = len(names)
    covariance = np.array([[np.sort(clipped[:, i] * clipped[:, j]).mean() for j in range(k)] for i in range(k)]).reshape(k, k)
    factor = np.zeros((k, k))
    for i in range(k):  # Cholesky's, which says at which column it fails
        for j in range(i + 1):
            rest = covariance[i, j] - factor[i, :j] @ factor[j, :j]
            if i == j and rest <= ALONG * covariance[i, i]:
                raise DataError(f"column {names[i]!r} is a combination of {', '.join(names[:i])}; leave one of them out of `columns`")
            factor[i, j] = np.sqrt(rest) if i == j else rest / factor[j, j]
    return np.linalg.solve(factor, np.diag(1 / spread))
