"""Celestial coordinates out of a header and into one, to the last bit.

Only the cards that describe the two sky axes ever reach wcslib: the others are where its crashes and its
endless "fixed" warnings come from. Numbers are written with all their digits, so a result does not depend
on whether an image was handed on in memory or read back.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.product import ProductError
from .cards import CARD, CardError, Cards
from .guard import BadInput, escape, translated

if TYPE_CHECKING:
    from astropy.wcs import WCS

SKY_AXIS = re.compile(r"(RA--|DEC-|[A-Z]L(ON|AT)|[A-Z]{2}L[NT])-*-([A-Z]{3})(-[A-Z]{3})?$")
_TEXTS = re.compile(r"CTYPE[12]|CUNIT[12]|RADESYS")
_NUMBERS = re.compile(
    r"CRPIX[12]|CRVAL[12]|CDELT[12]|CROTA[12]|CD[12]_[12]|PC[12]_[12]|PV[12]_\d{1,2}|LONPOLE|LATPOLE|"
    r"[AB]P?_ORDER|[AB]P?_\d_\d"
)
_SIP_TERM = re.compile(r"[AB]P?_\d_\d")
_PV = re.compile(r"PV[12]_\d{1,2}")
_TABLES = re.compile(r"(CPDIS|CQDIS|DQIA?|DP|D2IM|D2IMDIS|AXISCORR)\d?.*")
_SIP_ORDER = 9
_PROJECTION = re.compile(
    "AZP|SZP|TAN|STG|SIN|ARC|ZPN|ZEA|AIR|CYP|CEA|CAR|MER|SFL|PAR|MOL|AIT|COP|COE|COD|COO|BON|PCO|TSC|CSC|QSC|HPX|XPH|NCP|GLS|TPV"
)


class BadWcs(Exception):
    """World coordinates that cannot be trusted; the image itself may still be used without them."""


def celestial(
    cards: Cards, path: Path, shape: tuple[int, int], offset: tuple[int, int] = (0, 0), notes: list[str] | None = None
) -> WCS | None:
    """Return the coordinates of an image's first two FITS axes, or None when its header has none.

    Args:
        cards: the image's header.
        path: the file, for messages.
        shape: (y, x) of the pixels read.
        offset: (x, y) of their first pixel in the whole image.
        notes: gets a line for each repair.

    Raises:
        BadWcs: the header has coordinates, but they are broken.
    """
    notes = [] if notes is None else notes
    types = [cards.text(f"CTYPE{n}").strip().upper() for n in (1, 2)]
    sky = [SKY_AXIS.match(t) for t in types]
    if not any(sky):
        return None
    if not all(sky):
        raise BadWcs(f"CTYPE1 and CTYPE2 must both be sky axes, but are {escape(types[0])!r} and {escape(types[1])!r}")
    projection = sky[0][3] if sky[0] else ""
    if not _PROJECTION.fullmatch(projection):
        raise BadWcs(f"the projection {escape(projection)} is not read")
    try:
        kept = _kept(cards, types, offset, notes)
    except CardError as error:
        raise BadWcs(str(error)) from error
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    text = "".join(card[:CARD].ljust(CARD) for card in kept)
    try:
        with translated(path, "reading the WCS", notes=notes):
            wcs = WCS(Header.fromstring(text), relax=True, fix=True)
            if projection == "TPV":  # its coefficients are to be had from wcslib only rounded; so round them at once
                wcs = WCS(Header.fromstring("".join(wcs_cards(wcs))), relax=True, fix=True)
            _check(wcs, shape)
    except BadInput as error:
        raise BadWcs(error.reason) from error
    wcs.pixel_shape = (shape[1], shape[0])
    return wcs


def _kept(cards: Cards, types: list[str], offset: tuple[int, int], notes: list[str]) -> list[str]:
    """Return the cards that wcslib gets to see."""
    if any(_TABLES.fullmatch(keyword) for keyword in cards.order):
        raise BadWcs("it needs distortion tables (CPDIS, D2IM), which are not read")
    values: dict[str, str | float] = {k: cards.text(k) for k, _ in cards.matching(_TEXTS)}
    values |= {k: cards.number(k) for k, _ in cards.matching(_NUMBERS) if cards.get(k) is not None}
    for keyword in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"):
        if keyword not in values:
            raise CardError(keyword, "is missing")
    matrix = {k for k in values if re.fullmatch(r"CD[12]_[12]", k)}
    steps = {k for k in values if re.fullmatch(r"CDELT[12]|CROTA[12]|PC[12]_[12]", k)}
    if not matrix and not steps & {"CDELT1", "CDELT2", "PC1_1", "PC1_2"}:
        raise BadWcs("it has no CD, PC or CDELT cards, so the pixel scale is unknown")
    for keyword in steps if matrix else ():
        del values[keyword]  # CD holds all of it; together they mean different things to different readers
    _check_scale(values)
    projections = [match[3] for match in map(SKY_AXIS.match, types) if match]
    orders = {k: cards.integer(k) for k in values if k.endswith("_ORDER")}
    if orders:
        _check_sip(orders, {k for k in values if _SIP_TERM.fullmatch(k)}, projections)
        values["CTYPE1"], values["CTYPE2"] = (t if t.endswith("-SIP") else f"{t}-SIP" for t in types)
    for n, first in ((1, offset[0]), (2, offset[1])):
        values[f"CRPIX{n}"] = float(values[f"CRPIX{n}"]) - first
    values.update(frame_values(cards, notes))
    return [number_card(k, v) if isinstance(v, float) and k not in orders else card(k, orders.get(k, v)) for k, v in values.items()]


def _check_scale(values: dict[str, str | float]) -> None:
    """Raise for a scale that is zero: wcslib would take the default of a degree a pixel in its place."""
    cd = [values.get(keyword, 0.0) for keyword in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")]
    if any(keyword.startswith("CD") and keyword[2].isdigit() for keyword in values) and not any(cd):
        raise BadWcs("all elements of the CD matrix are zero")
    for keyword in ("CDELT1", "CDELT2"):
        if values.get(keyword) == 0:
            raise CardError(keyword, "is zero")


def _check_sip(orders: dict[str, int], terms: set[str], projections: list[str]) -> None:
    if not {"A_ORDER", "B_ORDER"} <= set(orders):
        raise BadWcs("its SIP distortion needs both A_ORDER and B_ORDER")
    for keyword, order in orders.items():
        if not 0 <= order <= _SIP_ORDER:
            raise CardError(keyword, f"must be between 0 and {_SIP_ORDER}, not {order}")
    for term in terms:
        name, p, q = term.split("_")
        if int(p) + int(q) > orders.get(f"{name}_ORDER", -1):
            raise CardError(term, f"is a SIP term beyond {name}_ORDER")
    if projections != ["TAN", "TAN"]:
        raise BadWcs(f"SIP distortion with the projection {projections[0]} has no agreed meaning")


def frame_values(cards: Cards, notes: list[str]) -> dict[str, str | float]:
    """Return RADESYS and EQUINOX, under their present names and as number."""
    found: dict[str, str | float] = {}
    system = cards.text("RADESYS") or cards.text("RADECSYS")
    if system:
        found["RADESYS"] = system.strip()
    for keyword in ("EQUINOX", "EPOCH"):
        if keyword in cards:
            value = cards.text(keyword).strip().lstrip("JB")
            if re.fullmatch(r"(18|19|20)\d\d(\.\d*)?", value):
                found["EQUINOX"] = float(value)
                break
            notes.append(f"{keyword} = {escape(value)!r} is no year and was ignored")
    return found


def _check(wcs: WCS, shape: tuple[int, int]) -> None:
    """Raise unless the coordinates make sense at the middle of the image."""
    from astropy.wcs.utils import wcs_to_celestial_frame

    if not wcs.has_celestial:
        raise ValueError("the axes are no pair of longitude and latitude")
    matrix = wcs.pixel_scale_matrix
    if not np.isfinite(matrix).all() or not 1e-24 < abs(np.linalg.det(matrix)) < 1e4:
        raise ValueError(f"the matrix of CD (or PC and CDELT) is singular or absurd: {matrix.tolist()}")
    latitude = wcs.wcs.crval[wcs.wcs.lat]
    if abs(latitude) > 90:
        raise ValueError(f"CRVAL{wcs.wcs.lat + 1} is the latitude {latitude:g}, beyond 90 degrees")
    wcs_to_celestial_frame(wcs)
    middle = np.array([[(shape[1] - 1) / 2, (shape[0] - 1) / 2]])
    world = wcs.all_pix2world(middle, 0)
    linear = wcs.wcs_world2pix(wcs.wcs_pix2world(middle, 0), 0)
    if not np.isfinite(world).all() or not (np.abs(linear - middle) < 0.1).all():
        raise ValueError("the middle of the image has no sky position")


def card(keyword: str, value: str | int | float | bool, comment: str = "") -> str:
    """Return a header card of 80 characters.

    Raises:
        ProductError: the text is too long for one card or holds other than printable ASCII.
    """
    if isinstance(value, bool):
        shown = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        if not all(" " <= c <= "~" for c in value):
            raise ProductError(f"{keyword}: {escape(value)!r} must be printable ASCII to stand in a FITS header")
        quoted = value.replace("'", "''")
        shown = f"'{quoted:8}'"
    else:
        shown = f"{value if isinstance(value, int) else _digits(value):>20}"
    text = f"{keyword:8}= {shown}"
    if len(text) > CARD:
        raise ProductError(f"{keyword}: {escape(value)!r} is too long for a FITS card")
    return (f"{text} / {comment}" if comment else text)[:CARD].ljust(CARD)


def number_card(keyword: str, value: float) -> str:
    """Return a card that holds a float with all its digits, more than astropy would write."""
    return card(keyword, float(value))


def _digits(value: float) -> str:
    text = repr(float(value)).upper()
    return text if "." in text or "E" not in text else text.replace("E", ".0E")


def wcs_cards(wcs: WCS) -> list[str]:
    """Return the cards from which the same WCS is read back, bit for bit.

    Raises:
        ProductError: it has look-up table distortions, which no card can hold.
    """
    if any(getattr(wcs, name) is not None for name in ("cpdis1", "cpdis2", "det2im1", "det2im2")):
        raise ProductError("a WCS with distortion tables cannot be stored; fit a SIP polynomial to it")
    low = wcs.deepcopy().wcs
    low.set()
    naxis = low.naxis
    out = [card("WCSAXES", naxis)]
    matrix, steps = low.get_pc(), low.get_cdelt()
    types, distortion = _tpv(low)
    for i in range(naxis):
        out += [card(f"CTYPE{i + 1}", types[i]), card(f"CUNIT{i + 1}", str(low.cunit[i]))]
        out += [number_card(f"{k}{i + 1}", v[i]) for k, v in (("CRPIX", low.crpix), ("CRVAL", low.crval), ("CDELT", steps))]
        out += [number_card(f"PC{i + 1}_{j + 1}", matrix[i][j]) for j in range(naxis) if matrix[i][j] != (i == j)]
    out += [number_card(f"PV{i}_{m}", v) for i, m, v in low.get_pv()] + distortion
    out += [number_card(k, v) for k, v in (("LONPOLE", low.lonpole), ("LATPOLE", low.latpole)) if np.isfinite(v)]
    out += [card(k, v) for k, v in (("RADESYS", low.radesys), ("SPECSYS", low.specsys)) if v]
    out += [number_card(k, v) for k, v in (("EQUINOX", low.equinox),) if np.isfinite(v)]
    out += [number_card(k, v) for k, v in (("RESTFRQ", low.restfrq), ("RESTWAV", low.restwav)) if np.isfinite(v) and v > 0]
    return out + _sip_cards(wcs)


def _tpv(low: Any) -> tuple[list[str], list[str]]:
    """Return CTYPEs, and the PV cards of a TPV distortion: wcslib shows it as a plain TAN, except when it writes a header."""
    written = low.to_header(relax=True)
    cards = Cards("".join(written[n : n + CARD] for n in range(0, len(written), CARD)).encode("ascii", "replace"))
    types = [cards.text(f"CTYPE{i + 1}") for i in range(low.naxis)]
    if not any(t.endswith("-TPV") for t in types):
        return list(low.ctype), []
    return types, [number_card(keyword, cards.number(keyword)) for keyword, _ in cards.matching(_PV)]


def _sip_cards(wcs: WCS) -> list[str]:
    out = []
    for name in ("a", "b", "ap", "bp") if wcs.sip is not None else ():
        terms = getattr(wcs.sip, name)
        if terms is not None:
            out.append(card(f"{name.upper()}_ORDER", len(terms) - 1))
            out += [number_card(f"{name.upper()}_{p}_{q}", terms[p, q]) for p, q in np.argwhere(terms != 0)]
    return out
