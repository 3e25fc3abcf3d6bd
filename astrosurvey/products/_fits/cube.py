"""Cubes out of FITS: which axis is which, degenerate axes dropped, the three that count in one order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from .cards import CardError
from .guard import escape, translated
from .header import Hdu
from .wcs import SKY_AXIS, card, frame_values, number_card

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from .read import FitsFile

_SPECTRAL = re.compile(r"(FREQ|ENER|WAVN|VRAD|WAVE|VOPT|ZOPT|AWAV|VELO|BETA|FELO)(-.{3})?$")
_LATITUDE = re.compile(r"DEC-|[A-Z]LAT|[A-Z]{2}LT")
_AXIS_NUMBER = r"CRPIX\d|CRVAL\d|CDELT\d|CROTA\d|CD\d_\d|PC\d_\d|PV\d_\d{1,2}"
_NUMBERS = re.compile(_AXIS_NUMBER + r"|LONPOLE|LATPOLE|RESTFRQ|RESTFREQ|RESTWAV|VELREF")
_TEXTS = re.compile(r"CTYPE\d|CUNIT\d|SPECSYS")


def read_cube(file: FitsFile, hdu: Hdu, unit: str | None, stored: bool = False) -> dict[str, Any]:
    """Return data, unit, wcs, beam and rest frequency of a cube, as `Cube` takes them.

    Args:
        file: the open file.
        hdu: its HDU with the cube.
        unit: takes the place of BUNIT.
        stored: whether we wrote the file, so that an empty BUNIT means dimensionless.

    Raises:
        BadInput: the axes or the unit cannot be made out.
    """
    with file.cards(hdu):
        lon, lat, spectral = _axes(file, hdu)
        wcs = _wcs(file, hdu, [lon, lat, spectral])
        beam = tuple(hdu.cards.number(k) for k in ("BMAJ", "BMIN", "BPA")) if {"BMAJ", "BMIN", "BPA"} <= set(hdu.cards.order) else None
        rest = hdu.cards.number("RESTFRQ", 0.0) or hdu.cards.number("RESTFREQ", 0.0)
    count = len(hdu.shape)
    order = [count - axis for axis in (spectral, lat, lon)]
    data = file.read(hdu).reshape(hdu.shape).transpose([*(n for n in range(count) if n not in order), *order])
    data = np.ascontiguousarray(data.reshape(data.shape[-3:]))
    data.flags.writeable = False
    return {"data": data, "unit": _unit(file, hdu, unit, stored), "wcs": wcs, "beam": beam, "rest_frequency": rest if rest > 0 else None}


def _axes(file: FitsFile, hdu: Hdu) -> tuple[int, int, int]:
    """Return the FITS axis numbers of longitude, latitude and spectrum."""
    lengths = hdu.shape[::-1]
    types = [hdu.cards.text(f"CTYPE{n}").strip().upper() for n in range(1, len(lengths) + 1)]
    sky = [n for n, t in enumerate(types, 1) if SKY_AXIS.match(t)]
    spectral = [n for n, t in enumerate(types, 1) if _SPECTRAL.match(t)]
    if not sky and not spectral and len(file.shape(hdu)) == 3:
        return 1, 2, 3
    if len(sky) != 2 or len(spectral) != 1:
        raise CardError("CTYPE1", f"a cube needs a longitude, a latitude and a spectral axis; the axes are {escape(types)}")
    if any(length != 1 for n, length in enumerate(lengths, 1) if n not in (*sky, *spectral)):
        raise CardError("NAXIS", f"axes besides the sky and the spectrum must have length 1, but the cube is {'x'.join(map(str, lengths))}")
    lat = [n for n in sky if _LATITUDE.match(types[n - 1])]
    if len(lat) != 1:
        raise CardError("CTYPE1", f"one longitude and one latitude are needed; the axes are {escape(types)}")
    return next(n for n in sky if n != lat[0]), lat[0], spectral[0]


def _wcs(file: FitsFile, hdu: Hdu, axes: list[int]) -> WCS | None:
    """Return the coordinates of the three axes, or None (and a repair note) where there are none that can be trusted."""
    cards = hdu.cards
    if not all(f"CRVAL{n}" in cards and f"CTYPE{n}" in cards for n in axes):
        return None
    kept = [card("WCSAXES", len(hdu.shape))]
    kept += [card(k, cards.text(k)) for k, _ in cards.matching(_TEXTS)]
    for keyword, _ in cards.matching(_NUMBERS):
        if cards.get(keyword) is None:
            continue
        if keyword == "VELREF":
            kept.append(card(keyword, cards.integer(keyword)))
        else:
            kept.append(number_card("RESTFRQ" if keyword == "RESTFREQ" else keyword, cards.number(keyword)))
    kept += [card(k, v) for k, v in frame_values(cards, file.repairs).items()]
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    with translated(file.path, "reading the WCS", hdu=hdu, fix="mend the header's coordinates", notes=file.repairs):
        wcs = WCS(Header.fromstring("".join(kept)), relax=True, fix=True).sub(axes)
        matrix = wcs.pixel_scale_matrix
        if not np.isfinite(matrix).all() or np.linalg.det(matrix) == 0:
            raise ValueError(f"the coordinate matrix is singular: {matrix.tolist()}")
        wcs.pixel_shape = tuple(hdu.shape[::-1][n - 1] for n in axes)
    return wcs


def _unit(file: FitsFile, hdu: Hdu, unit: str | None, stored: bool) -> str:
    import astropy.units as u

    text = unit if unit is not None else hdu.cards.text("BUNIT").strip()
    if not text and not stored and unit is None:
        raise file.bad("is missing, so the brightness unit is unknown", hdu, "BUNIT", "give `unit`")
    if text:
        with translated(file.path, f"reading the unit {escape(text)!r}", hdu=hdu, keyword="BUNIT", fix="give `unit`", notes=file.repairs):
            u.Unit(text)
    return text
