"""Quasars: basis vectors, archetypes or formulas at rest; dust, host and absorption on the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...spectra.templates import LOG_STEP, Library
from ...spectra.templates.analytic import quasars as formulas
from . import forest
from .drawn import BROAD, Drawn, made
from .dust import magellanic
from .galaxies import Galaxies
from .grid import LIGHT, PIXEL, LogGrid, shifted, span
from .stars import placed

BALS = 0.16
"""Share with broad absorption lines, where C IV can be seen."""
DISKS = 0.35
"""Share, of those made by formulas, with double peaks; they are rarer in the sky, but the hardest to place."""
HOSTS = 0.9
"""Redshift below which the host's stars are seen."""
_REDDEST = 1500.0
"""Å; the light between Lyα and here says what the continuum is blueward of Lyα."""
_VARIATION = ((1215.67, 0.3), (1549.1, 0.25), (1908.7, 0.2), (2799.1, 0.2), (4341.7, 0.05), (4862.7, 0.12), (5008.2, 0.1), (6564.6, 0.35))
"""Å and scatter of the heights that are added to the lines, in the continuum."""


@dataclass(frozen=True, eq=False)
class Coefficients:
    """What real quasars are made of: coefficients of `Library.eigen_quasars`.

    Attributes:
        values: (m, vector) float64, the first one 1.
        z: (m,) redshifts of the quasars they were fitted to.
    """

    values: np.ndarray
    z: np.ndarray


class Quasars:
    """Everything quasars are drawn from.

    Args:
        library: `eigen_quasars` and `quasar_archetypes` are used if they were read from files.
        grid: with `bins` of 1.
        redshifts: the lowest and the highest to be drawn.
        galaxies: hosts.
        coefficients: of real quasars, for `eigen_quasars`; None: archetypes and formulas only.
    """

    def __init__(
        self, library: Library, grid: LogGrid, redshifts: tuple[float, float], galaxies: Galaxies, coefficients: Coefficients | None
    ) -> None:
        self.grid, self.redshifts, self.galaxies = grid, redshifts, galaxies
        self.first, self.pixels = span(grid, *redshifts, reach=_REDDEST)
        self.wave = 10 ** (LOG_STEP * (self.first + np.arange(self.pixels)))
        self.coefficients = coefficients
        vectors, archetypes = library.eigen_quasars, library.quasar_archetypes
        self.vectors = np.array([_filled(row, vectors.first, self) for row in vectors.flux]) if coefficients is not None else None
        rows = (
            np.array([_filled(row, archetypes.first, self) for row in archetypes.flux]) if len(archetypes) else np.empty((0, self.pixels))
        )
        good = np.array([np.mean(row[self.wave > forest.ALPHA] > 0) > 0.999 for row in rows], bool)
        self.archetypes = rows[good]
        self.archetype_kinds = np.array([kind for kind, use in zip(archetypes.kinds, good, strict=True) if use], dtype=str)

    def draw(self, rng: np.random.Generator, n: int) -> Drawn:
        """Return n quasars."""
        low, high = np.log1p(self.redshifts)
        z = np.expm1(rng.uniform(low, high, n))
        rest, kind, template = self._at_rest(rng, z)
        rest *= (self.wave / 2500.0) ** rng.normal(0, 0.25, (n, 1))
        for center, scatter in _VARIATION:
            self._vary(rng, rest, center, scatter)
        red = np.minimum(rng.exponential(0.04, n), 0.35)
        rest *= 10 ** (-0.4 * red[:, None] * (magellanic(self.wave) - magellanic(np.array([2500.0]))))
        flux = shifted(rest.astype(np.float32), self.first, z, self.grid)
        seen = np.flatnonzero((1 + z) * forest.ALPHA > self.grid.wave[0])
        flux[seen] *= forest.transmission(rng, self.grid.wave, z[seen])
        wind = (rng.random(n) < BALS) & ((1 + z) * 1549.1 > self.grid.wave[0])
        forest.add_troughs(rng, flux, self.grid, z, wind)
        forest.add_metals(rng, flux, self.grid, z)
        kind[wind] = "BAL"
        self._add_hosts(rng, flux, z)
        return made(flux, 2, kind, z, template, lines=broad_lines(flux, self.grid, z))

    def _at_rest(self, rng: np.random.Generator, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return quasars' light at rest without absorption, (n, pixel) float64, their kind and what they were made of."""
        n = len(z)
        source = np.full(n, 2)
        roll = rng.random(n)
        if self.vectors is not None:
            source[roll < 0.45] = 0
        if len(self.archetypes):
            source[(roll >= 0.45) & (roll < 0.7)] = 1
        rest, kind, template = np.empty((n, self.pixels)), np.full(n, "QSO", dtype="U24"), np.full(n, "formula", dtype="U48")
        rows = np.flatnonzero(source == 0)
        if len(rows):
            assert self.coefficients is not None
            assert self.vectors is not None
            rest[rows] = _drawn_coefficients(rng, self.coefficients, z[rows]) @ self.vectors
            template[rows] = "basis vectors"
            visible = (self.wave > self.grid.wave[0] / (1 + z[rows, None])) & (self.wave < self.grid.wave[-1] / (1 + z[rows, None]))
            dark = (np.where(visible & (self.wave > forest.ALPHA), rest[rows], 1) <= 0).any(axis=1)
            source[rows[dark]] = 2  # no quasar is negative: draw it by the formulas
        rows = np.flatnonzero(source == 1)
        if len(rows):
            pick = rng.integers(0, len(self.archetypes), len(rows))
            rest[rows] = self.archetypes[pick]
            kind[rows], template[rows] = self.archetype_kinds[pick], [f"archetype {k}" for k in pick]
        real = np.flatnonzero(source < 2)
        if len(real):
            rest[real] = self._unabsorbed(rng, rest[real])
        rows = np.flatnonzero(source == 2)
        if len(rows):
            rest[rows] = formulas.quasars(self.wave, rng, len(rows), DISKS)
            template[rows], kind[rows] = "formula", "QSO"
        return rest, kind, template

    def _unabsorbed(self, rng: np.random.Generator, rest: np.ndarray) -> np.ndarray:
        """Return spectra whose part blueward of Lyα's centre, which holds the forest's mean, is a continuum with the line's other half."""
        blue = self.wave < forest.ALPHA
        if not blue.any():
            return rest
        level = np.median(rest[:, (self.wave > 1275) & (self.wave < 1290)], axis=1)[:, None]
        far = np.median(rest[:, (self.wave > 1440) & (self.wave < 1470)], axis=1)[:, None]
        slope = np.clip(np.log(np.maximum(level / far, 0.2)) / np.log(1282.0 / 1455.0), -2.2, 1) + rng.normal(0.6, 0.3, (len(rest), 1))
        continuum = level * (self.wave[blue] / 1282.0) ** slope
        peak = rest[:, blue.sum(), None] - level * (forest.ALPHA / 1282.0) ** slope
        line = np.exp(-0.5 * ((self.wave[blue] - forest.ALPHA) / rng.uniform(8, 18, (len(rest), 1))) ** 2)
        oxygen = rng.lognormal(-1.8, 0.5, (len(rest), 1)) * np.exp(-0.5 * ((self.wave[blue] - 1033.0) / 9.0) ** 2)
        rest[:, blue] = continuum * (1 + oxygen) + np.clip(peak, 0, None) * line
        return rest

    def _vary(self, rng: np.random.Generator, rest: np.ndarray, center: float, scatter: float) -> None:
        """Add to a line, or take from it, a part of the light at its place."""
        first, last = np.searchsorted(self.wave, (center * 0.96, center * 1.04))
        width = center * rng.uniform(1200, 2600, (len(rest), 1)) / LIGHT
        height = np.clip(rng.normal(0, scatter, (len(rest), 1)), -0.8 * scatter, None)
        rest[:, first:last] *= 1 + height * np.exp(-0.5 * ((self.wave[first:last] - center) / width) ** 2)

    def _add_hosts(self, rng: np.random.Generator, flux: np.ndarray, z: np.ndarray) -> None:
        """Mix the light of the host's stars into quasars nearby; the nearer, the more."""
        low, high = self.galaxies.redshifts
        rows = np.flatnonzero((z < min(HOSTS, high)) & (z >= low) & (rng.random(len(z)) < 0.7))
        if not len(rows):
            return
        weights = self.galaxies.histories(rng, np.full(len(rows), 3))
        stars = shifted(weights.astype(np.float32) @ self.galaxies.flux, self.galaxies.first, z[rows], self.grid)
        share = rng.beta(1.5, 3, len(rows)) * (1 - z[rows] / HOSTS)
        ratio = np.median(flux[rows], axis=1) / np.median(stars, axis=1) * share / (1 - share)
        flux[rows] += stars * ratio[:, None].astype(np.float32)


def _filled(row: np.ndarray, first: int, quasars: Quasars) -> np.ndarray:
    """Return a template on the grid of rest wavelengths, its ends continued with their last value."""
    out = placed(row, first, quasars.first, quasars.pixels)
    there = np.flatnonzero(np.isfinite(out))
    out[: there[0]], out[there[-1] + 1 :] = out[there[0]], out[there[-1]]
    return out


def _drawn_coefficients(rng: np.random.Generator, known: Coefficients, z: np.ndarray) -> np.ndarray:
    """Return (n, vector) coefficients like those of real quasars at about these redshifts: a kernel density estimate.

    A quasar of a far redshift says nothing: its fit saw another part of the rest frame.
    """
    distance = (np.log1p(z)[:, None] - np.log1p(known.z)) / 0.12
    weight = np.exp(-0.5 * distance**2) + 1e-12
    weight /= weight.sum(axis=1, keepdims=True)
    pick = (np.cumsum(weight, axis=1) > rng.random((len(z), 1))).argmax(axis=1)
    scatter = 0.4 * np.std(known.values, axis=0)
    return np.asarray(known.values[pick] + scatter * rng.standard_normal((len(z), known.values.shape[1])))


CORE, INNER, OUTER = 5000.0, 6000.0, 12000.0
"""km/s: half-width of the window of a broad line, and of the two windows beside it that say where the continuum is."""
WIDTH = 1700.0
"""km/s, sigma of the Gaussian that a broad line is measured with."""


def broad_lines(flux: np.ndarray, grid: LogGrid, z: np.ndarray) -> np.ndarray:
    """Return log10 wavelength, sigma and height of a quasar's broad lines, above a straight continuum.

    Args:
        flux: (n, pixel) on a grid in steps of 1e-4, without noise.
        grid: that grid.
        z: (n,) redshifts.

    Returns:
        (n, line, 3) in the order of `BROAD`; NaN where a line's windows leave the grid.
    """
    offset = np.arange(-int(OUTER / PIXEL), int(OUTER / PIXEL) + 1)
    velocity = offset * PIXEL
    side, core = abs(velocity) > INNER, abs(velocity) < CORE
    line = np.where(core, np.exp(-0.5 * (velocity / WIDTH) ** 2), 0)
    design = np.stack([np.ones_like(velocity), velocity / OUTER], axis=1) * side[:, None]
    continuum = np.stack([np.ones_like(velocity), velocity / OUTER], axis=1) @ np.linalg.pinv(design)
    weights = (line @ (np.eye(len(offset)) - continuum)) / (line @ line)
    out = np.full((len(flux), len(BROAD), 3), np.nan)
    for k, center in enumerate(BROAD.values()):
        place = np.rint((np.log10(center * (1 + z)) - np.log10(grid.start)) / LOG_STEP).astype(int)
        rows = np.flatnonzero((place + offset[0] >= 0) & (place + offset[-1] < grid.pixels))
        height = flux[rows[:, None], place[rows, None] + offset] @ weights
        out[rows, k] = np.stack([np.log10(center * (1 + z[rows])), np.full(len(rows), WIDTH / LIGHT / np.log(10)), height], axis=1)
    return out
