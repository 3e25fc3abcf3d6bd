"""Fields of known PSFs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from astrosurvey.core.tiles import Box, Tile
from astrosurvey.products import Image
from astrosurvey.stages.background.stage import MeshBackground
from astrosurvey.stages.deblending.stage import WatershedDeblending
from astrosurvey.stages.detection.stage import SegmentDetection
from astrosurvey.stages.psf.moffat import Moffat
from astrosurvey.stages.psf.stage import MeasurePsf
from astrosurvey.stages.simulate.stage import SimulateSky
from astrosurvey.stages.simulate.survey import bands

from ..running import run

NOISE = 5.0
USUAL = Moffat(3.6, 3.0, 0.05, -0.03)


def starfield(psf=USUAL, n=60, size=400, seed=1, flux=(2e4, 2e5), drift=0.0, places=None, noise=NOISE, spacing=25.0) -> Image:
    """Return stars of a known PSF, well apart, whose width grows by `drift` from the left to the right."""
    rng = np.random.default_rng(seed)
    if places is None:
        places = []
        while len(places) < n:
            x, y = rng.uniform(15, size - 16, 2)
            if all(np.hypot(x - a, y - b) > spacing for a, b in places):
                places.append((x, y))
    data = rng.normal(0, noise, (size, size))
    step = np.arange(-24, 25)
    for x, y in places:
        here = replace(psf, fwhm=psf.fwhm * (1 + drift * (x / size - 0.5)))
        px, py = round(x), round(y)
        stamp = here.pixels((step + px - x)[None, :], (step + py - y)[:, None]) * np.exp(rng.uniform(*np.log(flux)))
        rows, columns = (np.flatnonzero((step + p >= 0) & (step + p < size)) for p in (py, px))
        data[np.ix_(py + step[rows], px + step[columns])] += stamp[np.ix_(rows, columns)]
    return Image(data.astype(np.float32)[None], ("r",), variance=np.full((1, size, size), noise**2, np.float32))


def detect(image: Image) -> dict:
    found = run(SegmentDetection, image=image)
    return run(WatershedDeblending, image=image, **found)


@cache
def simulated(seed: int) -> dict:
    """Return a simulated field without a word about its PSF, its sources and truth, its PSF measured, and the true one."""
    tile = Tile("t", 7, 0, Box(0, 0, 1024, 1024), Box(0, 0, 1024, 1024))
    settings = {"bands": ["r"], "seed": seed}
    made = run(SimulateSky, settings, tile=tile)
    sky = run(MeshBackground, tile=tile, image=replace(made["image"], psf=None, meta={}))["image"]
    found = detect(sky)
    measured = run(MeasurePsf, image=sky, **found)
    return {"objects": made["truth"], "truth": bands(SimulateSky.Config(**settings))[0].psf, **found, **measured}
