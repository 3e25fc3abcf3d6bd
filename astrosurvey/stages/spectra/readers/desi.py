"""DESI `coadd-*` and `spectra-*` files, and whatever else keeps its arms in extensions X_WAVELENGTH, X_FLUX, X_IVAR and X_MASK."""

from __future__ import annotations

from itertools import chain

import numpy as np

from ....catalog.flags import SPECTRUM
from ..arms import Arm, join
from ..fluxes import UNIT
from ..masks import translated
from .base import Block, Format, SpectrumFile


def _arms(file: SpectrumFile) -> list[str]:
    arms = {name.removesuffix("_WAVELENGTH") for name in file.names if name.endswith("_WAVELENGTH")}
    return sorted(arm for arm in arms if f"{arm}_FLUX" in file.names)


def sniff(file: SpectrumFile) -> bool:
    """Return whether there is an arm."""
    return bool(_arms(file))


def count(file: SpectrumFile) -> int:
    """Return the number of spectra in the first arm."""
    if not (arms := _arms(file)):
        raise file.bad("has no extensions X_WAVELENGTH and X_FLUX", "leave out `format: desi`")
    assert file.fits is not None
    return int(file.fits.image(f"{arms[0]}_FLUX").shape[0])


def read(file: SpectrumFile, first: int, last: int) -> Block:
    """Return rows with their arms joined."""
    assert file.fits is not None
    total = count(file)
    arms, units = [], []
    weighted = all(f"{name}_IVAR" in file.names for name in _arms(file))
    for name in _arms(file):
        if file.fits.image(f"{name}_FLUX").shape[0] != total:
            raise file.bad(f"has arms with different numbers of spectra: {name} has not {total}", "write it again")
        flux = file.image(f"{name}_FLUX", first, last)
        ivar = file.image(f"{name}_IVAR", first, last) if weighted else np.ones_like(flux)
        mask = np.zeros(flux.shape, np.int32)
        if f"{name}_MASK" in file.names:
            mask = translated(file.image(f"{name}_MASK", first, last, np.int64), file.mask or "desi")
        wave = file.image(f"{name}_WAVELENGTH")
        if not (wave.shape == flux.shape[1:] == ivar.shape[1:] == mask.shape[1:]):
            raise file.bad(f"the planes of arm {name} are not of one length", "write it again")
        if not (np.isfinite(wave).all() and (np.diff(wave) > 0).all()):
            raise file.bad("the wavelengths of an arm must be increasing numbers", "write it again", file.fits.find(f"{name}_WAVELENGTH"))
        arms.append(Arm(wave, flux, ivar, mask))
        units.append(file.fits.find(f"{name}_FLUX").cards.text("BUNIT"))
    joined, disagree = join(arms)
    block = Block(
        joined.wave,
        joined.flux,
        joined.ivar if weighted else None,
        mask=joined.mask,
        unit=units[0] or UNIT,  # the data model knows no other
        medium="vacuum",
        frame="barycentric",
        flags=np.where(disagree & weighted, SPECTRUM["ARMS_DISAGREE"], 0),
    )
    _label(file, block, first, last)
    return block


def _label(file: SpectrumFile, block: Block, first: int, last: int) -> None:
    """Add what the fibre map says: names, places, exposure times, warnings."""
    assert file.fits is not None
    table = file.table("FIBERMAP")
    if table is None or table.rows != count(file):
        return
    columns = {"ra": ("TARGET_RA",), "dec": ("TARGET_DEC",), "exposure": ("COADD_EXPTIME", "EXPTIME"), "mjd": ("MEAN_MJD", "MJD")}
    wanted = ("TARGETID", "COADD_FIBERSTATUS", "FIBERSTATUS", "OBJTYPE", *chain.from_iterable(columns.values()))
    values = table.read([name for name in wanted if name in table], first, last)
    for ours, theirs in columns.items():
        found = next((values[name] for name in theirs if name in values), None)
        if found is not None:
            block.columns[ours] = found
    if "TARGETID" in values:
        block.names = [str(number) for number in values["TARGETID"]]
    status = values.get("COADD_FIBERSTATUS", values.get("FIBERSTATUS"))
    if status is not None:
        block.flags = block.flags | np.where(status != 0, SPECTRUM["BAD_FIBRE"], 0)
    if "OBJTYPE" in values:
        block.flags = block.flags | np.where(values["OBJTYPE"] == "SKY", SPECTRUM["SKY_FIBRE"], 0)


FORMAT = Format("desi", "DESI `coadd-*` and `spectra-*` files: the arms joined into one spectrum", sniff, count, read)
