"""Sources, photometry and truth of all tiles as arrays, each object once, in one space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...core.product import Tiles
from ...core.stage import DataError
from ...products import Catalog
from .match import chord, unit_vectors


@dataclass(frozen=True)
class Objects:
    """Objects of one kind, each once; arrays (n,).

    Attributes:
        ids: source_id or truth_id, ascending.
        tile: tile_id.
        x, y: pixels of the object's own tile.
        ra, dec: degrees; NaN where unknown.
        rank: significance of a source, total flux of a truth.
        tiles: what is known of each tile, by tile_id.
    """

    ids: np.ndarray
    tile: np.ndarray
    x: np.ndarray
    y: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    rank: np.ndarray
    tiles: Mapping[int, Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Fluxes:
    """Fluxes of objects in one band by one method; arrays (n,), in the order of the objects, NaN where there is none."""

    flux: np.ndarray
    flux_err: np.ndarray


def _columns(
    tiles: Tiles[Catalog], names: tuple[str, ...], *, primary_only: bool
) -> tuple[dict[str, np.ndarray], dict[int, Mapping[str, Any]]]:
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    known: dict[int, Mapping[str, Any]] = {}
    for _, catalog in tiles.items():
        if "tile" in catalog.meta:
            known[int(catalog.meta["tile"]["tile_id"])] = catalog.meta["tile"]
        keep = catalog.column("primary") if primary_only else slice(None)
        for name in names:
            parts[name].append(catalog.column(name)[keep])
    return {name: np.concatenate(values) if values else np.zeros(0) for name, values in parts.items()}, known


def _objects(
    columns: Mapping[str, np.ndarray], ids: np.ndarray, first: np.ndarray, rank: np.ndarray, tiles: Mapping[int, Mapping[str, Any]]
) -> Objects:
    tile, x, y, ra, dec = (columns[name][first] for name in ("tile_id", "x", "y", "ra", "dec"))
    return Objects(ids, tile, x, y, ra, dec, rank, tiles)


def sources_of(tiles: Tiles[Catalog]) -> Objects:
    """Return the primary sources of all tiles."""
    columns, known = _columns(tiles, ("source_id", "tile_id", "x", "y", "ra", "dec", "significance"), primary_only=True)
    ids, first = np.unique(columns["source_id"], return_index=True)
    return _objects(columns, ids, first, columns["significance"][first], known)


def column_of(tiles: Tiles[Catalog], found: Objects, name: str) -> np.ndarray:
    """Return another column of the sources, (n,) float64 in their order, NaN where it is null."""
    columns, _ = _columns(tiles, ("source_id", name), primary_only=True)
    _, first = np.unique(columns["source_id"], return_index=True)
    assert len(first) == len(found)
    return columns[name][first].astype(np.float64)


def certainty_of(tiles: Tiles[Catalog], found: Objects, name: str, warn: Callable[[str], None]) -> np.ndarray:
    """Return how sure the sources are, (n,) in their order, by one of their columns; inf where it is null.

    A source without a value is one that needs none: of probability, one too bright for the network to be asked about.

    Args:
        tiles: the sources of all tiles.
        found: its objects.
        name: the column.
        warn: called with a sentence where no source has a value.
    """
    rank = column_of(tiles, found, name)
    unknown = np.isnan(rank)
    if len(rank) and unknown.all():
        warn(f"no source has a `{name}`, so all count as certain and `at_purity` cannot choose among them: rank by another column")
    return np.where(unknown, np.inf, rank)


def truth_of(tiles: Tiles[Catalog]) -> tuple[Objects, dict[str, Fluxes]]:
    """Return the primary true objects of all tiles, each once, and their true fluxes by band."""
    columns, known = _columns(tiles, ("truth_id", "band", "tile_id", "x", "y", "ra", "dec", "flux"), primary_only=True)
    ids, first, place = np.unique(columns["truth_id"], return_index=True, return_inverse=True)
    bands = {}
    total = np.zeros(len(ids))
    for band in sorted(set(columns["band"].tolist())):
        flux = np.full(len(ids), np.nan)
        here = columns["band"] == band
        flux[place[here]] = columns["flux"][here]
        bands[band] = Fluxes(flux, np.full(len(ids), np.nan))
        total += np.nan_to_num(flux)
    return _objects(columns, ids, first, total, known), bands


@dataclass(frozen=True)
class Details:
    """What a simulation tells of its objects beyond places and fluxes; arrays (n,).

    Attributes:
        snr: matched-filter signal-to-noise ratio of each as if it were alone; NaN where unknown.
        pair: number of the pair that it was placed in, -1 for none.
        seeing: width of the PSF (pixel); NaN where unknown.
    """

    snr: np.ndarray
    pair: np.ndarray
    seeing: np.ndarray


def details_of(tiles: Tiles[Catalog], truth: Objects, band: str | None = None) -> Details:
    """Return the details of true objects, in the order of `truth`.

    Args:
        tiles: the truth of all tiles.
        truth: its objects.
        band: of the signal-to-noise ratio and the seeing; that of all bands together, and the mean, when left out.
    """
    n = len(truth)
    power, pair, seeing = np.full(n, np.nan), np.full(n, -1, np.int64), np.full(n, np.nan)
    for _, catalog in tiles.items():
        keep = catalog.column("primary") & ((catalog.column("band") == band) if band else True)
        place = np.searchsorted(truth.ids, catalog.column("truth_id")[keep])
        snr = catalog.column("snr")[keep].astype(np.float64)
        known = np.isfinite(snr)
        fresh = place[known & np.isnan(power[place])]
        power[fresh] = 0.0
        np.add.at(power, place[known], snr[known] ** 2)
        pair[place] = catalog.rows.column("pair_id").fill_null(-1).to_numpy()[keep]
        widths = catalog.meta.get("psf_fwhm", {})
        if widths:
            seeing[place] = widths[band] if band else float(np.mean(list(widths.values())))
    _, numbers = np.unique(pair, return_inverse=True)
    return Details(np.sqrt(power), np.where(pair >= 0, numbers, -1), seeing)


def photometry_of(tiles: Tiles[Catalog], sources: Objects) -> dict[tuple[str, str], Fluxes]:
    """Return the fluxes of the sources by (method, band)."""
    columns, _ = _columns(tiles, ("source_id", "band", "method", "flux", "flux_err"), primary_only=False)
    place = np.searchsorted(sources.ids, columns["source_id"])
    known = place < len(sources)
    known[known] = sources.ids[place[known]] == columns["source_id"][known]
    result = {}
    keys = sorted(set(zip(columns["method"].tolist(), columns["band"].tolist(), strict=True)))
    for method, band in keys:
        here = known & (columns["method"] == method) & (columns["band"] == band)
        flux, flux_err = np.full(len(sources), np.nan), np.full(len(sources), np.nan)
        flux[place[here]], flux_err[place[here]] = columns["flux"][here], columns["flux_err"][here]
        result[method, band] = Fluxes(flux, flux_err)
    return result


@dataclass(frozen=True)
class Space:
    """Positions of truth and sources in which a distance can be taken.

    Attributes:
        truth, found: (n, 3) points.
        displaced: the sources moved aside in four directions, for the rate of chance matches.
        radius: the greatest distance of a match, in that space.
        unit: of the offsets between truth and sources, "arcsec" or "pixel".
        flat_truth, flat_found: (n, 2) right ascension and declination in degrees, or x and y in pixels.
        pixel: length of a pixel in that space; NaN where unknown.
    """

    truth: np.ndarray
    found: np.ndarray
    displaced: tuple[np.ndarray, ...]
    radius: float
    unit: Literal["arcsec", "pixel"]
    flat_truth: np.ndarray
    flat_found: np.ndarray
    pixel: float

    def offsets(self, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Return (k, 2) offsets of sources from true objects along right ascension and declination, or x and y."""
        difference = self.flat_found[found] - self.flat_truth[truth]
        if self.unit == "pixel":
            return difference
        difference[:, 0] = (difference[:, 0] + 180.0) % 360.0 - 180.0
        difference[:, 0] *= np.cos(np.radians(self.flat_truth[truth, 1]))
        return 3600.0 * difference


def space_of(truth: Objects, found: Objects, radius: float, unit: Literal["arcsec", "pixel"], aside: float) -> Space:
    """Return where to match: on the sky if every object has a place there, else in pixels.

    Args:
        truth, found: the objects.
        radius: greatest distance of a match.
        unit: of the radius.
        aside: how far sources are displaced to count chance matches, in radii.

    Raises:
        DataError: the radius is in arcsec but an object has no position on the sky.
    """
    tiles = {**truth.tiles, **found.tiles}
    everywhere = all(np.isfinite(o.ra).all() and np.isfinite(o.dec).all() for o in (truth, found))
    if unit == "arcsec" and not everywhere:
        raise DataError("some sources or true objects have no ra and dec, so they cannot be matched in arcsec: set `unit: pixel`")
    scales = [tile["pixel_scale"] for tile in tiles.values() if tile.get("pixel_scale")]
    if everywhere and (unit == "arcsec" or scales):
        arcsec = radius if unit == "arcsec" else radius * float(np.median(scales))
        step = aside * arcsec / 3600.0
        moved = []
        for east, north in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            dec = np.clip(found.dec + north * step, -90, 90)
            ra = found.ra + east * step / np.maximum(np.cos(np.radians(found.dec)), 1e-3)
            moved.append(unit_vectors(ra, dec))
        here, there = unit_vectors(truth.ra, truth.dec), unit_vectors(found.ra, found.dec)
        flat_truth, flat_found = np.stack([truth.ra, truth.dec], axis=1), np.stack([found.ra, found.dec], axis=1)
        pixel = chord(float(np.median(scales))) if scales else np.nan
        return Space(here, there, tuple(moved), chord(arcsec), "arcsec", flat_truth, flat_found, pixel)
    here, there = _frame(truth, tiles, radius * 1e3), _frame(found, tiles, radius * 1e3)
    steps = aside * radius * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    return Space(here, there, tuple(there + step for step in steps), radius, "pixel", here[:, :2], there[:, :2], 1.0)


def _frame(objects: Objects, tiles: Mapping[int, Mapping[str, Any]], apart: float) -> np.ndarray:
    """Return (n, 3): pixels of the large image the tiles were cut from, or of each tile, tiles of their own far apart."""
    points = np.stack([objects.x, objects.y, np.zeros(len(objects))], axis=1)
    for number, tile_id in enumerate(np.unique(objects.tile).tolist()):
        here = objects.tile == tile_id
        tile = tiles.get(tile_id, {})
        if tile.get("core") is not None:
            points[here, :2] += tile["x0"], tile["y0"]
        else:
            points[here, 2] = apart * (1 + sorted({*tiles, tile_id}).index(tile_id) if tiles else number)
    return points
