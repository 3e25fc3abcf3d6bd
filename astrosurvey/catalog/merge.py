"""Many tiles' catalogues made into one in which every source stands once.

A source belongs to the tile in whose cell its centre lies (`ownership.py`). Near a cell's border that alone
will not do: backgrounds and deblending differ a little between tiles, so the centre of one source may fall
on different sides of the border and the source come twice, or not at all. There, sources of different tiles
are matched, one of each group of counterparts is kept (that of the tile in whose cell the group's mean
position lies), and a source that its own tile has just given away but no other tile has found is kept too.

Tiles are worked through one at a time: what certainly goes is dropped at once, so that memory holds the
merged catalogue and the border strips, never all tiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from .arrow import concatenate, to_numpy
from .healpix import healpix_29
from .match import Points, groups
from .ownership import Cell, cells
from .schema import SchemaError, current

SIZE_FRACTION = 0.25
"""Centres of one large source may differ between tiles by this fraction of its half-width."""


@dataclass(frozen=True, eq=False)
class Merged:
    """The merged catalogue.

    Attributes:
        sources: rows of the table `source`, each object once, all of them `primary`; sorted by HEALPix index
            and id, those without a place on the sky last by tile, y and x.
        photometry: the rows of `photometry` of these sources, in their order; None if no tile had any.
        n_source: number of sources by the id of the tile they come from.
        n_reconciled: number of objects near borders for which one of several measurements was chosen.
        n_rescued: number of sources kept although their centre lies just outside their tile's cell.
    """

    sources: pa.Table
    photometry: pa.Table | None
    n_source: dict[int, int]
    n_reconciled: int
    n_rescued: int


@dataclass(eq=False)
class _Part:
    """What is left of one tile after its first look."""

    tile: int
    cell: Cell
    rows: pa.Table
    photometry: pa.Table | None
    ids: np.ndarray
    position: np.ndarray
    depth: np.ndarray
    reach: np.ndarray
    half_width: np.ndarray
    is_parent: np.ndarray
    radius: float
    keep: np.ndarray
    settled: np.ndarray


def merge(tiles: Iterable[tuple[int, pa.Table, pa.Table | None]], footprints: Sequence[Mapping[str, Any]], radius: float = 2.0) -> Merged:
    """Return the catalogue of a survey in which every source stands once.

    Args:
        tiles: (tile id, rows of `source`, rows of `photometry` or None) of each tile, in any order; consumed
            one at a time.
        footprints: what `footprint.describe` returned for every tile.
        radius: how far apart, in pixels, two tiles may see the centre of one source. Large sources are
            given `SIZE_FRACTION` of the half-width of their bounding box.

    Raises:
        SchemaError: a tile has no footprint or comes twice, or two tiles share an id.
    """
    cell_of = cells(footprints)
    parts: dict[int, _Part] = {}
    for tile, sources, photometry in tiles:
        if tile not in cell_of or tile in parts:
            raise SchemaError(f"tile number {tile} {'comes twice' if tile in parts else 'has no footprint'} in the merge")
        parts[tile] = _first_look(tile, cell_of[tile], sources, photometry, radius)
    ordered = [parts[tile] for tile in sorted(parts)]
    heirs: dict[int, int] = {}
    n_reconciled = sum(_reconcile(_layer(ordered, frame, is_parent), heirs) for frame, is_parent in _layers(ordered))
    n_rescued = sum(_rescue([part for part in ordered if part.cell.frame == frame]) for frame in _frames(ordered))
    return _gather(ordered, heirs, n_reconciled, n_rescued)


def _first_look(tile: int, cell: Cell, rows: pa.Table, photometry: pa.Table | None, radius: float) -> _Part:
    """Drop the sources that lie too far outside the tile's cell to matter."""
    position = cell.place({name: to_numpy(rows, name) for name in ("x", "y", "ra", "dec")})
    depth = cell.depth(position)
    width = np.maximum(to_numpy(rows, "x_max") - to_numpy(rows, "x_min"), to_numpy(rows, "y_max") - to_numpy(rows, "y_min"))
    reach = np.maximum(radius, SIZE_FRACTION * width / 2) * cell.scale
    near = depth >= -2 * reach
    rows = rows.filter(pa.array(near))
    ids = to_numpy(rows, "source_id")
    if photometry is not None:
        photometry = photometry.filter(pa.array(np.isin(to_numpy(photometry, "source_id"), ids)))
    return _Part(
        tile=tile,
        cell=cell,
        rows=rows,
        photometry=photometry,
        ids=ids,
        position=position[near],
        depth=depth[near],
        reach=reach[near],
        half_width=width[near] / 2 * cell.scale,
        is_parent=to_numpy(rows, "n_child") > 0,
        radius=radius * cell.scale,
        keep=depth[near] >= 0,
        settled=np.zeros(len(ids), bool),
    )


def _frames(parts: list[_Part]) -> list[str]:
    return sorted({part.cell.frame for part in parts})


def _layers(parts: list[_Part]) -> list[tuple[str, bool]]:
    """Return what may be matched with each other: sources of one frame, parents of blends apart from the rest."""
    return [(frame, is_parent) for frame in _frames(parts) for is_parent in (False, True)]


def _layer(parts: list[_Part], frame: str, is_parent: bool) -> list[tuple[_Part, np.ndarray]]:
    """Return parts with the indices of their sources that lie near a border."""
    return [
        (part, np.flatnonzero((part.is_parent == is_parent) & (np.abs(part.depth) <= 2 * part.reach)))
        for part in parts
        if part.cell.frame == frame
    ]


def _reconcile(layer: list[tuple[_Part, np.ndarray]], heirs: dict[int, int]) -> int:
    """Keep one source of each group of counterparts; `heirs` learns which one stands for the others."""
    points = [Points(part.tile, part.ids[i], part.position[i], part.reach[i]) for part, i in layer]
    found = groups(points)
    for group in found:
        members = [(layer[tile][0], int(layer[tile][1][index])) for tile, index in group]
        mean = np.mean([part.position[i] for part, i in members], axis=0, keepdims=True)
        depth, _, owner, chosen = max((part.cell.depth(mean)[0], -part.tile, part, i) for part, i in members)
        for part, i in members:
            part.keep[i] = part is owner and depth >= 0
            part.settled[i] = part is not owner or depth >= 0
            heirs[int(part.ids[i])] = int(owner.ids[chosen])
        # A group in nobody's cell is one of a tile that lies deeper in its own cell, or has been lost.
        owner.depth[chosen] = depth
    return len(found)


def _rescue(parts: list[_Part]) -> int:
    """Keep sources just outside their own cell where no other tile has a source.

    A tile may have split, or not split, what its neighbour did not: where a kept source of another tile
    covers the place, the light is accounted for.
    """
    from scipy.spatial import cKDTree

    lost = [(part, i) for part in parts for i in np.flatnonzero(~part.keep & ~part.settled & (part.depth >= -part.radius))]
    if not lost:
        return 0
    places = cKDTree(np.array([part.position[i] for part, i in lost]))
    covered = np.zeros(len(lost), bool)
    tile = np.array([part.tile for part, _ in lost])
    for part in parts:
        able = part.keep & (part.settled | (part.depth <= part.half_width + 2 * part.radius))
        for near in places.query_ball_point(part.position[able], part.half_width[able]):
            covered[[index for index in near if tile[index] != part.tile]] = True
    for (part, i), is_covered in zip(lost, covered, strict=True):
        part.keep[i] = not is_covered
    return int((~covered).sum())


def _gather(parts: list[_Part], heirs: Mapping[int, int], n_reconciled: int, n_rescued: int) -> Merged:
    schema = current()
    if not parts:
        raise SchemaError("there are no tiles to merge")
    kept = [part.rows.filter(pa.array(part.keep)) for part in parts]
    sources = concatenate(schema["source"], kept)
    sources = sources.take(pa.array(_order(sources)))
    ids = to_numpy(sources, "source_id")
    sources = _replaced(sources, "primary", pa.array(np.ones(len(ids), bool)))
    sources = _replaced(sources, "parent_source_id", _parents(sources, np.sort(ids), heirs))
    with_photometry = [part.photometry for part in parts if part.photometry is not None]
    photometry = concatenate(schema["photometry"], with_photometry) if with_photometry else None
    if photometry is not None:
        by_id = np.argsort(ids, kind="stable")
        owner = to_numpy(photometry, "source_id")
        place = np.searchsorted(ids[by_id], owner).clip(max=max(len(ids) - 1, 0))
        rows = np.flatnonzero(ids[by_id][place] == owner) if len(ids) else np.empty(0, np.int64)
        photometry = photometry.take(pa.array(rows[np.argsort(by_id[place[rows]], kind="stable")]))
    n_source = {part.tile: int(part.keep.sum()) for part in parts}
    return Merged(sources, photometry, n_source, n_reconciled, n_rescued)


def _order(sources: pa.Table) -> np.ndarray:
    index = healpix_29(to_numpy(sources, "ra"), to_numpy(sources, "dec"))
    nowhere = index.mask
    by_tile = [np.where(nowhere, to_numpy(sources, name), 0) for name in ("x", "y", "tile_id")]
    return np.lexsort([to_numpy(sources, "source_id"), *by_tile, index.data, nowhere])


def _parents(sources: pa.Table, ids: np.ndarray, heirs: Mapping[int, int]) -> pa.Array:
    """Return the parents' ids, with that of the kept counterpart for one that was not kept, and null where there is none."""
    column = sources.column("parent_source_id")
    known = ~column.is_null().to_numpy()
    parent = column.fill_null(-1).to_numpy().copy()
    replaced = np.flatnonzero(np.isin(parent, np.fromiter(heirs, np.int64, len(heirs))))
    parent[replaced] = [heirs[int(number)] for number in parent[replaced]]
    place = np.searchsorted(ids, parent).clip(max=max(len(ids) - 1, 0))
    known &= ids[place] == parent if len(ids) else False
    return pa.array(parent, mask=~known)


def _replaced(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    place = rows.column_names.index(name)
    return rows.set_column(place, rows.schema.field(place), values)
