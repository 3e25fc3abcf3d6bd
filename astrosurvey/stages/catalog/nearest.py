"""Which of one catalogue's places on the sky are near those of another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...catalog.ownership import unit_vectors
from ...kernels import crossmatch
from ...kernels import nearest as nearest_kernel


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of n places and m others, those of a place together, the nearest first; equally near ones in the order of the others.

    Attributes:
        first: (n + 1,) int64; the pairs of place i are those from first[i] to before first[i + 1].
        other: (pair,) int64, which of the others it is.
        separation: (pair,) arcsec.
    """

    first: np.ndarray
    other: np.ndarray
    separation: np.ndarray


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest place to each of n others.

    Attributes:
        index: (n,) int64, of the nearest place within the radius, the first of equally near ones; -1 for none.
        separation: (n,) how far away it is, in arcsec; NaN for none.
        number: (n,) int64, places within the radius; if they were not counted, 1 for any.
    """

    index: np.ndarray
    separation: np.ndarray
    number: np.ndarray


def pairs(
    ra: np.ndarray,
    dec: np.ndarray,
    of_ra: np.ndarray,
    of_dec: np.ndarray,
    radius: float,
    spread: np.ndarray | None = None,
    of_spread: np.ndarray | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Pairs:
    """Return which of m directions are near each of n others.

    Args:
        ra, dec: (n,) deg; NaN is near nothing.
        of_ra, of_dec: (m,) deg; NaN is near nothing.
        radius: greatest separation, in arcsec.
        spread, of_spread: (n,) and (m,); the square of a separation is at most the sum of the two, arcsec^2. None for no such limit.
        device: where they are looked for.
    """
    here, places, reach = _places(ra, dec, spread)
    there, others, of_reach = _places(of_ra, of_dec, of_spread)
    first, other, squared = crossmatch.KERNEL.on(device)(places, others, _chord(radius), reach, of_reach)
    number = np.zeros(len(ra), np.int64)
    number[here] = np.diff(first)
    return Pairs(np.append(0, np.cumsum(number)), there[other], _angle(squared))


def numbers_near(
    ra: np.ndarray,
    dec: np.ndarray,
    of_ra: np.ndarray,
    of_dec: np.ndarray,
    radius: float,
    spread: np.ndarray | None = None,
    of_spread: np.ndarray | None = None,
) -> np.ndarray:
    """Return (n,) int64, how many of m directions are near each of n others; see `pairs`, which needs more memory."""
    here, places, reach = _places(ra, dec, spread)
    _, others, of_reach = _places(of_ra, of_dec, of_spread)
    number = np.zeros(len(ra), np.int64)
    number[here] = crossmatch.count(places, others, _chord(radius), reach, of_reach)
    return number


def nearest(
    ra: np.ndarray,
    dec: np.ndarray,
    of_ra: np.ndarray,
    of_dec: np.ndarray,
    radius: float,
    counted: bool = True,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Nearest:
    """Return, for each of n directions, the nearest of m others.

    Args:
        ra, dec, of_ra, of_dec, radius, device: see `pairs`.
        counted: whether to count those within the radius, too, which takes longer if they are many.
    """
    here, places, _ = _places(ra, dec, None)
    there, others, _ = _places(of_ra, of_dec, None)
    row, squared, number = nearest_kernel.KERNEL.on(device)(places, others, _chord(radius), counted)
    some = row >= 0
    found = Nearest(np.full(len(ra), -1, np.int64), np.full(len(ra), np.nan), np.zeros(len(ra), np.int64))
    found.index[here[some]] = there[row[some]]
    found.separation[here[some]] = _angle(squared[some])
    found.number[here] = number
    return found


def _chord(angle: float) -> float:
    """Return the length of the chord of an angle in arcsec, on the unit sphere."""
    return float(2 * np.sin(np.radians(angle / 3600) / 2))


def _angle(squared: np.ndarray) -> np.ndarray:
    """Return the angles in arcsec of squared chords, on the unit sphere."""
    return np.degrees(2 * np.arcsin(np.minimum(np.sqrt(squared) / 2, 1))) * 3600


def _places(ra: np.ndarray, dec: np.ndarray, spread: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows that have a place, their unit vectors, and their spreads as squares of chords."""
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if len(known) < len(ra):
        ra, dec = ra[known], dec[known]
    reach = np.full(len(known), np.inf) if spread is None else spread[known] * np.radians(1 / 3600) ** 2
    return known, np.ascontiguousarray(unit_vectors(ra, dec)), reach
