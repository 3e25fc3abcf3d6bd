"""What the survey delivers of a window: calibrated image, variance, mask, point-spread function, coordinates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from astropy.wcs import WCS

from ...core.tiles import Box
from ...products import Image
from .detector import observe
from .scene import Scene
from .survey import psf_stamp


def image_of(scene: Scene, window: Box, wcs: WCS, progress: Callable[[int, int], None] = lambda done, total: None) -> Image:
    """Return the image of a window of a sky.

    Args:
        scene: the sky.
        window: pixels of the sky.
        wcs: of the window's own pixels.
        progress: called with (done, total).
    """
    config = scene.config
    steps = len(scene.bands) + 1
    progress(0, steps)
    expected, trails = scene.expected(window)
    progress(1, steps)
    planes = []
    for k, band in enumerate(scene.bands):
        planes.append(
            observe(
                config.seed,
                band,
                window,
                expected[k],
                trails[k],
                cosmic_ray_rate=config.cosmic_rays,
                flag_cosmic_rays=config.flag_cosmic_rays,
                bad_column_rate=config.bad_columns,
            )
        )
        progress(k + 2, steps)
    data, variance, mask = (np.stack(plane) for plane in zip(*planes, strict=True))
    middle = 0.5 * (window.x0 + window.x1 - 1), 0.5 * (window.y0 + window.y1 - 1)
    meta = {
        "origin": "simulate.sky",
        "seeing": {b.name: round(float(b.psf.at(*(np.array([m]) for m in middle))[0][0]) * config.pixel_scale, 4) for b in scene.bands},
        "depth": {b.name: config.depth[b.name] for b in scene.bands},
        "sky": {b.name: round(b.sky, 3) for b in scene.bands},
        "electrons_per_njy": {b.name: round(b.gain, 4) for b in scene.bands},
    }
    psf = psf_stamp(tuple(band.psf for band in scene.bands), *middle)
    return Image(data, config.bands, variance=variance, mask=mask, psf=psf, wcs=wcs, meta=meta)


def tangent_wcs(center: tuple[float, float], pixel_scale: float, window: Box) -> WCS:
    """Return the world coordinates of a window: one tangent plane for the whole sky, north up and east left.

    Args:
        center: right ascension and declination (deg) of the sky's pixel (0, 0).
        pixel_scale: arcsec per pixel.
        window: pixels of the sky.
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = center
    wcs.wcs.crpix = [1.0 - window.x0, 1.0 - window.y0]
    wcs.wcs.cdelt = [-pixel_scale / 3600.0, pixel_scale / 3600.0]
    wcs.wcs.radesys = "ICRS"
    wcs.pixel_shape = (window.shape[1], window.shape[0])
    wcs.wcs.set()
    return wcs
