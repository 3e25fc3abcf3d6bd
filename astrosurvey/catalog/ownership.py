"""To which tile a position belongs: the one rule by which overlapping tiles share the sky.

Tiles cut from a larger image have a core cell in its pixels, and the cells cover it exactly once. Tiles
with files of their own share the sky by nearest centre: a position belongs to the tile whose centre is
nearest (on the great circle) among those whose outline holds it; ties go to the smaller tile id. Both
kinds of cell say how deep inside a position lies, which is what the merge needs near borders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .footprint import BoxLike, TileLike
from .schema import SchemaError

ARCSEC = np.pi / 180 / 3600


def primary(tile: TileLike, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return which positions belong to a tile: those in its half-open core cell, or all if it has none.

    A pixel reaches half a pixel to either side of its centre, and so does the cell beyond its pixels' centres.

    Args:
        tile: the tile.
        x: (n,) columns in the tile's own pixels.
        y: (n,) rows in the tile's own pixels.

    Returns:
        (n,) bool.
    """
    if tile.core is None:
        return np.ones(np.shape(x), bool)
    offset = (tile.window.x0, tile.window.y0) if tile.window else (0, 0)
    return _in_box(tile.core, np.asarray(x) + offset[0], np.asarray(y) + offset[1])


def _in_box(box: BoxLike, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x >= box.x0 - 0.5) & (x < box.x1 - 0.5) & (y >= box.y0 - 0.5) & (y < box.y1 - 0.5)


class Cell(Protocol):
    """The part of a frame that belongs to one tile."""

    @property
    def frame(self) -> str:
        """Name of what the cell is part of; positions of different frames cannot be compared."""

    @property
    def scale(self) -> float:
        """Length of one pixel of the tile in the frame."""

    def place(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return (n, k) positions in the frame from columns x, y, ra and dec; NaN where a row has none."""

    def depth(self, position: np.ndarray) -> np.ndarray:
        """Return (n,) distances to the cell's border, positive inside the cell and negative outside."""


@dataclass(frozen=True)
class PixelCell:
    """A core cell in the pixels of a larger image; the frame is that image, the unit its pixel."""

    x0: int
    y0: int
    core: tuple[int, int, int, int]
    frame: str = "pixels"
    scale: float = 1.0

    def place(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return (n, 2) positions in the larger image, pixel."""
        return np.stack([columns["x"] + self.x0, columns["y"] + self.y0], axis=-1)

    def depth(self, position: np.ndarray) -> np.ndarray:
        """Return (n,) signed distances to the cell's border, pixel; on the upper border they are just below 0."""
        x0, y0, x1, y1 = (edge - 0.5 for edge in self.core)
        x, y = position[:, 0], position[:, 1]
        depth = np.minimum(np.minimum(x - x0, x1 - x), np.minimum(y - y0, y1 - y))
        outside_x, outside_y = np.maximum(np.maximum(x0 - x, x - x1), 0), np.maximum(np.maximum(y0 - y, y - y1), 0)
        depth = np.where(depth < 0, -np.hypot(outside_x, outside_y), depth)
        return np.where((x == x1) | (y == y1), np.minimum(depth, _BELOW_ZERO), depth)


_BELOW_ZERO = np.nextafter(0.0, -1.0)


@dataclass(frozen=True)
class WholeCell:
    """The cell of a tile that can be compared with no other one: everything on it is its own."""

    frame: str
    scale: float = 1.0

    def place(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return (n, 2) positions in the tile, pixel."""
        return np.stack([columns["x"], columns["y"]], axis=-1)

    def depth(self, position: np.ndarray) -> np.ndarray:
        """Return (n,) infinite depths."""
        return np.full(len(position), np.inf)


@dataclass(frozen=True, eq=False)
class SkyCell:
    """The part of the sky that is nearest to one tile's centre; the frame is the unit sphere, the unit the radian.

    Attributes:
        tile_id: the tile.
        centre: (3,) unit vector.
        inward: (edges, 3) unit normals of the outline's edges, pointing inwards.
        reach: angle from the centre to the farthest corner, rad.
        scale: a pixel, rad.
        neighbours: the cells that overlap with this one, by tile id.
    """

    tile_id: int
    centre: np.ndarray
    inward: np.ndarray
    reach: float
    scale: float
    neighbours: list[SkyCell] = field(default_factory=list)
    frame: str = "sky"

    def place(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return (n, 3) unit vectors."""
        return unit_vectors(columns["ra"], columns["dec"])

    def inside(self, position: np.ndarray) -> np.ndarray:
        """Return (n,) distances to the nearest edge of the outline, rad; positive inside."""
        x, y, z = np.ascontiguousarray(position.T)
        depth = np.full(len(position), np.inf)
        for a, b, c in self.inward:  # not by `@`, whose last bit depends on how many rows there are
            np.minimum(depth, a * x + b * y + c * z, out=depth)
        return depth

    def depth(self, position: np.ndarray) -> np.ndarray:
        """Return (n,) signed distances to the cell's border, rad; infinite for rows without a position."""
        depth = self.inside(position)
        own = np.sum((position - self.centre) ** 2, axis=1)
        for other in self.neighbours:
            apart = float(np.linalg.norm(other.centre - self.centre))
            if apart == 0:
                nearer = np.full(len(position), np.inf if self.tile_id < other.tile_id else -np.inf)
            else:
                nearer = (np.sum((position - other.centre) ** 2, axis=1) - own) / (2 * apart)
                if self.tile_id > other.tile_id:
                    nearer[nearer == 0] = _BELOW_ZERO
            # The other tile takes a position only inside its own outline.
            depth = np.minimum(depth, np.maximum(nearer, -other.inside(position)))
        return np.where(np.isfinite(position[:, 0]), depth, np.inf)


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return (n, 3) unit vectors of positions in degrees."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def cells(footprints: Sequence[Mapping[str, Any]]) -> dict[int, Cell]:
    """Return the cell of every tile, by tile id.

    Args:
        footprints: what `footprint.describe` returned for all tiles of the survey.

    Raises:
        SchemaError: two tiles have the same id.
    """
    found: dict[int, Cell] = {}
    on_sky = []
    for footprint in sorted(footprints, key=lambda f: (f["tile_id"], f["name"])):
        number = footprint["tile_id"]
        if number in found:
            raise SchemaError(f"tile {footprint['name']} and another tile both have number {number}; rename one of them")
        if footprint["core"] is not None:
            found[number] = PixelCell(footprint["x0"], footprint["y0"], tuple(footprint["core"]))
        elif footprint["outline"] is not None:
            found[number] = cell = _sky_cell(footprint)
            on_sky.append(cell)
        else:
            found[number] = WholeCell(f"tile {number}")
    _meet(on_sky)
    return found


def _sky_cell(footprint: Mapping[str, Any]) -> SkyCell:
    centre = unit_vectors(footprint["s_ra"], footprint["s_dec"])
    outline = unit_vectors(*np.array(footprint["outline"]).T)
    normals = np.cross(outline, np.roll(outline, -1, axis=0))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = normals[length[:, 0] > 0] / length[length[:, 0] > 0]
    # Which way round the outline runs depends on the image's parity; its own middle is inside either way.
    normals *= np.sign(normals @ outline.mean(axis=0))[:, None]
    return SkyCell(footprint["tile_id"], centre, normals, np.radians(footprint["s_fov"]) / 2, footprint["pixel_scale"] * ARCSEC)


def _meet(on_sky: list[SkyCell]) -> None:
    """Fill in each cell's neighbours: those whose circles overlap with its own."""
    if len(on_sky) < 2:
        return
    from scipy.spatial import cKDTree

    centres = np.array([cell.centre for cell in on_sky])
    reach = np.array([cell.reach for cell in on_sky])
    tree = cKDTree(centres)
    for cell, near in zip(on_sky, tree.query_ball_point(centres, np.minimum(reach + reach.max(), np.pi)), strict=True):
        for index in sorted(near):
            other = on_sky[index]
            if other is not cell and np.linalg.norm(other.centre - cell.centre) <= cell.reach + other.reach:
                cell.neighbours.append(other)


def owners(footprints: Sequence[Mapping[str, Any]], ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return the id of the tile that each position on the sky belongs to, or -1 where no tile has it.

    Args:
        footprints: what `footprint.describe` returned, of tiles with world coordinates.
        ra: (n,) deg.
        dec: (n,) deg.

    Returns:
        (n,) int64.
    """
    position = unit_vectors(ra, dec)
    owner = np.full(len(position), -1, np.int64)
    for number, cell in cells([{**footprint, "core": None} for footprint in footprints]).items():
        if isinstance(cell, SkyCell):
            owner[(cell.depth(position) >= 0) & np.isfinite(position[:, 0])] = number
    return owner
