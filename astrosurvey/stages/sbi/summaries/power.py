"""Binned power spectra of lines, images and cubes, with their edges wrapped around.

The power of a mode is |DFT|^2 V / N^2, for N pixels of a field whose volume is V: in units of the data squared, times a pixel's
length, area or volume. For a flat patch of sky with pixels in radians it is C_l at l = k. Each bin holds the mean over its modes. All
that a Gaussian random field says of its parameters is in these means, if bins are narrow beside the changes of the spectrum.

References:
    Peebles (1980), The Large-Scale Structure of the Universe, section 41; Feldman, Kaiser & Peacock (1994), ApJ 426, 23 (estimators);
    Morales & Wyithe (2010), ARA&A 48, 127 (cylindrical bins, where the line of sight is time).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import fft

LEAST = 1e-30
"""Added to powers under their logarithm: an even field has none."""
Spacing = Literal["log", "linear"]


@dataclass(frozen=True, eq=False)
class PowerBins:
    """Which modes of a field are in which bin.

    Attributes:
        shape: of the field.
        pixel: lengths of a pixel along each axis.
        bin: (mode,) of each mode that a real transform keeps; the last number, one past the bins, is for modes in none.
        weight: (mode,) 2 where the transform has left out a mode's twin, else 1.
        k: (bin, 1 or 2) mean wave number of its modes, in radians per unit of `pixel`; of cylindrical bins across the line of sight,
            and along it.
    """

    shape: tuple[int, ...]
    pixel: tuple[float, ...]
    bin: np.ndarray
    weight: np.ndarray
    k: np.ndarray

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        bins: int,
        *,
        along: int | None = None,
        pixel: Sequence[float] | None = None,
        limits: tuple[float, float] | None = None,
        spacing: Spacing = "log",
    ) -> PowerBins:
        """Return bins of |k|, or cylindrical ones; those without a mode are left out, and so is k = 0.

        Args:
            shape: of the field.
            bins: of |k|, or of the part across the line of sight.
            along: bins of the part along the line of sight, the first axis; None: isotropic.
            pixel: lengths of a pixel along each axis; None: 1.
            limits: lowest and highest |k|; None: all modes, also those in the corners beyond Nyquist's frequency of an axis.
            spacing: of the bins.
        """
        shape = tuple(shape)
        pixel = tuple(pixel) if pixel is not None else (1.0,) * len(shape)
        lines = [2 * np.pi * np.fft.fftfreq(n, d) for n, d in zip(shape, pixel, strict=True)]
        lines[-1] = np.abs(lines[-1][: shape[-1] // 2 + 1])
        axes = [line.ravel() for line in np.meshgrid(*(np.abs(line) for line in lines), indexing="ij")]
        size = np.sqrt(np.sum(np.square(axes), axis=0))
        there = size > 0
        if limits is not None:
            there &= (size >= limits[0]) & (size <= limits[1])
        weight = np.broadcast_to(_twins(shape[-1]), (*shape[:-1], shape[-1] // 2 + 1)).ravel()
        if along is None:
            parts, label = [size], _labels(size, there, bins, spacing)
        else:
            parts = [np.sqrt(np.sum(np.square(axes[1:]), axis=0)), axes[0]]
            label = _labels(parts[0], there, bins, spacing) * (along + 1) + _labels(parts[1], there, along, spacing)
        kept, place = np.unique(label[there], return_inverse=True)
        bin_of = np.full(len(size), len(kept))
        bin_of[there] = place
        modes = np.bincount(place, weight[there], len(kept))
        k = np.stack([np.bincount(place, (weight * part)[there], len(kept)) / modes for part in parts], axis=1)
        return cls(shape, pixel, bin_of, weight, k)

    @property
    def names(self) -> tuple[str, ...]:
        """Of what `summaries` returns: the mean, and log_power_k<wave number> (cylindrical: _k<across>_<along>)."""
        return ("mean", *("log_power_k" + "_".join(f"{part:.4g}" for part in k) for k in self.k))

    def power(self, field: np.ndarray) -> np.ndarray:
        """Return (bin,) the mean power of the modes of one field."""
        field = field - field.mean(dtype=np.float64).astype(field.dtype)
        modes = fft.rfftn(field).ravel()
        total = np.bincount(self.bin, self.weight * (modes.real**2 + modes.imag**2), len(self.k) + 1)
        number = np.bincount(self.bin, self.weight, len(self.k) + 1)
        return np.asarray(total[:-1] / number[:-1] * np.prod(self.pixel) / field.size)

    def summaries(self, fields: np.ndarray) -> np.ndarray:
        """Return (n, 1 + bin) the mean of each of (n, …) fields, and natural logarithms of its powers."""
        power = np.stack([self.power(field) for field in fields])
        mean = fields.reshape(len(fields), -1).mean(axis=1, dtype=np.float64)
        return np.column_stack([mean, np.log(power + LEAST)])


def _twins(length: int) -> np.ndarray:
    """Return (mode,) how many modes each one along the last axis of a real transform stands for."""
    number = np.full(length // 2 + 1, 2.0)
    number[0] = 1.0
    if length % 2 == 0:
        number[-1] = 1.0
    return number


def _labels(k: np.ndarray, there: np.ndarray, bins: int, spacing: Spacing) -> np.ndarray:
    """Return (mode,) bins from 1, between the smallest and largest of k > 0 that is there; 0 where k is 0."""
    seen = k[there & (k > 0)]
    if not len(seen):
        return np.zeros(len(k), np.int64)
    # A hair wider, so that rounding puts no mode outside.
    low, high = seen.min() * (1 - 1e-9), seen.max() * (1 + 1e-9)
    edges = np.geomspace(low, high, bins + 1) if spacing == "log" else np.linspace(low, high, bins + 1)
    return np.where(k > 0, np.clip(np.digitize(k, edges), 1, bins), 0)
