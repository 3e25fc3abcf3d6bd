"""`simulate.sed`: fluxes of galaxies in the bands of a survey, with the errors of its catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ....core.product import optional
from ....core.stage import Context, DataError, StageConfig
from ....products import Observations, Samples
from ...simulate.colours import BANDS, REFERENCE, galaxy_log_light
from ..priors import same_unit
from ..rows import RowRandom
from ..simulator import Simulator

Band = Literal["u", "g", "r", "i", "z", "y"]
DEPTH: dict[Band, float] = {"u": 25.3, "g": 26.8, "r": 26.9, "i": 26.3, "z": 25.6, "y": 24.4}
"""AB magnitudes of point sources at five standard deviations, after about three of ten years of LSST."""
_SUN_R = 4.65
"""AB magnitude of the Sun in r at 10 pc, Willmer (2018), ApJS 236, 47."""
_ZEROPOINT = 31.4
_FURTHEST = 20.0
_NODES, _STEPS = 15, 6
"""Of the integral over the scatter, and of the search for its peak."""
_WIDEST = 20.0
"""Standard deviations of the scatter within which the peak is searched."""


class SimulateSed(Simulator):
    """Simulate fluxes of galaxies, with errors, from redshift, stellar mass and type, as a survey would measure them.

    Spectra are those of `simulate.sky`; the mass-to-light ratio follows from the colour at rest. Errors are drawn from those of a
    catalogue, if observations of one are wired, so that the simulations are as deep as it is.

    References: Coleman, Wu & Weedman (1980), ApJS 43, 393; Bell et al. (2003), ApJS 149, 289 (mass to light, here less 0.15 dex for
    Kroupa's mass function); Ivezić et al. (2019), ApJ 873, 111 (depths).
    """

    name, version, scope = "simulate.sed", 2, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {**Simulator.inputs, "observations": optional(Observations)}
    parameters: ClassVar[Mapping[str, str]] = {"redshift": "", "log_mass": "", "galaxy_type": ""}
    prior: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "redshift": {"truncated_normal": [0.6, 0.5, 0.01, 2]},
        "log_mass": {"uniform": [8, 11.8]},
        "galaxy_type": {"uniform": [0, 3]},
    }

    class Config(StageConfig):
        """The bands, their depth, and what the templates leave open."""

        bands: Annotated[list[Band], Field(min_length=1)] = Field(["g", "r", "i", "z"], description="bands, in the order of the features")
        method: str = Field("total", min_length=1, description="photometry's method, which the features' names hold: `r_total_flux`")
        depth: dict[Band, float] = Field(
            DEPTH, description="AB magnitude at five standard deviations, by band; not used where observations are wired"
        )
        scatter: float = Field(0.05, ge=0, lt=1, description="mag, of every flux around the templates")
        cosmology: str = Field("Planck18", description="cosmology of the distances, by astropy's name for it")

        @model_validator(mode="after")
        def _makes_sense(self) -> Self:
            if len(set(self.bands)) != len(self.bands):
                raise ValueError("`bands` names a band twice")
            if lacking := [band for band in self.bands if band not in self.depth]:
                raise ValueError(f"`depth` lacks the band {lacking[0]!r}")
            return self

    def feature_names(self) -> tuple[str, ...]:
        """Return the columns of the wide view: all fluxes (nJy), then all errors."""
        stems = [f"{band}_{self.config.method}_flux" for band in self.config.bands]
        return (*stems, *(f"{stem}_err" for stem in stems))

    def feature_units(self) -> tuple[str, ...]:
        """Return the unit of fluxes and errors."""
        return ("nJy",) * (2 * len(self.config.bands))

    def run(self, ctx: Context, *, parameters: Samples, observations: Observations | None = None) -> Mapping[str, Any]:
        """Return the simulations of a tile's draws."""
        return self.simulated(ctx, parameters, partial(self.simulate, errors=self._errors(observations)))

    def simulate(self, theta: np.ndarray, random: RowRandom, errors: np.ndarray | None = None) -> np.ndarray:
        """Return (n, 2 band) fluxes and their errors, nJy.

        Args:
            theta: redshift, log10 of the stellar mass in solar masses, and type from 0 (elliptical) to 3 (irregular).
            random: random numbers for each row.
            errors: (m, band) errors of real sources to draw from; None: those of the depths.
        """
        flux = 10 ** (-0.4 * self.config.scatter * random.normal(len(self.config.bands))) * self.fluxes(theta)
        if errors is None:
            faintest = 10 ** (0.4 * (_ZEROPOINT - np.array([self.config.depth[band] for band in self.config.bands])))
            sigma = faintest / 5 * np.exp(0.1 * random.normal(len(self.config.bands)))
        else:
            sigma = errors[(random.uniform(1)[:, 0] * len(errors)).astype(np.int64)]
        return np.concatenate([flux + sigma * random.normal(flux.shape[1]), sigma], axis=1)

    def log_likelihood(self, theta: np.ndarray, data: np.ndarray) -> np.ndarray:
        """Return (n,) log probabilities of the fluxes given parameters and errors; how errors come about knows nothing of parameters."""
        bands = len(self.config.bands)
        flux, sigma = data[..., :bands], data[..., bands:]
        return np.asarray(_log_scattered(flux, sigma, self.fluxes(theta), 0.4 * np.log(10) * self.config.scatter).sum(axis=1))

    def fluxes(self, theta: np.ndarray) -> np.ndarray:
        """Return (n, band) fluxes without noise and scatter, nJy."""
        redshift, log_mass, galaxy_type = theta.T
        at_rest = galaxy_log_light(galaxy_type, np.zeros(len(theta))) / np.log(10)
        colour = -2.5 * (at_rest[:, BANDS.index("g")] - at_rest[:, REFERENCE])
        log_light = log_mass - (-0.306 + 1.097 * colour - 0.15)  # in r, of suns
        near = 0.4 * (_ZEROPOINT - _SUN_R) + log_light  # log10 of nJy at 10 pc
        bands = [BANDS.index(band) for band in self.config.bands]
        log_flux = galaxy_log_light(galaxy_type, redshift)[:, bands] / np.log(10) - at_rest[:, REFERENCE, None]
        far = np.log10(1 + redshift) - 2 * np.log10(self._distance(redshift) * 1e5)  # 1 Mpc is 1e5 times 10 pc
        return np.asarray(10 ** (log_flux + (near + far)[:, None]))

    def _distance(self, redshift: np.ndarray) -> np.ndarray:
        """Return luminosity distances, Mpc."""
        from ...clustering.friends.lengths import comoving_distance

        return (1 + redshift) * comoving_distance(redshift, self.config.cosmology, _FURTHEST)

    def _errors(self, observations: Observations | None) -> np.ndarray | None:
        """Return (m, band) the errors of real sources that have them all.

        Raises:
            DataError: the observations lack a band, or no source has an error in all bands.
        """
        if observations is None:
            return None
        wanted = self.feature_names()[len(self.config.bands) :]
        if missing := [name for name in wanted if name not in observations.names]:
            raise DataError(f"the observations have no column {missing[0]!r}; name it in `columns` of sbi.observe")
        units = dict(zip(observations.names, observations.units, strict=False))
        if others := [name for name in wanted if units.get(name) and not same_unit(units[name], "nJy")]:
            raise DataError(f"{others[0]!r} is in {units[others[0]]!r}, and simulated fluxes are in 'nJy'; convert the observations")
        errors = np.asarray(observations.data[:, [observations.names.index(name) for name in wanted]], float)
        errors = errors[np.isfinite(errors).all(axis=1) & (errors > 0).all(axis=1)]
        if not len(errors):
            raise DataError(f"no source has an error in all of {', '.join(self.config.bands)}; leave out the bands that were not measured")
        return errors


def _log_scattered(flux: np.ndarray, sigma: np.ndarray, model: np.ndarray, scatter: float) -> np.ndarray:
    """Return (n, band) log densities of fluxes whose mean scatters log-normally around the model.

    The scatter is integrated out by Gauss and Hermite's rule, its nodes around the peak of the integrand and as wide as that.

    Args:
        flux, sigma: measured fluxes and their errors.
        model: (n, band) without scatter.
        scatter: in the natural logarithm.
    """
    nodes, weights = np.polynomial.hermite.hermgauss(_NODES)
    at, slope = np.zeros(model.shape), scatter * model / sigma
    for _ in range(_STEPS):  # Gauss & Newton, for the scatter in its standard deviations
        brightened = np.exp(scatter * at)
        off = (flux - model * brightened) / sigma
        at = np.clip((slope * brightened * off + (slope * brightened) ** 2 * at) / (1 + (slope * brightened) ** 2), -_WIDEST, _WIDEST)
    width = np.sqrt(2 / (1 + (slope * np.exp(scatter * at)) ** 2))[..., None]
    around = at[..., None] + width * nodes
    off = (flux[..., None] - model[..., None] * np.exp(scatter * around)) / sigma[..., None]
    log = -0.5 * off**2 - 0.5 * around**2 + nodes**2 + np.log(weights)
    highest = log.max(axis=-1)
    total = highest + np.log(np.exp(log - highest[..., None]).sum(axis=-1)) + np.log(width[..., 0])
    return np.asarray(total - np.log(2 * np.pi) - np.log(sigma))
