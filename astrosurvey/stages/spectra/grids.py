"""Wavelengths as files have them made increasing: sorted, without doubles and without impossible ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...catalog.flags import SPECTRUM, SPECTRUM_PIXEL
from ...products.spectra import lengthened

if TYPE_CHECKING:
    from .readers import SpectrumFile


@dataclass(frozen=True)
class Gridded:
    """Spectra on their way: `wave` (pixel,) or (n, pixel) in Å; `flux`, `noise` and `mask` (n, pixel)."""

    wave: np.ndarray
    flux: np.ndarray
    noise: np.ndarray | None
    mask: np.ndarray | None
    flags: np.ndarray | int = 0
    n_pixel: np.ndarray | int = 0


def on_grids(file: SpectrumFile, given: Gridded) -> Gridded:
    """Return the same pixels in order of increasing wavelength, with SPECTRUM flags and the number of pixels of each spectrum.

    Pixels without a sound wavelength, and the second of two at one wavelength, are left out. Rows that keep fewer
    pixels than others are padded.

    Raises:
        BadInput: the shapes do not match, or not one wavelength is sound.
    """
    wave, n, pixels = given.wave, *given.flux.shape
    if pixels == 0 or wave.shape not in ((pixels,), (n, pixels)):
        raise file.bad(f"has wavelengths of shape {wave.shape} for fluxes of shape {given.flux.shape}", "set `columns.wave`")
    for name, plane in (("errors", given.noise), ("mask", given.mask)):
        if plane is not None and plane.shape != given.flux.shape:
            raise file.bad(f"has {name} of shape {plane.shape} for fluxes of shape {given.flux.shape}", "set `columns`")
    if wave.ndim == 2 and (n == 1 or (wave == wave[0]).all()):
        wave = wave[0]
    if bool(_sound(wave).all()) and bool((np.diff(wave) > 0).all()):
        return Gridded(np.ascontiguousarray(wave), given.flux, given.noise, given.mask, 0, np.full(n, pixels))
    kept = [_order(row) for row in np.atleast_2d(wave)]
    if not any(len(order) for order, _ in kept):
        raise file.bad("has no wavelength that is a positive number", "check `columns.wave` and `wave_unit`")
    if wave.ndim == 1:
        order, repaired = kept[0]
        noise, mask = (None if plane is None else plane[:, order] for plane in (given.noise, given.mask))
        return Gridded(wave[order], given.flux[:, order], noise, mask, SPECTRUM["WAVE_REPAIRED"] * repaired, np.full(n, len(order)))
    return _ragged(given, wave, kept)


def _sound(wave: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(wave) & (wave > 0))


def _order(wave: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the pixels to keep, in order, and whether anything was wrong with the wavelengths.

    Nothing is wrong with pixels from red to blue, and with NaN behind the last one: a shorter spectrum among longer ones.
    """
    sound = np.flatnonzero(_sound(wave))
    order = sound[np.argsort(wave[sound], kind="stable")]
    single = np.concatenate([[True], np.diff(wave[order]) > 0]) if len(order) else np.zeros(0, bool)
    tidy = len(sound) and sound[-1] == len(sound) - 1 and np.isnan(wave[len(sound) :]).all()
    monotonic = np.array_equal(order, sound) or np.array_equal(order, sound[::-1])
    return order[single], not (tidy and monotonic and single.all())


def _ragged(given: Gridded, wave: np.ndarray, kept: list[tuple[np.ndarray, bool]]) -> Gridded:
    n, length = len(given.flux), max(len(order) for order, _ in kept)
    flux, out = np.full((n, length), np.nan), np.empty((n, length))
    noise = None if given.noise is None else np.full((n, length), np.nan)
    mask = np.full((n, length), SPECTRUM_PIXEL["NO_DATA"], np.int32)
    sound = next(row for row, (order, _) in enumerate(kept) if len(order))
    for row, (order, _) in enumerate(kept):
        # A spectrum without one sound wavelength borrows those of another, to have a place for its NO_DATA.
        source, pixels = (row, order) if len(order) else (sound, kept[sound][0])
        out[row] = lengthened(wave[source, pixels][None], length)[0]
        flux[row, : len(order)] = given.flux[row, order]
        mask[row, : len(order)] = 0 if given.mask is None else given.mask[row, order]
        if noise is not None and given.noise is not None:
            noise[row, : len(order)] = given.noise[row, order]
    flags = np.array([SPECTRUM["WAVE_REPAIRED"] * repaired for _, repaired in kept])
    return Gridded(out, flux, noise, mask, flags, np.array([max(len(order), 1) for order, _ in kept]))
