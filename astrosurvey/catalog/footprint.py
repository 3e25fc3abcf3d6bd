"""What patch of sky or of a larger image a tile covers, as JSON that travels with its catalogues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from astropy.wcs import WCS


class BoxLike(Protocol):
    """A half-open rectangle of pixels."""

    x0: int
    y0: int
    x1: int
    y1: int


class TileLike(Protocol):
    """What is needed of `astrosurvey.core.tiles.Tile`, which this package may not import."""

    @property
    def name(self) -> str:
        """Unique in the run."""

    @property
    def number(self) -> int:
        """Below 2^26."""

    @property
    def window(self) -> Any | None:
        """The pixels of a larger image that the tile covers, or None."""

    @property
    def core(self) -> Any | None:
        """The cell of the larger image whose sources belong to the tile, or None."""


def describe(tile: TileLike, shape: Sequence[int], wcs: WCS | None, usable: np.ndarray | None = None) -> dict[str, Any]:
    """Return the footprint of a tile, for `Catalog.meta["tile"]`.

    Args:
        tile: the tile.
        shape: (ny, nx) of its pixels; leading axes, such as bands, are ignored.
        wcs: celestial coordinates of the tile's own pixels; None when there are none.
        usable: (y, x) bool, where the tile has data. The tile then owns sources only inside the smallest
            convex outline of these pixels, which matters where tiles with empty corners overlap.

    Returns:
        name, tile_id, nx, ny, x0, y0, core ([x0, y0, x1, y1] or None), pixel_scale (arcsec), s_ra, s_dec,
        s_fov (deg), corners and outline ([[ra, dec], …], deg, ICRS); all of the sky None without `wcs`,
        or where the projection does not reach the tile's corners.
    """
    ny, nx = int(shape[-2]), int(shape[-1])
    core, window = tile.core, tile.window
    footprint: dict[str, Any] = {
        "name": tile.name,
        "tile_id": int(tile.number),
        "nx": nx,
        "ny": ny,
        "x0": int(window.x0) if window else 0,
        "y0": int(window.y0) if window else 0,
        "core": [int(core.x0), int(core.y0), int(core.x1), int(core.y1)] if core else None,
    }
    sky = dict.fromkeys(("pixel_scale", "s_ra", "s_dec", "s_fov", "corners", "outline"))
    return {**footprint, **sky, **(_on_sky(nx, ny, wcs, usable) if wcs is not None and wcs.has_celestial else {})}


def _on_sky(nx: int, ny: int, wcs: WCS, usable: np.ndarray | None) -> dict[str, Any]:
    from astropy.wcs.utils import proj_plane_pixel_area

    wcs = wcs.celestial
    corners = np.array([[-0.5, -0.5], [nx - 0.5, -0.5], [nx - 0.5, ny - 0.5], [-0.5, ny - 0.5]])
    outline = _convex_outline(usable) if usable is not None and usable.any() else corners
    sky = wcs.pixel_to_world(*np.vstack([[[(nx - 1) / 2, (ny - 1) / 2]], corners, outline]).T).icrs
    positions = np.stack([sky.ra.deg, sky.dec.deg], axis=-1)
    if not np.isfinite(positions).all():
        return {}
    # Ten decimals are far below a milliarcsecond, and above the last bits, in which processors differ.
    rounded = np.round(positions, 10).tolist()
    centre, at_corner, at_outline = rounded[0], rounded[1:5], rounded[5:]
    return {
        "pixel_scale": round(3600 * float(np.sqrt(proj_plane_pixel_area(wcs))), 9),
        "s_ra": centre[0],
        "s_dec": centre[1],
        "s_fov": round(2 * float(sky[0].separation(sky[1:5]).deg.max()), 10),
        "corners": at_corner,
        "outline": at_outline,
    }


def _convex_outline(usable: np.ndarray) -> np.ndarray:
    """Return the corners (n, 2) of the convex hull of the usable pixels' areas, as x and y."""
    from scipy.spatial import ConvexHull

    rows = np.flatnonzero(usable.any(axis=1))
    first = usable[rows].argmax(axis=1)
    last = usable.shape[1] - 1 - usable[rows, ::-1].argmax(axis=1)
    x = np.concatenate([first - 0.5, first - 0.5, last + 0.5, last + 0.5])
    y = np.concatenate([rows - 0.5, rows + 0.5, rows - 0.5, rows + 0.5])
    points = np.stack([x, y], axis=-1)
    return points[ConvexHull(points).vertices]


def tile_columns(
    footprints: Iterable[Mapping[str, Any]], n_source: Mapping[int, int], status: str = "done", **columns: Sequence[Any]
) -> dict[str, Any]:
    """Return the columns of the table `tile` for the tiles of these footprints.

    Args:
        footprints: what `describe` returned, one a tile.
        n_source: number of sources by tile id; 0 for tiles that it does not name.
        status: what became of the tiles.
        columns: further columns of the table, in the order of `footprints`.

    Returns:
        Columns for `Catalog.from_columns("tile", …)`.
    """
    tiles = list(footprints)
    simple = ("tile_id", "name", "nx", "ny", "x0", "y0", "s_ra", "s_dec", "s_fov", "pixel_scale")
    found: dict[str, Any] = {key: [tile.get(key) for tile in tiles] for key in simple}
    found["s_region"] = [_stc(tile.get("outline")) for tile in tiles]
    found["n_source"] = [int(n_source.get(tile["tile_id"], 0)) for tile in tiles]
    found["status"] = [status] * len(tiles)
    return {**found, **columns}


def _stc(outline: Sequence[Sequence[float]] | None) -> str | None:
    """Return an outline as an STC-S polygon."""
    return None if outline is None else "POLYGON ICRS " + " ".join(f"{value:.8f}" for point in outline for value in point)
