"""Whatever specutils reads, when it is asked for: `format: specutils`, or `specutils:LOADER` with the name of one of its loaders.

specutils is no dependency: `pip install specutils`. FITS files have passed our own checks before it sees them.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ....catalog.flags import SPECTRUM_PIXEL
from ....products._fits import escape
from .base import Block, Format, SpectrumFile


def sniff(file: SpectrumFile) -> bool:
    """Return False: it is only used when it is asked for."""
    return False


def _spectra(file: SpectrumFile) -> list[Any]:
    try:
        import specutils
    except ImportError:
        raise file.bad("was to be read with specutils, which is not installed", "`pip install specutils`, or leave out `format`") from None
    single = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = [single.read(str(file.path), format=file.loader)]
            except Exception:
                found = list(specutils.SpectrumList.read(str(file.path), format=file.loader))
    except Exception as error:  # each of its loaders raises what it likes
        raise file.bad(f"specutils cannot read it: {escape(error, 160)}", "name a loader: `format: specutils:LOADER`") from error
    return found


def count(file: SpectrumFile) -> int:
    """Return how many spectra specutils finds."""
    return sum(int(np.prod(spectrum.flux.shape[:-1], dtype=int)) for spectrum in _spectra(file))


def read(file: SpectrumFile, first: int, last: int) -> Block:
    """Return some of them; all must have one number of pixels."""
    rows = [_block(spectrum) for spectrum in _spectra(file)]
    if len({(block.flux.shape[1], block.unit, block.wave_unit, block.noise_kind, block.noise is None) for block in rows}) != 1:
        reason = "specutils finds spectra of different lengths, units or kinds of errors in it"
        raise file.bad(reason, "name another loader: `format: specutils:LOADER`")
    cut = slice(first, last)

    def stack(name: str) -> np.ndarray:
        return np.concatenate([np.broadcast_to(getattr(block, name), block.flux.shape) for block in rows])[cut]

    one = rows[0]
    return Block(
        wave=stack("wave"),
        flux=stack("flux"),
        noise=stack("noise") if one.noise is not None else None,
        noise_kind=one.noise_kind,
        mask=stack("mask"),
        unit=one.unit,
        wave_unit=one.wave_unit,
    )


def _block(spectrum: Any) -> Block:
    flux = np.atleast_2d(np.asarray(spectrum.flux.value, np.float64)).reshape(-1, spectrum.flux.shape[-1])
    noise, kind = None, "ivar"
    if spectrum.uncertainty is not None:
        kind = {"std": "error", "var": "variance", "ivar": "ivar"}[spectrum.uncertainty.uncertainty_type]
        noise = np.asarray(spectrum.uncertainty.array, np.float64).reshape(flux.shape)
    mask = np.zeros(flux.shape, np.int32)
    if spectrum.mask is not None:
        mask[np.asarray(spectrum.mask, bool).reshape(flux.shape)] = SPECTRUM_PIXEL["BAD"]  # NDData: True is bad
    unit = str(spectrum.flux.unit)
    return Block(
        np.asarray(spectrum.spectral_axis.value, np.float64),
        flux,
        noise,
        kind,
        mask,
        unit=unit if unit not in ("", "ct", "adu", "electron") else "relative",
        wave_unit=str(spectrum.spectral_axis.unit),
    )


FORMAT = Format("specutils", "whatever specutils reads, when asked for; `specutils:LOADER` names one of its loaders", sniff, count, read)
