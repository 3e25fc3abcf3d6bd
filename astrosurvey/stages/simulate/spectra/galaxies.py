"""Galaxies: star-formation histories, dust, motions of the stars, and emission lines of each kind of nucleus."""

from __future__ import annotations

import numpy as np

from ...spectra.templates import LOG_STEP, Library, TemplateSet
from ...spectra.templates.analytic import analytic_set
from . import emission
from .drawn import NARROW, Drawn, made
from .dust import starburst
from .grid import LIGHT, LogGrid, broadened, shifted, span
from .stars import continued, placed

KINDS = ("PASSIVE", "STARFORMING", "STARBURST", "AGN")
"""What is drawn; which fine class it gets is decided by its lines once the noise is known."""
SHARES = (0.28, 0.24, 0.24, 0.24)
_NEAR = 0.5
"""Of the galaxies with lines, the share that is drawn where Hα lies on the grid: only there can they have a class of their own."""
GAS = ((2796.35, 1.0), (2803.53, 0.95), (2852.96, 0.45), (2600.17, 0.7), (2586.65, 0.55), (2382.76, 0.7), (2374.46, 0.4), (2344.21, 0.6))
"""Å and relative depth of the ultraviolet lines that a galaxy's own cold gas absorbs: Mg II, Mg I and Fe II. References: Martin et al.
(2012), ApJ 760, 127."""
_YOUNG = 0.05
"""Gyr; populations younger than this exist in both the published and the analytic set, and both are used."""
_FWHM = 2 * np.sqrt(2 * np.log(2))


class Galaxies:
    """Simple stellar populations on one grid of rest wavelengths.

    Args:
        library: its `galaxies` are used; the ultraviolet that they lack is the analytic populations'.
        grid: with `bins` of 1.
        redshifts: the lowest and the highest to be drawn.
    """

    def __init__(self, library: Library, grid: LogGrid, redshifts: tuple[float, float]) -> None:
        self.grid, self.redshifts = grid, redshifts
        self.first, self.pixels = span(grid, *redshifts, reach=emission.CENTERS["Ha"])
        sets = [library.galaxies]
        if library.galaxies.origin != "analytic":
            own = analytic_set("galaxies")
            sets.append(own.take(own.parameters["age"] < _YOUNG))
        self.flux = np.concatenate([self._extended(s) for s in sets])
        self.age = np.concatenate([s.parameters["age"] for s in sets])
        self.metallicity = np.concatenate([s.parameters["metallicity"] for s in sets])
        self.wave = 10 ** (LOG_STEP * (self.first + np.arange(self.pixels)))
        self.dust = starburst(self.wave).astype(np.float32)

    def _extended(self, templates: TemplateSet) -> np.ndarray:
        """Return populations on the grid, 1 at 5500 Å."""
        out = np.empty((len(templates), self.pixels), np.float32)
        formulas = analytic_set("galaxies")
        middle = abs(templates.wave - 5500) < 50
        for k in range(len(templates)):
            row = placed(templates.flux[k], templates.first, self.first, self.pixels)
            if np.isnan(row).any():
                distance = abs(np.log(formulas.parameters["age"] / templates.parameters["age"][k]))
                distance += abs(formulas.parameters["metallicity"] - templates.parameters["metallicity"][k])
                like = formulas.flux[int(np.argmin(distance))]
                row = continued(row, placed(like, formulas.first, self.first, self.pixels))
            out[k] = row / np.mean(templates.flux[k, middle])
        return out

    def draw(self, rng: np.random.Generator, n: int, kinds: np.ndarray | None = None) -> Drawn:
        """Return n galaxies.

        Args:
            rng: the randomness.
            n: how many.
            kinds: (n,) index into `KINDS`; drawn when None.
        """
        kinds = rng.choice(len(KINDS), n, p=SHARES) if kinds is None else kinds
        z = self._redshifts(rng, kinds)
        weights = self.histories(rng, kinds)
        rest = weights.astype(np.float32) @ self.flux
        a_v = np.minimum(rng.exponential(np.array([0.12, 0.45, 0.35, 0.35])[kinds]), 2.5)
        rest *= 10 ** (-0.4 * a_v[:, None].astype(np.float32) * self.dust)
        self._absorb(rng, kinds, rest)
        spread = rng.uniform(np.array([100.0, 70.0, 70.0, 90.0])[kinds], np.array([350.0, 200.0, 150.0, 300.0])[kinds])
        flux = shifted(broadened(rest, spread), self.first, z, self.grid)
        lines, width, sigma = self._add_lines(rng, kinds, z, a_v, rest, flux)
        names = np.array([f"{KINDS[k]} of {10**a:.2g} Gyr" for k, a in zip(kinds, weights @ np.log10(self.age), strict=True)])
        return made(flux, 1, np.array(KINDS)[kinds], z, names, lines=lines, equivalent_width=width, sigma=sigma)

    def _redshifts(self, rng: np.random.Generator, kinds: np.ndarray) -> np.ndarray:
        """Return redshifts, even in ln(1 + z), of galaxies with lines with a step where Hα leaves the grid."""
        low, high = np.log1p(self.redshifts)
        last = np.log(self.grid.wave[-1] / emission.CENTERS["NII_6584"])
        near = (rng.random(len(kinds)) < _NEAR) & (kinds > 0)
        return np.asarray(np.expm1(rng.uniform(low, np.where(near, np.clip(last, low, high), high))))

    def histories(self, rng: np.random.Generator, kinds: np.ndarray) -> np.ndarray:
        """Return the share of each population in the light at 5500 Å: (n, population), each row with a sum of 1.

        A galaxy is old, middle-aged and young stars in drawn shares; each share is spread over neighbouring ages,
        and all stars of a galaxy scatter around one metallicity.
        """
        n = len(kinds)
        log_age = np.log10(self.age)
        young = np.where(kinds == 0, np.where(rng.random(n) < 0.3, rng.beta(1, 15, n), 0), 0.0)
        young = np.choose(kinds, [young, rng.beta(2, 3, n), rng.beta(4, 2, n), rng.beta(1, 9, n)])
        middle = np.choose(kinds, [rng.beta(1, 6, n), rng.beta(2, 3, n), rng.beta(2, 3, n), rng.beta(1.2, 5, n)]) * (1 - young)
        middle = np.where((kinds == 0) & (rng.random(n) < 0.07), rng.uniform(0.5, 0.95, n), middle)  # after a starburst
        shares = np.stack([young, middle, 1 - young - middle], axis=1).clip(0)
        centers = np.stack([rng.uniform(-2.5, -1.2, n), rng.uniform(-1.0, 0.0, n), rng.uniform(0.3, 1.15, n)], axis=1)
        metallicity = rng.normal(np.array([0.0, -0.3, -0.5, -0.05])[kinds], 0.25)
        weights = np.zeros((n, len(log_age)))
        for k in range(3):
            near = np.exp(
                -0.5 * ((log_age - centers[:, k, None]) / 0.25) ** 2 - 0.5 * ((self.metallicity - metallicity[:, None]) / 0.25) ** 2
            )
            near *= rng.gamma(1.0, size=near.shape)
            weights += shares[:, k, None] * near / (near.sum(axis=1, keepdims=True) + 1e-300)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def _absorb(self, rng: np.random.Generator, kinds: np.ndarray, rest: np.ndarray) -> None:
        """Absorb the ultraviolet lines of cold gas, which flows out of galaxies that form stars."""
        depth = np.where(kinds == 0, 0.0, rng.beta(2, 1.5, len(kinds)))[:, None]
        outflow, sigma = rng.uniform(0, 300, (len(kinds), 1)), rng.uniform(60, 200, (len(kinds), 1))
        for center, strength in GAS:
            first, last = np.searchsorted(self.wave, (center * 0.995, center * 1.005))
            velocity = LIGHT * (self.wave[first:last] / center - 1) + outflow
            rest[:, first:last] *= (1 - strength * depth * np.exp(-0.5 * (velocity / sigma) ** 2)).astype(np.float32)

    def _add_lines(
        self, rng: np.random.Generator, kinds: np.ndarray, z: np.ndarray, a_v: np.ndarray, rest: np.ndarray, flux: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Add emission lines to `flux`; return those that decide the class, Hα's equivalent width and their width, as observed."""
        n = len(kinds)
        nitrogen, oxygen = emission.star_forming(rng, n)
        hard = (kinds == 3) | (kinds == 0)
        lit_by_nucleus = emission.active(rng, n)
        nitrogen, oxygen = np.where(hard, lit_by_nucleus[0], nitrogen), np.where(hard, lit_by_nucleus[1], oxygen)
        faint = np.where(rng.random(n) < 0.6, 0.0, 10 ** rng.normal(-0.3, 0.4, n))
        forming = 10 ** rng.normal(1.25, 0.3, n)
        forming = np.where(forming < 50, forming, rng.uniform(15, 50, n))
        observed = np.choose(kinds, [faint, forming, 50 * 10 ** rng.exponential(0.28, n), 10 ** rng.normal(1.15, 0.35, n)])
        sigma = np.choose(kinds, [*(rng.lognormal(np.log(m), s, n) for m, s in ((130, 0.3), (65, 0.35), (60, 0.35), (135, 0.3)))])
        sigma = np.clip(sigma, 25, 450)
        resolution = np.where(rng.random(n) < 0.7, rng.uniform(1500, 2500, n), rng.uniform(2000, 5500, n))
        seen = np.hypot(sigma, LIGHT / resolution / _FWHM)
        ratios = emission.dimmed(emission.fluxes(rng, nitrogen, oxygen, hard), a_v / 0.44)  # gas is dustier than stars
        at_alpha = rest[:, np.searchsorted(self.wave, emission.CENTERS["Ha"])]
        total = ratios * (observed * at_alpha)[:, None]
        centers = emission.WAVES * (1 + z)[:, None]
        spread = np.broadcast_to(seen[:, None], centers.shape)
        emission.add_lines(flux, self.grid, centers, spread, total)
        slots = [emission.NAMES.index(name) for name in NARROW]
        chosen, center = total[:, slots], centers[:, slots]
        log_sigma = np.broadcast_to((seen / LIGHT / np.log(10))[:, None], chosen.shape)
        height = chosen / (np.sqrt(2 * np.pi) * log_sigma * np.log(10) * center)
        lines = np.where((chosen > 0)[..., None], np.stack([np.log10(center), log_sigma, height], axis=-1), np.nan)
        return lines, observed, np.where(observed > 0, seen, np.nan)
