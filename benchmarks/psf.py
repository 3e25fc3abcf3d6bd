"""psf.measure beside photutils' EPSFBuilder, on the same stars of simulated fields: CPU time, width, largest residual.

    python benchmarks/psf.py [--size 1024] [--seeds 3 4 5]

Both are given the stars that psf.measure selects; EPSFBuilder builds one PSF for the field, so the comparison is at the
centre of fields whose PSF does not drift. Its CPU time is for ten iterations, without the selection. It is run with its
defaults, on stamps in which neighbours are not masked.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from astrosurvey import Box, Context, Tile
from astrosurvey.stages.background.stage import MeshBackground
from astrosurvey.stages.deblending.stage import WatershedDeblending
from astrosurvey.stages.detection.stage import SegmentDetection
from astrosurvey.stages.psf.moments import fwhm_of
from astrosurvey.stages.psf.stage import MeasurePsf
from astrosurvey.stages.simulate.stage import SimulateSky


def run(stage: Any, settings: dict[str, Any], tile: Tile, **inputs: Any) -> dict[str, Any]:
    context = Context(tile, np.random.default_rng(0), "cpu", logging.getLogger("benchmark"), lambda done, total: None, Path())
    return dict(stage(stage.Config(**settings)).run(context, **inputs))


def peer(data: np.ndarray, stars: np.ndarray, half: int, oversampling: int) -> np.ndarray:
    """Return EPSFBuilder's PSF at its nodes."""
    from astropy.nddata import NDData
    from astropy.table import Table
    from photutils.psf import EPSFBuilder, extract_stars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cutouts = extract_stars(NDData(data), Table({"x": stars["x"], "y": stars["y"]}), size=2 * half + 1)
        builder = EPSFBuilder(oversampling=oversampling, maxiters=10, progress_bar=False)
        return np.asarray(builder(cutouts)[0].data)


def error(nodes: np.ndarray, oversampling: int, truth: np.ndarray) -> tuple[float, float]:
    """Return the relative error of the width, and the largest residual at the pixels as a part of the peak."""
    middle = len(nodes) // 2
    first = middle % oversampling
    pixels = nodes[first::oversampling, first::oversampling]
    half = min(middle // oversampling, len(truth) // 2, 12)
    place = len(pixels) // 2
    mine = pixels[place - half : place + half + 1, place - half : place + half + 1]
    yours = truth[len(truth) // 2 - half : len(truth) // 2 + half + 1, len(truth) // 2 - half : len(truth) // 2 + half + 1]
    residual = np.abs(mine / mine.sum() - yours / yours.sum()).max() / (yours / yours.sum()).max()
    return fwhm_of(nodes, oversampling) / fwhm_of(truth, 1) - 1, float(residual)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5])
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    print(f"{'seed':>4} {'who':<24} {'stars':>5} {'CPU s':>6} {'FWHM':>8} {'residual':>8}")
    for seed in options.seeds:
        box = Box(0, 0, options.size, options.size)
        tile = Tile("t", 7, 0, box, box)
        settings = {"bands": ["r"], "seed": seed, "psf_variation": 0.0, "psf_ellipticity": 0.0}
        image = run(SimulateSky, settings, tile)["image"]
        truth = image.psf[0].astype(float)
        sky = run(MeshBackground, {}, tile, image=replace(image, psf=None, meta={}))["image"]
        found = run(SegmentDetection, {}, tile, image=sky)
        found = run(WatershedDeblending, {}, tile, image=sky, **found)
        start = time.process_time()
        psf = run(MeasurePsf, {}, tile, image=sky, **found)["psf"]
        spent = time.process_time() - start
        rows = [("psf.measure", spent, *error(psf.nodes(options.size / 2, options.size / 2)[0], psf.oversampling, truth))]
        data = np.where(sky.usable()[0], sky.data[0], 0).astype(float)
        for oversampling in (1, 2, 4):
            start = time.process_time()
            nodes = peer(data, psf.stars, 16, oversampling)
            rows.append((f"EPSFBuilder, {oversampling} a pixel", time.process_time() - start, *error(nodes, oversampling, truth)))
        for who, seconds, width, residual in rows:
            print(f"{seed:>4} {who:<24} {len(psf.stars):>5} {seconds:6.2f} {width:+8.4f} {residual:8.4f}")


if __name__ == "__main__":
    main()
