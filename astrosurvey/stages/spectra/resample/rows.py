"""Spectra, a number of rows at a time, through the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....catalog.flags import SPECTRUM_PIXEL, SPECTRUM_UNUSABLE
from ....core.stage import Context, DataError
from ....kernels.resample import KERNEL, TOUCH, pixel_edges
from ....products import Spectra

ROWS = 256
"""Spectra that are resampled at a time."""
NAMED = 5


def resampled(ctx: Context, spectra: Spectra, grid: np.ndarray, threshold: float) -> Spectra:
    """Return spectra on a grid.

    Args:
        ctx: says on what device, and is told of spectra without data there.
        spectra: on a shared grid, or each on its own.
        grid: (new,) float64, centres of the new pixels, Å.
        threshold: more than this part of a pixel missing makes it PARTIAL.

    Raises:
        DataError: wavelengths that are no grid; or all spectra lie elsewhere.
    """
    shape = (len(spectra.flux), len(grid))
    flux, ivar, mask = (np.empty(shape, dtype) for dtype in (np.float32, np.float32, np.int32))
    target = pixel_edges(grid[None])[0]
    shared = edges_of(spectra, slice(None)) if spectra.wave.ndim == 1 else None
    count = max(1, int(ROWS * ctx.batch))
    for begin in range(0, shape[0], count):
        rows = slice(begin, begin + count)
        edges = edges_of(spectra, rows) if shared is None else shared
        planes = (spectra.flux[rows], spectra.ivar[rows], spectra.mask[rows])
        flux[rows], ivar[rows], masked, mask[rows] = KERNEL.on(ctx.device)(*planes, edges, target, SPECTRUM_UNUSABLE, threshold)
        _mark(flux[rows], ivar[rows], masked, mask[rows], threshold)
        ctx.progress(min(begin + count, shape[0]), shape[0])
    _look_for_strays(ctx, spectra, grid, np.isfinite(flux).any(axis=1))
    return Spectra(flux, ivar, mask, np.ascontiguousarray(grid), spectra.ids, spectra.unit, spectra.meta)


def edges_of(spectra: Spectra, rows: slice) -> np.ndarray:
    """Return the pixels' edges: of some of the spectra, (row, pixel + 1), or a single row of them that all share.

    Raises:
        DataError: a spectrum has fewer than two wavelengths, or they are not finite, positive and increasing.
    """
    wave = spectra.wave[None] if spectra.wave.ndim == 1 else spectra.wave[rows]
    if wave.shape[1] < 2:
        raise DataError("spectra of a single pixel cannot be resampled, for nothing says how wide it is; leave them out")
    edges = pixel_edges(wave) if spectra.wave.ndim == 1 else pixel_edges(wave, lengths(spectra, rows))
    wrong = np.flatnonzero(np.isnan(edges[:, 0]))
    if len(wrong):
        whose = "the spectra" if spectra.wave.ndim == 1 else f"spectrum {spectra.ids[rows][wrong[0]]}"
        raise DataError(f"the wavelengths of {whose} are not finite, positive and increasing without doubles; sort and clean them first")
    return edges


def lengths(spectra: Spectra, rows: slice) -> np.ndarray:
    """Return (row,) the pixels of spectra without the filling behind the shorter ones."""
    filling = np.isnan(spectra.flux[rows]) & (spectra.ivar[rows] == 0) & (spectra.mask[rows] == SPECTRUM_PIXEL["NO_DATA"])
    count: np.ndarray = filling.shape[1] - np.where(filling.all(axis=1), filling.shape[1], np.argmin(filling[:, ::-1], axis=1))
    return count


def _mark(flux: np.ndarray, ivar: np.ndarray, masked: np.ndarray, mask: np.ndarray, threshold: float) -> None:
    """Mark pixels of which too much or all is missing, and take their weight."""
    empty = np.isnan(flux)
    partial = (masked > np.float32(threshold + TOUCH)) & ~empty
    ivar[partial] = 0
    mask[partial] |= SPECTRUM_PIXEL["PARTIAL"]
    mask &= ~SPECTRUM_PIXEL["NO_DATA"]
    mask[empty] |= SPECTRUM_PIXEL["NO_DATA"]


def _look_for_strays(ctx: Context, spectra: Spectra, grid: np.ndarray, found: Any) -> None:
    """Warn of spectra that have no data on the grid; refuse when none has any there but some have elsewhere."""
    if found.all():
        return
    usable = (spectra.ivar > 0) & ((spectra.mask & SPECTRUM_UNUSABLE) == 0)
    if not found.any() and usable.any():
        there = np.broadcast_to(spectra.wave, usable.shape)[usable]
        raise DataError(
            f"the grid, {grid[0]:.6g} to {grid[-1]:.6g} Å, lies outside every spectrum: "
            f"their data are within {there.min():.6g} to {there.max():.6g} Å; set start and stop within"
        )
    names = spectra.ids[~found]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    ctx.log.warning(
        "%d of %d spectra have no usable pixel on the grid: %s%s", len(names), len(found), ", ".join(map(str, names[:NAMED])), more
    )
