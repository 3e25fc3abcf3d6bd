"""Lengths that links are measured in: mean separations, in a volume or at each distance of a survey, and comoving positions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import cast

import numpy as np

from ....core.stage import DataError
from ..features import DIRECTION, Columns, Points

LIGHT = 299792.458
"""Speed of light in km/s."""
WINDOW = 0.05
"""Part of a survey's sources, nearer and farther, whose mean density counts as that at a distance: it is wider than any group."""
FULL = 16
"""Sources in each cell of the sky, in the mean, when cells are counted to measure an area."""
NODES = 1024
"""Redshifts at which distances are integrated; a spline goes through them."""


def comoving(columns: Columns, cosmology: str, log: logging.Logger) -> Points:
    """Return comoving positions (Mpc) seen from here, of sources with a positive redshift.

    Args:
        columns: ra, dec (deg) and a redshift, or c z in km/s if that is the column's unit; in any order.
        cosmology: a name that `astropy.cosmology` knows.
        log: hears how many have no positive redshift.

    Raises:
        DataError: there is no such cosmology.
    """
    other = next(index for index, name in enumerate(columns.names) if name not in DIRECTION)
    z = columns.values[:, other]
    if columns.units[other].replace(" ", "") in {"km/s", "km.s-1", "kms-1", "km*s**-1", "km.s**-1"}:
        z = z / LIGHT
    seen = z > 0
    if not seen.all():
        log.warning("%d of %d sources have no positive %s and get no group", (~seen).sum(), len(seen), columns.names[other])
    ra, dec = (np.radians(columns.values[seen, columns.names.index(name)]) for name in DIRECTION)
    distance = comoving_distance(z[seen], cosmology)
    unit = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
    return Points(distance[:, None] * unit, columns.rows[seen], columns.total, 3, np.zeros(3), columns.names)


def comoving_distance(z: np.ndarray, cosmology: str, furthest: float | None = None) -> np.ndarray:
    """Return (n,) comoving distances (Mpc) of redshifts, in a cosmology by astropy's name for it.

    Args:
        z: (n,) redshifts, up to 20.
        cosmology: such as Planck18.
        furthest: the redshift up to which distances are tabulated; None: the largest of `z`. Set it where the distance of one
            redshift must not depend, in its last digits, on what the others are.

    Raises:
        DataError: there is no such cosmology, or a redshift that large.
    """
    from astropy import cosmology as known

    if cosmology not in known.available:
        raise DataError(f"astropy knows no cosmology {cosmology!r}; take one of {', '.join(known.available)}")
    if not len(z):
        return np.zeros(0)
    if z.max() > 20:
        raise DataError(f"a redshift is {z.max():g}; if the column is c z, give its unit km/s in `io.catalog`")
    return np.asarray(_distances(cosmology, furthest or float(z.max()))(z))


@lru_cache(maxsize=8)
def _distances(cosmology: str, furthest: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return the distances as a spline; simulators ask for the same one again and again."""
    from astropy import cosmology as known
    from scipy.interpolate import CubicSpline

    nodes = np.linspace(0, furthest, NODES)
    return cast(
        "Callable[[np.ndarray], np.ndarray]", CubicSpline(nodes, getattr(known, cosmology).comoving_distance(nodes).to_value("Mpc"))
    )


def separation_in_volume(points: Points) -> np.ndarray:
    """Return (n,) the mean separation: that of a grid of as many points in the periodic box, or in the smallest box around them.

    Raises:
        DataError: a direction has no such box.
    """
    if "ra" in points.names:
        raise DataError("sources on the sky fill no box, so their mean separation is not known; set `unit` to distance, or `line_of_sight`")
    n, d = points.values.shape
    if n < 2:
        return np.ones(n)
    sides = np.where(points.box > 0, points.box, np.ptp(points.values, axis=0))
    return np.full(n, np.exp((np.log(sides).sum() - np.log(n)) / d))


def separation_by_distance(points: Points, area: float | None, log: logging.Logger) -> np.ndarray:
    """Return (n,) the mean separation at the distance of each source of a survey.

    Args:
        points: n positions seen from here; a single one has no separation, and 1 stands for it.
        area: deg**2 that they cover; measured if None.
        log: hears of the measured area.
    """
    n = len(points)
    if n < 2:
        return np.ones(n)
    distance = np.sqrt((points.values**2).sum(axis=1))
    if area is None:
        area = covered(points.values / distance[:, None])
        log.info("the survey covers %.4g deg2, as its sources say", area)
    ordered = np.sort(distance)
    reach = max(int(WINDOW * n), min(FULL, n // 2), 1)
    place = np.searchsorted(ordered, distance)
    low, high = np.maximum(place - reach, 0), np.minimum(place + reach, n - 1)
    shell = np.radians(1) ** 2 * area / 3 * (ordered[high] ** 3 - ordered[low] ** 3)
    if not (shell > 0).all():
        raise DataError("so many sources are at one distance that their mean separation is not known; set `unit` to distance")
    return np.cbrt(shell / (high - low))


def covered(unit: np.ndarray) -> float:
    """Return the area (deg**2) of the HEALPix cells with one of (n, 3) directions in them, the cells as small as fills them well."""
    from astropy import units as u
    from astropy_healpix import HEALPix

    longitude, latitude = np.arctan2(unit[:, 1], unit[:, 0]), np.arcsin(np.clip(unit[:, 2], -1, 1))
    area = np.degrees(np.degrees(4 * np.pi))
    for order in range(30):
        cells = HEALPix(2**order, order="nested")
        found = len(np.unique(cells.lonlat_to_healpix(longitude * u.rad, latitude * u.rad)))
        if order > 0 and len(unit) < FULL * found:
            break
        area = found * cells.pixel_area.to_value("deg2")
    return float(area)
