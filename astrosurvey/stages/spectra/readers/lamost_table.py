"""LAMOST of the later releases and of medium resolution: tables COADD, or COADD_B and COADD_R, with a spectrum in one row."""

from __future__ import annotations

import numpy as np

from ....catalog.flags import SPECTRUM
from ....products._fits import BinaryTable
from ..arms import Arm, join
from ..masks import translated
from .base import Block, Format, SpectrumFile, snapped
from .lamost import is_lamost, labelled


def _tables(file: SpectrumFile) -> list[BinaryTable]:
    names = ("COADD", "COADD_B", "COADD_R")
    found = [table for name in names if (table := file.table(name)) is not None]
    return [table for table in found if "FLUX" in table and (file.called("wave", table.columns) or file.called("loglam", table.columns))]


def sniff(file: SpectrumFile) -> bool:
    """Return whether this is of LAMOST and has a table of a coadded spectrum."""
    return is_lamost(file) and bool(_tables(file))


def count(file: SpectrumFile) -> int:
    """Return one."""
    return 1


def read(file: SpectrumFile, first: int, last: int) -> Block:
    """Return the coadded spectrum, the blue and the red one joined; those of single exposures are not read."""
    if not (tables := _tables(file)):
        raise file.bad("has no table COADD with fluxes and wavelengths", "leave out `format: lamost-table`")
    arms = [_arm(file, table) for table in tables]
    joined, disagree = join([arm for arm, _ in arms])
    noise = joined.ivar if all(has_ivar for _, has_ivar in arms) else None
    block = Block(joined.wave, joined.flux, noise, mask=joined.mask, flags=np.where(disagree, SPECTRUM["ARMS_DISAGREE"], 0))
    return labelled(file, block)


def _arm(file: SpectrumFile, table: BinaryTable) -> tuple[Arm, bool]:
    logarithmic = file.called("loglam", table.columns)
    wave_name = file.called("wave", table.columns) or logarithmic
    assert wave_name is not None
    mask_name = file.called("mask", table.columns)
    names = [name for name in ("FLUX", "IVAR", wave_name, mask_name) if name is not None and name in table]
    values = {name: np.asarray(column).reshape(1, -1) for name, column in table.read(names).items()}
    wave = values[wave_name][0].astype(np.float64)
    wave = 10 ** snapped(wave if wave_name == logarithmic else np.log10(wave))
    if not (np.isfinite(wave).all() and (np.diff(wave) > 0).all()):
        raise file.bad("the wavelengths must be increasing numbers", "write it again", table.hdu)
    flux = values["FLUX"].astype(np.float64)
    bits = values[mask_name].astype(np.int64) if mask_name else np.zeros(flux.shape, np.int64)
    ivar = values.get("IVAR", np.ones_like(flux)).astype(np.float64)
    return Arm(wave, flux, ivar, translated(bits, file.mask or "lamost")), "IVAR" in values


FORMAT = Format("lamost-table", "LAMOST tables COADD, or COADD_B and COADD_R joined", sniff, count, read)
