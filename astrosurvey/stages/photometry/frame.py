"""An image made ready to be measured: planes for the kernels, the PSF of each band, the noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...catalog.flags import UNUSABLE
from ...core.stage import DataError
from ...kernels import centroid
from ...kernels._pixels import Places, Planes
from ..detection.filter import FWHM_PER_SIGMA, choose_bands, smoothing, warn_if_unknown

if TYPE_CHECKING:
    from ...products import Image

CORE = 1.18
"""Scale of the nodes, in sigmas of a star."""
MOFFAT_BETA = 3.5


@dataclass(frozen=True)
class Frame:
    """An image made ready to be measured.

    Attributes:
        planes: its planes, footprints included.
        psf: (y, x) stamp of each band.
        star: (3,) pixel^2, xx, xy, yy of a star's matched Gaussian, in the mean of the bands used for shapes.
        weights: (band,) of that mean.
        noise: (band,) standard deviation of a typical pixel.
    """

    planes: Planes
    psf: Sequence[np.ndarray]
    star: np.ndarray
    weights: np.ndarray
    noise: np.ndarray

    @property
    def point(self) -> float:
        """Variance along an axis of a star where it is round, see `rounding`, pixel^2."""
        return float(np.sqrt(self.star[0] * self.star[2] - self.star[1] ** 2))

    @property
    def rounding(self) -> np.ndarray:
        """(2, 2) symmetric map of steps on the image to where stars are round and areas the same: there shapes are fitted."""
        xx, xy, yy = self.star
        root = np.sqrt(xx + yy + 2 * self.point)
        rounding: np.ndarray = np.array([[yy + self.point, -xy], [-xy, xx + self.point]]) / root / np.sqrt(self.point)
        return rounding

    def rounded(self, moments: np.ndarray) -> np.ndarray:
        """Return (n, 3) second moments xx, xy, yy as they are where stars are round."""
        a = self.rounding
        full = np.einsum("ij,njk,kl->nil", a, matrices(moments), a)
        return full[:, [0, 0, 1], [0, 1, 1]]

    @property
    def core(self) -> float:
        """The scale of the nodes in pixels."""
        return float(CORE * np.sqrt(self.point))

    @property
    def fwhm(self) -> float:
        """FWHM in pixels of a star's matched Gaussian."""
        return float(FWHM_PER_SIGMA * np.sqrt(self.point))


def matrices(moments: np.ndarray) -> np.ndarray:
    """Return (n, 2, 2) symmetric matrices of (n, 3) xx, xy, yy."""
    full: np.ndarray = moments[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
    return full


def moffat(fwhm: float) -> np.ndarray:
    """Return a stamp of a Moffat profile, for images that come without a PSF."""
    reach = int(np.ceil(4 * max(fwhm, 1.0)))
    steps = np.arange(-reach, reach + 1)
    r2 = steps**2 + steps[:, None] ** 2
    stamp: np.ndarray = (1 + r2 * (2 ** (1 / MOFFAT_BETA) - 1) / (max(fwhm, 1.0) / 2) ** 2) ** -MOFFAT_BETA
    return stamp / stamp.sum()


def frame(image: Image, labels: np.ndarray | None, bands: Sequence[str] | None, warn: Callable[[str], None]) -> Frame:
    """Return an image made ready to be measured.

    Args:
        image: with variance, sky-subtracted.
        labels: (y, x) footprints, label i + 1 source i's; None for none.
        bands: those that positions and shapes are taken from; all for None.
        warn: called with a sentence where something has to be assumed.

    Raises:
        DataError: the image has no variance, or not the bands.
    """
    if image.variance is None:
        raise DataError("the image has no variance, so there is no noise to weigh pixels by; put a background.mesh stage before")
    chosen = choose_bands(image, bands)
    if image.psf is not None:
        stamps: Sequence[np.ndarray] = [stamp.astype(float) for stamp in image.psf]
    else:
        widths, origin = smoothing(image, None)
        warn_if_unknown(origin, warn)
        if origin == "seeing":
            warn(f"the image has no PSF: taking Moffat profiles as wide as its seeing, {', '.join(f'{w:.3g}' for w in widths)} px")
        stamps = [moffat(float(w)) for w in widths]
    noise = np.array([_noise(plane) for plane in image.variance])
    weights = np.zeros(len(noise))
    weights[chosen] = 1 / noise[chosen] ** 2
    weights /= weights.sum()
    planes = Planes(image.data, image.variance)
    if image.mask is not None:
        planes = replace(planes, mask=image.mask, unusable=UNUSABLE)
    if labels is not None:
        planes = replace(planes, labels=labels)
    return Frame(planes, stamps, _star(stamps, weights), weights, noise)


def _noise(variance: np.ndarray) -> float:
    """Return the median standard deviation of the pixels of a band, of a lattice of them where there are many; 1 if unknown."""
    step = max(int(np.sqrt(variance.size) / 256), 1)
    some = variance[::step, ::step]
    some = some[np.isfinite(some) & (some > 0)]
    return float(np.sqrt(np.median(some))) if some.size else 1.0


def _star(stamps: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Return the second moments of the Gaussian matched to the mean PSF, of a tenth of a pixel's variance at least."""
    mean = np.sum([w * stamp for w, stamp in zip(weights, stamps, strict=True)], 0)[None]
    ny, nx = mean.shape[1:]
    at = Places.at(np.array([nx // 2]), np.array([ny // 2]), 1, 1.0)
    planes = Planes(mean, np.full(mean.shape, 1e-12))
    most = np.array([max(min(nx, ny) / 6, 1.0) ** 2])
    least = np.array([0.1, 0.0, 0.1])
    _, _, (m,), _, _ = centroid.reference(planes, at, np.ones(1), least, most, np.array([[1.0, 0.0, 1.0]]))
    star: np.ndarray = m.astype(float)
    return star
