"""FITS behind a guard: the only place where a FITS file is opened, checked, read or written.

`guard` opens nothing but a literal regular file, `header` walks the HDUs and checks every number that
later steps trust, `read` cuts windows out of plain, gzipped and tile-compressed images, `write` makes
deterministic bytes, `wcs` takes coordinates from a header and back without losing a bit.

CFITSIO is not used. Its file names are code (`a.fits(copy.fits)` writes, `http://…` connects), it drops
the HDUs behind a corrupt one without a word and ignores BLANK; and on plain and tile-compressed images
the readers here are no slower (`benchmarks/fits_io.py`).
"""

from __future__ import annotations

from .guard import BadInput, escape
from .header import Hdu
from .read import FitsFile, Window
from .wcs import BadWcs, celestial, wcs_cards
from .write import Plane, write_fits

__all__ = ["BadInput", "BadWcs", "FitsFile", "Hdu", "Plane", "Window", "celestial", "escape", "wcs_cards", "write_fits"]
