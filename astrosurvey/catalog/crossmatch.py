"""Which of one catalogue's places on the sky is nearest to each of another's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .ownership import unit_vectors


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest place to each of n others.

    Attributes:
        index: (n,) int64, of the nearest place within the radius, the first of equally near ones; -1 for none.
        separation: (n,) how far away it is, in arcsec; NaN for none.
        number: (n,) int64, places within the radius.
    """

    index: np.ndarray
    separation: np.ndarray
    number: np.ndarray


def nearest(ra: np.ndarray, dec: np.ndarray, of_ra: np.ndarray, of_dec: np.ndarray, radius: float) -> Nearest:
    """Return, for each of n directions, the nearest of m others.

    Args:
        ra, dec: (n,) deg; NaN is near nothing.
        of_ra, of_dec: (m,) deg; NaN is near nothing.
        radius: greatest separation, in arcsec.
    """
    from scipy.spatial import cKDTree

    n = len(ra)
    index, separation, number = np.full(n, -1, np.int64), np.full(n, np.nan), np.zeros(n, np.int64)
    here, there = (np.flatnonzero(np.isfinite(a) & np.isfinite(b)) for a, b in ((ra, dec), (of_ra, of_dec)))
    if not len(here) or not len(there):
        return Nearest(index, separation, number)
    places, others = unit_vectors(ra[here], dec[here]), unit_vectors(of_ra[there], of_dec[there])
    found = cKDTree(others).query_ball_point(places, 2 * np.sin(np.radians(radius / 3600) / 2), return_sorted=True)
    number[here] = [len(near) for near in found]
    i = np.repeat(np.arange(len(here)), number[here])
    j = np.concatenate([np.asarray(near, np.int64) for near in found])
    chord = np.sqrt(((places[i] - others[j]) ** 2).sum(axis=1))
    order = np.lexsort([j, chord, i])
    one, first = np.unique(i[order], return_index=True)
    index[here[one]] = there[j[order[first]]]
    separation[here[one]] = np.degrees(2 * np.arcsin(np.minimum(chord[order[first]] / 2, 1))) * 3600
    return Nearest(index, separation, number)
