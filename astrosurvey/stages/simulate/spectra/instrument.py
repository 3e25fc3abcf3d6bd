"""What telescope, spectrograph and data reduction make of spectra: batches of torch tensors, on any device.

Spectra that were drawn once can be observed again in every step of a training, each time by another instrument. Nothing is
shared between rows, and all randomness is the generator's. A generator of a GPU gives other numbers than one of a CPU: what
must be reproduced everywhere is observed on the CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from ...spectra.skylines import BANDS, LINES
from .sky import analytic_sigma, sky_lines

RANGES = ((3800.0, 9200.0), (3600.0, 10400.0), (3700.0, 9100.0), (3600.0, 9824.0))
"""Å; SDSS, BOSS, LAMOST and DESI."""
BREAKS = ((5700.0, 6350.0), (7450.0, 7650.0))
"""Å, between which arms meet: the blue and the red one; and a third one, of one in four spectrographs."""
_KNOTS = 8


@dataclass(frozen=True)
class Instrument:
    """How bad it gets; a row draws its own within these.

    Attributes:
        snr: least and greatest mean signal-to-noise ratio of a usable pixel; drawn evenly in its logarithm.
        tilt: largest error of the flux calibration from one end to the middle, as a part.
        wiggle: scatter of its smooth errors, as a part.
        distorted: share of rows whose flux is not calibrated but for its small scales, like LAMOST's.
        distortion: scatter of ln(flux) over large scales in those.
        arms: scatter of the step between arms, as a part.
        smoothing: pixels, sigma, of the widest additional profile.
        sky: typical residual of a sky line, in sigmas; the worst rows have ten times more.
        spikes: share of rows with a few outliers that no mask marks.
        dead: share of pixels that are dead.
        stretches: share of rows in which stretches of pixels are masked.
        cut: share of rows that do not cover the grid, but only the range of one of the surveys.
    """

    snr: tuple[float, float] = (1.0, 50.0)
    tilt: float = 0.2
    wiggle: float = 0.04
    distorted: float = 0.3
    distortion: float = 0.35
    arms: float = 0.03
    smoothing: float = 0.8
    sky: float = 0.3
    spikes: float = 0.15
    dead: float = 0.002
    stretches: float = 0.2
    cut: float = 0.7


class Observed(NamedTuple):
    """Observed spectra: (n, pixel) float32 tensors, and `snr` (n,).

    `flux` is 0 where `ivar` is 0. `response` is the observed over the drawn flux, without noise. `snr` is the median of
    the true flux over its error in usable pixels; 0 of empty sky.
    """

    flux: Any
    ivar: Any
    response: Any
    snr: Any


def observe(flux: Any, wave: np.ndarray, generator: torch.Generator, instrument: Instrument = Instrument(), shapes: Any = None) -> Observed:
    """Return spectra as an instrument records them.

    Args:
        flux: (n, pixel) float32 tensor, as drawn; rows of zeros are empty sky.
        wave: (pixel,) Å, even in the logarithm.
        generator: of the device that `flux` is on.
        instrument: the settings.
        shapes: (m, pixel) float32 tensor, errors of real spectra, their mean 1, 0 where there are no data (`noise.Labelled`); half
            of the rows get one of these, the others an analytic one. None: all analytic.

    Returns:
        In each row the mean of |flux| / error over its usable pixels is the drawn signal-to-noise ratio; of empty sky, the mean error is 1.
    """
    draw = _Draw(generator, flux)
    x = torch.as_tensor(np.log(wave / wave[0]) / np.log(wave[-1] / wave[0]), dtype=flux.dtype, device=flux.device)
    empty = (flux == 0).all(dim=1, keepdim=True)
    response, gap = _response(draw, x, wave, instrument)
    true = _smoothed(draw, flux, instrument.smoothing) * response
    sigma = analytic_sigma(draw, x, wave)
    if shapes is not None:
        real = shapes[torch.randint(len(shapes), (len(flux),), generator=generator, device=flux.device)]
        sigma = torch.where(draw.chance(0.5), real, sigma)
    sigma = sigma * torch.sqrt(1 + draw.power(0.03, 2.0) * true.abs())  # photons of the object itself
    usable = (sigma > 0) & ~gap & _covered(draw, wave, instrument)
    lot = draw.uniform(count=x.numel())
    usable &= ~(_masked(draw, x.numel(), instrument) | (lot < instrument.dead))
    sigma = torch.where(usable, sigma, 1.0)
    count = usable.sum(dim=1, keepdim=True).clamp(min=1)
    ratio = torch.where(usable, true.abs() / sigma, 0).sum(dim=1, keepdim=True) / count
    error = torch.where(usable, sigma, 0).sum(dim=1, keepdim=True) / count
    scale = torch.where(empty, 1 / error, ratio / draw.power(*instrument.snr))
    sigma = sigma * scale
    noise = torch.randn(flux.shape, generator=generator, device=flux.device, dtype=flux.dtype)
    seen = true + sigma * (noise + _sky_residual(draw, wave, empty, instrument) + _spikes(draw, lot, instrument))
    snr = torch.where(usable, true / sigma, torch.nan).nanmedian(dim=1).values
    return Observed(torch.where(usable, seen, 0), torch.where(usable, sigma**-2, 0), response, torch.nan_to_num(snr))


class _Draw:
    """Random numbers for each row, (n, 1) or (n, count), on the device of the spectra."""

    def __init__(self, generator: torch.Generator, like: Any) -> None:
        self.generator, self.rows, self.device, self.dtype = generator, len(like), like.device, like.dtype

    def uniform(self, low: float = 0.0, high: float = 1.0, count: int = 1) -> Any:
        numbers = torch.rand((self.rows, count), generator=self.generator, device=self.device, dtype=self.dtype)
        return low + (high - low) * numbers

    def normal(self, count: int = 1) -> Any:
        return torch.randn((self.rows, count), generator=self.generator, device=self.device, dtype=self.dtype)

    def power(self, low: float, high: float) -> Any:
        """Return numbers whose logarithm is even between two values."""
        return torch.exp(self.uniform(math.log(low), math.log(high)))

    def chance(self, probability: float) -> Any:
        return self.uniform() < probability

    def tensor(self, values: np.ndarray) -> Any:
        return torch.as_tensor(values, device=self.device).to(self.dtype)


def _response(draw: _Draw, x: Any, wave: np.ndarray, instrument: Instrument) -> tuple[Any, Any]:
    """Return the error of the flux calibration, a factor around 1, and the pixels between arms that have no data."""
    k = torch.arange(1, _KNOTS + 1, device=x.device, dtype=x.dtype)
    waves = torch.cos(math.pi * k[:, None] * x)
    amplitude = draw.normal(_KNOTS) * k**-0.8
    bad = draw.chance(instrument.distorted)
    scatter = torch.where(bad, instrument.distortion, instrument.wiggle)
    log = (amplitude * scatter) @ waves + torch.log1p(draw.uniform(-instrument.tilt, instrument.tilt) * (2 * x - 1))
    gap = torch.zeros((draw.rows, x.numel()), dtype=torch.bool, device=x.device)
    pixel = torch.arange(x.numel(), device=x.device)
    length = math.log(wave[-1] / wave[0])
    for number, (low, high) in enumerate(BREAKS):
        place = (torch.log(draw.uniform(low, high)) - math.log(wave[0])) / length * (x.numel() - 1)
        there = draw.chance(1.0 if number == 0 else 0.25)
        step = draw.normal() * torch.where(bad, 4 * instrument.arms, instrument.arms)
        log = log + there * step * torch.sigmoid((pixel - place) / draw.power(0.5, 40.0))
        gap |= there & draw.chance(0.12) & ((pixel - place).abs() < draw.power(1.5, 0.012 * x.numel()))
    return torch.exp(log), gap


def _smoothed(draw: _Draw, flux: Any, widest: float) -> Any:
    """Return spectra seen with a lower resolution: a Gaussian of up to `widest` pixels, sampled at seven."""
    sigma = draw.uniform(0.0, widest) * draw.chance(0.6)
    offset = torch.arange(-3, 4, device=flux.device, dtype=flux.dtype)
    kernel = torch.exp(-0.5 * (offset / sigma.clamp(min=1e-3)) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    padded = torch.nn.functional.pad(flux[:, None], (3, 3), mode="replicate")[:, 0]
    return sum(kernel[:, k, None] * padded[:, k : k + flux.shape[1]] for k in range(7))


def _covered(draw: _Draw, wave: np.ndarray, instrument: Instrument) -> Any:
    """Return the pixels within the range of a survey."""
    ranges = draw.tensor(np.array(RANGES))
    pick = torch.randint(len(RANGES), (draw.rows,), generator=draw.generator, device=draw.device)
    cut = draw.chance(instrument.cut)
    low = torch.where(cut, ranges[pick, :1] + 25 * draw.normal(), 0.0)
    high = torch.where(cut, ranges[pick, 1:] + 25 * draw.normal(), torch.inf)
    place = draw.tensor(wave)
    return (place >= low) & (place <= high)


def _masked(draw: _Draw, pixels: int, instrument: Instrument) -> Any:
    """Return two masked stretches, in some rows."""
    pixel = torch.arange(pixels, device=draw.device)
    masked = torch.zeros((draw.rows, pixels), dtype=torch.bool, device=draw.device)
    for _ in range(2):
        stretch = draw.chance(instrument.stretches)
        masked |= stretch & ((pixel - draw.uniform(0, pixels)).abs() < draw.power(2.0, 0.02 * pixels))
    return masked


def _sky_residual(draw: _Draw, wave: np.ndarray, empty: Any, instrument: Instrument) -> Any:
    """Return what is left of sky lines and of the atmosphere's bands, in errors; more in fibres on empty sky."""
    inside = LINES[(wave[0] < LINES) & (wave[-1] > LINES)]
    level = draw.power(0.1 * instrument.sky, 10 * instrument.sky) if instrument.sky > 0 else torch.zeros_like(draw.uniform())
    level = level * torch.where(empty, 2.0, 1.0)
    even, odd = (draw.tensor(profile) for profile in sky_lines(wave, inside))
    common = draw.normal()  # sky subtracted too much or too little: lines of one sign
    strength = level * (0.7 * draw.normal(len(inside)) + 0.7 * common)
    residual = strength @ even + level * draw.normal(len(inside)) @ odd
    bands = np.array([np.exp(-0.5 * ((wave - 0.5 * (low + high)) / (0.35 * (high - low))) ** 2) for low, high in BANDS])
    residual = residual + level * draw.normal(len(BANDS)) @ draw.tensor(bands)
    x = torch.linspace(0, 1, len(wave), device=draw.device, dtype=draw.dtype)
    tilt = 0.5 * level * (draw.normal() + draw.normal() * (x - 0.5))  # of the sky's continuum
    return residual + torch.where(empty, tilt, 0.0)


def _spikes(draw: _Draw, lot: Any, instrument: Instrument) -> Any:
    """Return a few outliers in some rows, in errors; `lot` (n, pixel) is even from 0 to 1, and says which pixels are hit."""
    part = 1.5 / lot.shape[1]
    height = 5 * draw.power(1.0, 8.0) * draw.chance(instrument.spikes)
    return height * ((lot > 1 - part).to(lot.dtype) - (lot < 1 - part).to(lot.dtype) * (lot > 1 - 2 * part))
