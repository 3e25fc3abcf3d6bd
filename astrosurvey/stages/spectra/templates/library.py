"""What a library of templates is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np

LOG_STEP = 1e-4
"""Between the pixels of every template, in log10 of the wavelength: one pixel is a shift by 2.3026e-4 in ln(1 + z)."""


@dataclass(frozen=True, eq=False)
class TemplateSet:
    """Templates or basis vectors on one grid, at rest, in vacuum.

    Attributes:
        flux: (n, pixel) float32, flux density per Å in arbitrary units; NaN where a template says nothing.
        first: number of the first pixel; pixel k lies at 10**(1e-4 k) Å in all sets, so that sets differ by whole pixels.
        names: (n,) what each template is called where it comes from.
        kinds: (n,) its type: a spectral type such as `K3`, `WD:DA`, `CV`, `SSP`, `QSO` or `BAL`.
        parameters: (n,) float64 by name, such as `feh`, `teff` (K), `age` (Gyr) and `metallicity`; NaN where unknown.
        origin: the file it was read from, or `analytic`.
        eigen: whether rows are basis vectors, of which only the span means something, and not spectra of their own.
        redshifts: the least and the greatest redshift the set is meant for; (0, 0) is a set of stars.
    """

    flux: np.ndarray
    first: int
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    origin: str = ""
    eigen: bool = False
    redshifts: tuple[float, float] = (0.0, 0.0)

    def __len__(self) -> int:
        return len(self.flux)

    @property
    def loglam0(self) -> float:
        """log10 of the first pixel's wavelength in Å."""
        return self.first * LOG_STEP

    @property
    def wave(self) -> np.ndarray:
        """(pixel,) float64, Å in vacuum."""
        wave: np.ndarray = 10 ** (LOG_STEP * (self.first + np.arange(self.flux.shape[1])))
        return wave

    def take(self, rows: np.ndarray) -> TemplateSet:
        """Return some of the templates, by indices or (n,) bool."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        names, kinds = (tuple(texts[int(i)] for i in rows) for texts in (self.names, self.kinds))
        values = {name: column[rows] for name, column in self.parameters.items()}
        return TemplateSet(self.flux[rows], self.first, names, kinds, values, self.origin, self.eigen, self.redshifts)


def no_templates() -> TemplateSet:
    """Return a set without templates."""
    return TemplateSet(np.empty((0, 0), np.float32), 0, (), ())


@dataclass(frozen=True, eq=False)
class Library:
    """Every set of templates there is; sets for which there is no file are empty, or analytic where `read_library` says so.

    Attributes:
        stars: mean spectra of stars by spectral type, O to L; parameter `feh`.
        white_dwarfs: spectra of white dwarfs.
        eigen_stars: stellar archetypes, each a basis of its own (SDSS fits them one at a time).
        star_archetypes: archetypes of stars (redrock).
        cataclysmic: basis vectors of cataclysmic variables.
        library_stars: single stars with `teff`, `logg` and `feh`.
        galaxies: simple stellar populations with `age` and `metallicity`.
        eigen_galaxies: basis vectors of galaxies.
        eigen_quasars: basis vectors of quasars at all redshifts.
        eigen_quasars_low: basis vectors of quasars at low redshifts.
        eigen_quasars_high: basis vectors of quasars at high redshifts.
        quasar_archetypes: archetypes of quasars; kind `BAL` has broad absorption lines.
    """

    stars: TemplateSet = field(default_factory=no_templates)
    white_dwarfs: TemplateSet = field(default_factory=no_templates)
    eigen_stars: TemplateSet = field(default_factory=no_templates)
    star_archetypes: TemplateSet = field(default_factory=no_templates)
    cataclysmic: TemplateSet = field(default_factory=no_templates)
    library_stars: TemplateSet = field(default_factory=no_templates)
    galaxies: TemplateSet = field(default_factory=no_templates)
    eigen_galaxies: TemplateSet = field(default_factory=no_templates)
    eigen_quasars: TemplateSet = field(default_factory=no_templates)
    eigen_quasars_low: TemplateSet = field(default_factory=no_templates)
    eigen_quasars_high: TemplateSet = field(default_factory=no_templates)
    quasar_archetypes: TemplateSet = field(default_factory=no_templates)

    def sets(self) -> dict[str, TemplateSet]:
        """Return the sets that are not empty, by name."""
        return {entry.name: value for entry in fields(self) if len(value := getattr(self, entry.name))}
