"""Seconds to simulate a tile of 1024 x 1024 pixels in three bands on one thread, beside photutils rendering the same objects.

python benchmarks/simulate.py --json out.json --seed 1

The peer draws the noiseless scene only: `make_model_image` with Moffat2D stars, and Sersic2D bulges and disks
in stamps as large as ours, sampled at pixel centres and convolved once a band with one PSF by FFT. Our figure is
for the whole stage: drawing the population, rendering each object with its own PSF, noise, saturation, defects,
mask, variance and truth table. `render` is the part that corresponds to what the peer does.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

SIZE = 1024


def timed(function, repeats):
    """Seconds of every call, and what the last one returned."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        value = function()
        seconds.append(time.perf_counter() - started)
    return seconds, value


def photutils_scene(scene, window):
    """The scene, (band, y, x), as photutils and astropy draw it."""
    import numpy as np
    from astropy.modeling.models import Moffat2D, Sersic2D
    from astropy.table import Table
    from photutils.datasets import make_model_image
    from scipy.signal import fftconvolve

    from astrosurvey.stages.simulate.population import Objects
    from astrosurvey.stages.simulate.profiles import moffat_alpha, sersic_brightness
    from astrosurvey.stages.simulate.survey import psf_stamp

    cells = [placed for _, placed in scene.placed(window)]
    objects = Objects.concatenate([placed.objects for placed in cells])
    x, y, size = (np.concatenate([getattr(placed, name) for placed in cells]) for name in ("x", "y", "size"))
    inside = (np.abs(x - SIZE / 2) < SIZE / 2 + size / 2) & (np.abs(y - SIZE / 2) < SIZE / 2 + size / 2)
    objects, x, y, size = objects.take(inside), x[inside], y[inside], size[inside]
    beta, scale = scene.config.psf_beta, scene.config.pixel_scale
    image = np.empty((len(scene.bands), SIZE, SIZE))
    for k, band in enumerate(scene.bands):
        width, _, _ = band.psf.at(x, y)
        alpha = moffat_alpha(1.0, beta) * width
        place = {"x_0": x, "y_0": y, "model_shape": np.stack([size, size], axis=1)}

        def draw(model, flux, place=place, **columns):
            chosen = flux > 0
            table = Table({name: values[chosen] for name, values in {**place, **columns}.items()})
            return make_model_image((SIZE, SIZE), model, table) if chosen.any() else np.zeros((SIZE, SIZE))

        point = objects.point[:, band.index]
        stars = draw(Moffat2D(alpha=beta), point, amplitude=point * (beta - 1) / (np.pi * alpha**2), gamma=alpha)
        galaxies = np.zeros((SIZE, SIZE))
        for flux, radius, ratio, index in (
            (objects.bulge[:, band.index], objects.bulge_radius, objects.bulge_axis_ratio, 4.0),
            (objects.disk[:, band.index], objects.disk_radius, objects.disk_axis_ratio, 1.0),
        ):
            r_eff = np.maximum(radius / scale, 1e-3)
            amplitude = flux * float(sersic_brightness(np.ones(1), index)[0]) / (r_eff**2 * ratio)
            galaxies += draw(Sersic2D(n=index), flux, amplitude=amplitude, r_eff=r_eff, ellip=1.0 - ratio, theta=objects.theta)
        psf = psf_stamp((band.psf,), SIZE / 2, SIZE / 2)[0]
        image[k] = stars + fftconvolve(galaxies, psf, mode="same")
    return image


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    started = time.perf_counter()
    import numpy as np

    from astrosurvey.core.stage import Context
    from astrosurvey.core.tiles import Box, Tile
    from astrosurvey.stages.simulate.scene import Scene
    from astrosurvey.stages.simulate.stage import SimulateSky
    from astrosurvey.stages.simulate.survey import bands

    window = Box(0, 0, SIZE, SIZE)
    config = SimulateSky.Config(seed=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        context = Context(Tile("t", 1, 0, window, window), rng, "cpu", logging.getLogger(), lambda done, total: None, Path(folder))
        first = SimulateSky(config).run(context)
        first_seconds = time.perf_counter() - started
        whole, _ = timed(lambda: SimulateSky(config).run(context), options.repeats)

    scene = Scene(config, bands(config))
    render, (ours, _) = timed(lambda: scene.expected(window), options.repeats)
    peer, theirs = timed(lambda: photutils_scene(scene, window), max(options.repeats // 2, 1))
    empty = Scene(SimulateSky.Config(seed=options.seed, star_density=0, galaxy_density=0), scene.bands).expected(window)[0]
    light = ours - empty
    found = {
        "size": SIZE,
        "bands": len(scene.bands),
        "truth_rows": len(first["truth"]),
        "seconds": statistics.median(whole),
        "seconds_all": whole,
        "first_seconds_with_imports": first_seconds,
        "render_seconds": statistics.median(render),
        "photutils_scene_seconds": statistics.median(peer),
        "flux_ratio_to_photutils": [float(a.sum() / b.sum()) for a, b in zip(light, theirs, strict=True)],
        "median_difference_over_noise": [
            float(np.median(np.abs(a - b)) / band.noise) for a, b, band in zip(light, theirs, scene.bands, strict=True)
        ],
    }
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
