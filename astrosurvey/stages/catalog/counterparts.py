"""Of the sources of a part of the sky their counterparts, with what is said of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...catalog.flags import CROSSMATCH
from ...catalog.ownership import unit_vectors
from ...catalog.schema import HEALPIX_COLUMN
from ...core.stage import DataError
from .nearest import numbers_near, pairs
from .sides import axes

MOST_PAIRS = 10**8
"""Pairs that are looked at together; more do not fit into memory."""
SAMPLE = 64
"""One source in so many is tried to tell how many pairs there will be."""
Device = Literal["cpu", "cuda"]
_PLACE = ["ra", "dec", "variance"]
Place = dict[str, np.ndarray]
"""Columns `ra`, `dec` and `variance`."""


@dataclass(frozen=True)
class Reach:
    """How far from a source a counterpart may be.

    Attributes:
        radius: arcsec.
        sigma: in units of the combined error of both positions; None for no such limit.
    """

    radius: float
    sigma: float | None

    def spread(self, variance: np.ndarray) -> np.ndarray | None:
        """Return what the squares of the separations may be, as the sum of one source's and one counterpart's, arcsec^2.

        Where no error is known, the radius alone counts.
        """
        return None if self.sigma is None else np.where(np.isnan(variance), np.inf, self.sigma**2 * variance)


@dataclass(frozen=True, eq=False)
class Links:
    """Pairs of a source and a counterpart, those of a source together, the best first.

    Attributes:
        source, other: (pair,) rows.
        separation: (pair,) arcsec.
        sigmas: (pair,) the separation over the combined error; NaN where no error is known.
        rank: (pair,) from 0 for each source's best.
        mutual: (pair,) bool, each is the other's best.
        n_other: (n,) counterparts of each source.
        n_source: (m,) sources of each counterpart.
    """

    source: np.ndarray
    other: np.ndarray
    separation: np.ndarray
    sigmas: np.ndarray
    rank: np.ndarray
    mutual: np.ndarray
    n_other: np.ndarray
    n_source: np.ndarray


def links(sources: pa.Table, others: pa.Table, reach: Reach, device: Device) -> Links:
    """Return all pairs within reach.

    The best is the nearest, where errors limit the pairs the one with the smallest separation in units of the error. Of equally
    good ones it is the one with the smaller declination, right ascension, name and id; so nothing depends on the order of rows.

    Raises:
        DataError: there are more pairs than memory holds.
    """
    n, m = len(sources), len(others)
    by_source = np.argsort(_column(sources, "source_id"), kind="stable")
    by_other = _order(others)
    one, two = (
        _place(rows.take(pa.array(order))) for rows, order in ((sources.select(_PLACE), by_source), (others.select(_PLACE), by_other))
    )
    _refuse_too_many(one, two, reach)
    found = pairs(
        one["ra"], one["dec"], two["ra"], two["dec"], reach.radius, reach.spread(one["variance"]), reach.spread(two["variance"]), device
    )  # fmt: skip
    number = np.diff(found.first)
    source, other, separation = np.repeat(np.arange(n), number), found.other, found.separation
    with np.errstate(divide="ignore", invalid="ignore"):
        sigmas = separation / np.sqrt(one["variance"][source] + two["variance"][other])
    sigmas = np.where(np.isinf(sigmas), np.nan, sigmas)  # two positions without any error
    badness = separation if reach.sigma is None else sigmas
    order = np.lexsort([other, badness, source])
    source, other, separation, sigmas, badness = source[order], other[order], separation[order], sigmas[order], badness[order]
    rank = np.arange(len(source)) - found.first[source]
    best = np.lexsort([source, badness, other])
    favourite = np.zeros(len(source), bool)
    favourite[best[np.flatnonzero(np.diff(other[best], prepend=-1))]] = True
    n_other, n_source = np.empty(n, np.int64), np.empty(m, np.int64)
    n_other[by_source], n_source[by_other] = number, np.bincount(other, minlength=m)
    return Links(by_source[source], by_other[other], separation, sigmas, rank, favourite & (rank == 0), n_other, n_source)


def columns(sources: pa.Table, core: np.ndarray, others: pa.Table, found: Links, *, best: bool) -> pa.Table:
    """Return the columns of the table `crossmatch`, and what is kept of the others, for the sources that are in the part itself.

    Args:
        sources: n rows, with their HEALPix index.
        core: (n,) bool, which of them are wanted.
        others: m rows.
        found: their pairs.
        best: each source's best counterpart alone, not all of them.

    Returns:
        Rows by HEALPix index, source and rank; a source without a counterpart has one, too.
    """
    wanted = core[found.source] & ((found.rank == 0) | (not best))
    alone = np.flatnonzero(core & (found.n_other == 0))
    pair, n = np.flatnonzero(wanted), int(wanted.sum())
    row = np.append(found.source[pair], alone)
    other = pa.array(np.append(found.other[pair], np.zeros(len(alone), np.int64)), mask=np.arange(len(row)) >= n)
    ids, ra, dec = (_column(sources, name)[row] for name in ("source_id", "ra", "dec"))
    rank = np.append(found.rank[pair], np.zeros(len(alone), np.int64))
    east, north = (axis[:n] for axis in axes(ra, dec))
    theirs = unit_vectors(_column(others, "ra"), _column(others, "dec"))[found.other[pair]]
    delta = [np.degrees((axis * theirs).sum(axis=1)) * 3600 for axis in (east, north)]
    flags = np.where(found.n_other[row] > 1, CROSSMATCH["AMBIGUOUS"], 0)
    flags[:n] |= np.where(found.n_source[found.other[pair]] > 1, CROSSMATCH["SHARED"], 0)
    flags[:n] |= np.where(np.isnan(found.sigmas[pair]), CROSSMATCH["NO_ERROR"], 0)
    flags[:n] |= np.where(_column(others, "moved")[found.other[pair]], 0, CROSSMATCH["NO_MOTION"])
    made = {
        "source_id": ids,
        "rank": rank,
        "ra": ra,
        "dec": dec,
        **{to: others.column(name).take(other) for to, name in _COPIED.items() if name in others.column_names},
        "separation": _filled(found.separation[pair], len(row)),
        "separation_sigma": _filled(found.sigmas[pair], len(row)),
        "delta_ra": _filled(delta[0], len(row)),
        "delta_dec": _filled(delta[1], len(row)),
        "n_other": found.n_other[row],
        "n_source": _filled(found.n_source[found.other[pair]], len(row)),
        "mutual": _filled(found.mutual[pair], len(row)),
        "flags": flags,
    }
    rows = pa.table(made)
    for name in others.column_names:
        if name.startswith("x_"):
            rows = rows.append_column(others.schema.field(name), others.column(name).take(other))
    return rows.take(pa.array(np.lexsort([rank, ids, _column(sources, HEALPIX_COLUMN)[row]])))


def without_place(ids: np.ndarray) -> pa.Table:
    """Return the columns of sources without a place on the sky."""
    return pa.table({"source_id": ids, "rank": np.zeros(len(ids), np.int64), "flags": np.full(len(ids), CROSSMATCH["NO_POSITION"])})


_COPIED = {"other_id": "id", "other_name": "name", "other_ra": "ra", "other_dec": "dec"}


def _filled(values: np.ndarray, n: int) -> pa.Array:
    """Return values with nulls behind them, n in all; NaN is null, too."""
    mask = np.arange(n) >= len(values)
    if values.dtype.kind == "f":
        mask[: len(values)] |= np.isnan(values)
    return pa.array(np.append(values, np.zeros(n - len(values), values.dtype)), mask=mask)


def by_chance(aside: pa.Table, others: pa.Table, reach: Reach) -> np.ndarray:
    """Return (n,) bool, which of some places have a counterpart within reach."""
    return _numbers(_place(aside), _place(others), reach) > 0


def _place(rows: pa.Table) -> Place:
    return {name: _column(rows, name) for name in _PLACE}


def _numbers(one: Place, two: Place, reach: Reach) -> np.ndarray:
    spread = [reach.spread(place["variance"]) for place in (one, two)]
    return numbers_near(one["ra"], one["dec"], two["ra"], two["dec"], reach.radius, *spread)


def _refuse_too_many(one: Place, two: Place, reach: Reach) -> None:
    some = {name: values[::SAMPLE] for name, values in one.items()}
    expected = int(_numbers(some, two, reach).sum()) * SAMPLE
    if expected > MOST_PAIRS:
        raise DataError(f"about {expected:.1g} pairs are within {reach.radius:g} arcsec in one part of the sky; take a smaller `radius`")


def _column(rows: pa.Table, name: str) -> np.ndarray:
    return rows.column(name).to_numpy()


def _order(others: pa.Table) -> np.ndarray:
    """Return the order of the others by declination, right ascension, name and id; those without an id come last."""
    keys = [others.column("id").fill_null(np.iinfo(np.int64).max).to_numpy()]
    if "name" in others.column_names:
        keys.append(pc.rank(others.column("name"), tiebreaker="dense").to_numpy())
    return np.lexsort([*keys, _column(others, "ra"), _column(others, "dec")])
