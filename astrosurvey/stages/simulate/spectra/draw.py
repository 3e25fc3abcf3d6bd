"""Spectra of everything, drawn a batch at a time: what training and `simulate.spectra` call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...spectra.classes import COARSE
from ...spectra.templates import Library, read_library
from .drawn import Drawn, made
from .galaxies import Galaxies
from .grid import LogGrid
from .quasars import Coefficients, Quasars
from .stage import GALAXY_Z, QUASAR_Z, SHARES
from .stars import Stars
from .strange import strange

BATCH = 256
"""Spectra that are drawn at a time, to bound memory."""


class Drawer:
    """Draws spectra without noise; making one takes seconds, so keep it.

    Args:
        grid: the pixels.
        library: templates; analytic ones when None.
        galaxy_z: lowest and highest redshift of galaxies. They are drawn evenly in ln(1 + z), so that a network learns no redshift to
            be more likely than its neighbour.
        quasar_z: of quasars.
        coefficients: of real quasars; see `noise.Labelled`.
    """

    def __init__(
        self,
        grid: LogGrid,
        library: Library | Path | None = None,
        galaxy_z: tuple[float, float] = GALAXY_Z,
        quasar_z: tuple[float, float] = QUASAR_Z,
        coefficients: Coefficients | None = None,
    ) -> None:
        library = library if isinstance(library, Library) else read_library(library)
        fine = grid.fine
        self.grid = grid
        self.stars, self.galaxies = Stars(library, fine), Galaxies(library, fine, galaxy_z)
        self.quasars = Quasars(library, fine, quasar_z, self.galaxies, coefficients)
        self._sources: dict[str, Stars | Galaxies | Quasars] = {"star": self.stars, "galaxy": self.galaxies, "quasar": self.quasars}

    def draw(self, rng: np.random.Generator, n: int, shares: Mapping[Any, float] = SHARES) -> Drawn:
        """Return n spectra in random order.

        Args:
            rng: the only randomness.
            n: how many, one at least.
            shares: how often each coarse class is drawn, in any unit; those left out never.

        Returns:
            Of `unknown`, made of two known ones; `fine` is only a star's: use `labels.fine_labels`.
        """
        return Drawn.concatenate([self._batch(rng, min(BATCH, n - done), shares) for done in range(0, n, BATCH)])

    def _batch(self, rng: np.random.Generator, n: int, shares: Mapping[Any, float]) -> Drawn:
        weight = np.array([shares.get(name, 0.0) for name in COARSE])
        order = rng.choice(len(COARSE), n, p=weight / weight.sum())
        parts = [self.of_class(rng, name, int(np.sum(order == k))) for k, name in enumerate(COARSE) if (order == k).any()]
        place = np.empty(n, np.int64)
        place[np.argsort(order, kind="stable")] = np.arange(n)
        return Drawn.concatenate(parts).take(place)

    def of_class(self, rng: np.random.Generator, name: str, n: int) -> Drawn:
        """Return n spectra of one coarse class."""
        if name == "unknown":
            known = [self._known(rng, n) for _ in range(2)]
            return strange(rng, *known)
        if name == "sky":
            return made(np.zeros((n, self.grid.pixels), np.float32), 3, ["SKY"] * n, np.full(n, np.nan), ["none"] * n)
        drawn = self._sources[name].draw(rng, n)
        return replace(drawn, flux=self.grid.binned(drawn.flux))

    def _known(self, rng: np.random.Generator, n: int) -> Drawn:
        shares = dict.fromkeys(("star", "galaxy", "quasar"), 1.0)
        return self._batch(rng, n, shares)
