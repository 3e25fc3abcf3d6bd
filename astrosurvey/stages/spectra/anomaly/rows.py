"""The answers of `spectra.anomaly`, a number of spectra at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ....catalog.flags import CLASSIFICATION, SPECTRUM_PIXEL
from ....core.stage import Context, DataError
from ....networks.determinism import prediction_threads
from ....products import Catalog, Spectra
from .decode import Decoded, channels, decode
from .model import Known
from .rest import FIRST, PIXELS, STEP, to_rest_frame
from .score import statistics
from .witnesses import fits_of, misfits, nothing_known

ROWS = 128
"""Spectra that are explained at a time; each takes about 1 MB then."""
FEW = 0.05
"""A p-value of a spectrum with so little signal below this means that there is too little."""


@dataclass(frozen=True)
class Answers:
    """What is said of each spectrum.

    Attributes:
        latent: (n, latent) float32, what the encoder says; NaN where nothing can be said.
        p: (n,) p-values; 1 where nothing can be said.
        score: (n,) -log10(p); NaN there.
        flags: (n,) CLASSIFICATION bits.
        spectra: the explanation, on the pixels of the input.
    """

    latent: np.ndarray
    p: np.ndarray
    score: np.ndarray
    flags: np.ndarray
    spectra: Spectra


def redshifts_of(redshifts: Catalog, ids: np.ndarray) -> np.ndarray:
    """Return (n,) the redshift of rank 0 of each spectrum; NaN where there is none, or none that is possible."""
    first = redshifts.column("rank") == 0
    z_of = dict(zip(redshifts.column("spectrum_id")[first].tolist(), redshifts.column("z")[first].tolist(), strict=True))
    z = np.array([z_of.get(one, np.nan) for one in ids.tolist()], float)
    return np.where(z > -1, z, np.nan)


def answers(
    ctx: Context,
    known: Known,
    density: str,
    spectra: Spectra,
    z: np.ndarray,
    fits: Spectra | None = None,
    classes: Catalog | None = None,
) -> Answers:
    """Return what is known of spectra.

    Args:
        ctx: says on what device, and is told of the progress.
        known: the model.
        density: "flow" or "forest".
        spectra: on any grids.
        z: (n,) redshifts; NaN where unknown.
        fits: the best templates on the same pixels, as a second witness.
        classes: `classification` rows of a classifier, as a third.

    Raises:
        DataError: wavelengths that are no grid, or a witness of other spectra or unknown to the model.
    """
    n, calibration = len(spectra), known.calibrations[density]
    for port, witness, given in (("fits", "templates", fits), ("network_classes", "classes", classes)):
        if given is not None and not calibration.knows(witness):
            raise DataError(
                f"the model has not learnt what `{port}` say of known spectra: leave the port unwired, or wire it in the training as well"
            )
    latent, p, score = np.full((n, known.network.flow.features), np.nan, np.float32), np.ones(n), np.full(n, np.nan)
    flags = np.where(np.isfinite(z), 0, CLASSIFICATION["NO_REDSHIFT"])
    flux, ivar = np.full(spectra.flux.shape, np.nan, np.float32), np.zeros(spectra.flux.shape, np.float32)
    at = np.where(np.isfinite(z), z, 0.0)
    for rows, best, found in statements(ctx, known, spectra, at, fits, classes):
        told = (found["pixels"] > 0) & np.isfinite(z[rows])
        flags[rows] |= np.where(found["pixels"] > 0, 0, CLASSIFICATION["NO_DATA"])
        flags[rows] |= np.where(told & (calibration.enough(found) < FEW), CLASSIFICATION["NO_SIGNAL"], 0)
        chance = calibration(found)
        latent[rows], p[rows] = np.where(told[:, None], found["encoded"], np.nan), np.where(told, chance, 1.0)
        score[rows] = np.where(told, -np.log10(chance), np.nan)
        model, spread = best.model.cpu().numpy(), (best.variance + best.floor).cpu().numpy()
        for k, row in enumerate(range(rows.start, rows.stop)):
            if told[k]:
                flux[row], ivar[row] = _on_pixels(spectra.wave_of(row) / (1 + at[row]), model[k], spread[k])
    mask = np.where(ivar > 0, 0, SPECTRUM_PIXEL["NO_DATA"]).astype(np.int32)
    explained = Spectra(flux, ivar, mask, spectra.wave, spectra.ids, spectra.unit, spectra.meta)
    return Answers(latent, p, score, flags, explained)


def statements(
    ctx: Context, known: Known, spectra: Spectra, z: np.ndarray, fits: Spectra | None, classes: Catalog | None
) -> Iterator[tuple[slice, Decoded, dict[str, np.ndarray]]]:
    """Yield which spectra, how they are explained, and their statistics, those of other witnesses among them; see `answers`."""
    n, count = len(spectra), max(1, int(ROWS * ctx.batch))
    fits = None if fits is None else fits_of(fits, spectra)
    unknown = None if classes is None else nothing_known(classes, spectra.ids)
    for begin in range(0, n, count):
        rows = slice(begin, min(begin + count, n))
        planes = (torch.from_numpy(plane).to(ctx.device) for plane in to_rest_frame(spectra, z, rows, ctx.device))
        with torch.inference_mode(), prediction_threads(torch.float32):
            seen, weight = planes
            start = known.network(channels(seen, weight))
            best = decode(known.network, seen, weight, start)
            found = {name: one.cpu().numpy() for name, one in statistics(known.network, seen, weight, best, start).items()}
            if fits is not None:
                found["misfit"] = misfits(fits, z, rows, ctx.device, seen, weight).cpu().numpy()
        found["forest"] = known.forest(found["latent"])
        if unknown is not None:
            found["nothing_known"] = unknown[rows]
        yield rows, best, found
        ctx.progress(rows.stop, n)


def _on_pixels(wave: np.ndarray, model: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a reconstruction and its ivar at rest-frame wavelengths, interpolated; NaN and 0 beyond its grid."""
    place = (np.log10(wave) - FIRST) / STEP
    inside = (place >= 0) & (place <= PIXELS - 1)
    low = np.clip(place.astype(int), 0, PIXELS - 2)
    part = place - low
    flux = (1 - part) * model[low] + part * model[low + 1]
    # Errors of neighbouring pixels are shared, so between two of them they are no smaller.
    spread = (1 - part) * variance[low] + part * variance[low + 1]
    good = inside & np.isfinite(flux) & (spread > 0) & (spread < 1e30)
    return np.where(good, flux, np.nan).astype(np.float32), np.where(good, 1 / np.where(good, spread, 1), 0).astype(np.float32)
