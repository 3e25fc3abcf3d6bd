"""LAMOST low resolution, as images: five rows with flux, inverse variance, wavelength and two masks."""

from __future__ import annotations

import numpy as np

from ....catalog.flags import SPECTRUM
from ..masks import translated
from .base import Block, Format, SpectrumFile, log_grid, snapped

_ROWS = 5


def is_lamost(file: SpectrumFile) -> bool:
    """Return whether the primary header says that this is of LAMOST."""
    return file.fits is not None and (file.text("TELESCOP").startswith("LAMOST") or "LAMOST" in file.text("ORIGIN"))


def sniff(file: SpectrumFile) -> bool:
    """Return whether this is an image of LAMOST in five rows."""
    return is_lamost(file) and file.fits is not None and file.fits.hdus[0].is_image and file.fits.hdus[0].shape[:1] == (_ROWS,)


def count(file: SpectrumFile) -> int:
    """Return one."""
    return 1


def read(file: SpectrumFile, first: int, last: int) -> Block:
    """Return the spectrum.

    The wavelengths are those of the header; the third row, which repeats them in float32, held something else in
    the first releases.
    """
    if not sniff(file):
        raise file.bad("is no image of LAMOST in five rows", "leave out `format: lamost`")
    assert file.fits is not None
    flux, ivar, third, mask, _ = file.pixels(file.fits.hdus[0])
    grid = log_grid(file, len(flux))
    return labelled(
        file,
        Block(
            wave=snapped(grid) if grid is not None else third,
            flux=flux[None],
            noise=ivar[None],
            mask=translated(np.nan_to_num(mask[None]).astype(np.int64), file.mask or "lamost"),
            wave_unit="log10(Angstrom)" if grid is not None else "Angstrom",
        ),
    )


def labelled(file: SpectrumFile, block: Block) -> Block:
    """Add what all headers of LAMOST say."""
    n = len(block.flux)
    block.names = [file.text("DESIG") or file.stem] * n
    block.unit = file.text("BUNIT") or "relative"  # the release calls its fluxes relative, and writes no unit
    block.medium = "air" if file.yes("VACUUM") is False else "vacuum"
    block.frame = "heliocentric" if file.yes("HELIO") else "topocentric" if file.yes("HELIO") is False else None
    keywords = {"ra": ("RA_OBS", "RA"), "dec": ("DEC_OBS", "DEC"), "mjd": ("MJD",), "exposure": ("EXPTIME",)}
    middle = _mjd(file.text("DATE-OBS"))  # LAMOST's is the middle of the exposures, in UTC
    block.columns |= {ours: np.full(n, file.number(*theirs)) for ours, theirs in keywords.items()}
    if np.isfinite(middle):
        block.columns["mjd"] = np.full(n, middle)
    sky, warned = file.text("FIBERTYP").upper() == "SKY", file.number("FIBERMAS") > 0
    block.flags = block.flags | np.full(n, SPECTRUM["SKY_FIBRE"] * sky + SPECTRUM["BAD_FIBRE"] * warned)
    return block


def _mjd(date: str) -> float:
    """Return the Modified Julian Date of a time such as 2019-04-01T14:03:00; NaN when it is none."""
    try:
        return float((np.datetime64(date.rstrip("Z"), "ms") - np.datetime64("1858-11-17", "ms")) / np.timedelta64(1, "D"))
    except ValueError:
        return np.nan


FORMAT = Format("lamost", "LAMOST low-resolution images, five rows for one spectrum", sniff, count, read)
