"""All spectra of a tile through the scan, block by block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....catalog.flags import SPECTRUM, Z_WARNING
from ....core.stage import Context, DataError
from ....products import Catalog, Spectra
from ..templates import LOG_STEP
from .answer import Rows, Seeds, answers
from .block import Block, blocks, reach
from .scan import Choices, Scanner
from .sets import ScanSet

CARRIED = ("SKY_FIBRE", "BAD_FIBRE", "MEASURED_ERRORS")
"""Bits of a spectrum's flags that are bits of its redshift's warning as well."""


def measure(
    ctx: Context, spectra: Spectra, sets: Sequence[ScanSet], choices: Choices, catalog: Catalog | None, seeds: Catalog | None
) -> tuple[Catalog, Spectra]:
    """Return the redshifts, and the best fit of each spectrum on its own wavelengths.

    Args:
        ctx: of the task.
        spectra: on any grid.
        sets: of templates; not none.
        choices: how the scan goes about it.
        catalog: `spectrum` rows of the same spectra, for their flags.
        seeds: `redshift` rows of the same spectra, near which solutions are looked for as well.

    Raises:
        DataError: the spectra's ids are text, so they cannot stand in the catalogue.
    """
    if spectra.ids.dtype.kind not in "iu":
        raise DataError("the ids of these spectra are text, and catalogues need the numbers that io.spectra gives; wire its spectra here")
    flags = flags_of(spectra.ids, catalog)
    near = seeds_of(spectra.ids, seeds) if seeds is not None else Seeds(np.empty((len(spectra), 0)), np.empty((len(spectra), 0), "U8"))
    scanner = Scanner(sets, choices, ctx.device)
    rows = Rows()
    flux = np.full(spectra.flux.shape, np.nan, np.float32)
    fitted = np.zeros(len(spectra), bool)
    # Errors that were measured know what is left of the sky.
    weight = np.where(flags & Z_WARNING["MEASURED_ERRORS"], 1.0, choices.sky_weight)
    for numbers, block in blocks(ctx, spectra, reach(sets), weight):
        mine = near.take(numbers)
        found, smooth = scanner.scan(block, mine.z)
        model = answers(block, numbers, found, smooth, flags[numbers], choices.orders, mine, rows)
        fitted[numbers] = True
        for number, shape in zip(numbers, model, strict=True):
            flux[number] = on_grid_of(spectra.wave_of(int(number)), block, shape)
    for number in np.flatnonzero(~fitted):
        rows.add_nothing(int(number), int(flags[number]))
    if not fitted.all():
        ctx.log.warning("%d of %d spectra have too few usable pixels where the templates are", int((~fitted).sum()), len(spectra))
    ivar = np.where(np.isfinite(flux), spectra.ivar, 0).astype(np.float32)
    return rows.catalog(spectra.ids), Spectra(flux, ivar, spectra.mask.copy(), spectra.wave, spectra.ids, spectra.unit, spectra.meta)


def on_grid_of(wave: np.ndarray, block: Block, model: np.ndarray) -> np.ndarray:
    """Return a model on a spectrum's wavelengths, (pixel,) float32; NaN outside the range that was fitted."""
    number = np.log10(wave) / LOG_STEP - block.first - block.offset
    out = np.interp(number, np.arange(block.pixels), model)
    out[(number < -0.5) | (number > block.pixels - 0.5)] = np.nan
    return out.astype(np.float32)


def flags_of(ids: np.ndarray, catalog: Catalog | None) -> np.ndarray:
    """Return (n,) the Z_WARNING bits that follow from the flags of the spectra."""
    out = np.zeros(len(ids), np.int64)
    if catalog is None or not len(catalog):
        return out
    held = dict(zip(catalog.column("spectrum_id").tolist(), catalog.column("flags").tolist(), strict=True))
    flags = np.array([held.get(one, 0) for one in ids.tolist()], np.int64)
    for name in CARRIED:
        out |= np.where(flags & SPECTRUM[name], Z_WARNING[name], 0)
    return out


def seeds_of(ids: np.ndarray, seeds: Catalog) -> Seeds:
    """Return the redshifts to look near, by rank."""
    place = {one: k for k, one in enumerate(ids.tolist())}
    rank = seeds.column("rank")
    shape = len(ids), int(rank.max()) + 1 if len(rank) else 0
    out = Seeds(np.full(shape, np.nan), np.full(shape, "", "U8"))
    columns = (seeds.column(name).tolist() for name in ("spectrum_id", "rank", "z", "spectral_class"))
    for one, k, z, kind in zip(*columns, strict=True):
        if one in place:
            out.z[place[one], k], out.kind[place[one], k] = z, kind or ""
    return out
