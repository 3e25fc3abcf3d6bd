"""A small synthetic image for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..products import Image


def make_image(
    shape: tuple[int, int] = (96, 96), bands: Sequence[str] = ("g", "r"), sky: float = 0.0, noise: float = 3.0, seed: int = 1
) -> Image:
    """Return stars of known places on a flat sky, the first two of them blended.

    Args:
        shape: (ny, nx), at least 64 each.
        bands: their names; a star is 1.5 times as bright in each band as in the one before.
        sky: level of the sky in nJy a pixel.
        noise: standard deviation of the noise in nJy a pixel.
        seed: of the noise.

    Returns:
        An image with variance, mask, PSF and WCS (0.2 arcsec a pixel, at RA 150, Dec 2.2), whose
        `meta["stars"]` lists [x, y, flux in the first band].
    """
    import numpy as np
    from astropy.wcs import WCS

    from ..catalog.flags import PIXEL
    from ..products import Image

    ny, nx = shape
    sigma = 1.6
    # A lattice with irrational steps: well apart, at no preferred place in a pixel, the same for every seed.
    stars = [[0.31 * nx, 0.42 * ny, 9000.0], [0.31 * nx + 5.5, 0.42 * ny + 2.0, 6000.0]]
    for n in range(8):
        x, y = 10 + (nx - 20) * (0.7548776662 * (n + 1) % 1), 10 + (ny - 20) * (0.5698402910 * (n + 1) % 1)
        if all(np.hypot(x - a, y - b) > 14 for a, b, _ in stars):
            stars.append([x, y, 4000.0 / (n + 1)])
    y, x = np.mgrid[:ny, :nx]
    model = sum(flux / (2 * np.pi * sigma**2) * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * sigma**2)) for a, b, flux in stars)
    brightness = 1.5 ** np.arange(len(bands))
    truth = np.asarray(model)[None] * brightness[:, None, None]
    rng = np.random.default_rng(seed)
    data = (sky + truth + rng.normal(0, noise, truth.shape)).astype(np.float32)
    mask = np.zeros(data.shape, np.int32)
    mask[:, :, 3] = PIXEL["BAD"]
    mask[0, ny - 8, nx - 8] = PIXEL["CR"]
    grid = np.arange(-8, 9)
    stamp = np.exp(-(grid[:, None] ** 2 + grid**2) / (2 * sigma**2))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    wcs.wcs.crpix = [nx / 2, ny / 2]
    wcs.wcs.crval = [150.0, 2.2]
    return Image(
        data=data,
        bands=tuple(bands),
        variance=np.full(data.shape, noise**2, np.float32),
        mask=mask,
        psf=np.repeat((stamp / stamp.sum()).astype(np.float32)[None], len(bands), axis=0),
        wcs=wcs,
        meta={"stars": [[float(v) for v in star] for star in stars]},
    )
