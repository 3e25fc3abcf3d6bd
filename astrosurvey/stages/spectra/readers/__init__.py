"""The formats of spectra, one file each, and which of them a file is of.

To add a format, write a file like `marz.py` and list its `FORMAT` here: `sniff` says whether a file is of it, `count`
how many spectra it holds, `read` returns some of them as the file has them, as a `Block`. Units, air and vacuum,
masks' consequences, order and padding are the same for all formats and happen afterwards, in `..read`.
"""

from __future__ import annotations

from .base import Block, Format, SpectrumFile
from .desi import FORMAT as DESI
from .eso import FORMAT as ESO
from .gaia import FORMAT as GAIA
from .lamost import FORMAT as LAMOST
from .lamost_table import FORMAT as LAMOST_TABLE
from .marz import FORMAT as MARZ
from .parquet import FORMAT as PARQUET
from .planes import FORMAT as PLANES
from .rows import FORMAT as ROWS
from .sdss import FORMAT as SDSS
from .sdss_images import FORMAT as SDSS_IMAGES
from .table import FORMAT as TABLE
from .with_specutils import FORMAT as SPECUTILS

# The more particular ones first: `table` takes all text, and `rows` any table with a spectrum in each row.
FORMATS: dict[str, Format] = {
    entry.name: entry for entry in (LAMOST, LAMOST_TABLE, SDSS, DESI, MARZ, SDSS_IMAGES, ESO, PLANES, ROWS, PARQUET, GAIA, TABLE, SPECUTILS)
}


def format_of(file: SpectrumFile, named: str) -> Format:
    """Return the format of a file.

    Args:
        file: an open file.
        named: what the setting `format` says; "auto": the first whose `sniff` recognises it.

    Raises:
        BadInput: nothing here reads it; the message says what it holds.
    """
    if named != "auto":
        return FORMATS[named]
    for entry in FORMATS.values():
        if entry.sniff(file):
            return entry
    raise file.bad(_what_it_is(file), "set `format` and `columns` if it holds spectra all the same, or `format: specutils`")


def _what_it_is(file: SpectrumFile) -> str:
    if file.fits is None:
        kinds = ((b"PK\x03\x04", "a zip or npz archive"), (b"\x93NUMPY", "a NumPy array"), (b"\x89HDF", "an HDF5 file"))
        kind = next((kind for magic, kind in kinds if file.start.startswith(magic)), "no format of spectra that is known")
        return f"is {kind}, and says neither what its numbers are nor their units"
    hdus = ", ".join(f"{hdu} {hdu.kind}" for hdu in file.fits.hdus[:8]) + (", …" if len(file.fits.hdus) > 8 else "")
    return f"holds no spectra that are recognised: no fluxes with wavelengths among its HDUs {hdus}"


__all__ = ["FORMATS", "Block", "Format", "SpectrumFile", "format_of"]
