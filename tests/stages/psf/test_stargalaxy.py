"""The stage `psf.stargalaxy`: spreads without bias, probabilities that mean what they say."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from astrosurvey.catalog.flags import PIXEL, SOURCE
from astrosurvey.core.stage import DataError
from astrosurvey.stages.psf import mixture
from astrosurvey.stages.psf.assemble import model_from_image
from astrosurvey.stages.psf.spread import disc_kernel, measure_spread
from astrosurvey.stages.psf.stage import MeasurePsf, StarGalaxy

from ..running import run
from .fields import USUAL, detect, simulated, starfield

SEEDS = (3, 6)


@pytest.fixture(scope="module")
def judged():
    """Probability, spread and truth (1 star, 0 galaxy) of the sources of simulated fields that have a counterpart."""
    columns = []
    for seed in SEEDS:
        field = simulated(seed)
        inputs = {name: field[name] for name in ("image", "segmentation", "sources", "psf")}
        sources = run(StarGalaxy, **inputs)["sources"]
        x, y = sources.column("x"), sources.column("y")
        found = measure_spread(field["image"], field["segmentation"].labels, x, y, field["psf"], 1.0, lambda done, total: None)
        truth = field["objects"]
        near = cKDTree(np.stack([truth.column("x"), truth.column("y")], 1)).query_ball_point(np.stack([x, y], 1), 2.0)
        brightest = [max(places, key=truth.column("flux").__getitem__, default=-1) for places in near]
        star = np.where(np.array(brightest) >= 0, truth.column("object_type")[brightest] == "star", np.nan)
        columns.append([sources.column("star_probability"), found.value, found.error, found.snr, star, sources.column("flags")])
    joined = dict(zip(("p", "spread", "error", "snr", "star", "flags"), map(np.concatenate, zip(*columns, strict=True)), strict=True))
    known = np.isfinite(joined["star"])
    return {name: values[known] for name, values in joined.items()}


def test_every_source_is_judged(judged):
    assert np.isfinite(judged["p"]).mean() > 0.99
    assert (np.isnan(judged["p"]) == (judged["flags"].astype(int) & SOURCE["NO_STAR_PROBABILITY"] > 0)).all()


def test_bright_stars_and_galaxies_are_told_apart(judged):
    bright = (judged["snr"] > 50) & (judged["flags"].astype(int) & SOURCE["STAR_DOUBTFUL"] == 0)
    star = judged["star"] == 1
    assert (judged["p"][bright & star] > 0.5).mean() >= 0.96
    assert (judged["p"][bright & ~star] < 0.5).mean() >= 0.97


def test_reliability(judged):
    """In every bin of probability, as many are stars as it says, within four binomial errors and 2 % for blends."""
    p, star = judged["p"], judged["star"]
    for low, high in ((0, 0.02), (0.02, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 0.7), (0.7, 0.95), (0.95, 1.01)):
        here = (p >= low) & (p < high)
        if here.sum() >= 10:
            mean = p[here].mean()
            assert abs(star[here].mean() - mean) < 4 * np.sqrt(mean * (1 - mean) / here.sum()) + 0.02, (low, high)
    assert np.mean((p - star) ** 2) < 0.5 * star.mean() * (1 - star.mean())


def test_reliability_by_brightness(judged):
    """The prior follows brightness: at every signal-to-noise ratio the mean probability is the part of stars."""
    for low, high in ((5, 10), (10, 20), (20, 50), (50, 1e9)):
        here = (judged["snr"] > low) & (judged["snr"] <= high)
        mean = judged["p"][here].mean()
        assert abs(mean - judged["star"][here].mean()) < 4 * np.sqrt(mean * (1 - mean) / here.sum()) + 0.01


def test_pull_of_the_spread_of_stars():
    """Stars of the PSF that the image knows have zero spread, scattered as their error says, in one band and in two."""
    pulls = []
    for seed in range(4):
        image = starfield(n=80, seed=seed, flux=(800, 2e4))
        image = replace(image, psf=USUAL.nodes(16, 1).astype(np.float32)[None])
        twice = replace(image, data=np.repeat(image.data, 2, axis=0), variance=np.repeat(image.variance, 2, axis=0), bands=("g", "r"),
                        psf=np.repeat(image.psf, 2, axis=0))  # fmt: skip
        found = detect(image)
        x, y = found["sources"].column("x"), found["sources"].column("y")
        one = measure_spread(image, found["segmentation"].labels, x, y, model_from_image(image), 1.0, lambda done, total: None)
        two = measure_spread(twice, found["segmentation"].labels, x, y, model_from_image(twice), 1.0, lambda done, total: None)
        assert (np.abs(two.value - one.value) < 0.1 * one.error).all()  # a faint source clings to its place, less so in two bands
        np.testing.assert_allclose(two.error, one.error / np.sqrt(2), rtol=1e-2)
        pulls.append(one.value / one.error)
    pulls = np.concatenate(pulls)
    n = len(pulls)
    assert n > 250
    assert abs(pulls.mean()) < 4 / np.sqrt(n)
    assert pulls.std() == pytest.approx(1, abs=0.15)


def test_a_field_of_stars_alone_and_one_of_galaxies_alone():
    for psf, most in ((USUAL, "stars"), (replace(USUAL, fwhm=5.0), "galaxies")):
        image = starfield(psf, n=60, seed=11, flux=(5e3, 5e4))
        image = replace(image, psf=USUAL.nodes(16, 1).astype(np.float32)[None])
        p = run(StarGalaxy, image=image, **detect(image))["sources"].column("star_probability")
        assert np.mean(p > 0.9 if most == "stars" else p < 0.1) > 0.95


def test_masked_sources_have_flags():
    image = starfield(n=30, seed=12)
    image = replace(image, psf=USUAL.nodes(16, 1).astype(np.float32)[None])
    found = detect(image)
    x, y = found["sources"].column("x").round().astype(int), found["sources"].column("y").round().astype(int)
    mask = np.zeros(image.data.shape, np.int32)
    mask[0, y[0] - 12 : y[0] + 13, x[0] - 12 : x[0] + 13] = PIXEL["BAD"]
    mask[0, y[1] - 12 : y[1] + 13, x[1]] = PIXEL["SAT"]
    sources = run(StarGalaxy, image=replace(image, mask=mask), **found)["sources"]
    flags, p = sources.column("flags"), sources.column("star_probability")
    assert np.isnan(p[0])
    assert flags[0] & SOURCE["NO_STAR_PROBABILITY"]
    assert np.isfinite(p[1:]).all()
    assert flags[1] & SOURCE["STAR_DOUBTFUL"]
    assert np.mean(flags[2:] & SOURCE["STAR_DOUBTFUL"] > 0) < 0.1


def test_a_psf_without_stars_is_doubted(caplog):
    image = starfield(n=20, seed=13)
    found = detect(image)
    psf = run(MeasurePsf, {"min_snr": 1e9, "fwhm": 4.0}, image=image, **found)["psf"]
    with caplog.at_level(logging.WARNING):
        flags = run(StarGalaxy, image=image, psf=psf, **found)["sources"].column("flags")
    assert (flags & SOURCE["STAR_DOUBTFUL"] > 0).all()
    assert "not measured on stars" in caplog.text


def test_a_psf_of_another_tile_is_refused():
    image = starfield(n=20, seed=13)
    found = detect(image)
    psf = run(MeasurePsf, image=image, **found)["psf"]
    with pytest.raises(DataError, match="same tile's stages"):
        run(StarGalaxy, image=image, psf=replace(psf, shape=(400, 401)), **found)


def test_discs_are_normalised_and_of_their_size():
    for half_light in (0.3, 2.0, 5.0):
        kernel = disc_kernel(half_light, 40)
        step = np.arange(-40, 41)
        radius = np.hypot(step[:, None], step)
        assert kernel.sum() == pytest.approx(1)
        if half_light >= 2:
            assert kernel[radius <= half_light].sum() == pytest.approx(0.5, abs=0.06)


def test_few_sources_lean_on_the_prior():
    mix = mixture.fit(np.array([0.0, 0.02]), np.array([0.001, 0.001]), np.array([100.0, 100.0]))
    p = mix.probability(np.array([0.0, 0.02, np.nan]), np.array([0.001, 0.001, 0.1]), np.array([100.0, 100.0, 10.0]))
    assert p[0] > 0.5 > p[1]
    assert np.isnan(p[2])
    nobody = mixture.fit(*(np.zeros(0) for _ in range(3)))
    assert len(nobody.probability(*(np.zeros(0) for _ in range(3)))) == 0
