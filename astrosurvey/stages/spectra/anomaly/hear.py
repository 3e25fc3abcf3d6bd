"""P-values calibrated on spectra as the stage will see them: at the redshifts that are found, beside what other witnesses say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....core.stage import Context, NoWork
from ....products import Catalog, Spectra
from .gather import is_known
from .model import Known
from .model import known as of_network
from .rows import redshifts_of, statements
from .train import Trained, judged


@dataclass(frozen=True)
class Tile:
    """Spectra of known objects among others, and what is said of them; see the ports of `spectra.train_anomaly`."""

    spectra: Spectra
    truth: Catalog
    redshifts: Catalog | None
    fits: Spectra | None
    classes: Catalog | None


def recalibrated(ctx: Context, trained: Trained, tiles: Sequence[Tile]) -> Trained:
    """Return what was trained with p-values calibrated on the known objects of tiles, every other one, and judged on the rest.

    Args:
        ctx: says on what device.
        trained: of `train`.
        tiles: that training has not seen.

    Raises:
        NoWork: there is no known object among them.
    """
    network = trained.network.to(ctx.device)
    known = of_network(network, trained.calibrations)
    parts = [found for tile in tiles for found in statistics_of(ctx, known, tile) if len(found["snr"])]
    if not parts:
        raise NoWork("no known object that is kept back has data at a redshift of rank 0: p-values cannot be calibrated")
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    calibrations, scores = judged(found, np.arange(len(found["snr"])) % 2 == 0)
    return replace(trained, network=network.cpu(), calibrations=calibrations, scores=scores)


def statistics_of(ctx: Context, known: Known, tile: Tile) -> list[dict[str, np.ndarray]]:
    """Return the statistics of the known objects of a tile that have data and a redshift, in parts."""
    z, wanted = is_known(tile.spectra, tile.truth)
    if tile.redshifts is not None:
        z = redshifts_of(tile.redshifts, tile.spectra.ids)
    wanted &= np.isfinite(z)
    spectra = tile.spectra.take(wanted)
    fits = None if tile.fits is None else tile.fits.take(wanted)
    out = []
    for _, _, found in statements(ctx, known, spectra, z[wanted], fits, tile.classes):
        seen = found["pixels"] > 0
        out.append({name: value[seen] for name, value in found.items()})
    return out
