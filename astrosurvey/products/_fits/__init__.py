"""FITS behind a guard: the only place where a FITS file is opened, checked, read or written.

`guard` opens nothing but a literal regular file, `header` walks the HDUs and checks every number that
later steps trust, `read` cuts windows out of plain and gzipped images and `tables` columns out of tables,
`tiles` and `streams` check what is stored of tile-compressed images and `tiled` has it decoded, `write` makes
deterministic bytes, `wcs` takes coordinates from a header and back without losing a bit.

CFITSIO decodes tiles, through fitsio. It never opens a user's file: its file names are code
(`a.fits(copy.fits)` writes, `http://…` connects), it drops the HDUs behind a corrupt one without a word, it
ignores BLANK, and crafted tiles crash it. It gets a small file of our own, under a name of our own, which
holds the checked bytes of the window's tiles and cards that we wrote.
"""

from __future__ import annotations

from .guard import BadInput, escape
from .header import Hdu
from .read import FitsFile, Window
from .tables import BinaryTable
from .wcs import BadWcs, celestial, wcs_cards
from .write import Plane, write_fits

__all__ = ["BadInput", "BadWcs", "BinaryTable", "FitsFile", "Hdu", "Plane", "Window", "celestial", "escape", "wcs_cards", "write_fits"]
