"""4MOST L1 and other spectra by ESO's standard for science products: a table with WAVE, FLUX, ERR_FLUX and QUAL in its rows.

The column's UCD says the medium (`em.wl;obs.atmos`: air), SPECSYS the rest frame, FLUXCAL whether the flux is calibrated.

References: ESO Science Data Products Standard (GEN-SPE-ESO-33000-5335); de Jong et al. (2019), The Messenger 175, 3.
"""

from __future__ import annotations

import numpy as np

from ....products._fits import BinaryTable
from .base import Block, Format, SpectrumFile
from .rows import needed_table, read_rows, spectra_table


def _ucd(file: SpectrumFile, table: BinaryTable) -> str:
    wave = file.called("wave", table.columns)
    return table.hdu.cards.text(f"TUCD{table.columns[wave].number}").strip().lower() if wave else ""


HINT = "leave out `format: eso`"


def sniff(file: SpectrumFile) -> bool:
    """Return whether there is a table with a spectrum in each row whose wavelengths have a UCD, or that ESO calls a product."""
    table = spectra_table(file)
    if table is None or file.called("wave", table.columns) is None:
        return False
    return _ucd(file, table).startswith("em.wl") or "SPECTRUM" in file.text("PRODCATG") or file.text("INSTRUME").startswith("QMOST")


def count(file: SpectrumFile) -> int:
    """Return the number of rows."""
    return needed_table(file, HINT).rows


def read(file: SpectrumFile, first: int, last: int) -> Block:
    """Return rows of the table with what the primary header says about all of them."""
    table = needed_table(file, HINT)
    block = read_rows(file, table, first, last)
    ucd = _ucd(file, table)
    if ucd.startswith("em.wl"):
        block.medium = "air" if "obs.atmos" in ucd else "vacuum"
    if file.text("FLUXCAL").upper() == "UNCALIBRATED":
        block.unit = "relative"
    n = len(block.flux)
    keywords = {"ra": ("RA",), "dec": ("DEC",), "mjd": ("MJD-OBS",), "exposure": ("EXPTIME",), "resolution": ("SPEC_RES",)}
    block.columns = {ours: np.full(n, file.number(*theirs)) for ours, theirs in keywords.items()} | block.columns
    if np.isfinite(end := file.number("MJD-END")):
        block.columns["mjd"] = 0.5 * (block.columns["mjd"] + end)
    if block.names is None and n == 1 and file.text("OBJECT"):
        block.names = [file.text("OBJECT")]
    site = [file.number(f"ESO TEL GEO{word}") for word in ("LON", "LAT", "ELEV")]
    block.site = (site[0], site[1], site[2])
    return block


FORMAT = Format("eso", "4MOST L1 and other ESO products: WAVE, FLUX, ERR_FLUX and QUAL in the rows of a table", sniff, count, read)
