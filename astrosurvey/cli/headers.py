"""What the headers of a FITS file say about its image: which HDU, band, unit, zero point, planes and coordinates."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..products._fits import FitsFile, Hdu

BAND_KEYWORDS = ("BAND", "FILTER", "FILTER1", "FILTER2", "FILTNAM", "FILTNAME", "INSFLNAM", "HIERARCH ESO INS FILT1 NAME")
ZERO_POINT_KEYWORDS = ("MAGZERO", "MAGZPT", "MAGZP", "PHOTZP", "ZEROPNT", "ZEROPOIN", "ZPOINT", "ZP", "ZPT", "MAG0")
SATURATION_KEYWORDS = ("SATURATE", "SATLEVEL", "SATUR")

KNOWN_BAND = re.compile(r"[ugrizyUBVRIYJHK]|Ks|[fn]uv|FUV|NUV|[Ff]\d{3}(w|m|n|lp|x|W|M|N|LP|X)|[wW][1-4]|(irac|mips|ch)\d{1,2}")
"""Band names that are understood in a file's name."""

VARIANCE_WORDS = {
    "var": "variance",
    "variance": "variance",
    "ivar": "inverse_variance",
    "invvar": "inverse_variance",
    "err": "error",
    "error": "error",
    "sigma": "error",
    "rms": "error",
    "unc": "error",
    "uncert": "error",
    "wt": "inverse_variance",
    "wht": "inverse_variance",
    "weight": "inverse_variance",
    "wtmap": "inverse_variance",
    "oow": "inverse_variance",
    "osw": "inverse_variance",
}
"""Words in names of extensions and files -> what the numbers there are."""

MASK_WORDS = frozenset({"mask", "msk", "dq", "dqmask", "ood", "osd", "flag", "flags", "bpm", "badpix"})
PSF_WORDS = frozenset({"psf"})
IMAGE_WORDS = frozenset({"sci", "image", "img", "ooi", "osi"})

_ESO_KINDS = {"MSE": "variance", "INVMSE": "inverse_variance", "RMSE": "error", "INVRMSE": ""}
_CLEAN_BAND = re.compile(r"[A-Za-z][A-Za-z0-9+'_-]{0,15}")


@dataclass(frozen=True)
class Plane:
    """A plane that goes with an image: its role, its HDU, and how that was told.

    Attributes:
        role: "variance", "mask" or "psf".
        hdu: as io.image's setting `hdu` wants it; None for the only image of the file.
        kind: of a variance plane, what its numbers are.
        bits: of a mask plane, our bit name -> bit values, and under "" those that mark nothing bad.
        why: how it was told.
    """

    role: str
    hdu: int | str | None
    kind: str = ""
    bits: dict[str, list[int]] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class Seen:
    """What is known of the image in a file.

    Attributes:
        path: the file.
        hdu: as io.image's setting `hdu` wants it; None for the only image, or the one named SCI.
        chosen: the HDU's number and name, for people.
        others: other images in the file, for people.
        shape: (y, x).
        planes: images stacked in a third axis; 1 for a plain image.
        stack: the bands of the planes, where BAND1, BAND2, … name them all.
        band: the band that the header names, cleaned; "" when it names none.
        band_from: the keyword and its value, for people.
        unit: BUNIT of the image; "" when there is none.
        unit_elsewhere: BUNIT of the primary HDU, where the image has none.
        zeropoint: (keyword, value), or None.
        saturate: (keyword, value), or None.
        sky: centre and pixel scale for people; "" without usable coordinates.
        wcs_problem: why coordinates cannot be used.
        pixel_scale: arcsec; None when unknown.
        parts: the variance, mask and PSF planes in the file.
        gzipped: the file is gzipped as a whole, and so cannot be read by window.
    """

    path: Path
    hdu: int | str | None
    chosen: str
    others: list[str]
    shape: tuple[int, int]
    planes: int
    stack: list[str]
    band: str
    band_from: str
    unit: str
    unit_elsewhere: str
    zeropoint: tuple[str, float] | None
    saturate: tuple[str, float] | None
    sky: str
    wcs_problem: str
    pixel_scale: float | None
    parts: list[Plane]
    gzipped: bool


def look(path: Path) -> Seen:
    """Return what the headers of a file say about its image.

    Raises:
        BadInput: the file cannot be used, or holds no image.
    """
    from ..products._fits import FitsFile

    with FitsFile(path) as file:
        images = [hdu for hdu in file.hdus if hdu.is_image and len(file.shape(hdu)) >= 2]
        science = [hdu for hdu in images if not _words(hdu.name) & {*VARIANCE_WORDS, *MASK_WORDS, *PSF_WORDS}] or images
        named = [hdu for hdu in science if hdu.name.upper() == "SCI"]
        chosen = named[0] if len(named) == 1 else science[0] if science else file.image(None)
        shape = file.shape(chosen)
        if len(shape) > 3:
            raise file.bad(f"has {len(shape)} axes longer than one; io.image reads images and stacks of images", chosen, "NAXIS")
        band, band_from = _band(file, chosen)
        sky, problem, scale = _sky(file, chosen, shape[-2:])
        return Seen(
            path=path,
            hdu=None if len(images) == 1 or len(named) == 1 else _where(file, chosen),
            chosen=str(chosen),
            others=[str(hdu) for hdu in science if hdu is not chosen],
            shape=(shape[-2], shape[-1]),
            planes=shape[0] if len(shape) == 3 else 1,
            stack=_stack(chosen, shape[0]) if len(shape) == 3 else [],
            band=band,
            band_from=band_from,
            unit=file.text(chosen, "BUNIT") if chosen.cards.text("BUNIT").strip() else "",
            unit_elsewhere=file.hdus[0].cards.text("BUNIT").strip() if not chosen.cards.text("BUNIT").strip() else "",
            zeropoint=_number(file, chosen, ZERO_POINT_KEYWORDS, 10, 40),
            saturate=_number(file, chosen, SATURATION_KEYWORDS, 0, 1e12),
            sky=sky,
            wcs_problem=problem,
            pixel_scale=scale,
            parts=[part for hdu in images if hdu is not chosen and (part := _part(file, hdu, shape[-2:]))],
            gzipped=file.source.gzipped,
        )


def look_at_plane(path: Path, shape: tuple[int, int]) -> Plane | None:
    """Return what a file of its own, next to an image's, holds for that image; None if nothing."""
    from ..core.stage import DataError
    from ..products._fits import FitsFile

    words = _words(path.name.partition(".fit")[0])
    try:
        with FitsFile(path) as file:
            images = [hdu for hdu in file.hdus if hdu.is_image and len(file.shape(hdu)) >= 2]
            if len(images) != 1:
                return None
            return _role(words, file, images[0], shape, f"the file {path.name}", None)
    except DataError:
        return None


def _words(name: str) -> set[str]:
    return {word for word in re.split(r"[^a-z0-9]+", name.lower()) if word}


def _where(file: FitsFile, hdu: Hdu) -> int | str:
    """Return how to name an HDU in a setting: by EXTNAME where that is unique."""
    names = [other.name.upper() for other in file.hdus]
    return hdu.name if hdu.name and hdu.index and names.count(hdu.name.upper()) == 1 else hdu.index


def _part(file: FitsFile, hdu: Hdu, shape: tuple[int, ...]) -> Plane | None:
    return _role(_words(hdu.name), file, hdu, shape, f"HDU {hdu}", _where(file, hdu))


def _role(words: set[str], file: FitsFile, hdu: Hdu, shape: tuple[int, ...], what: str, where: int | str | None) -> Plane | None:
    if words & PSF_WORDS:
        return Plane("psf", where, why=what)
    if file.shape(hdu)[-2:] != tuple(shape):
        return None
    if words & MASK_WORDS:
        return Plane("mask", where, bits=_bits(hdu), why=what)
    eso = _ESO_KINDS.get(hdu.cards.text("HDUCLAS3").strip().upper(), "") if hdu.cards.text("HDUCLAS2").strip().upper() == "ERROR" else ""
    if eso:
        return Plane("variance", where, kind=eso, why=f"{what} says HDUCLAS3 = {hdu.cards.text('HDUCLAS3').strip()}")
    for word in sorted(words & set(VARIANCE_WORDS)):
        return Plane("variance", where, kind=VARIANCE_WORDS[word], why=f"{what}, by its name")
    return None


def _bits(hdu: Hdu) -> dict[str, list[int]]:
    """Return our bits for those that the header names as MP_<name> = bit number, as LSST and we do."""
    from ..catalog.flags import PIXEL

    known = {"INTRP": "INTERP", **{flag.name[:5]: flag.name for flag in PIXEL.flags}}
    bits: dict[str, list[int]] = {}
    for keyword, _ in hdu.cards.matching(re.compile(r"MP_\w+")):
        number = hdu.cards.get(keyword)
        if type(number) is int and 0 <= number < 63:
            bits.setdefault(known.get(keyword[3:8], ""), []).append(1 << number)
    return bits if any(bits) else {}


def _band(file: FitsFile, hdu: Hdu) -> tuple[str, str]:
    for keyword in BAND_KEYWORDS:
        text = (hdu.cards.text(keyword) or file.hdus[0].cards.text(keyword)).strip()
        word = text.split()[0] if text else ""
        if _CLEAN_BAND.fullmatch(word) and word.upper() not in ("CLEAR", "OPEN", "NONE", "EMPTY", "BLANK", "UNKNOWN"):
            return word, f"{keyword} = {text[:40]!r}"
    return "", ""


def _stack(hdu: Hdu, planes: int) -> list[str]:
    names = [hdu.cards.text(f"BAND{n}").strip() for n in range(1, planes + 1)]
    return names if all(_CLEAN_BAND.fullmatch(name) for name in names) and len(set(names)) == planes else []


def _number(file: FitsFile, hdu: Hdu, keywords: tuple[str, ...], low: float, high: float) -> tuple[str, float] | None:
    from ..products._fits.cards import CardError

    for keyword in keywords:
        for cards in (hdu.cards, file.hdus[0].cards):
            try:
                value: Any = cards.get(keyword)
            except CardError:
                continue
            if type(value) in (int, float) and low < value < high:
                return keyword, float(value)
    return None


def _sky(file: FitsFile, hdu: Hdu, shape: tuple[int, ...]) -> tuple[str, str, float | None]:
    """Return where the image points, for people; why it cannot be told; and its pixel scale in arcsec."""
    from ..products._fits import BadWcs, celestial

    try:
        wcs = celestial(hdu.cards, file.path, (shape[0], shape[1]))
    except BadWcs as error:
        return "", str(error), None
    if wcs is None:
        return "", "", None
    from astropy.wcs.utils import proj_plane_pixel_area

    scale = 3600 * float(proj_plane_pixel_area(wcs)) ** 0.5
    centre = wcs.pixel_to_world((shape[1] - 1) / 2, (shape[0] - 1) / 2).icrs
    return f"centre RA {centre.ra.deg:.5f}, Dec {centre.dec.deg:+.5f}, {scale:.3g} arcsec a pixel", "", scale
