"""Extensions FLUX, IVAR (or an error), MASK and WAVE: stacks, MaNGA rows, our own product, and what people write themselves."""

from __future__ import annotations

import numpy as np

from ..masks import translated
from .base import Block, Format, SpectrumFile


def _wave(file: SpectrumFile) -> str | None:
    return file.called("wave", file.names) or file.called("loglam", file.names)


def sniff(file: SpectrumFile) -> bool:
    """Return whether there are images of fluxes and of wavelengths."""
    if file.fits is None or file.columns.get("wave"):
        return False
    names = {hdu.name.upper() for hdu in file.fits.hdus if hdu.is_image}
    return any(alias in names for alias in ("FLUX", "FLAM")) and any(alias in names for alias in ("WAVE", "WAVELENGTH", "LAMBDA", "LOGLAM"))


def count(file: SpectrumFile) -> int:
    """Return the number of rows of the fluxes."""
    assert file.fits is not None
    shape = file.fits.shape(file.fits.find(_flux(file)))
    return int(shape[0]) if len(shape) == 2 else 1


def _flux(file: SpectrumFile) -> str:
    if (name := file.called("flux", file.names)) is None:
        raise file.bad("has no extension with fluxes", "set `columns.flux` to its name")
    return name


def read(file: SpectrumFile, first: int, last: int) -> Block:
    """Return rows of the fluxes."""
    assert file.fits is not None
    flux_name, wave_name = _flux(file), _wave(file)
    if wave_name is None:
        raise file.bad("has no extension with wavelengths", "set `columns.wave` to its name")
    flux = np.atleast_2d(file.image(flux_name, first, last))
    noise_name, kind = file.noise(file.names)
    mask_name = file.called("mask", file.names)
    bits = np.atleast_2d(file.image(mask_name, first, last, np.int64)) if mask_name else None
    header = file.fits.find(wave_name)
    ours = file.text("PRODUCT") == "spectra" and file.mask is None
    logarithmic = wave_name == file.called("loglam", file.names)
    unit = header.cards.text("BUNIT") or file.text("CUNIT1") or None
    return Block(
        wave=file.image(wave_name, first, last),
        flux=flux,
        noise=np.atleast_2d(file.image(noise_name, first, last)) if noise_name else None,
        noise_kind=kind,
        mask=translated(bits, "ours" if ours else file.convention(mask_name)) if bits is not None and mask_name else None,
        unit=file.fits.find(flux_name).cards.text("BUNIT") or file.text("BUNIT") or ("relative" if ours else None),
        wave_unit=f"log10({unit or 'Angstrom'})" if logarithmic else unit,
        medium="vacuum" if header.cards.text("AIRORVAC").lower().startswith("vac") else medium_of(file),
        frame=frame_of(file),
    )


def medium_of(file: SpectrumFile) -> str | None:
    """Return whether the primary header says that wavelengths are in air or in vacuum; None when it says neither."""
    word = file.text("AIRORVAC", "WAVEMED", "VACAIR").lower()
    if word.startswith(("vac", "air")):
        return "vacuum" if word.startswith("vac") else "air"
    kind = file.text("CTYPE1").upper()
    if kind.startswith(("AWAV", "WAVE")):  # Greisen et al. (2006), A&A 446, 747: AWAV is in air, WAVE in vacuum
        return "air" if kind.startswith("AWAV") else "vacuum"
    return {True: "vacuum", False: "air", None: None}[file.yes("VACUUM")]


def frame_of(file: SpectrumFile) -> str | None:
    """Return the rest frame that SPECSYS names; None when there is none of ours."""
    frames = {"TOPOCENT": "topocentric", "HELIOCEN": "heliocentric", "BARYCENT": "barycentric", "SOURCE": "source"}
    return frames.get(file.text("SPECSYS").upper()[:8])


FORMAT = Format("planes", "extensions FLUX, IVAR or ERROR or VARIANCE, MASK and WAVE, such as MaNGA's", sniff, count, read)
