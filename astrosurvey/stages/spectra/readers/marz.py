"""Marz and AAOmega (2dfdr): an image of spectra, its VARIANCE, and perhaps WAVELENGTH and FIBRES.

2dfdr gives wavelengths in air; VACUUM = T says otherwise. LOGSCALE = T: their logarithm. DO_HELIO = T asks for a
correction, and so says that there is none yet.

References: Hinton et al. (2016), Astronomy and Computing 15, 61.
"""

from __future__ import annotations

import numpy as np

from ....catalog.flags import SPECTRUM
from .base import Block, Format, SpectrumFile


def sniff(file: SpectrumFile) -> bool:
    """Return whether the primary HDU is an image with a plane VARIANCE, and wavelengths are in its header or in a plane."""
    if file.fits is None or not file.fits.hdus[0].is_image or len(file.fits.hdus[0].shape) > 2:
        return False
    along = file.text("CTYPE1").lower().startswith(("wave", "awav", "lambda"))  # and not along the sky, as in any other image
    return "VARIANCE" in file.names and ("WAVELENGTH" in file.names or along)


def count(file: SpectrumFile) -> int:
    """Return the number of rows."""
    assert file.fits is not None
    shape = file.fits.hdus[0].shape
    return int(shape[0]) if len(shape) == 2 else 1


def read(file: SpectrumFile, first: int, last: int) -> Block:
    """Return rows of the image."""
    if not sniff(file):
        raise file.bad("has no image with a plane VARIANCE and wavelengths", "leave out `format: marz`")
    assert file.fits is not None
    flux, variance = (np.atleast_2d(file.pixels(hdu, first, last)) for hdu in (file.fits.hdus[0], file.fits.find("VARIANCE")))
    if "WAVELENGTH" in file.names:
        wave = file.image("WAVELENGTH", first, last)
    else:
        step = file.number("CDELT1", "CD1_1")
        wave = file.number("CRVAL1") + (np.arange(flux.shape[1]) + 1 - file.number("CRPIX1")) * step
    block = Block(
        wave,
        flux,
        variance,
        "variance",
        unit=file.text("BUNIT") or "relative",
        wave_unit="log10(Angstrom)" if file.yes("LOGSCALE") else file.text("CUNIT1") or "Angstrom",
        medium="vacuum" if file.yes("VACUUM") else "air",
        frame="topocentric" if file.yes("DO_HELIO") else None,
        columns={"mjd": np.full(len(flux), file.number("UTMJD")), "exposure": np.full(len(flux), file.number("TOTALEXP", "EXPOSED"))},
        site=(file.number("LONG_OBS"), file.number("LAT_OBS"), file.number("ALT_OBS")),
    )
    fibres = file.table("FIBRES")
    wanted = [name for name in ("NAME", "RA", "DEC", "TYPE") if fibres is not None and name in fibres]
    if fibres is not None and fibres.rows == count(file):
        values = fibres.read(wanted, first, last)
        block.names = values["NAME"].tolist() if "NAME" in values else None
        block.columns |= {name.lower(): np.degrees(values[name]) for name in ("RA", "DEC") if name in values}
        block.flags = np.where(values["TYPE"] == "S", SPECTRUM["SKY_FIBRE"], 0) if "TYPE" in values else 0
    return block


FORMAT = Format("marz", "Marz and AAOmega (2dfdr) images with a plane VARIANCE", sniff, count, read)
