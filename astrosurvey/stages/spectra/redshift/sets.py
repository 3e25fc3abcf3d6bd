"""Which templates are fitted, at which redshifts, and their values between the pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..forest import ALPHA, mean_transmission
from ..templates import LOG_STEP, Library, TemplateSet
from ..velocity import LIGHT as LIGHT

STEP = LOG_STEP * math.log(10)
"""Of one pixel in ln(1 + z)."""
FRACTIONS = 8
"""Parts of a pixel by which templates can be shifted."""

TYPICAL, BLUEST = 2.5, 3800.0
"""Redshift of the quasars that published templates were made of where they show the forest; and Å: what lies blueward of it in these is
from quasars of higher redshifts, at which it is observed here."""

CLASS_OF = {
    "stars": "star",
    "white_dwarfs": "star",
    "eigen_stars": "star",
    "star_archetypes": "star",
    "cataclysmic": "star",
    "library_stars": "star",
    "galaxies": "galaxy",
    "eigen_galaxies": "galaxy",
    "eigen_quasars": "quasar",
    "eigen_quasars_low": "quasar",
    "eigen_quasars_high": "quasar",
    "quasar_archetypes": "quasar",
}
"""Set of a library -> coarse class."""


@dataclass(frozen=True, eq=False)
class ScanSet:
    """Templates that are fitted together (basis vectors), or one at a time.

    Attributes:
        name: of the set in the library.
        spectral_class: star, galaxy or quasar.
        flux: (k, pixel) float64, mean square 1; continued with its last values beyond the ends.
        first: number of the first pixel, as in `TemplateSet`.
        names: (k,) of the templates.
        single: whether templates are fitted one at a time.
        shifts: the least and the greatest shift to try, pixels.
        edge: number, with its fraction, of the pixel blueward of which the Lyα forest absorbs, so that templates there are multiplied
            by its transmission where they are observed; below all pixels where nothing absorbs.
    """

    name: str
    spectral_class: str
    flux: np.ndarray
    first: int
    names: tuple[str, ...]
    single: bool
    shifts: tuple[int, int]
    edge: float = -math.inf

    @property
    def absorbed(self) -> bool:
        """Whether the Lyα forest absorbs a part of the templates."""
        return self.edge > -math.inf

    def segment(self, first: int, pixels: int) -> np.ndarray:
        """Return (k, pixels) of the templates from pixel number `first` on, as they are without the forest."""
        return self.flux[:, np.clip(np.arange(first, first + pixels) - self.first, 0, self.flux.shape[1] - 1)]

    @cached_property
    def between(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The templates at fractions of a pixel, and their slopes per pixel, (FRACTIONS, k, pixel) float32.

        Entry [f, :, i] is at pixel i - f / FRACTIONS, by the cubic through the four pixels around it.
        """
        padded = np.pad(self.flux, ((0, 0), (2, 2)), mode="edge")
        p0, p1, p2, p3 = (padded[:, k : k + self.flux.shape[1] + 1] for k in range(4))
        values, slopes = [], []
        for f in range(FRACTIONS):
            x = 1 - f / FRACTIONS if f else 0.0  # from the pixel at or before the place
            a, b, c = (p3 - p0) / 6 + (p1 - p2) / 2, (p0 + p2) / 2 - p1, p2 - p0 / 3 - p1 / 2 - p3 / 6
            value, slope = p1 + x * (c + x * (b + x * a)), c + x * (2 * b + 3 * a * x)
            pick = slice(1, None) if f == 0 else slice(0, -1)
            values.append(value[:, pick])
            slopes.append(slope[:, pick])
        return tuple(torch.from_numpy(np.stack(planes).astype(np.float32)) for planes in (values, slopes))  # type: ignore[return-value]


def scan_sets(
    library: Library, names: tuple[str, ...], galaxies: tuple[float, float], quasars: tuple[float, float], velocity: float
) -> list[ScanSet]:
    """Return the sets to fit; those that the library does not have are left out.

    Args:
        library: of templates.
        names: of its sets.
        galaxies, quasars: least and greatest redshift, cut to what a set is meant for.
        velocity: of stars, km/s, in both directions.
    """
    limits = {"galaxy": galaxies, "quasar": quasars, "star": (-velocity / LIGHT, velocity / LIGHT)}
    held = library.sets()
    return [_scan_set(name, held[name], limits[CLASS_OF[name]]) for name in names if name in held]


def _scan_set(name: str, templates: TemplateSet, limits: tuple[float, float]) -> ScanSet:
    spectral_class = CLASS_OF[name]
    low, high = limits
    if spectral_class != "star" and templates.redshifts[1] > 0:
        low, high = max(low, templates.redshifts[0]), min(high, templates.redshifts[1])
    shifts = math.floor(math.log1p(low) / STEP), math.ceil(math.log1p(high) / STEP)
    flux = _filled(templates.flux.astype(np.float64))
    edge = -math.inf
    if spectral_class == "quasar":
        edge = math.log10(ALPHA) / LOG_STEP
        if templates.origin != "analytic":  # those hold no forest
            flux = _unabsorbed(flux, templates.wave)
    flux /= np.sqrt(np.mean(flux**2, axis=1, keepdims=True))
    return ScanSet(name, spectral_class, flux, templates.first, templates.names, not templates.eigen, shifts, edge)


def _unabsorbed(flux: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """Return published templates of quasars freed of the mean forest that they hold."""
    typical = np.maximum(TYPICAL, BLUEST / wave - 1)
    return np.asarray(flux / np.where(wave < ALPHA, mean_transmission(wave * (1 + typical)), 1))


def _filled(flux: np.ndarray) -> np.ndarray:
    """Return templates in which every pixel without a value has that of the nearest one with."""
    pixels = np.arange(flux.shape[1])
    for row in flux:
        good = np.isfinite(row)
        if not good.all():
            row[~good] = np.interp(pixels[~good], pixels[good], row[good])
    return flux
