"""`simulate.lightcone`: a toy of the 21 cm line's brightness, from early times to late ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ....core.stage import DataError, StageConfig
from ..rows import RowRandom
from .one_mode import OneMode

_VOXELS = 1 << 22
"""Voxels that are made at a time."""
Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=2, le=4096)]


class LightCone(OneMode):
    """Simulate light-cones of the 21 cm line: a random field with a power law for its spectrum, ionised bubbles, and noise.

    The power is amplitude^2 k^slope at k radians per pixel. As a Gaussian field its likelihood is known from the powers of its modes,
    so the posterior is, too; a lognormal field, or one with bubbles, has none.

    References: Furlanetto, Oh & Briggs (2006), Phys. Rep. 433, 181; Coles & Jones (1991), MNRAS 248, 1;
    Furlanetto, Zaldarriaga & Hernquist (2004), ApJ 613, 1 (bubbles where the smoothed density is high).
    """

    name, version, scope = "simulate.lightcone", 2, "tile"
    parameters: ClassVar[Mapping[str, str]] = {"amplitude": "mK", "slope": "", "mean": "mK"}
    prior: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "amplitude": {"log_uniform": [2, 20], "unit": "mK"},
        "slope": {"uniform": [-2.5, 0]},
        "mean": {"uniform": [10, 40], "unit": "mK"},
    }

    class Config(StageConfig):
        """The field and the instrument."""

        shape: tuple[Side, Side, Side] = Field((32, 16, 16), description="pixels along the line of sight, which is time, and across")
        field: Literal["gaussian", "lognormal", "bubbles"] = Field(
            "gaussian",
            description="gaussian: exact posterior; lognormal: the same powers, skewed; bubbles: ionised ones in it",
        )
        noise: float = Field(5.0, ge=0, description="mK, standard deviation of the instrument's noise in a pixel")
        ionised: tuple[Share, Share] = Field(
            (0.0, 0.6), description="share of the volume that is ionised at the first and last pixel in time"
        )
        half: bool = Field(False, description="store in half precision: half the space, and errors of at most one part in two thousand")
        smoothing: float = Field(2.0, gt=0, description="pixels, standard deviation of the density's smoothing that bubbles follow")

    def stored_as(self) -> np.dtype:
        """Return the precision that the settings ask for."""
        return np.dtype(np.float16 if self.config.half else np.float32)

    def at_once(self) -> int:
        """Return as many simulations as fit into memory comfortably."""
        return max(1, _VOXELS // int(np.prod(self.config.shape)))

    def simulate(self, theta: np.ndarray, random: RowRandom) -> np.ndarray:
        """Return (n, time, y, x) brightness temperatures in mK."""
        shape, axes = self.config.shape, (1, 2, 3)
        k = wave_numbers(shape)[None, :, :, : shape[2] // 2 + 1]
        amplitude, slope, mean = (theta[:, i, None, None, None] for i in range(3))
        waves = np.fft.rfftn(random.normal(*shape), axes=axes) * np.sqrt(_power(k, amplitude, slope))
        field = np.fft.irfftn(waves, s=shape, axes=axes)
        if self.config.field != "gaussian":
            # Relative to the mean, so that brightness is never negative and its mean stays what it was.
            scaled = field / mean
            field = mean * np.expm1(scaled - scaled.var(axis=axes, keepdims=True) / 2)
        if self.config.field == "bubbles":
            smooth = np.fft.irfftn(waves * np.exp(-0.5 * (self.config.smoothing * k) ** 2), s=shape, axes=axes)
            field = np.where(self._neutral(smooth), field, -mean)
        return mean + field + self.config.noise * random.normal(*shape)

    def _neutral(self, smooth: np.ndarray) -> np.ndarray:
        """Return (n, time, y, x) bool: where the smoothed field is below the height that leaves the right share ionised at each time."""
        n, depth = smooth.shape[:2]
        neutral = 1 - np.linspace(self.config.ionised[0], self.config.ionised[1], depth)
        flat = smooth.reshape(n, depth, -1)
        rank = flat.argsort(axis=2).argsort(axis=2)
        return np.asarray(rank < neutral[:, None] * flat.shape[2]).reshape(smooth.shape)

    def log_likelihood(self, theta: np.ndarray, data: np.ndarray) -> np.ndarray:
        """Return (n,) log p(x | theta) of a Gaussian field: each mode's power is its own variance.

        Raises:
            DataError: the field is not Gaussian.
        """
        return self._of_powers(theta, *self._powers(data))

    def likelihood_of(self, observed: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return the log likelihood given one (time, y, x) observation; its powers are measured once."""
        known = self._powers(observed)
        return lambda theta: self._of_powers(theta, *known)

    def _powers(self, data: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return what the likelihood needs of data: by |k| the (m,) wave number, number of modes and (…, m) total power; (…,) the mean."""
        if self.config.field != "gaussian" or not self.config.noise:
            raise DataError("only a Gaussian light-cone with noise has a likelihood; set `field: gaussian` and `noise`")
        volume = int(np.prod(self.config.shape))
        k, shell, count = np.unique(wave_numbers(self.config.shape).round(9), return_inverse=True, return_counts=True)
        cubes = np.asarray(data, float).reshape(-1, *self.config.shape)
        power = np.abs(np.fft.fftn(cubes, axes=(1, 2, 3))).reshape(len(cubes), -1) ** 2 / volume
        total = np.stack([np.bincount(shell.ravel(), row, len(k)) for row in power])
        mean = cubes.mean(axis=(1, 2, 3))
        total[:, 0] = 0  # k = 0 is the mean
        return k, count, total if data.ndim == 4 else total[0], mean if data.ndim == 4 else mean[0]

    def _of_powers(self, theta: np.ndarray, k: np.ndarray, count: np.ndarray, total: np.ndarray, mean: np.ndarray) -> np.ndarray:
        variance = _power(k, theta[:, :1], theta[:, 1:2]) + self.config.noise**2
        volume = count.sum()
        offset = volume * (mean - theta[:, 2]) ** 2 / self.config.noise**2
        return np.asarray(-0.5 * ((count * np.log(2 * np.pi * variance) + total / variance).sum(axis=1) + offset))


def wave_numbers(shape: tuple[int, ...]) -> np.ndarray:
    """Return (time, y, x) |k| of the modes of a cube, in radians per pixel."""
    axes = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in shape), indexing="ij", sparse=True)
    return np.sqrt(np.asarray(sum(axis**2 for axis in axes)))


def _power(k: np.ndarray, amplitude: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Return the power of modes, mK^2; none at k = 0, which is the mean."""
    return np.where(k > 0, amplitude**2 * np.exp(slope * np.log(np.where(k > 0, k, 1.0))), 0.0)
