"""Positions in catalogues: what they are called, sexagesimal angles, galactic coordinates, and what cannot be one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....products._fits import BadInput, escape
from .units import to_degrees

USUAL = {
    "ra": (
        *("ra", "ra_icrs", "raj2000", "_raj2000", "ra_j2000", "raicrs", "_ra_icrs", "radeg", "alpha_j2000", "alphawin_j2000"),
        *("_ra", "ra_deg", "rajdeg", "ramean", "i_ra", "right_ascension"),
    ),
    "dec": (
        *("dec", "de_icrs", "dec_icrs", "dej2000", "decj2000", "_dej2000", "dec_j2000", "deicrs", "_de_icrs", "dedeg", "decdeg"),
        *("delta_j2000", "deltawin_j2000", "_de", "dec_deg", "decl", "dejdeg", "decmean", "i_dec", "declination"),
    ),
}
"""What positions are called by the large surveys, VizieR and SExtractor, in lower case."""
GALACTIC = {"l": ("l", "glon", "_glon", "gal_lon"), "b": ("b", "glat", "_glat", "gal_lat")}
"""What galactic longitude and latitude are called; they are read where `columns` names them."""
SEXAGESIMAL = {"h:m:s": 15.0, "h:m": 15.0, "d:m:s": 1.0, "d:m": 1.0}
"""Units of sexagesimal angles, as VizieR writes them, and the degrees of one whole."""
PARTS = (
    r"^(?P<sign>[+-]?)(?P<whole>\d{1,3})\s*[:hd°\s]\s*(?P<minutes>\d{1,2}(?:\.\d*)?)"
    r"(?:\s*[:m'\s]\s*(?P<seconds>\d{1,2}(?:\.\d*)?)\s*[s\"]?|\s*[m']?)$"
)
"""A sexagesimal angle: parts divided by colons, blanks, or the letters of their units."""


def usual(names: Sequence[str]) -> dict[str, str]:
    """Return, for `ra` and `dec`, what a file calls them, by their usual names; nothing unless it has both."""
    lower = {name.lower(): name for name in reversed(names)}
    found = {what: next((lower[name] for name in known if name in lower), "") for what, known in USUAL.items()}
    return found if all(found.values()) else {}


def unknown(names: Sequence[str]) -> str:
    """Return what to do where a file names no positions that are known."""
    lower = {name.lower(): name for name in reversed(names)}
    galactic = {what: next((lower[name] for name in known if name in lower), "") for what, known in GALACTIC.items()}
    if all(galactic.values()):
        return f"if {galactic['l']} and {galactic['b']} are galactic, write `columns: {{l: {galactic['l']}, b: {galactic['b']}}}`"
    listed = ", ".join(escape(name, 40) for name in names[:20]) + (", …" if len(names) > 20 else "")
    return f"name them as in `columns: {{ra: …, dec: …}}`, among {listed}"


def angles(path: Path, column: str, array: pa.Array, unit: str) -> np.ndarray:
    """Return (n,) a column's angles in degrees; NaN for null.

    Raises:
        BadInput: the column holds no angles.
    """
    text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or pa.types.is_time(array.type)
    whole = SEXAGESIMAL.get(unit.strip().strip('"').replace(" ", "").lower())
    if text and whole:
        return _sexagesimal(path, column, array.cast(pa.string()), whole)
    if text:
        fix = f"give numbers, or write `units: {{{escape(column, 40)}: h:m:s}}` (d:m:s for degrees) for sexagesimal angles"
        first = next((value for value in array.cast(pa.string()).to_pylist() if value), "")
        raise BadInput(path, f"the column {escape(column, 40)!r} holds texts such as {escape(first, 40)!r}", fix=fix)
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        raise BadInput(path, f"the column {escape(column, 40)!r} holds {array.type}", fix="give numbers, angles in degrees")
    return to_degrees(path, column, np.asarray(array.cast(pa.float64(), safe=False).fill_null(np.nan)), "" if whole else unit)


def _sexagesimal(path: Path, column: str, array: pa.Array, whole: float) -> np.ndarray:
    """Return (n,) angles in degrees, of which a whole part is `whole`."""
    parts = pc.extract_regex(pc.utf8_trim_whitespace(array), PARTS)
    known = parts.is_valid().to_numpy(zero_copy_only=False)
    values = {}
    for name in ("whole", "minutes", "seconds"):
        field = pc.struct_field(parts, name)
        field = pc.if_else(pc.equal(field, ""), "0", field)  # no seconds
        values[name] = np.asarray(field.cast(pa.float64()).fill_null(np.nan))
    sound = known & (values["minutes"] < 60) & (values["seconds"] <= 60)
    wrong = array.is_valid().to_numpy(zero_copy_only=False) & ~sound
    if wrong.any():
        at = int(np.argmax(wrong))
        raise BadInput(
            path,
            f"the column {escape(column, 40)!r} holds {escape(array[at].as_py(), 40)!r}, which is no sexagesimal angle",
            fix="correct `units`, or name in `missing` what stands for no value",
        )
    sign = np.where(np.asarray(pc.equal(pc.struct_field(parts, "sign"), "-").fill_null(False)), -1.0, 1.0)
    return np.where(known, sign * whole * (values["whole"] + (values["minutes"] + values["seconds"] / 60) / 60), np.nan)


def positions(path: Path, mapped: Mapping[str, str], degrees: Mapping[str, np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) right ascension in [0, 360) and declination, ICRS; NaN where one of the two is missing.

    Args:
        path: the file, for errors.
        mapped: what it calls `ra` and `dec`, or `l` and `b`.
        degrees: their values.
        rows: (n,) of the file.

    Raises:
        BadInput: a declination or latitude that cannot be.
    """
    across, up = ("l", "b") if "l" in mapped else ("ra", "dec")
    ra, dec = degrees[across], degrees[up]
    lost = ~(np.isfinite(ra) & np.isfinite(dec))
    wrong = ~lost & (np.abs(dec) > 90)
    if wrong.any():
        at = int(np.argmax(wrong))
        what = "declination" if up == "dec" else "galactic latitude"
        raise BadInput(path, f"row {rows[at]} has the {what} {dec[at]:g}", fix=f"set `columns.{up}`, `units` or `missing`")
    ra, dec = np.where(lost, np.nan, ra), np.where(lost, np.nan, dec)
    if across == "l":
        from astropy.coordinates import SkyCoord

        sky = SkyCoord(l=ra, b=dec, unit="deg", frame="galactic").icrs
        ra, dec = np.asarray(sky.ra.deg), np.asarray(sky.dec.deg)
    ra = np.mod(ra, 360.0)
    return np.where(ra >= 360.0, 0.0, ra), dec
