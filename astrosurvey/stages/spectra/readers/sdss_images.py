"""SDSS images: `spPlate`, a plate with a spectrum in each row, and `spSpec`, the planes of one spectrum in five rows."""

from __future__ import annotations

import numpy as np

from ....catalog.flags import SPECTRUM
from ..fluxes import UNIT
from ..masks import translated
from .base import Block, Format, SpectrumFile, log_grid, snapped

_SPSPEC_ROWS = 5


def _is_plate(file: SpectrumFile) -> bool:
    hdus = file.fits.hdus if file.fits else ()
    return len(hdus) > 2 and hdus[1].is_image and hdus[1].shape == hdus[0].shape and hdus[2].shape == hdus[0].shape


def sniff(file: SpectrumFile) -> bool:
    """Return whether the primary HDU is an image of rows on a logarithmic grid, with planes of the same shape or in five rows."""
    if file.fits is None or len(file.fits.hdus[0].shape) != 2 or log_grid(file, 1) is None:
        return False
    return _is_plate(file) or (file.fits.hdus[0].shape[0] == _SPSPEC_ROWS and file.text("TELESCOP").startswith("SDSS"))


def count(file: SpectrumFile) -> int:
    """Return the number of fibres."""
    assert file.fits is not None
    return int(file.fits.hdus[0].shape[0]) if _is_plate(file) else 1


def read(file: SpectrumFile, first: int, last: int) -> Block:
    """Return rows of a plate, or the one spectrum of an `spSpec` file."""
    if not sniff(file):
        raise file.bad("is neither an spPlate nor an spSpec file", "leave out `format: sdss-image`")
    assert file.fits is not None
    grid = log_grid(file, file.fits.hdus[0].shape[1])
    assert grid is not None
    block = _plate(file, first, last) if _is_plate(file) else _single(file)
    block.wave, block.wave_unit = snapped(grid), "log10(Angstrom)"
    block.unit = file.text("BUNIT") or UNIT  # the data model knows no other
    block.medium = "air" if file.yes("VACUUM") is False else "vacuum"
    block.frame = "heliocentric"
    n = len(block.flux)
    block.columns |= {"mjd": np.full(n, file.number("MJD")), "exposure": np.full(n, file.number("EXPTIME"))}
    return block


def _plate(file: SpectrumFile, first: int, last: int) -> Block:
    assert file.fits is not None
    flux, ivar = (file.pixels(file.fits.hdus[k], first, last) for k in (0, 1))
    mask = file.pixels(file.fits.hdus[2], first, last, np.int64)
    block = Block(np.empty(0), flux, ivar, mask=translated(mask, file.mask or "sdss"))
    plugged = file.table("PLUGMAP") or file.table(5)
    wanted = [name for name in ("RA", "DEC", "OBJTYPE", "FIBERID") if plugged is not None and name in plugged]
    if plugged is not None and plugged.rows == count(file) and wanted:
        values = plugged.read(wanted, first, last)
        block.columns = {name.lower(): values[name] for name in ("RA", "DEC") if name in values}
        if "OBJTYPE" in values:
            block.flags = np.where(np.char.strip(values["OBJTYPE"]) == "SKY", SPECTRUM["SKY_FIBRE"], 0)
        if "FIBERID" in values:
            block.names = [f"{file.text('PLATEID')}-{file.text('MJD')}-{fibre}" for fibre in values["FIBERID"]]
    return block


def _single(file: SpectrumFile) -> Block:
    assert file.fits is not None
    flux, _, error, mask, *_ = file.pixels(file.fits.hdus[0])
    place = {"ra": [file.number("RAOBJ")], "dec": [file.number("DECOBJ")]}
    names = ["-".join(file.text(keyword) for keyword in ("PLATEID", "MJD", "FIBERID"))]
    bits = translated(np.nan_to_num(mask[None]).astype(np.int64), file.mask or "sdss")
    return Block(np.empty(0), flux[None], error[None], "error", bits, names, columns=place)


FORMAT = Format("sdss-image", "SDSS `spPlate-*` (a plate in rows) and `spSpec-*` (one spectrum) images", sniff, count, read)
