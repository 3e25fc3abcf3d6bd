"""From calibrated pixels to a picture: block averages, a common stretch, colours that keep their hue.

References: Lupton et al. (2004), PASP 116, 133.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..catalog.flags import PIXEL, UNUSABLE

SKY_GREY = 0.09
"""Brightness of the blank sky; above black, so that what is below the sky still shows."""
SOFTENING = 4.0
"""Brightness, in units of the noise, at which the stretch turns from linear to logarithmic."""
ORDER = "uBgVrRiIzyYJHK"
"""Photometric bands from short to long wavelengths, for the colours of those with one-letter names."""


def block_average(plane: np.ndarray, factor: int) -> np.ndarray:
    """Return the means of `factor` × `factor` blocks, without NaN pixels; NaN where a block has no others.

    Args:
        plane: (y, x) float; blocks at the right and upper edge may be partial.
        factor: side of a block in pixels.
    """
    if factor == 1:
        return np.asarray(plane, np.float32)
    rows, columns = np.arange(0, plane.shape[0], factor), np.arange(0, plane.shape[1], factor)
    good = np.isfinite(plane)
    filled = np.where(good, plane, 0).astype(np.float64)
    total = np.add.reduceat(np.add.reduceat(filled, rows, axis=0), columns, axis=1)
    number = np.add.reduceat(np.add.reduceat(good.astype(np.int32), rows, axis=0), columns, axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan).astype(np.float32)


def channels(bands: Sequence[str]) -> tuple[int, ...]:
    """Return which bands to show as (red, green, blue), long wavelengths first; one index for a grey picture.

    Of more than three bands the outer two and a middle one are taken; of two, green is their mean (-1).
    """
    order = list(range(len(bands)))
    if all(band[:1] in ORDER and band[:1] for band in bands):
        order.sort(key=lambda i: ORDER.index(bands[i][0]))
    if len(order) == 1:
        return (order[0],)
    if len(order) == 2:
        return order[1], -1, order[0]
    return order[-1], order[len(order) // 2], order[0]


def thumbnail(data: np.ndarray, mask: np.ndarray | None, bands: Sequence[str], factor: int) -> np.ndarray:
    """Return (channel, y, x) float32 block averages of the bands to show: one channel, or red, green and blue.

    Unusable pixels are left out of the averages. A block is inf in every channel where half of it or more is
    saturated in any of them, and NaN in a channel that has no usable pixel there.

    Args:
        data: (band, y, x) fluxes.
        mask: (band, y, x) bits of `PIXEL`, or None.
        bands: their names.
        factor: side of a block in pixels.
    """
    chosen = channels(bands)
    planes: dict[int, np.ndarray] = {}
    saturated = np.zeros(data.shape[1:], bool)
    for index in set(chosen) - {-1}:
        plane = np.array(data[index], np.float32)
        if mask is not None:
            plane[(mask[index] & UNUSABLE) != 0] = np.nan
            saturated |= (mask[index] & PIXEL["SAT"]) != 0
        planes[index] = block_average(plane, factor)
    if -1 in chosen:
        planes[-1] = (planes[chosen[0]] + planes[chosen[2]]) / 2
    stacked = np.stack([planes[index] for index in chosen])
    if saturated.any():
        stacked[:, block_average(saturated, factor) >= 0.5] = np.inf
    return stacked


@dataclass(frozen=True)
class Stretch:
    """One scale for all tiles of a run.

    Attributes:
        level: (channel,) the sky.
        gain: (channel,) by which a channel is multiplied; balances the colours.
        noise: of the balanced channels.
        white: the balanced brightness that becomes white.
    """

    level: np.ndarray
    gain: np.ndarray
    noise: float
    white: float

    @classmethod
    def of(cls, planes: Sequence[np.ndarray]) -> Stretch:
        """Return the stretch that suits a sample of (channel, y, x) thumbnails with one number of channels."""
        sample = np.concatenate([_sample(plane, 400_000 // len(planes)) for plane in planes], axis=1)
        if sample.shape[1] == 0:
            ones = np.ones(len(sample))
            return cls(np.zeros(len(sample)), ones, 1.0, 100.0)
        level = np.median(sample, axis=1)
        sigma = 1.4826 * np.median(np.abs(sample - level[:, None]), axis=1)
        spread = np.where(sigma > 0, sigma, np.std(sample, axis=1))
        spread = np.where(spread > 0, spread, 1.0)
        signal = (sample - level[:, None]) / spread[:, None]
        brightness = signal.mean(axis=0)
        # The colours are balanced so that the usual faint source is grey; the few brightest pixels do not decide.
        usual = (brightness > 5) & (brightness < 100)
        colour = np.median(signal[:, usual] / brightness[usual], axis=1) if usual.sum() > 100 else np.ones(len(sample))
        gain = 1 / (spread * np.clip(colour, 0.2, 5.0))
        gain /= np.mean(gain * spread)
        intensity = np.mean((sample - level[:, None]) * gain[:, None], axis=0)
        return cls(level, gain, 1.0, float(np.clip(np.quantile(intensity, 0.998), 150.0, 3000.0)))

    def render(self, planes: np.ndarray) -> np.ndarray:
        """Return (y, x, 3) uint8 of (channel, y, x) fluxes, the first row at the top of the picture.

        The brightness of the mean of the channels is stretched and the hue kept; where there is only noise
        there is no hue to keep, so the sky is grey.
        """
        saturated, good = np.isposinf(planes).any(axis=0), np.isfinite(planes)
        level, gain = (column.astype(np.float32)[:, None, None] for column in (self.level, self.gain))
        noise = np.float32(self.noise)
        scaled = np.where(good, (np.where(good, planes, 0) - level) * gain, np.float32(0))
        # A channel without a value takes the mean of the others: grey, where the hue is not known.
        intensity = scaled.sum(axis=0) / np.maximum(good.sum(axis=0, dtype=np.float32), 1)
        scaled = np.where(good, scaled, intensity)
        zero, white = self._curve(0.0), self._curve(self.white)
        bright = SKY_GREY + (1 - SKY_GREY) * (self._curve(intensity) - zero) / (white - zero)
        signal = np.maximum(intensity, 0)
        weight = signal**2 / (signal**2 + (3 * noise) ** 2)
        hue = np.clip(scaled / np.maximum(signal, noise), 0, 2.5)
        colour = np.maximum(bright, 0) * (1 + weight * (hue - 1))
        top = colour.max(axis=0)
        over = np.clip((top - 1) / 2, 0, 1)  # too bright: keep the hue at first, then pale to white
        colour = np.where(top > 1, colour / np.maximum(top, 1) * (1 - over) + over, colour)
        colour = np.where(saturated, 1, np.where(good.any(axis=0), colour, 0))
        pixels = np.round(np.clip(colour, 0, 1) * 255).astype(np.uint8)[:, ::-1]
        return np.ascontiguousarray(np.broadcast_to(pixels.transpose(1, 2, 0), (*pixels.shape[1:], 3)))

    def _curve(self, intensity: Any) -> Any:
        return np.arcsinh(np.float32(1 / (SOFTENING * self.noise)) * intensity)


def _sample(planes: np.ndarray, number: int) -> np.ndarray:
    """Return about so many pixels of (channel, y, x) planes, evenly spread, without NaN: (channel, n)."""
    step = max(1, int(np.sqrt(planes[0].size / max(number, 1))))
    values = planes[:, ::step, ::step].reshape(len(planes), -1)
    return values[:, np.isfinite(values).all(axis=0)].astype(np.float64)


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """Return (y, x, 3) uint8 as a JPEG file; a grey picture as a grey one."""
    from PIL import Image

    grey = bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if grey else pixels).save(stream, "JPEG", quality=quality, subsampling=0, optimize=True)
    return stream.getvalue()
