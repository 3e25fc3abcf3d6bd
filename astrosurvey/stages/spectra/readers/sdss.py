"""SDSS, BOSS, eBOSS and SDSS-V: one spectrum a file, a table with a row for each pixel (`spec-PLATE-MJD-FIBER.fits`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....catalog.flags import SPECTRUM
from ....products._fits import BinaryTable
from ..fluxes import UNIT
from ..masks import FIBRE_WARNINGS, translated
from .base import Block, Format, SpectrumFile, snapped

_NEEDED = ("FLUX", "LOGLAM", "IVAR")
_RA, _DEC = ("PLUG_RA", "RACAT", "RA"), ("PLUG_DEC", "DECCAT", "DEC")
_SIGMA_TO_FWHM = 2.3548


def _coadd(file: SpectrumFile) -> BinaryTable | None:
    table = file.table("COADD") or file.table(1)
    return table if table is not None and all(name in table and table.length(name) == 1 for name in _NEEDED) else None


def sniff(file: SpectrumFile) -> bool:
    """Return whether there is a table of flux, loglam and ivar."""
    return _coadd(file) is not None


def count(file: SpectrumFile) -> int:
    """Return one."""
    return 1


def read(file: SpectrumFile, first: int, last: int) -> Block:
    """Return the coadded spectrum; those of single exposures behind it are not read."""
    table = _coadd(file)
    if table is None:
        raise file.bad(f"has no table with the columns {', '.join(_NEEDED)}", "leave out `format: sdss`")
    mask_name = file.called("mask", table.columns)
    names = [*_NEEDED, *([mask_name] if mask_name else []), *(["WDISP"] if "WDISP" in table else [])]
    values = {name: column[None] for name, column in table.read(names).items()}
    bits = values[mask_name].astype(np.int64) if mask_name else np.zeros(values["FLUX"].shape, np.int64)
    warned = np.mean((bits & FIBRE_WARNINGS) != 0) > 0.5
    target = _target(file)
    on_sky = "SKY" in (str(target.get(name, "")).strip().upper() for name in ("OBJTYPE", "SOURCETYPE"))
    identity = [file.text(keyword) for keyword in ("PLATEID", "MJD", "FIBERID")]
    return Block(
        wave=snapped(values["LOGLAM"][0]),
        flux=values["FLUX"],
        noise=values["IVAR"],
        mask=translated(bits, file.convention(mask_name or "", "sdss")),
        names=["-".join(identity)] if all(identity) else None,
        unit=table.unit("FLUX") or file.text("BUNIT") or UNIT,  # the data model knows no other
        wave_unit="log10(Angstrom)",
        medium="air" if file.yes("VACUUM") is False else "vacuum",
        frame="heliocentric",
        columns={
            "ra": [_first(file.number("PLUG_RA", "RAOBJ", "RA_TARG"), *(target.get(name) for name in _RA))],
            "dec": [_first(file.number("PLUG_DEC", "DECOBJ", "DEC_TARG"), *(target.get(name) for name in _DEC))],
            "mjd": [file.number("MJD")],
            "exposure": [file.number("EXPTIME")],
            "resolution": [_resolution(values.get("WDISP"))],
        },
        flags=np.array([SPECTRUM["BAD_FIBRE"] * bool(warned) + SPECTRUM["SKY_FIBRE"] * on_sky]),
    )


def _target(file: SpectrumFile) -> dict[str, Any]:
    """Return what the table behind the spectrum says of its target: {} when there is none."""
    table = file.table(2)
    if table is None or table.rows != 1:
        return {}
    names = [name for name in ("OBJTYPE", "SOURCETYPE", *_RA, *_DEC) if name in table and table.length(name) >= 1]
    return {name: values[0] for name, values in table.read(names).items()}


def _first(*values: Any) -> float:
    """Return the first that is a finite number."""
    return next((float(value) for value in values if value is not None and np.isfinite(value)), np.nan)


def _resolution(sigma: np.ndarray | None) -> float:
    """Return the resolving power; `sigma` is the width of a line in pixels of 1e-4 in log10 of the wavelength."""
    middle = float(np.median(sigma)) if sigma is not None else 0.0
    return 1 / (np.log(10) * 1e-4 * _SIGMA_TO_FWHM * middle) if middle > 0 else np.nan


FORMAT = Format("sdss", "SDSS, BOSS, eBOSS and SDSS-V `spec-*` files: one spectrum as a table of pixels", sniff, count, read)
