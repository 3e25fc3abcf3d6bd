"""`simulate.stream`: a stellar stream with a gap that something dark has torn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from ....core.stage import StageConfig
from ..rows import RowRandom
from ..simulator import Simulator

G = 4.30091e-6
"""kpc (km/s)^2 per solar mass."""
PER_GYR = 1.0227
"""1 km/s over 1 kpc, in 1/Gyr."""
_ESCAPE, _ESCAPE_SCATTER = 2.0, 0.6
"""Stars leave the progenitor with a velocity along the orbit of this many of its dispersions, and this scatter."""
_GAMMA = np.sqrt(2.0)
"""Of epicycles to revolutions, where the rotation curve is flat."""


class Stream(Simulator):
    """Simulate the density of stars along a stellar stream, with a gap from an encounter with a dark subhalo, and field stars.

    The progenitor is on a circular orbit in a flat rotation curve. Stars leave it at a steady rate through both ends and drift apart;
    the subhalo, a Plummer sphere, changes their velocities in an instant.

    References: Erkal & Belokurov (2015), MNRAS 450, 1136 (kicks and gaps); Bovy (2014), ApJ 795, 95 (drift);
    Alvey, Gerdes & Weniger (2023), arXiv:2304.02032 (inference).
    """

    name, version, scope = "simulate.stream", 2, "tile"
    parameters: ClassVar[Mapping[str, str]] = {
        "age": "Gyr",
        "dispersion": "km/s",
        "log_mass": "",
        "encounter": "Gyr",
        "place": "deg",
        "background": "deg**-1",
    }
    prior: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "age": {"uniform": [2, 6], "unit": "Gyr"},
        "dispersion": {"uniform": [0.3, 1], "unit": "km/s"},
        "log_mass": {"uniform": [6, 8]},
        "encounter": {"uniform": [0.2, 1.5], "unit": "Gyr"},
        "place": {"uniform": [4, 15], "unit": "deg"},
        "background": {"log_uniform": [1, 20], "unit": "deg**-1"},
    }

    class Config(StageConfig):
        """The orbit, the survey, and how the subhalo passes."""

        stars: float = Field(2000.0, gt=0, le=1e6, description="stars of the stream that are expected in all")
        extent: float = Field(40.0, gt=1, le=180, description="deg of the orbit on either side of the progenitor that are observed")
        bins: int = Field(80, ge=4, le=4096, description="bins along the stream")
        radius: float = Field(15.0, gt=0, description="kpc, of the orbit")
        circular_velocity: float = Field(220.0, gt=0, description="km/s, of the flat rotation curve")
        impact: float = Field(0.3, ge=0, description="kpc between the subhalo and the stream when they are closest")
        speed: float = Field(150.0, gt=0, description="km/s, of the subhalo across the stream")

    def at_once(self) -> int:
        """Return fewer simulations when they have many stars."""
        return max(1, int(1_000_000 // (self.config.stars + 100)))

    def simulate(self, theta: np.ndarray, random: RowRandom) -> np.ndarray:
        """Return (n, bin) counts of stars."""
        config = self.config
        count = random.poisson(np.full((len(theta), 1), config.stars))[:, 0]
        most = int(config.stars + 10 * config.stars**0.5 + 20)
        released = random.uniform(most)  # in ages; which of the stars exist is decided by the count
        offset = _ESCAPE + _ESCAPE_SCATTER * random.normal(most)
        leading = random.uniform(most) < 0.5
        phi = np.degrees(self.positions(theta, released, offset, leading))
        phi[np.arange(most) >= count[:, None]] = np.inf
        bins = np.floor((phi + config.extent) / (2 * config.extent) * config.bins)
        seen = (bins >= 0) & (bins < config.bins)
        where = (np.arange(len(theta))[:, None] * config.bins + np.where(seen, bins, 0).astype(np.int64))[seen]
        stars = np.bincount(where, minlength=len(theta) * config.bins).reshape(len(theta), config.bins)
        field = np.repeat(theta[:, 5:] * 2 * config.extent / config.bins, config.bins, axis=1)
        return stars + random.poisson(field)

    def positions(self, theta: np.ndarray, released: np.ndarray, offset: np.ndarray, leading: np.ndarray) -> np.ndarray:
        """Return (n, star) the angles along the orbit from the progenitor to its stars, now, in radians.

        Args:
            theta: (n, 6) parameters.
            released: (n, star) when they left, as a share of the stream's age.
            offset: (n, star) how fast they left, in dispersions.
            leading: (n, star) bool: whether they run ahead.
        """
        age, dispersion, log_mass, encounter = (theta[:, k, None] for k in range(4))
        place = np.radians(theta[:, 4, None])
        radius, circular = self.config.radius, self.config.circular_velocity
        drift = np.where(leading, 1.0, -1.0) * offset * dispersion / radius * PER_GYR
        before = released * age - encounter  # Gyr from leaving to the encounter
        along = drift * before - place
        # The progenitor is kicked as well; stars that leave it later have its new velocity.
        kick = self.kick(radius * along, 10**log_mass) - self.kick(-radius * place, 10**log_mass)
        turns = circular / radius * PER_GYR * encounter
        # The secular drift of a kicked star, which runs against the kick, and its epicycle.
        moved = kick / circular * (-(4 - _GAMMA**2) / _GAMMA**2 * turns + 4 / _GAMMA**3 * np.sin(_GAMMA * turns))
        return np.asarray(drift * released * age + np.where(before > 0, moved, 0.0))

    def kick(self, along: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """Return the change of velocity along the stream (km/s) at a distance (kpc) from where a subhalo (solar masses) crosses it."""
        scale = 1.62 * np.sqrt(mass / 1e8)  # kpc; Plummer radius of subhalos, Diemand et al. (2008)
        return np.asarray(-2 * G * mass * along / (self.config.speed * (self.config.impact**2 + scale**2 + along**2)))
