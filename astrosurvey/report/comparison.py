"""Two runs compared: which sources both have, how their positions and fluxes differ, and which settings do."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..catalog.flags import SOURCE
from .gather import Run, gather
from .tables import Column, Found, Text, batches, find, length, numbers

ARCSEC, PIXELS = 1.0, 3.0
"""Greatest distances of a match when none is given: on the sky, and in pixels of a tile."""
_NO_FLUX = SOURCE["NO_FLUX"]


class CannotCompare(ValueError):
    """A run has no catalogue of sources, or one that cannot be read, or the two share no frame."""


@dataclass(frozen=True)
class Residual:
    """Offsets along one axis, second minus first: median and 1.48 times the median absolute deviation."""

    name: str
    number: int
    median: float
    scatter: float


@dataclass(frozen=True)
class FluxResidual:
    """Fluxes of one band and method, second over first, of the matched sources with S/N over 10 in both.

    Attributes:
        ratio: median of second over first.
        scatter: 1.48 times the median absolute deviation of the ratio.
        pull: the same of (second - first) over the larger error; well below 1 where both saw the same pixels.
    """

    band: str
    method: str
    number: int
    ratio: float
    scatter: float
    pull: float


@dataclass(frozen=True)
class Difference:
    """A setting of the resolved pipeline that differs; "—" stands where a run does not have it."""

    key: str
    first: str
    second: str


@dataclass
class Comparison:
    """What `compare_runs` found.

    Attributes:
        origins: the stage whose catalogue was compared, for either run.
        only: sources without a counterpart.
        unit: of radius and positions, "arcsec" or "pixel".
        sample: for the charts: by (method, band), (magnitude in the first, flux ratio) of the matched sources.
    """

    names: tuple[str, str]
    titles: tuple[str, str]
    origins: tuple[str, str]
    counts: tuple[int, int]
    matched: int
    only: tuple[int, int]
    radius: float
    unit: str
    positions: list[Residual] = field(default_factory=list)
    fluxes: list[FluxResidual] = field(default_factory=list)
    settings: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sample: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    lonely: tuple[np.ndarray, np.ndarray] = field(default_factory=lambda: (np.empty(0), np.empty(0)))

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        values = {k: v for k, v in self.__dict__.items() if k not in ("sample", "lonely", "positions", "fluxes", "settings")}
        lists = {name: [_finite(asdict(item)) for item in getattr(self, name)] for name in ("positions", "fluxes", "settings")}
        return {**values, **lists}


@dataclass
class _Sources:
    """The sources of one run: sorted by id, with the axes to match them along."""

    origin: str
    ids: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    x: np.ndarray
    y: np.ndarray
    tile: np.ndarray
    significance: np.ndarray


def compare_runs(first: Path, second: Path, *, radius: float | None = None) -> Comparison:
    """Compare two runs source by source.

    The survey's merged catalogues are compared where both runs have one, else the tiles' own, of which
    primary sources count. A source's counterpart is its nearest neighbour, if it is that one's nearest too.

    Args:
        first, second: run directories.
        radius: greatest distance of a match in arcsec (in pixels where a run has no sky positions).

    Raises:
        CannotCompare: a run has no sources, a catalogue cannot be read, or there is neither a common sky nor a common tile.
    """
    runs = gather(first), gather(second)
    catalogues = [find(run, "source") for run in runs]
    merged = None if all(table and table.merged for table in catalogues) else False
    tables = [find(run, "source", merged=merged) for run in runs]
    for run, table in zip(runs, tables, strict=True):
        if table is None:
            raise CannotCompare(f"{run.root} has no source catalogue{'' if merged is None else ' of its tiles'} to compare")
    a, b = (_read(run, table) for run, table in zip(runs, tables, strict=True) if table is not None)
    on_sky = bool(np.isfinite(a.ra).any() and np.isfinite(b.ra).any())
    if not on_sky and not set(a.tile.tolist()) & set(b.tile.tolist()) and len(a.ids) and len(b.ids):
        raise CannotCompare(f"{first} and {second} have neither sky positions nor a tile in common")
    reach = radius if radius is not None else (ARCSEC if on_sky else PIXELS)
    i, j = match(a, b, reach, on_sky=on_sky)
    found = Comparison(
        names=(str(first), str(second)),
        titles=(runs[0].title, runs[1].title),
        origins=(a.origin, b.origin),
        counts=(len(a.ids), len(b.ids)),
        matched=len(i),
        only=(len(a.ids) - len(i), len(b.ids) - len(i)),
        radius=reach,
        unit="arcsec" if on_sky else "pixel",
        positions=_positions(a, b, i, j, on_sky=on_sky),
        settings=list(_differences(runs[0].pipeline, runs[1].pipeline)),
    )
    found.lonely = _without(a.significance, i), _without(b.significance, j)
    _fluxes(found, runs, a, b, i, j, merged)
    return found


def match(a: _Sources, b: _Sources, radius: float, *, on_sky: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the pairs that are each other's nearest within `radius`, in order of the first."""
    from scipy.spatial import cKDTree

    frames = [_frame(s, on_sky=on_sky) for s in (a, b)]
    usable = [np.flatnonzero(np.isfinite(frame).all(axis=1)) for frame in frames]
    if not len(usable[0]) or not len(usable[1]):
        return np.empty(0, int), np.empty(0, int)
    points = [frame[use] for frame, use in zip(frames, usable, strict=True)]
    reach = 2 * math.sin(math.radians(radius / 3600) / 2) if on_sky else radius
    distance, there = cKDTree(points[1]).query(points[0])
    _, back = cKDTree(points[0]).query(points[1])
    mine = np.arange(len(points[0]))
    good = (distance <= reach) & (back[there] == mine)
    return usable[0][mine[good]], usable[1][there[good]]


def _frame(s: _Sources, *, on_sky: bool) -> np.ndarray:
    if not on_sky:
        return np.stack([s.x, s.y, s.tile * 1e7], axis=1)  # tiles far apart: no match across them
    ra, dec = np.radians(s.ra), np.radians(s.dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Column]]:
    """Yield a catalogue batch by batch, as `batches` does."""
    import pyarrow as pa

    try:
        yield from batches(path, columns)
    except (OSError, pa.ArrowException) as error:
        said = str(error).splitlines() or [type(error).__name__]
        raise CannotCompare(f"{path} cannot be read: {said[0]}; remove its folder and run the pipeline again to make it anew") from None


def _read(run: Run, table: Found) -> _Sources:
    parts: list[list[np.ndarray]] = []
    names = ("source_id", "ra", "dec", "x", "y", "tile_id", "significance")
    for path in table.paths.values():
        for batch in _rows(path, (*names, "primary")):
            primary = batch.get("primary")
            counts = primary if isinstance(primary, np.ndarray) and not table.merged else np.ones(length(batch), bool)
            parts.append([numbers(batch, name)[counts] for name in names])
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [np.empty(0)] * len(names)
    order = np.argsort(columns[0], kind="stable")
    ids, ra, dec, x, y, tile, significance = (column[order] for column in columns)
    return _Sources(f"{run.title}, stage {table.stage}", ids, ra, dec, x, y, tile, significance)


def _positions(a: _Sources, b: _Sources, i: np.ndarray, j: np.ndarray, *, on_sky: bool) -> list[Residual]:
    if not len(i):
        return []
    if on_sky:
        east = ((b.ra[j] - a.ra[i] + 180) % 360 - 180) * np.cos(np.radians(a.dec[i])) * 3600
        offsets = {"ra": east, "dec": (b.dec[j] - a.dec[i]) * 3600}
    else:
        offsets = {"x": b.x[j] - a.x[i], "y": b.y[j] - a.y[i]}
    return [Residual(name, len(values), *_robust(values)) for name, values in offsets.items()]


def _fluxes(found: Comparison, runs: tuple[Run, Run], a: _Sources, b: _Sources, i: np.ndarray, j: np.ndarray, merged: bool | None) -> None:
    tables = [find(run, "photometry", merged=merged is None) for run in runs]
    if tables[0] is None or tables[1] is None or not len(i):
        return
    measured = [_photometry(table, s) for table, s in zip(tables, (a, b), strict=True) if table is not None]
    for key in [key for key in measured[0] if key in measured[1]]:
        (f, fe), (g, ge) = (measured[0][key][:, i], measured[1][key][:, j])
        with np.errstate(divide="ignore", invalid="ignore"):
            bright = (f > 10 * fe) & (g > 10 * ge)
            ratio, pull = (g / f)[bright], ((g - f) / np.fmax(fe, ge))[bright]
            magnitude = 31.4 - 2.5 * np.log10(f[bright])
        middle, scatter = _robust(ratio)
        found.fluxes.append(FluxResidual(key[1], key[0], int(bright.sum()), middle, scatter, _robust(pull)[1]))
        found.sample[key] = magnitude, ratio
    missing = sorted({", ".join(key) for key in measured[0].keys() ^ measured[1].keys()})
    if missing:
        found.notes.append(f"measured in one run alone: {'; '.join(missing)}")


def _photometry(table: Found, s: _Sources) -> dict[tuple[str, str], np.ndarray]:
    """Return (method, band) -> (2, n) flux and error of a run's sources."""
    made: dict[tuple[str, str], np.ndarray] = {}
    for path in table.paths.values():
        for batch in _rows(path, ("source_id", "band", "method", "flux", "flux_err", "flags")):
            band, method = batch.get("band"), batch.get("method")
            if not isinstance(band, Text) or not isinstance(method, Text) or not len(s.ids):
                continue
            ids = numbers(batch, "source_id")
            at = np.minimum(np.searchsorted(s.ids, ids), len(s.ids) - 1)
            good = (s.ids[at] == ids) & ((np.nan_to_num(numbers(batch, "flags")).astype(np.int64) & _NO_FLUX) == 0)
            for m, method_name in enumerate(method.names):
                for n, band_name in enumerate(band.names):
                    mine = good & (method.codes == m) & (band.codes == n)
                    if mine.any():
                        both = made.setdefault((method_name, band_name), np.full((2, len(s.ids)), np.nan))
                        both[:, at[mine]] = numbers(batch, "flux")[mine], numbers(batch, "flux_err")[mine]
    return made


def _differences(first: Any, second: Any, path: str = "") -> Iterator[Difference]:
    if isinstance(first, dict) and isinstance(second, dict):
        for key in dict.fromkeys([*first, *second]):
            yield from _differences(first.get(key, _Absent), second.get(key, _Absent), f"{path}.{key}".removeprefix("."))
    elif first != second:
        yield Difference(path, _said(first), _said(second))


class _Absent:
    """Stands for a setting that a run does not have."""


def _said(value: Any) -> str:
    text = "—" if value is _Absent else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:199]}…"


def _robust(values: np.ndarray) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if not len(values):
        return math.nan, math.nan
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle)))


def _without(values: np.ndarray, taken: np.ndarray) -> np.ndarray:
    left = np.ones(len(values), bool)
    left[taken] = False
    return values[left]


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()}
