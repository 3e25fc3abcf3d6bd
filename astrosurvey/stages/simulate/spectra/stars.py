"""Stars: templates of a type, moved, mixed and reddened."""

from __future__ import annotations

import re

import numpy as np

from ...spectra.classes import FINE
from ...spectra.templates import Library, TemplateSet
from ...spectra.templates.analytic import analytic_set
from ...spectra.templates.analytic.stars import TEMPERATURES
from .drawn import Drawn, made
from .dust import milky_way
from .grid import LIGHT, LogGrid, broadened, shifted, span

FASTEST = 600.0
"""km/s."""
FINE_KINDS = {
    "A0": ("A0", "A1", "A2", "A3", "A4"), "F5": ("F4", "F5", "F6"), "F9": ("F8", "F9"), "G2": ("G1", "G2", "G3"),
    "K1": ("K0", "K1"), "K3": ("K3",), "K5": ("K5",),
}  # fmt: skip
"""Types that count as one of the seven fine classes, of stars of about the Sun's metallicity; those between two classes have none.

SDSS names a star after the nearest of a few templates. Between A0 and F5 there was but F2, so that A0 reaches far.
"""
FINE_ALSO: dict[float, dict[str, tuple[str, ...]]] = {
    0.0: {"F9": ("G0",)},
    -0.5: {"K3": ("K4",)},
    -1.0: {"K3": ("K4",)},
    -1.5: {"F9": ("F9", "G0", "G1", "G2")},
    -2.0: {"F5": ("F5", "F6", "F7", "F8", "F9", "G0", "G1", "G2", "G3", "G4")},
}
"""[Fe/H]: types that count as a class with it, too. Weak lines of metals look like those of a hotter star."""
POOREST = -1.5
"""[Fe/H] from which on `FINE_KINDS` does not hold."""
_SMOOTHED = 55.0
"""km/s, sigma to which redrock's archetypes are smoothed: they come as sharp as their models, unlike all others."""
_TYPE = re.compile(r"(?:sd:?)?([OBAFGKML])([0-9])")
_OTHER = 0.45
"""Of the stars, the share whose type is drawn from all there are and not from the fine classes."""
_WEIGHTS = {"O": 0.3, "B": 0.7, "A": 1.0, "F": 1.0, "G": 1.0, "K": 1.0, "M": 1.6, "L": 0.5, "W": 1.2, "?": 0.5}
"""How often each kind is drawn among those others: O to L, white dwarfs, and carbon stars, subdwarfs and the like."""


class Stars:
    """All stellar templates of a library on one grid.

    Args:
        library: its `stars`, `eigen_stars`, `star_archetypes` and `white_dwarfs` are used.
        grid: with `bins` of 1.
    """

    def __init__(self, library: Library, grid: LogGrid) -> None:
        self.grid = grid
        self.first, self.pixels = span(grid, -2 * FASTEST / LIGHT, 2 * FASTEST / LIGHT)
        sets = [library.stars, library.eigen_stars, library.star_archetypes, library.white_dwarfs]
        sets = [
            s for k, s in enumerate(sets) if len(s) and not any(s.origin == other.origin and s.names == other.names for other in sets[:k])
        ]
        self.flux = np.concatenate([self._extended(s) for s in sets])
        self.names = np.array([name for s in sets for name in s.names])
        self.types = np.array([spectral_type(kind) for s in sets for kind in s.kinds])
        feh = np.concatenate([s.parameters.get("feh", np.full(len(s), np.nan)) for s in sets])
        self.fine = np.full(len(self.types), -1)
        for number, label in enumerate(FINE):
            if label.startswith("STAR_"):
                self.fine[_counts_as(label.removeprefix("STAR_"), self.types, feh)] = number
        letters = np.array([kind[0] if _TYPE.match(kind) else "W" if "WD" in kind else "?" for kind in self.types])
        self.weight = np.array([_WEIGHTS[letter] / np.sum(letters == letter) for letter in letters])

    def draw(self, rng: np.random.Generator, n: int) -> Drawn:
        """Return n stars. About half have one of the fine classes, evenly; the others are of any type."""
        pick = rng.choice(len(self.types), n, p=self.weight / self.weight.sum())
        classes = np.unique(self.fine[self.fine >= 0])
        wanted = np.where(rng.random(n) < _OTHER, -1, rng.choice(classes, n))
        for number in classes:
            members, rows = np.flatnonzero(self.fine == number), np.flatnonzero(wanted == number)
            pick[rows] = rng.choice(members, len(rows))
        flux = self.flux[pick]
        self._mix(rng, pick, flux)
        velocity = np.where(rng.random(n) < 0.5, rng.normal(0, 120, n), rng.uniform(-FASTEST, FASTEST, n))
        z = np.clip(velocity, -FASTEST, FASTEST) / LIGHT
        seen = shifted(flux, self.first, z, self.grid)
        a_v = np.minimum(rng.exponential(0.35, n), 4.0)
        seen *= 10 ** (-0.4 * a_v[:, None] * milky_way(self.grid.wave)).astype(np.float32)
        return made(seen, 0, self.types[pick], z, self.names[pick], fine=self.fine[pick])

    def _mix(self, rng: np.random.Generator, pick: np.ndarray, flux: np.ndarray) -> None:
        """Mix some stars with another of the same type and fine class, so that there are more than there are templates."""
        for row in np.flatnonzero(rng.random(len(pick)) < 0.5):
            same = np.flatnonzero((self.types == self.types[pick[row]]) & (self.fine == self.fine[pick[row]]))
            flux[row] += rng.uniform(0, 0.8) * (self.flux[rng.choice(same)] - flux[row])

    def _extended(self, templates: TemplateSet) -> np.ndarray:
        """Return templates on the grid of rest wavelengths, 1 in their median, with formulas' spectra where they end."""
        out = np.empty((len(templates), self.pixels), np.float32)
        formulas = analytic_set("stars")
        for k, kind in enumerate(templates.kinds):
            row = placed(templates.flux[k], templates.first, self.first, self.pixels)
            if np.isnan(row).any():
                like = formulas.flux[formulas.kinds.index(nearest_type(spectral_type(kind)))]
                row = continued(row, placed(like, formulas.first, self.first, self.pixels))
            out[k] = quieter(row) / typical(row)
        return broadened(out, np.full(len(out), _SMOOTHED)) if "share" in templates.parameters else out


def typical(row: np.ndarray) -> float:
    """Return the median of a spectrum; its mean if more than half of it has no light, as of cool dwarfs on a wide grid."""
    middle = float(np.median(row))
    return middle if middle > 0 else float(row.mean())


def _counts_as(label: str, types: np.ndarray, feh: np.ndarray) -> np.ndarray:
    """Return which stars, of these types and [Fe/H] (NaN: unknown), have a fine class."""
    members = np.isin(types, FINE_KINDS[label]) & ~(feh <= POOREST)
    for value, kinds in FINE_ALSO.items():
        members |= np.isin(types, kinds.get(label, ())) & (feh == value)
    return np.asarray(members)


def spectral_type(kind: str) -> str:
    """Return letter and digit of a spectral type, without luminosity class; what is no such type is returned as it is."""
    found = _TYPE.match(kind)
    return f"{found[1]}{found[2]}" if found else kind


def nearest_type(kind: str) -> str:
    """Return the type next to this one that the analytic stars have; A0 for what is no type."""
    order = "OBAFGKML"
    if not _TYPE.fullmatch(kind):
        return "A0"
    own = order.index(kind[0]) + int(kind[1]) / 10
    return min(TEMPERATURES, key=lambda name: abs(order.index(name[0]) + int(name[1]) / 10 - own))


NOISE = ((0.05, 2.0), (0.1, 5.0), (0.25, 20.0))
"""(noise as a part of the flux, pixels): from this much on, a template is smoothed by a Gaussian of this sigma."""


def quieter(row: np.ndarray, window: int = 200) -> np.ndarray:
    """Return a template smoothed where it is noisy: means of a few hot stars in the red, and of cold ones that send no blue light.

    A network that saw such a template a thousand times would learn its noise.

    Args:
        row: (pixel,) finite.
        window: pixels over which the noise is measured, from the differences between neighbours.
    """
    from scipy.ndimage import gaussian_filter1d, uniform_filter1d

    jagged = np.zeros_like(row)
    jagged[1:-1] = np.abs(row[2:] - 2 * row[1:-1] + row[:-2]) / np.sqrt(6)
    noise = np.sqrt(np.pi / 2) * uniform_filter1d(jagged, window, mode="nearest")
    level = np.abs(uniform_filter1d(row, window, mode="nearest"))
    out = row
    for least, sigma in NOISE:
        out = np.where(noise > least * level, gaussian_filter1d(row, sigma, mode="nearest"), out)
    return out


def placed(row: np.ndarray, first: int, start: int, pixels: int) -> np.ndarray:
    """Return (pixels,) of a template from pixel number `start` on; NaN where it has none."""
    out = np.full(pixels, np.nan)
    low, high = max(start, first), min(start + pixels, first + len(row))
    if high > low:
        out[low - start : high - start] = row[low - first : high - first]
    return out


def continued(row: np.ndarray, model: np.ndarray, overlap: int = 120) -> np.ndarray:
    """Return a spectrum whose missing ends are a model's, at the level that the two have beside the end.

    Args:
        row: (pixel,) with NaN at its ends.
        model: (pixel,) positive.
        overlap: pixels at each end from which the level is taken.
    """
    there = np.flatnonzero(np.isfinite(row))
    first, last = int(there[0]), int(there[-1])
    out = row.copy()
    for end, inside in ((slice(0, first), slice(first, first + overlap)), (slice(last + 1, None), slice(last + 1 - overlap, last + 1))):
        level = max(float(np.nanmedian(row[inside])), 0.0) / float(np.median(model[inside]))
        out[end] = level * model[end]
    return np.where(np.isfinite(out), out, 0.0)
