"""What a pixel value is worth in nJy."""

from __future__ import annotations

import re
import warnings
from typing import Any

AB_ZERO_POINT = 31.4
"""The AB magnitude of 1 nJy, by convention."""

_COUNTS = re.compile(r"(adu|dn|counts?|cts?|electrons?|e-?|photons?|photoelectrons?)$", re.IGNORECASE)
_PER = re.compile(r"\s*(/\s*(s|sec|second|pix|pixel)|[*. ]\s*(s|sec|pix|pixel)(\^|\*\*)?-1)\s*$", re.IGNORECASE)
_NANOMAGGY = re.compile(r"(nanomagg(y|ie|ies)|nmgys?|nmaggy)$", re.IGNORECASE)
_PIXEL = re.compile(r"\s*(/\s*pix(el)?|[*. ]\s*pix(el)?(\^|\*\*)?-1)\s*$", re.IGNORECASE)


class UnitError(ValueError):
    """A unit that cannot be turned into nJy; `setting` is the one that mends it."""

    def __init__(self, reason: str, setting: str) -> None:
        self.reason, self.setting = reason, setting
        super().__init__(reason)


def is_counts(text: str) -> bool:
    """Return whether a unit is an instrument's own: counts, ADU, electrons, with or without "per second"."""
    return bool(_COUNTS.match(_bare(text)))


def _bare(text: str) -> str:
    text = text.strip()
    while (shorter := _PER.sub("", text)) != text:
        text = shorter
    return text


def to_njy(text: str, zeropoint: float | None, pixel_area: float | None) -> float:
    """Return the factor that turns a pixel value into nJy.

    Args:
        text: the unit, as BUNIT or the user gives it.
        zeropoint: AB magnitude of a pixel value of one; None when there is none.
        pixel_area: sr; None when unknown.

    Raises:
        UnitError: the unit is unknown, or needs something that is not there.
    """
    if not text.strip():
        raise UnitError("there is no unit", "unit")
    if is_counts(text):
        if zeropoint is None:
            raise UnitError(f"the unit {text!r} is an instrument's own, so the zero point is needed", "zeropoint")
        return float(10 ** ((AB_ZERO_POINT - zeropoint) / 2.5))
    if zeropoint is not None:
        raise UnitError(f"the unit {text!r} is calibrated already; a zero point as well would count twice", "unit")
    if _NANOMAGGY.match(_PIXEL.sub("", text.strip())):
        return float(10 ** ((AB_ZERO_POINT - 22.5) / 2.5))
    return _physical(_PIXEL.sub("", text.strip()), pixel_area)


def _physical(text: str, pixel_area: float | None) -> float:
    import astropy.units as u

    try:
        unit = parse(text)
        if unit.is_equivalent(u.nJy):
            return float(unit.to(u.nJy))
        if unit.is_equivalent(u.nJy / u.sr):
            if pixel_area is None:
                raise UnitError(f"the unit {text!r} is a surface brightness, so the size of a pixel is needed", "pixel_scale")
            return float(unit.to(u.nJy / u.sr)) * pixel_area
    except (ValueError, TypeError, OverflowError, u.UnitsError) as error:
        if isinstance(error, UnitError):
            raise
        raise UnitError(f"the unit {text!r} is unknown", "unit") from error
    raise UnitError(f"the unit {text!r} is neither a flux density, a surface brightness nor counts", "unit")


def parse(text: str) -> Any:
    """Return an astropy unit; the words that instruments use for counts are understood as well.

    Raises:
        ValueError: astropy does not know it.
    """
    import astropy.units as u

    if len(text) > 80:
        raise ValueError("a unit of more than 80 characters")
    text = text.strip()
    if is_counts(text) and text == _bare(text):
        return u.electron if text.lower().startswith("e") else u.adu if text.lower() in ("adu", "dn") else u.ct
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)  # such as two slashes: discouraged, but what everybody writes
        return u.Unit(text.replace("µ", "u").replace("μ", "u"))
