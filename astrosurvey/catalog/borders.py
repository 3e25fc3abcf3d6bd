"""What becomes of sources near the borders of tiles' cells, where two tiles may see one centre on different sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from .arrow import to_numpy
from .match import Points, groups
from .ownership import Cell

SIZE_FRACTION = 0.25
"""Centres of one large source may differ between tiles by this fraction of its half-width."""


@dataclass(eq=False)
class Strip:
    """The sources of one tile near its cell's border.

    Attributes:
        tile: the tile's id.
        cell: its cell; lengths below are in the units of the cell's frame.
        rows: the sources.
        photometry: their photometry; None if the tile has none.
        ids: (n,) their ids.
        position: (n, k) their positions in the frame.
        depth: (n,) how deep inside the cell they lie.
        reach: (n,) how far from here another tile may see the source.
        half_width: (n,) half of the longer side of their boxes.
        is_parent: (n,) bool, whether they are parents of blends.
        radius: how far apart two tiles may see the centre of a small source.
        keep: (n,) bool, whether they stay.
    """

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


@dataclass(frozen=True, eq=False)
class Heirs:
    """Which source stands for each member of the groups of counterparts: `ids` ascending, `heir` beside it; both (n,)."""

    ids: np.ndarray
    heir: np.ndarray

    def of(self, ids: np.ndarray) -> np.ndarray:
        """Return ids with those of members replaced."""
        if not len(self.ids):
            return ids
        place = np.searchsorted(self.ids, ids).clip(max=len(self.ids) - 1)
        return np.where(self.ids[place] == ids, self.heir[place], ids)


def first_look(tile: int, cell: Cell, rows: pa.Table, photometry: pa.Table | None, radius: float) -> tuple[Strip, pa.Table]:
    """Return the sources near the border of the tile's cell, and those so deep inside that they certainly stay.

    Those too far outside to matter are dropped.

    Args:
        tile: the tile's id.
        cell: its cell.
        rows: its sources.
        photometry: its photometry; None if it has none.
        radius: how far apart, in pixels, two tiles may see the centre of one source.
    """
    position = cell.place({name: to_numpy(rows, name) for name in ("x", "y", "ra", "dec")})
    depth = cell.depth(position)
    width = np.maximum(to_numpy(rows, "x_max") - to_numpy(rows, "x_min"), to_numpy(rows, "y_max") - to_numpy(rows, "y_min"))
    half_width, radius = width / 2 * cell.scale, radius * cell.scale
    reach = np.maximum(radius, SIZE_FRACTION * half_width)
    # A source well inside is nobody's counterpart, and covers no place that another tile has given away.
    certain = depth > np.maximum(2 * reach, half_width + 2 * radius)
    near = ~certain & (depth >= -2 * reach)
    strip = rows.filter(pa.array(near))
    ids = to_numpy(strip, "source_id")
    if photometry is not None:
        photometry = photometry.filter(pa.array(np.isin(to_numpy(photometry, "source_id"), ids)))
    found = Strip(
        tile=tile,
        cell=cell,
        rows=strip,
        photometry=photometry,
        ids=ids,
        position=position[near],
        depth=depth[near],
        reach=reach[near],
        half_width=half_width[near],
        is_parent=to_numpy(strip, "n_child") > 0,
        radius=radius,
        keep=depth[near] >= 0,
    )
    return found, rows.filter(pa.array(certain))


def settle(strips: list[Strip]) -> tuple[Heirs, int, int]:
    """Decide which sources of the strips stay; their `keep` says so afterwards.

    Returns:
        Which source stands for which; how many objects were seen by several tiles; and how many sources stay
        although their centre lies just outside their tile's cell.
    """
    strips = [strip for strip in strips if len(strip.ids)]
    frames = sorted({strip.cell.frame for strip in strips})
    borders = [_Border.of([strip for strip in strips if strip.cell.frame == frame]) for frame in frames]
    found = [border.reconcile(is_parent) for border in borders for is_parent in (False, True)]
    n_rescued = sum(border.rescue() for border in borders)
    for border in borders:
        for strip, keep in zip(border.strips, np.split(border.keep, border.first[1:]), strict=True):
            strip.keep = keep
    ids = np.concatenate([np.empty(0, np.int64), *(members for members, _, _ in found)])
    heir = np.concatenate([np.empty(0, np.int64), *(heirs for _, heirs, _ in found)])
    order = np.argsort(ids, kind="stable")
    return Heirs(ids[order], heir[order]), sum(n for _, _, n in found), n_rescued


@dataclass(eq=False)
class _Border:
    """The strips of one frame in one; `first` has the index of each one's first source, `number` that of each source's strip."""

    strips: list[Strip]
    first: np.ndarray
    number: np.ndarray
    tile: np.ndarray
    ids: np.ndarray
    position: np.ndarray
    depth: np.ndarray
    reach: np.ndarray
    half_width: np.ndarray
    radius: np.ndarray
    is_parent: np.ndarray
    keep: np.ndarray
    settled: np.ndarray

    @classmethod
    def of(cls, strips: list[Strip]) -> _Border:
        """Return the strips of one frame in one."""
        sizes = np.array([len(strip.ids) for strip in strips])
        number = np.repeat(np.arange(len(strips)), sizes)
        names = ("ids", "position", "depth", "reach", "half_width", "is_parent", "keep")
        together = {name: np.concatenate([getattr(strip, name) for strip in strips]) for name in names}
        tile, radius = (np.array([getattr(strip, name) for strip in strips])[number] for name in ("tile", "radius"))
        first = np.cumsum(sizes) - sizes
        return cls(strips, first, number, tile=tile, radius=radius, settled=np.zeros(len(number), bool), **together)

    def reconcile(self, is_parent: bool) -> tuple[np.ndarray, np.ndarray, int]:
        """Keep one source of each group of counterparts, parents of blends apart from the rest.

        Returns:
            (m,) ids of the groups' members, (m,) those of the sources that stand for them, and the number of groups.
        """
        here = np.flatnonzero((self.is_parent == is_parent) & (np.abs(self.depth) <= 2 * self.reach))
        member, group = groups(Points(self.tile[here], self.ids[here], self.position[here], self.reach[here]))
        member, n = here[member], int(group.max(initial=-1)) + 1
        mean = np.zeros((n, self.position.shape[1]))
        np.add.at(mean, group, self.position[member])
        mean /= np.bincount(group, minlength=n)[:, None]
        depth = self._depth(self.number[member], mean[group])
        order = np.lexsort([self.tile[member], -depth, group])
        chosen = order[np.flatnonzero(np.diff(group[order], prepend=-1))]
        owner = member[chosen]
        inside = depth[chosen] >= 0
        self.keep[member], self.settled[member] = False, True
        # A group in nobody's cell is one of a tile that lies deeper in its own cell, or has been lost.
        self.keep[owner], self.settled[owner], self.depth[owner] = inside, inside, depth[chosen]
        return self.ids[member], self.ids[owner][group], n

    def _depth(self, number: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Return (m,) how deep positions (m, k) lie in the cells of strips."""
        depth = np.empty(len(number))
        order = np.argsort(number, kind="stable")
        distinct, first = np.unique(number[order], return_index=True)
        for strip, rows in zip(distinct.tolist(), np.split(order, first[1:]), strict=bool(len(order))):
            depth[rows] = self.strips[strip].cell.depth(position[rows])
        return depth

    def rescue(self) -> int:
        """Keep sources just outside their own cell where no other tile has a source; return their number.

        A tile may have split, or not split, what its neighbour did not: where a kept source of another tile
        covers the place, the light is accounted for.
        """
        from scipy.spatial import cKDTree

        lost = np.flatnonzero(~self.keep & ~self.settled & (self.depth >= -self.radius))
        if not len(lost):
            return 0
        able = np.flatnonzero(self.keep & (self.settled | (self.depth <= self.half_width + 2 * self.radius)))
        places = cKDTree(self.position[lost])
        number = places.query_ball_point(self.position[able], self.half_width[able], return_length=True)
        able, number = able[number > 0], number[number > 0]
        covered = np.zeros(len(lost), bool)
        if len(able):
            near = np.concatenate(places.query_ball_point(self.position[able], self.half_width[able])).astype(np.int64)
            covered[near[self.tile[lost[near]] != np.repeat(self.tile[able], number)]] = True
        self.keep[lost] = ~covered
        return int((~covered).sum())
