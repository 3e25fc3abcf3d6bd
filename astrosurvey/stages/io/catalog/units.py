"""Units of catalogues' columns: in one spelling, and angles in degrees."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from ....products._fits import BadInput, escape


def normal_unit(path: Path, column: str, text: str, *, strict: bool) -> str:
    """Return a unit as the Virtual Observatory writes it; "" for none, and for one that nobody knows unless `strict`.

    Raises:
        BadInput: a unit that a setting gives is unknown.
    """
    from astropy.units import Unit

    if not text.strip():
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units that the standard spells otherwise
        try:
            unit = Unit(text.strip())
        except ValueError as error:
            if strict:
                raise BadInput(
                    path, f"the unit {escape(text, 40)!r} of column {escape(column, 40)!r} is unknown", fix="correct `units`"
                ) from error
            return ""
        try:
            return str(unit.to_string("vounit"))
        except ValueError:
            return ""


def to_degrees(path: Path, column: str, values: np.ndarray, text: str) -> np.ndarray:
    """Return angles in degrees; those without a unit are in degrees.

    Raises:
        BadInput: the unit is none of an angle.
    """
    from astropy.units import Unit

    if text.strip().lower() in ("", "deg", "degree", "degrees"):
        return values
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(Unit(text.strip()).to("deg", values))
    except (ValueError, TypeError) as error:  # astropy's UnitConversionError is both
        raise BadInput(
            path, f"the column {escape(column, 40)!r} is in {escape(text, 40)!r}, which is no angle", fix="correct `units`"
        ) from error
