"""What a band's observation amounts to: from depth, seeing and sky brightness to electrons.

References:
    Aihara et al. (2018), HSC SSP first data release, arXiv:1702.08449 (depths, seeing);
    Ivezić et al. (2019), arXiv:0805.2366 (dark sky).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...core.stage import DataError
from .colours import BANDS
from .population import nanojansky
from .psf import MoffatField
from .stamps import SIZES, Shape, corner, oversampling, render

if TYPE_CHECKING:
    from .stage import BandName, SimulateSky


@dataclass(frozen=True)
class Band:
    """One band of the survey, with what its camera counts.

    Attributes:
        name: one of `colours.BANDS`.
        index: its place there.
        psf: the point-spread function anywhere.
        sky: mean sky level (nJy per pixel).
        noise: standard deviation of a pixel of empty sky (nJy).
        gain: electrons per nJy, summed over all exposures.
        read_noise: electrons, of all exposures together.
        full_well: electrons at which a pixel saturates, summed over all exposures.
    """

    name: BandName
    index: int
    psf: MoffatField
    sky: float
    noise: float
    gain: float
    read_noise: float
    full_well: float


def bands(config: SimulateSky.Config) -> tuple[Band, ...]:
    """Return the bands that the settings of `simulate.sky` describe.

    Raises:
        DataError: a band's sky would fill the detector before its depth is reached.
    """
    return tuple(_band(config, name) for name in config.bands)


def _band(config: SimulateSky.Config, name: BandName) -> Band:
    """Find the gain at which sky and read noise give the 5 sigma depth of a point source measured through its own profile."""
    index = BANDS.index(name)
    fwhm = config.seeing[name] / config.pixel_scale
    psf = MoffatField(config.seed, index, fwhm, config.psf_beta, config.psf_variation, config.psf_ellipticity)
    sky = float(nanojansky(config.sky[name])) * config.pixel_scale**2
    round_psf = MoffatField(config.seed, index, fwhm, config.psf_beta, 0.0, 0.0)
    profile = psf_stamp((round_psf,), 0.0, 0.0)[0]
    noise = float(nanojansky(config.depth[name])) / 5.0 * math.sqrt(float(np.sum(profile.astype(np.float64) ** 2)))
    read_noise = config.read_noise * math.sqrt(config.exposures)
    gain = (sky + math.sqrt(sky**2 + (2.0 * noise * read_noise) ** 2)) / (2.0 * noise**2)
    full_well = config.full_well * config.exposures
    if gain * sky > 0.5 * full_well:
        raise DataError(
            f"band {name}: the sky alone leaves {gain * sky:.3g} electrons in a pixel that holds {full_well:.3g}, "
            f"which a depth of {config.depth[name]} mag takes here; raise `exposures` or lower the depth"
        )
    return Band(name, index, psf, sky, noise, gain, read_noise, full_well)


def psf_stamp(psfs: tuple[MoffatField, ...], x: float, y: float) -> np.ndarray:
    """Return the point-spread functions at a place of the sky, as pixels see them.

    Args:
        psfs: one a band.
        x: column of the place, in pixels of the sky.
        y: its row.

    Returns:
        (band, y, x) float32, odd-sized, reaching to six widths, each summing to one.
    """
    half = math.ceil(6.0 * max(psf.fwhm for psf in psfs))
    size = next((s for s in SIZES if s >= 4 * half), SIZES[-1])
    place = np.array([x]), np.array([y])
    form = np.concatenate([psf.form(*place) for psf in psfs])
    one, none = np.ones(len(psfs)), np.zeros(len(psfs))
    beta = psfs[0].beta
    samples = oversampling(min(float(psf.at(*place)[0][0]) for psf in psfs), beta)
    stamp = render(Shape(0.0, 0.0, size, one, none, none, np.zeros(3), np.zeros(3), form), beta, samples)
    middle = -corner(0.0, size)
    cut = stamp[:, middle - half : middle + half + 1, middle - half : middle + half + 1]
    return (cut / cut.sum(axis=(1, 2), keepdims=True)).astype(np.float32)
