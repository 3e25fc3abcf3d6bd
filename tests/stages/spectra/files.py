"""Small files of every format of spectra, made with astropy, and the stage run on them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from astropy.io import fits

from astrosurvey.catalog.flags import SPECTRUM
from astrosurvey.core.stage import Context
from astrosurvey.core.tiles import Tile
from astrosurvey.stages.spectra.stage import ReadSpectra

RNG = np.random.default_rng(8)
LOGLAM = 3.58 + 1e-4 * np.arange(400)
WAVE = 10**LOGLAM
FLUX = (5 + np.sin(WAVE / 50) + RNG.normal(0, 0.1, WAVE.size)).astype(np.float32)
IVAR = np.full(WAVE.size, 100, np.float32)
UNIT = "1e-17 erg s-1 cm-2 Angstrom-1"


def context(folder: Path, tile: Tile | None = None) -> Context:
    return Context(tile or Tile("t1", 3, 0), np.random.default_rng(0), "cpu", logging.getLogger("t1"), lambda done, total: None, folder)


def read(path, tile=None, **config):
    """Return the spectra and the catalogue of a file, both checked."""
    made = ReadSpectra(ReadSpectra.Config(path=str(path), **config)).run(context(Path(path).parent, tile))
    made["spectra"].check()
    made["catalog"].check()
    assert made["catalog"].column("spectrum_id").tolist() == made["spectra"].ids.tolist()
    return made["spectra"], made["catalog"]


def flagged(catalog, row=0):
    """Return the names of a spectrum's flags."""
    return set(SPECTRUM.decode(int(catalog.column("flags")[row])))


def table_hdu(name="", units=None, header=None, **columns):
    """Return a binary table of arrays."""
    formats = {"f": "E", "d": "D", "i": "J", "l": "K", "U": "A"}
    made = []
    for key, values in ((key, np.asarray(values)) for key, values in columns.items()):
        kind = formats[values.dtype.kind if values.dtype.kind == "U" else values.dtype.char]
        length = values.dtype.itemsize // 4 if kind == "A" else values.shape[1] if values.ndim == 2 else 1
        made.append(fits.Column(key, f"{length}{kind}", unit=(units or {}).get(key), array=values))
    return fits.BinTableHDU.from_columns(made, name=name, header=fits.Header(header or {}))


def write(path, *hdus, primary=None, **header):
    first = fits.PrimaryHDU(primary, fits.Header(header))
    fits.HDUList([first, *hdus]).writeto(path, overwrite=True)
    return path


def image(name, data, **header):
    return fits.ImageHDU(np.asarray(data), fits.Header(header), name=name)


def sdss(path, **changes):
    columns = {"flux": FLUX, "loglam": LOGLAM.astype(np.float32), "ivar": IVAR, "and_mask": np.zeros(WAVE.size, np.int32)}
    columns["wdisp"] = np.full(WAVE.size, 1.2, np.float32)
    header = {"BUNIT": "1E-17 erg/cm^2/s/Ang", "VACUUM": True, "HELIO_RV": 5.0, "PLATEID": 266, "MJD": 51602, "FIBERID": 13}
    return write(path, table_hdu("COADD", **{**columns, **changes}), **header, PLUG_RA=146.9, PLUG_DEC=-0.67, EXPTIME=3600.0)


def csv(path, wave=WAVE, flux=FLUX, error=None, header="wave,flux,error"):
    error = np.full(len(wave), 0.1) if error is None else error
    np.savetxt(path, np.column_stack([wave, flux, error]), delimiter=",", header=header, comments="", fmt="%.12g")
    return path


SETTINGS = {"unit": UNIT, "wave_unit": "Angstrom", "medium": "vacuum"}
"""What a plain table does not say."""
