"""What is shown of a cluster's sources: where they lie on the sky, how they move, their colours and magnitudes.

Columns are found by what they are: right ascension and declination; the other columns that were clustered in; and, for
a colour-magnitude diagram, magnitudes among a plugin's columns or two bands of the table of photometry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from markupsafe import Markup

from ..products.partitions import parquet_files
from .cluster_plots import MAP, SKY_WIDE, Axis, panel, sky_map
from .rgb import ORDER

ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""
ROOM = 0.35
"""Of a cluster's extent, what is shown around it on each side."""
FEWEST_MAGNITUDES = 3
"""Members with both magnitudes; with fewer there is no diagram."""


@dataclass(frozen=True)
class Sources:
    """Columns of the sources that were clustered, in the order of the points.

    Attributes:
        ra, dec: (n,) deg; NaN where not known.
        others: name -> (values, unit) of the other columns that were clustered in.
        magnitude: (label, values); None without.
        colour: (label, values); None without.
    """

    ra: np.ndarray
    dec: np.ndarray
    others: dict[str, tuple[np.ndarray, str]] = field(default_factory=dict)
    magnitude: tuple[str, np.ndarray] | None = None
    colour: tuple[str, np.ndarray] | None = None

    @classmethod
    def read(cls, inputs: dict[str, list[Path]], ids: np.ndarray, columns: Sequence[str]) -> Sources:
        """Return what the input tables of a clustering say of its points.

        Args:
            inputs: files of each input port.
            ids: (n,) of the points.
            columns: what was clustered in.
        """
        import pyarrow.parquet as pq

        nothing = np.full(len(ids), np.nan)
        tables = [(file, pq.read_schema(file)) for paths in inputs.values() for path in paths for file in parquet_files(path)]
        sources = [path for path, schema in tables if {"source_id", "ra", "primary"} <= set(schema.names)]
        if not sources:
            return cls(nothing, nothing)
        schema = pq.read_schema(sources[0])
        units = {name: (schema.field(name).metadata or {}).get(b"unit", b"").decode() for name in schema.names}
        named = {name: found for name in columns if name not in ("ra", "dec") and (found := _resolved(name, schema.names))}
        magnitudes = [name for name in schema.names if name.startswith("x_") and (name.endswith("mag") or units[name] == "mag")]
        colours = [name for name in schema.names if name.startswith("x_") and name.endswith(("bp_rp", "g_r", "g_i", "b_v"))]
        wanted = list(dict.fromkeys(["ra", "dec", *named.values(), *magnitudes, *colours]))
        values = _joined(sources, ids, wanted)
        magnitude, colour = _diagram(values, magnitudes, colours) or _by_photometry(tables, ids) or (None, None)
        others = {name: (values[column], units[column]) for name, column in named.items()}
        return cls(values["ra"], values["dec"], others, magnitude, colour)

    @property
    def on_sky(self) -> bool:
        """Whether there are positions on the sky."""
        return bool(np.isfinite(self.ra).any())


def _resolved(name: str, names: Sequence[str]) -> str | None:
    """Return the column that a setting means: its own name, or a plugin's column that ends in it."""
    found = [column for column in names if column == name] or [c for c in names if c.startswith("x_") and c.endswith(f"_{name}")]
    return found[0] if found else None


def _joined(paths: Sequence[Path], ids: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return columns of tables of sources, in the order of ids; NaN for what is null or not there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.concat_tables([pq.read_table(path, columns=["source_id", *names]) for path in paths], promote_options="permissive")
    keys = table.column("source_id").to_numpy()
    order = np.argsort(keys, kind="stable")
    at = order[np.clip(np.searchsorted(keys[order], ids), 0, max(len(keys) - 1, 0))] if len(keys) else np.zeros(0, int)
    there = keys[at] == ids if len(keys) else np.zeros(len(ids), bool)
    found = {}
    for name in names:
        column = table.column(name).cast(pa.float64()).to_numpy()
        found[name] = np.full(len(ids), np.nan) if not len(keys) else np.where(there, column[at], np.nan)
    return found


def _diagram(
    values: dict[str, np.ndarray], magnitudes: Sequence[str], colours: Sequence[str]
) -> tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]] | None:
    """Return magnitude and colour among a plugin's columns: a colour that is there, else the difference of two magnitudes."""
    if not magnitudes:
        return None
    if colours:
        return (_short(magnitudes[0]), values[magnitudes[0]]), (_short(colours[0]), values[colours[0]])
    blue = next((name for name in magnitudes if "_bp_" in name), magnitudes[0])
    red = next((name for name in magnitudes if "_rp_" in name), magnitudes[-1])
    if blue == red:
        return None
    middle = next((name for name in magnitudes if name not in (blue, red)), red)
    return (_short(middle), values[middle]), (f"{_short(blue)} − {_short(red)}", values[blue] - values[red])


def _short(name: str) -> str:
    """Return a plugin's column without the plugin's name."""
    return "_".join(name.split("_")[2:]) or name


def _by_photometry(tables: Sequence[tuple[Path, object]], ids: np.ndarray) -> tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]] | None:
    """Return magnitude and colour of the two outer bands of the table of photometry, by its last method."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = [path for path, schema in tables if {"band", "method", "flux", "source_id"} <= set(schema.names)]  # type: ignore[attr-defined]
    if not files:
        return None
    table = pa.concat_tables([pq.read_table(path, columns=["source_id", "band", "method", "flux"]) for path in files])
    method, band = (table.column(name).to_numpy(zero_copy_only=False) for name in ("method", "band"))
    if not len(method):
        return None
    use = method == method[-1]
    bands = sorted(set(band[use].tolist()), key=lambda name: (ORDER.find(name[:1]), name))
    if len(bands) < 2:
        return None
    keys, flux = table.column("source_id").to_numpy(), table.column("flux").to_numpy()
    found = []
    for name in (bands[0], bands[-1]):
        rows = np.flatnonzero(use & (band == name))
        rows = rows[np.argsort(keys[rows], kind="stable")]
        at = rows[np.clip(np.searchsorted(keys[rows], ids), 0, len(rows) - 1)]
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(np.where((keys[at] == ids) & (flux[at] > 0), ZERO_POINT - 2.5 * np.log10(flux[at]), np.nan))
    return (bands[-1], found[1]), (f"{bands[0]} − {bands[-1]}", found[0] - found[1])


def whole(sources: Sources, numbers: np.ndarray) -> tuple[Markup, str]:
    """Return a picture of all sources, and its title; both empty where there is no pair of columns to draw."""
    if sources.on_sky:
        ra, dec = sources.ra, sources.dec
        good = np.isfinite(ra) & np.isfinite(dec)
        centre = _mean_direction(ra[good], dec[good])
        turned = centre[0] + (ra - centre[0] + 180) % 360 - 180
        ends = _ends(turned[good]), _ends(dec[good])
        if max(ends[0][1] - ends[0][0], ends[1][1] - ends[1][0]) > SKY_WIDE:
            return sky_map(ra, dec, numbers, round(centre[0] / 60) * 60 % 360 if _one_sided(ra[good], dec[good]) else 0), "On the sky"
        axes = Axis("right ascension, deg", reverse=True), Axis("declination, deg")
        return panel(turned, dec, numbers, axes, ends, size=MAP, names=True), "On the sky"
    pairs = list(pairwise(sources.others.items()))
    if not pairs:
        return Markup(), ""
    (x, (x_values, x_unit)), (y, (y_values, y_unit)) = pairs[0]
    axes = Axis(_label(x, x_unit)), Axis(_label(y, y_unit))
    return panel(x_values, y_values, numbers, axes, (_ends(x_values), _ends(y_values)), size=MAP, names=True), "In the first two columns"


def panels(sources: Sources, numbers: np.ndarray, members: np.ndarray, number: int) -> list[Markup]:
    """Return the pictures of one cluster: its members over what lies around them.

    Args:
        sources: all.
        numbers: (n,) the smallest cluster of each source.
        members: rows of the cluster's sources.
        number: the cluster's; members of clusters inside it are drawn as its own.
    """
    own = np.zeros(len(numbers), np.int64)
    own[members] = number
    pictures = []
    if sources.on_sky:
        east, north = _offsets(sources.ra, sources.dec, members)
        axes = Axis("Δ right ascension · cos δ, deg", reverse=True), Axis("Δ declination, deg")
        pictures.append(panel(east, north, own, axes, (_around(east[members]), _around(north[members])), equal=True))
    others = list(sources.others.items())
    # Of three columns beside the sky, a parallax and proper motions, the last two belong together.
    pairs = list(pairwise(others))[-1:] if sources.on_sky else list(pairwise(others))[:2]
    for (x_name, (x, x_unit)), (y_name, (y, y_unit)) in pairs:
        axes = Axis(_label(x_name, x_unit)), Axis(_label(y_name, y_unit))
        pictures.append(panel(x, y, own, axes, (_around(x[members]), _around(y[members]))))
    if sources.on_sky and len(others) == 1:
        # Redshifts over one direction on the sky: what stretches along the line of sight is seen there.
        ((name, (values, unit)),) = others
        axes = Axis("Δ right ascension · cos δ, deg", reverse=True), Axis(_label(name, unit))
        pictures.append(panel(east, values, own, axes, (_around(east[members]), _around(values[members]))))
    if sources.magnitude and sources.colour:
        (magnitude, faint), (colour, red) = sources.magnitude, sources.colour
        good = members[np.isfinite(faint[members]) & np.isfinite(red[members])]
        if len(good) >= FEWEST_MAGNITUDES:
            axes = Axis(colour), Axis(magnitude, reverse=True)
            pictures.append(panel(red, faint, own, axes, (_around(red[good]), _around(faint[good]))))
    return pictures


def _offsets(ra: np.ndarray, dec: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets (deg) from the members' mean direction on Lambert's equal-area plane, which holds the whole sky."""
    ra0, dec0 = np.radians(_mean_direction(ra[members], dec[members]))
    dra, phi = np.radians(ra) - ra0, np.radians(dec)
    depth = np.sin(dec0) * np.sin(phi) + np.cos(dec0) * np.cos(phi) * np.cos(dra)
    stretch = np.degrees(np.sqrt(2 / np.maximum(1 + depth, 1e-9)))
    return stretch * np.cos(phi) * np.sin(dra), stretch * (np.cos(dec0) * np.sin(phi) - np.sin(dec0) * np.cos(phi) * np.cos(dra))


def _one_sided(ra: np.ndarray, dec: np.ndarray) -> bool:
    """Return whether sources lie on one side of the sky rather than all around."""
    a, d = np.radians(ra), np.radians(dec)
    return bool(np.hypot(np.mean(np.cos(d) * np.cos(a)), np.mean(np.cos(d) * np.sin(a))) > 0.25)


def _mean_direction(ra: np.ndarray, dec: np.ndarray) -> tuple[float, float]:
    """Return the mean direction, deg."""
    a, d = np.radians(ra), np.radians(dec)
    x, y, z = (float(np.nanmean(part)) for part in (np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)))
    return float(np.degrees(np.arctan2(y, x)) % 360), float(np.degrees(np.arctan2(z, np.hypot(x, y))))


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of an axis that shows all values but a few wild ones."""
    good = values[np.isfinite(values)]
    if not len(good):
        return 0.0, 1.0
    low, high = np.percentile(good, [0.2, 99.8])
    room = 0.04 * (high - low) or 0.5
    return float(low - room), float(high + room)


def _around(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of an axis that shows a cluster and what is around it."""
    good = values[np.isfinite(values)]
    if not len(good):
        return 0.0, 1.0
    low, high = np.percentile(good, [2, 98])
    room = ROOM * (high - low) or 0.5
    return float(low - room), float(high + room)


def _label(name: str, unit: str) -> str:
    said = unit.replace("**-1", "⁻¹").replace("**-2", "⁻²").replace(".", " ")
    return f"{name}, {said}" if unit else name
