"""What a catalogue says of its errors, and other values that it might as well have measured.

An error is a standard deviation in the unit of its column; that of `ra` is along the circle of declination, as catalogues
give it (the error of ra times cos dec). Draws add a second error to values that have one, so
they show what remains of a cluster under errors of this size.

References:
    Oliver & Elahi (2024), arXiv:2411.03229; Gaia Collaboration, Lindegren et al. (2021), A&A 649, A2 (correlations).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ....core.stage import DataError
from ....products import Catalog
from ..features import DIRECTION, Columns, numbers, resolved

MOST = 2.0
"""Typical errors in standard deviations of the values, which contain them, from which on they cannot be right."""
FEW = 10
"""Values whose scatter is not known well enough to say so."""
BLOCK = 2**16
"""Covariances that are in memory at a time."""
ROUNDING = 1e-6
"""Correlations are rounded to single precision: a matrix of them may be this far from positive definite."""


@dataclass(frozen=True, eq=False)
class Errors:
    """Gaussian errors of n points in c columns.

    Attributes:
        root: (n, c) standard deviations, or (n, c, c) matrices whose products with their own transposes are the covariances.
        usable: (n,) bool, whether the errors of a point are errors: finite, not negative, and a covariance positive semidefinite.
    """

    root: np.ndarray
    usable: np.ndarray

    def take(self, rows: np.ndarray) -> Errors:
        """Return the errors of some points."""
        return Errors(self.root[rows], self.usable[rows])

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return (n, c) errors drawn at random, in the order of the points."""
        normal = rng.standard_normal(self.root.shape[:2])
        if self.root.ndim == 2:
            return np.asarray(self.root * normal)
        drawn = self.root[:, :, 0] * normal[:, :1]
        for column in range(1, normal.shape[1]):
            drawn += self.root[:, :, column] * normal[:, column, None]
        return np.asarray(drawn)


def errors_of(
    catalog: Catalog, columns: Columns, errors: float | str | Mapping[str, float | str], correlations: str | None = None
) -> Errors:
    """Return the errors of the rows of `columns`.

    Args:
        catalog: what the columns are of.
        columns: c columns of n rows.
        errors: a number, or the name of a column, in which {column} stands for each column's name; or these by column, where a
            column left out has no error.
        correlations: name of the columns with correlation coefficients, in which {a} and {b} stand for two columns
            in either order; pairs without such a column are not correlated.

    Raises:
        DataError: there is no such column, or errors are in another unit than their values.
    """
    names = columns.names
    if isinstance(errors, Mapping):
        unknown = sorted(set(errors) - set(names))
        if unknown:
            raise DataError(f"`errors` names {', '.join(unknown)}, not among `columns`: {', '.join(names)}")
    given = {name: errors.get(name, 0.0) for name in names} if isinstance(errors, Mapping) else dict.fromkeys(names, errors)
    sigma = np.empty((len(columns.rows), len(names)))
    for index, (name, unit) in enumerate(zip(names, columns.units, strict=True)):
        value = given[name]
        sigma[:, index] = _in_unit(catalog, value.replace("{column}", name), unit)[columns.rows] if isinstance(value, str) else value
    usable = np.asarray((np.isfinite(sigma) & (sigma >= 0)).all(axis=1))
    _require_plausible(columns, sigma[usable], columns.values[usable])
    pairs = _correlations(catalog, columns, correlations)
    if not pairs:
        return Errors(np.where(usable[:, None], sigma, 0.0), usable)
    sigma = np.where(usable[:, None], sigma, 0.0)
    root = np.empty((*sigma.shape, sigma.shape[1]))
    for start in range(0, len(sigma), BLOCK):
        some = slice(start, start + BLOCK)
        covariance = np.tile(np.eye(sigma.shape[1]), (len(sigma[some]), 1, 1))
        for (i, j), coefficient in pairs.items():
            covariance[:, i, j] = covariance[:, j, i] = coefficient[some]
        with np.errstate(invalid="ignore"):  # a correlation may be infinite
            covariance *= sigma[some, :, None] * sigma[some, None, :]
        part = from_covariance(covariance, usable[some])
        root[some], usable[some] = part.root, part.usable
    return Errors(root, usable)


def from_covariance(covariance: np.ndarray, usable: np.ndarray | None = None) -> Errors:
    """Return the errors that (n, c, c) covariances stand for.

    Args:
        covariance: covariances; one that is not finite, or has a negative eigenvalue beyond rounding, is not usable.
        usable: (n,) bool, points whose errors are known to be none are False.
    """
    good = np.isfinite(covariance).all(axis=(1, 2))
    good = good if usable is None else good & usable
    safe = np.where(good[:, None, None], covariance, 0.0)
    scale = np.sqrt(np.maximum(np.diagonal(safe, axis1=1, axis2=2), 0.0))
    over = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    values, vectors = np.linalg.eigh(safe * over[:, :, None] * over[:, None, :])
    good &= (values >= -ROUNDING).all(axis=1) & (np.diagonal(safe, axis1=1, axis2=2) >= 0).all(axis=1)
    # The symmetric root of the correlations is unique, which the eigenvectors are not.
    half = (vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    return Errors(np.where(good[:, None, None], scale[:, :, None] * half, 0.0), good)


def _in_unit(catalog: Catalog, name: str, unit: str) -> np.ndarray:
    """Return (row,) a column of errors in the unit of what they are the errors of; as it is where one of the units is not known."""
    try:
        found = resolved(name, catalog.rows.column_names)
    except DataError as error:
        raise DataError(f"no errors: {error}; let `errors` name the columns that hold them, or give a number") from error
    values = numbers(catalog.rows, found)
    own = (catalog.rows.schema.field(found).metadata or {}).get(b"unit", b"").decode()
    if not own or not unit or own == unit:
        return values
    from astropy.units import Unit

    try:
        return np.asarray(values * Unit(own).to(Unit(unit)))
    except ValueError as error:  # no such unit, or one that cannot be converted
        raise DataError(f"column {found!r} is in {own}, and cannot be the error of values in {unit}") from error


def _require_plausible(columns: Columns, sigma: np.ndarray, values: np.ndarray) -> None:
    """Raise a DataError if values scatter by far less than their errors say, which values cannot that have these errors."""
    for name, own, error in zip(columns.names, values.T, sigma.T, strict=True):
        if len(own) >= FEW and np.ptp(own) > 0 and MOST * own.std() < np.median(error):  # a constant column does not count anyway
            raise DataError(
                f"values of {name!r} scatter by {own.std():.3g}, and half of their errors are above {np.median(error):.3g}; "
                "errors must be standard deviations in the unit of the values"
            )


def _correlations(catalog: Catalog, columns: Columns, pattern: str | None) -> dict[tuple[int, int], np.ndarray]:
    """Return the correlation coefficients of the pairs of columns that have some, by the columns' indices."""
    found: dict[tuple[int, int], np.ndarray] = {}
    there = catalog.rows.column_names
    for i, a in enumerate(columns.names if pattern else ()):
        for j, b in enumerate(columns.names[:i]):
            for name in (str(pattern).format(a=a, b=b), str(pattern).format(a=b, b=a)):
                if name in there or any(other.startswith("x_") and other.endswith(f"_{name}") for other in there):
                    found[i, j] = numbers(catalog.rows, resolved(name, there))[columns.rows]
    return found


def moved(columns: Columns, shift: np.ndarray) -> np.ndarray:
    """Return (n, c) the values of columns with errors added; a direction is moved along the sphere, over the poles too."""
    values = columns.values + shift
    if DIRECTION[0] not in columns.names:
        return values
    i, j = (columns.names.index(name) for name in DIRECTION)
    ra, dec = np.radians(columns.values[:, i]), np.radians(columns.values[:, j])
    east, north = np.radians(shift[:, i]), np.radians(shift[:, j])
    x = np.cos(dec) - north * np.sin(dec)
    across, up = east, np.sin(dec) + north * np.cos(dec)
    values[:, i] = np.degrees(ra + np.arctan2(across, x)) % 360.0
    values[:, j] = np.degrees(np.arctan2(up, np.hypot(x, across)))
    return values
