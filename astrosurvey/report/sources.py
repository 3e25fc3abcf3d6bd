"""The sources that the page shows over the sky, packed into arrays that a browser reads at once."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..catalog.flags import SOURCE, FlagSet
from ..core.tiling import SURVEY
from .gather import Run
from .sky import Sky
from .statistics import Statistics
from .tables import Found, Text, batches, find, length, numbers

MOST_SOURCES = 50_000
MOST_BYTES = 2_900_000
"""Of the packed arrays, before base64."""
MOST_CATALOGUES = 150
"""Tile catalogues that are read when no stage has merged them."""

_SOURCE = (
    "source_id", "tile_id", "parent_source_id", "x", "y", "ra", "dec", "x_min", "x_max", "y_min", "y_max",
    "n_pixels", "significance", "n_child", "blendedness", "primary", "flags",
)  # fmt: skip
_PHOTOMETRY = (
    "source_id",
    "band",
    "method",
    "flux",
    "flux_err",
    "radius",
    "semi_major",
    "semi_minor",
    "theta",
    "flags",
)
_PACKED = {
    "id": "f8", "ra": "f8", "dec": "f8", "x": "f4", "y": "f4", "significance": "f4", "a": "f4", "b": "f4", "theta": "f4",
    "pixels": "i4", "flags": "i4", "tile": "u2",
}  # fmt: skip
_FIXED_BYTES = sum(np.dtype(kind).itemsize for kind in _PACKED.values())
_FLUX_BYTES = 12


@dataclass
class Shown:
    """What the page needs to draw and explain sources.

    Attributes:
        total: how many rows the catalogues have, of which `number` are in the page.
        columns: packed columns by name.
        fluxes: band, method and packed columns of each kind of photometry.
        statistics: of all sources, not only of those shown.
    """

    number: int = 0
    total: int = 0
    stage: str = ""
    columns: dict[str, Any] = field(default_factory=dict)
    fluxes: list[dict[str, Any]] = field(default_factory=list)
    statistics: Statistics = field(default_factory=Statistics)
    notes: list[str] = field(default_factory=list)


def make_sources(run: Run, sky: Sky) -> Shown:
    """Return the most significant sources on the tiles shown, and statistics of all there are."""
    shown = Shown()
    found = find(run, "source")
    if found is None:
        return shown
    shown.stage = found.stage
    places = {image.tile: place for place, image in enumerate(sky.shown)}
    by_number = {image.number: place for place, image in enumerate(sky.shown) if image.number is not None}
    photometry = find(run, "photometry", merged=found.merged)
    kinds = _kinds(photometry, shown)
    most = min(MOST_SOURCES, MOST_BYTES // (_FIXED_BYTES + _FLUX_BYTES * len(kinds)))
    keep = _Keep(most)
    for tile in _tiles_to_read(found, places, shown):
        owned = _read_sources(found, tile, places, by_number, sky, keep, shown)
        if photometry is not None and tile in photometry.paths and not found.merged:
            _count_magnitudes(photometry, tile, owned, shown)
    if photometry is not None and found.merged:
        _count_magnitudes(photometry, SURVEY, None, shown)
    rows = keep.rows()
    shown.number = len(rows["id"])
    if keep.dropped:
        shown.notes.append(f"The {shown.number:,} most significant of {shown.number + keep.dropped:,} sources on these tiles are shown.")
    fluxes = _fluxes(photometry, found, rows, sky, kinds, shown)
    shown.columns = {name: packed(rows[name], kind) for name, kind in _PACKED.items()}
    shown.fluxes = [
        {"band": band, "method": method, **{name: packed(values, "i4" if name == "flags" else "f4") for name, values in columns.items()}}
        for (band, method), columns in fluxes.items()
    ]
    return shown


def packed(values: np.ndarray, kind: str) -> dict[str, str]:
    """Return an array as base64 of little-endian `kind`, with its type."""
    return {"type": kind, "data": base64.b64encode(np.ascontiguousarray(values, f"<{kind}").tobytes()).decode()}


def flag_meanings(flags: FlagSet = SOURCE) -> list[dict[str, Any]]:
    """Return the bits of a flag column with their names and meanings."""
    return [{"value": flag.value, "name": flag.name, "meaning": flag.meaning} for flag in flags.flags]


class _Keep:
    """Keeps the most significant rows of a stream."""

    def __init__(self, most: int) -> None:
        self.most, self.dropped = most, 0
        self._parts: list[dict[str, np.ndarray]] = []
        self._held = 0

    def add(self, rows: dict[str, np.ndarray]) -> None:
        self._parts.append(rows)
        self._held += len(rows["id"])
        if self._held > 4 * self.most:
            self._thin()

    def rows(self) -> dict[str, np.ndarray]:
        """Return what is kept, by tile and then by id."""
        self._thin()
        rows = self._parts[0] if self._parts else {name: np.empty(0) for name in _PACKED}
        order = np.lexsort((rows["id"], rows["tile"]))
        return {name: values[order] for name, values in rows.items()}

    def _thin(self) -> None:
        if not self._parts:
            return
        rows = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        if len(rows["id"]) > self.most:
            order = np.lexsort((rows["id"], -np.nan_to_num(rows["significance"], nan=-np.inf)))[: self.most]
            self.dropped += len(rows["id"]) - self.most
            rows = {name: values[order] for name, values in rows.items()}
        self._parts, self._held = [rows], len(rows["id"])


def _tiles_to_read(found: Found, places: dict[str, int], shown: Shown) -> list[str]:
    tiles = sorted(found.paths, key=lambda tile: tile not in places)  # those with a picture come first
    if len(tiles) > MOST_CATALOGUES:
        shown.notes.append(f"Numbers of sources come from {MOST_CATALOGUES} of {len(tiles)} tile catalogues; add catalog.merge for all.")
    return tiles[:MOST_CATALOGUES]


def _read_sources(
    found: Found, tile: str, places: dict[str, int], by_number: dict[int, int], sky: Sky, keep: _Keep, shown: Shown
) -> np.ndarray | None:
    """Read one catalogue; return the ids of the sources that count, or None when all of them do."""
    owned: list[np.ndarray] = []
    try:
        for batch in batches(found.paths[tile], _SOURCE):
            rows = _rows(batch)
            # In overlapping tiles a source is found more than once; the tile whose core holds it owns it.
            primary = batch.get("primary")
            counts = primary if sky.mosaic and not found.merged and isinstance(primary, np.ndarray) else np.ones(length(batch), bool)
            if not found.merged:
                rows["tile"] = np.full(length(batch), places.get(tile, -1))
            else:
                rows["tile"] = _lookup(rows["tile_id"], by_number)
            del rows["tile_id"]
            shown.total += int(counts.sum())
            shown.statistics.add_flags(rows["flags"][counts])
            owned.append(rows["id"][counts])
            visible = counts & (rows["tile"] >= 0)
            keep.add({name: values[visible] for name, values in rows.items()})
    except Exception as error:  # one damaged catalogue must not cost the page
        shown.notes.append(f"The sources of {tile} ({found.stage}) cannot be shown: {error}")
    return None if found.merged else np.concatenate([*owned, np.empty(0)])


def _rows(batch: dict[str, Any]) -> dict[str, np.ndarray]:
    half_x = (numbers(batch, "x_max") - numbers(batch, "x_min")) / 2
    half_y = (numbers(batch, "y_max") - numbers(batch, "y_min")) / 2
    radius = np.nan_to_num(np.maximum(half_x, half_y), nan=4.0)
    return {
        "id": numbers(batch, "source_id"),
        "tile_id": numbers(batch, "tile_id"),
        **{name: numbers(batch, name) for name in ("x", "y", "ra", "dec", "significance")},
        "pixels": np.nan_to_num(numbers(batch, "n_pixels")),
        "flags": np.nan_to_num(numbers(batch, "flags")).astype(np.int64),
        "a": radius,
        "b": radius,
        "theta": np.zeros(len(radius)),
    }


def _lookup(numbers_: np.ndarray, places: dict[int, int]) -> np.ndarray:
    keys = np.array(sorted(places), np.float64)
    if not len(keys):
        return np.full(len(numbers_), -1)
    values = np.array([places[int(key)] for key in keys])
    at = np.minimum(np.searchsorted(keys, numbers_), len(keys) - 1)
    return np.where(keys[at] == numbers_, values[at], -1)


def _kinds(photometry: Found | None, shown: Shown) -> list[tuple[str, str]]:
    """Return the (band, method) pairs of the photometry, in the order in which they occur."""
    if photometry is None:
        return []
    try:
        for batch in batches(next(iter(photometry.paths.values())), ("band", "method")):
            band, method = batch["band"], batch["method"]
            if isinstance(band, Text) and isinstance(method, Text):
                pairs = dict.fromkeys(zip(band.codes.tolist(), method.codes.tolist(), strict=True))
                return [(band.names[b], method.names[m]) for b, m in pairs if b >= 0 and m >= 0]
    except Exception as error:
        shown.notes.append(f"The photometry of {photometry.stage} cannot be read: {error}")
    return []


def _count_magnitudes(photometry: Found, tile: str, owned: np.ndarray | None, shown: Shown) -> None:
    try:
        for batch in batches(photometry.paths[tile], ("source_id", "band", "method", "flux", "flux_err")):
            counts = np.ones(length(batch), bool) if owned is None else np.isin(numbers(batch, "source_id"), owned)
            shown.statistics.add_fluxes(batch, counts)
    except Exception as error:
        shown.notes.append(f"The photometry of {tile} ({photometry.stage}) cannot be read: {error}")


def _fluxes(
    photometry: Found | None, found: Found, rows: dict[str, np.ndarray], sky: Sky, kinds: Iterable[tuple[str, str]], shown: Shown
) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Return flux, error and flags of every kind for the rows shown, and set the rows' ellipses on the way."""
    number = len(rows["id"])
    made = {kind: {"flux": np.full(number, np.nan), "err": np.full(number, np.nan), "flags": np.zeros(number)} for kind in kinds}
    if photometry is None or not number:
        return made
    ids = rows["id"]
    if found.merged:
        order = np.argsort(ids)
        _fill(made, rows, photometry, SURVEY, ids[order], order, shown)
        return made
    for place, image in enumerate(sky.shown):
        mine = np.flatnonzero(rows["tile"] == place)
        if len(mine) and image.tile in photometry.paths:
            order = mine[np.argsort(ids[mine])]
            _fill(made, rows, photometry, image.tile, ids[order], order, shown)
    return made


def _fill(
    made: dict[tuple[str, str], dict[str, np.ndarray]],
    rows: dict[str, np.ndarray],
    photometry: Found,
    tile: str,
    ids: np.ndarray,
    order: np.ndarray,
    shown: Shown,
) -> None:
    try:
        for batch in batches(photometry.paths[tile], _PHOTOMETRY):
            band, method = batch["band"], batch["method"]
            if not isinstance(band, Text) or not isinstance(method, Text):
                return
            source = numbers(batch, "source_id")
            at = np.minimum(np.searchsorted(ids, source), len(ids) - 1)
            hit = ids[at] == source
            for (band_name, method_name), columns in made.items():
                if band_name not in band.names or method_name not in method.names:
                    continue
                kind = (band.codes == band.names.index(band_name)) & (method.codes == method.names.index(method_name))
                mine = hit & kind
                into = order[at[mine]]
                columns["flux"][into] = numbers(batch, "flux")[mine]
                columns["err"][into] = numbers(batch, "flux_err")[mine]
                columns["flags"][into] = np.nan_to_num(numbers(batch, "flags")[mine])
                if method_name == "kron" or not any(m == "kron" for _, m in made):
                    _set_ellipses(rows, into, {k: numbers(batch, k)[mine] for k in ("radius", "semi_major", "semi_minor", "theta")})
    except Exception as error:
        shown.notes.append(f"The photometry of {tile} ({photometry.stage}) cannot be shown: {error}")


def _set_ellipses(rows: dict[str, np.ndarray], into: np.ndarray, shape: dict[str, np.ndarray]) -> None:
    """Draw the aperture in which the flux was measured; where it has no shape, leave the footprint's circle."""
    ratio = np.where(shape["semi_major"] > 0, shape["semi_minor"] / np.where(shape["semi_major"] > 0, shape["semi_major"], 1), np.nan)
    good = np.isfinite(shape["radius"]) & (shape["radius"] > 0) & np.isfinite(ratio) & np.isfinite(shape["theta"])
    rows["a"][into[good]] = shape["radius"][good]
    rows["b"][into[good]] = shape["radius"][good] * ratio[good]
    rows["theta"][into[good]] = shape["theta"][good]
