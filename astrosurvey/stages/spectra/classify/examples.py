"""Labelled spectra to learn from: on the networks' grid, with classes as numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch

from ....core.stage import DataError
from ....products import Catalog, Spectra
from ...simulate.spectra.drawn import Drawn
from ...simulate.spectra.instrument import Instrument, observe
from ...simulate.spectra.labels import fine_labels, line_snr
from ..classes import COARSE, FINE
from .augment import Batch
from .grid import FINE_STEP, WAVE, on_grid

_LARGEST = 1e30
ROWS = 256
"""Spectra brought onto the grid at a time."""


class Source(Protocol):
    """Where batches come from."""

    def batch(self, rows: int, draw: torch.Generator) -> Batch:
        """Return that many spectra, drawn by the generator and on its device."""


class Noisy:
    """Spectra with the noise they were observed with, once.

    Args:
        examples: all of them.
    """

    def __init__(self, examples: Batch) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def batch(self, rows: int, draw: torch.Generator) -> Batch:
        """Return spectra drawn with repetition."""
        here = self.examples.flux.device
        return taken(self.examples, torch.randint(len(self), (rows,), generator=draw, device=draw.device).to(here)).to(draw.device)


class Fresh:
    """Spectra drawn without noise, observed anew, each time by another instrument, whenever they are taken.

    Args:
        drawn: on the networks' grid.
        instrument: how bad it gets.
        shapes: (m, PIXELS) errors of real spectra, see `simulate.spectra.instrument.observe`; None: analytic ones.
        device: where they are kept and observed.
    """

    def __init__(self, drawn: Drawn, instrument: Instrument, shapes: np.ndarray | None = None, device: str = "cpu") -> None:
        self.instrument = instrument
        self.shapes = None if shapes is None else torch.from_numpy(shapes).to(device)
        planes = (drawn.flux, drawn.spectral_class, drawn.fine, drawn.z, drawn.lines, drawn.equivalent_width, drawn.sigma)
        self.flux, self.coarse, self.fine, z, self.lines, self.width, self.sigma = (torch.from_numpy(p).to(device) for p in planes)
        self.z = z.float()

    def __len__(self) -> int:
        return len(self.z)

    def batch(self, rows: int, draw: torch.Generator) -> Batch:
        """Return spectra drawn with repetition."""
        return self.observed(torch.randint(len(self), (rows,), generator=draw, device=draw.device), draw)

    def observed(self, which: torch.Tensor, draw: torch.Generator) -> Batch:
        """Return those spectra, observed; their fine classes follow from what the noise leaves of their lines."""
        seen = observe(self.flux[which], WAVE, draw, self.instrument, self.shapes)
        lines, coarse = self.lines[which], self.coarse[which]
        snr = line_snr(lines, math.log10(WAVE[0]), 2 * FINE_STEP, seen.ivar, seen.response)
        fine = fine_labels(coarse, self.fine[which], lines, self.width[which], self.sigma[which], snr)
        # A spectrum without light where its instrument looks has errors of 0, and so says nothing.
        good = torch.isfinite(seen.flux) & (seen.ivar < _LARGEST)
        return Batch(torch.where(good, seen.flux, 0.0), torch.where(good, seen.ivar, 0.0), coarse, fine, self.z[which])


def taken(batch: Batch, rows: Any) -> Batch:
    """Return some of the spectra, by whatever indexes the first axis."""
    return Batch(batch.flux[rows], batch.ivar[rows], batch.coarse[rows], batch.fine[rows], batch.z[rows])


def joined(batches: Sequence[Batch]) -> Batch:
    """Return the spectra of all of them."""
    return Batch(
        torch.cat([part.flux for part in batches]),
        torch.cat([part.ivar for part in batches]),
        torch.cat([part.coarse for part in batches]),
        torch.cat([part.fine for part in batches]),
        torch.cat([part.z for part in batches]),
    )


def examples(spectra: Spectra, truth: Catalog, device: Literal["cpu", "cuda"] = "cpu") -> Batch:
    """Return the spectra that a table of truth has a class for.

    Args:
        spectra: on any grid.
        truth: of the table `spectrum_truth`; rows in any order.
        device: where to bring spectra onto the grid.

    Raises:
        DataError: a class that is none.
    """
    ids = np.asarray(truth.column("spectrum_id"))
    order = np.argsort(ids, kind="stable")
    at = order[np.clip(np.searchsorted(ids[order], spectra.ids), 0, max(len(ids) - 1, 0))] if len(ids) else np.zeros(0, int)
    known = np.flatnonzero(ids[at] == spectra.ids) if len(ids) else np.zeros(0, int)
    at = at[known]
    coarse, fine, z = labels(
        [str(name) for name in truth.column("spectral_class")],
        [str(name) for name in truth.column("subclass")],
        np.ma.filled(np.ma.asarray(truth.column("z"), float), np.nan),
    )
    some = spectra.take(known)
    parts = [on_grid(some, slice(begin, begin + ROWS), device) for begin in range(0, len(some), ROWS)]
    flux, ivar = (np.concatenate([part[k] for part in parts]) if parts else np.zeros((0, 0), np.float32) for k in (0, 1))
    return Batch(*(torch.from_numpy(array) for array in (flux, ivar, coarse[at], fine[at], z[at])))


def labels(spectral_class: Sequence[str], subclass: Sequence[str], z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return classes as numbers, and redshifts as float32: NaN for classes that have none.

    Args:
        spectral_class: (n,) names of coarse classes.
        subclass: (n,) names of fine ones; others count as none.
        z: (n,).

    Raises:
        DataError: a coarse class is none.
    """
    strange = sorted(set(spectral_class) - set(COARSE))
    if strange:
        raise DataError(f"{', '.join(strange)} is no class of spectra; there are {', '.join(COARSE)}")
    coarse = np.array([COARSE.index(name) for name in spectral_class], np.int64)
    fine = np.array([FINE.index(name) if name in FINE else -1 for name in subclass], np.int64)
    return coarse, fine, np.where(coarse <= 2, z, np.nan).astype(np.float32)
