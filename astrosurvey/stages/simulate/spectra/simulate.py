"""Draw, observe, label: one tile of simulated spectra."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ....catalog.flags import SPECTRUM, SPECTRUM_PIXEL
from ....catalog.ids import object_ids
from ....core.stage import Context
from ....products import Catalog, Spectra
from ...spectra.classes import COARSE, FINE
from ...spectra.planes import describe
from ...spectra.skylines import marks
from ...spectra.templates import LOG_STEP, read_library
from .draw import Drawer
from .drawn import Drawn
from .grid import LogGrid
from .instrument import Instrument, Observed, observe
from .labels import fine_labels, line_snr
from .noise import read_labelled
from .stage import SimulateSpectra

ROWS = 256
"""Spectra that are observed at a time."""
UNIT = "1e-17 erg s-1 cm-2 Angstrom-1"
_FAINTEST, _BRIGHTEST = 0.15, 1.5
"""1e-17 erg/s/cm2/Å: mean error of a pixel, of an hour and of a quarter of one with SDSS's telescope."""


class Batch(NamedTuple):
    """Spectra that were drawn, how they are observed, and the fine class that they have with this noise; -1 is none."""

    drawn: Drawn
    seen: Observed
    fine: np.ndarray


class Simulator:
    """Simulates spectra as the settings say.

    Args:
        config: the stage's settings.
    """

    def __init__(self, config: SimulateSpectra.Config) -> None:
        bins = round(config.log_step / LOG_STEP)
        pixels = math.floor(math.log10(config.stop / config.start) / (bins * LOG_STEP) + 1e-6) + 1
        self.config, self.grid = config, LogGrid(config.start, pixels, bins)
        library = read_library(Path(config.templates) if config.templates else None)
        split = Path(config.split) if config.split else None
        real = read_labelled(Path(config.noise_from), split, self.grid, library) if config.noise_from else None
        self.shapes = torch.from_numpy(real.shapes) if real else None
        self.drawer = Drawer(self.grid, library, config.galaxy_z, config.quasar_z, real.coefficients if real else None)
        self.instrument = Instrument(snr=config.snr, tilt=config.tilt, distorted=config.distorted, sky=config.sky_residual, cut=config.cut)

    def batch(self, rng: np.random.Generator, number: int) -> Batch:
        """Return some spectra, observed on the CPU; the same for the same state of `rng`."""
        drawn = self.drawer.draw(rng, number, self.config.classes)
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        seen = observe(torch.from_numpy(drawn.flux), self.grid.wave, generator, self.instrument, self.shapes)
        return Batch(drawn, seen, labelled(drawn, seen, self.grid))

    def tile(self, ctx: Context) -> Mapping[str, Any]:
        """Return the products of one tile."""
        number = self.config.number
        parts = []
        for done in range(0, number, ROWS):
            parts.append(self.batch(ctx.rng, min(ROWS, number - done)))
            ctx.progress(min(done + ROWS, number), number)
        drawn = Drawn.concatenate([part.drawn for part in parts])
        flux, ivar, snr = (torch.cat([part.seen[k] for part in parts]).numpy() for k in (0, 1, 3))
        fine = np.concatenate([part.fine for part in parts])
        tile = ctx.tile.number if ctx.tile is not None else 0
        ids = object_ids(tile, number)
        if self.config.calibrated:
            error = np.exp(ctx.rng.uniform(np.log(_FAINTEST), np.log(_BRIGHTEST), number))
            scale = error / (np.where(ivar > 0, ivar, np.inf) ** -0.5).sum(axis=1) * np.maximum((ivar > 0).sum(axis=1), 1)
            flux, ivar = flux * scale[:, None].astype(np.float32), ivar / scale[:, None].astype(np.float32) ** 2
        spectra = self._spectra(flux, ivar, ids)
        flags = np.where(drawn.spectral_class == COARSE.index("sky"), SPECTRUM["SKY_FIBRE"], 0)
        flags |= 0 if self.config.calibrated else SPECTRUM["RELATIVE_FLUX"]
        names = [f"{COARSE[kind]} {k}" for k, kind in enumerate(drawn.spectral_class)]
        rows = describe(spectra, self.grid.pixels, names, "barycentric", {}, flags)
        catalog = Catalog.from_columns("spectrum", {"spectrum_id": ids, "source_id": [None] * number, "tile_id": tile, **rows})
        return {"spectra": spectra, "catalog": catalog, "truth": _truth(drawn, fine, snr, ids, tile)}

    def _spectra(self, flux: np.ndarray, ivar: np.ndarray, ids: np.ndarray) -> Spectra:
        usable = ivar > 0
        mask = np.where(usable, marks(self.grid.wave), SPECTRUM_PIXEL["NO_DATA"]).astype(np.int32)
        flux = np.where(usable, flux, np.nan).astype(np.float32)
        return Spectra(flux, ivar, mask, self.grid.wave, ids, UNIT if self.config.calibrated else "", {"simulated": True})


def labelled(drawn: Drawn, seen: Observed, grid: LogGrid) -> np.ndarray:
    """Return (n,) int64, the index into `FINE` that spectra have once their noise is known; -1: none."""
    lines = torch.from_numpy(drawn.lines)
    snr = line_snr(lines, math.log10(grid.start), grid.bins * LOG_STEP, seen.ivar, seen.response)
    kind, fine, width, sigma = map(torch.from_numpy, (drawn.spectral_class, drawn.fine, drawn.equivalent_width, drawn.sigma))
    label: np.ndarray = fine_labels(kind, fine, lines, width, sigma, snr).numpy()
    return label


def _truth(drawn: Drawn, fine: np.ndarray, snr: np.ndarray, ids: np.ndarray, tile: int) -> Catalog:
    subclass = [FINE[label] if label >= 0 else str(kind) for label, kind in zip(fine, drawn.kind, strict=True)]
    return Catalog.from_columns(
        "spectrum_truth",
        {
            "spectrum_id": ids,
            "tile_id": tile,
            "spectral_class": [COARSE[number] for number in drawn.spectral_class],
            "subclass": subclass,
            "z": drawn.z,
            "snr": snr,
            "template": [str(name) for name in drawn.template],
        },
    )
