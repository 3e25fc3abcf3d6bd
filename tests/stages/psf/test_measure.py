"""The stage `psf.measure`: known PSFs come back, and what cannot be measured has one clear result each."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from astrosurvey.catalog.flags import PIXEL
from astrosurvey.core.stage import DataError
from astrosurvey.products import Catalog, Image, Segmentation
from astrosurvey.stages.detection.stage import SegmentDetection
from astrosurvey.stages.psf.moffat import Moffat
from astrosurvey.stages.psf.moments import fwhm_of, shape_of
from astrosurvey.stages.psf.stage import MeasurePsf, StarGalaxy
from astrosurvey.stages.simulate.survey import psf_stamp

from ..running import run
from .fields import NOISE, USUAL, detect, simulated, starfield


def measure(image: Image, **settings) -> dict:
    return run(MeasurePsf, settings, image=image, **detect(image))


def compared(model: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return the relative error of the FWHM, and the largest residual as a part of the peak."""
    half = min(len(model), len(truth)) // 2
    a, b = (one[len(one) // 2 - half : len(one) // 2 + half + 1, len(one) // 2 - half : len(one) // 2 + half + 1] for one in (model, truth))
    a, b = a / a.sum(dtype=float), b / b.sum(dtype=float)
    return fwhm_of(model, 1) / fwhm_of(truth, 1) - 1, float(np.abs(a - b).max() / b.max())


@pytest.mark.parametrize("seed", [3, 6])
def test_a_simulated_survey_field(seed):
    """The bars: FWHM within 2 %, no pixel of the central PSF off by more than 1 % of the peak, though most sources are galaxies."""
    found = simulated(seed)
    truth = psf_stamp((found["truth"],), 511.5, 511.5)[0]
    wide, residual = compared(found["image"].psf[0], truth)
    assert abs(wide) < 0.02
    assert residual < 0.01
    assert found["psf"].n_star[0] >= 25
    assert found["image"].meta["seeing"]["r"] == pytest.approx(0.2 * found["psf"].fwhm[0], rel=1e-3)
    assert np.hypot(*np.subtract(shape_of(found["image"].psf[0]), shape_of(truth))) < 0.01


@pytest.mark.parametrize("seed", [3, 6])
def test_the_drift_over_a_simulated_field(seed):
    found = simulated(seed)
    constant, drifting = [], []
    for x, y in [(a, b) for a in (150, 500, 870) for b in (150, 500, 870)]:
        truth = psf_stamp((found["truth"],), x, y)[0]
        wide, residual = compared(found["psf"].at(x, y)[0], truth)
        drifting.append(residual)
        constant.append(compared(found["psf"].at(511.5, 511.5)[0], truth)[1])
        assert abs(wide) < 0.02, (x, y)
        assert residual < 0.03, (x, y)
    assert np.median(drifting) < 0.8 * np.median(constant)


def test_pull_of_a_drifting_psf():
    """Over many fields the errors of the width at two ends scatter about zero, and their mean is smaller than their scatter."""
    errors = []
    for seed in range(8):
        image = starfield(n=60, drift=0.15, seed=seed, flux=(5e3, 5e4))
        model = measure(image)["psf"]
        assert model.degree >= 1
        for x in (60.0, 340.0):
            truth = fwhm_of(Moffat(3.6 * (1 + 0.15 * (x / 400 - 0.5)), 3.0, 0.05, -0.03).nodes(16, 1), 1)
            errors.append(fwhm_of(model.at(x, 200.0)[0], 1) / truth - 1)
    assert np.abs(errors).max() < 0.02
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(len(errors)) + 0.003


@pytest.mark.parametrize("fwhm", [1.2, 1.8, 2.6, 6.0, 11.0])
def test_from_undersampled_to_broad(fwhm):
    truth = Moffat(fwhm, 3.0, 0.03, 0.02)
    size = 400 if fwhm < 5 else 640
    image = starfield(truth, n=40, size=size, seed=3, flux=(1e5, 5e5), spacing=max(25.0, 7 * fwhm))
    model = measure(image)["psf"]
    assert model.n_star[0] >= 20
    wide, residual = compared(model.nodes(200, 200)[0], truth.nodes(20, model.oversampling))
    assert wide * 1 == pytest.approx(0, abs=0.02)
    assert residual < 0.015


def test_the_centre_is_the_centre():
    image = starfield(seed=5)
    for x, y in ((50, 50), (200, 200), (350, 100)):
        stamp = measure(image)["psf"].at(x, y)[0].astype(float)
        half = len(stamp) // 2
        step = np.arange(-half, half + 1)
        weight = stamp * np.exp(-(step[:, None] ** 2 + step**2) / (2 * 1.6**2))
        assert (weight * step).sum() / weight.sum() == pytest.approx(0, abs=0.01)
        assert (weight * step[:, None]).sum() / weight.sum() == pytest.approx(0, abs=0.01)


def test_saturated_masked_and_double_stars_are_left_out():
    rng = np.random.default_rng(2)
    places = [(30.0 + 40 * i + rng.uniform(-1, 1), 30.0 + 40 * j + rng.uniform(-1, 1)) for i in range(9) for j in range(9)]
    doubles = [(x + 4.0, y + 1.0) for x, y in places[:20]]
    image = starfield(places=places + doubles, seed=4)
    data, mask = image.data.copy(), np.zeros(image.data.shape, np.int32)
    for x, y in places[20:40]:  # flat tops, half of them known as such
        box = np.s_[0, round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4]
        ceiling = 0.3 * data[box].max()
        if x < 200:
            mask[box] |= np.where(data[box] >= ceiling, PIXEL["SAT"], 0)
        data[box] = np.minimum(data[box], ceiling)
    data[0, :, 71], mask[0, :, 71] = 0, PIXEL["BAD"]
    psf = measure(replace(image, data=data, mask=mask))["psf"]
    spoilt = [*places[:40], *doubles]
    for row in psf.stars:
        assert min(np.hypot(row["x"] - a, row["y"] - b) for a, b in spoilt) > 3
        assert abs(row["x"] - 71) > 3
    assert psf.n_star[0] >= 20
    wide, residual = compared(psf.at(200, 200)[0], USUAL.nodes(16, 1))
    assert abs(wide) < 0.01
    assert residual < 0.01


def test_compact_galaxies_are_thrown_out_by_the_few_bright_stars(caplog):
    rng = np.random.default_rng(4)
    places = [(x + rng.uniform(-3, 3), y + rng.uniform(-3, 3)) for x in range(30, 380, 55) for y in range(30, 380, 55)]
    stars, galaxies = places[::6], [place for k, place in enumerate(places) if k % 6]
    sky = starfield(places=stars, flux=(6e3, 4e4))
    # A tenth wider than the PSF, at 40 to 80 times the noise: within the peak of sizes.
    compact = starfield(replace(USUAL, fwhm=1.1 * USUAL.fwhm), places=galaxies, flux=(1e3, 3e3), noise=1e-3, seed=2)
    image = replace(sky, data=sky.data + compact.data)
    found = detect(image)
    psf = run(MeasurePsf, image=image, **found)["psf"]
    wide, residual = compared(psf.nodes(200, 200)[0], USUAL.nodes(12, psf.oversampling))
    assert abs(wide) < 0.005
    assert residual < 0.008
    nearest = np.array([min(np.hypot(x - star["x"], y - star["y"]) for x, y in stars) for star in psf.stars])
    assert (nearest < 1).sum() >= 8
    assert (nearest > 1).sum() <= len(galaxies) // 8
    run(StarGalaxy, image=image, psf=psf, **found)
    assert "do not look like stars" not in caplog.text


def test_a_crowded_field():
    image = starfield(Moffat(2.2, 3.0), n=2500, size=512, seed=6, flux=(300, 3e5), spacing=1.0)
    psf = measure(image)["psf"]
    wide, residual = compared(psf.nodes(256, 256)[0], Moffat(2.2, 3.0).nodes(12, psf.oversampling))
    assert psf.n_star[0] >= 25
    assert abs(wide) < 0.02
    assert residual < 0.03


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_stars_give_a_moffat_profile_and_a_warning(n, caplog):
    image = starfield(places=[(70.3, 80.8), (150.2, 111.6)][:n], size=200)
    with caplog.at_level(logging.WARNING):
        found = measure(image)
    assert f"only {n} stars" in caplog.text
    assert found["psf"].meta["r"]["origin"] == "moffat"
    wide, residual = compared(found["image"].psf[0], USUAL.nodes(16, 1))
    assert abs(wide) < 0.02
    assert residual < 0.02


def empty(size=(64, 64)) -> Image:
    return Image(np.zeros((1, *size), np.float32), ("r",), variance=np.ones((1, *size), np.float32))


def nothing(image: Image) -> dict:
    return {"segmentation": Segmentation(np.zeros(image.data.shape[1:], np.int32)), "sources": Catalog.empty("source", {"tile": {}})}


def test_without_stars_the_image_its_seeing_or_the_settings_speak(caplog):
    from astropy.wcs import WCS

    image = empty()
    with pytest.raises(DataError, match="set `fwhm`"):
        run(MeasurePsf, image=image, **nothing(image))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [-0.2 / 3600, 0.2 / 3600], [150, 2]
    stamp = Moffat(5.0).nodes(15, 1)
    for origin, width, changed, settings in (
        ("settings", 3.0, image, {"fwhm": 3.0}),
        ("seeing", 4.0, replace(image, wcs=wcs, meta={"seeing": 0.8}), {}),
        ("seeing", 4.0, replace(image, wcs=wcs, meta={"seeing": {"r": 0.8}}), {}),
        ("image", 5.0, replace(image, psf=(stamp / stamp.sum()).astype(np.float32)[None]), {}),
        ("unknown", 2.5, replace(image, data=np.full_like(image.data, np.nan), variance=np.full_like(image.data, np.inf)), {}),
    ):
        with caplog.at_level(logging.WARNING):
            found = run(MeasurePsf, settings, image=changed, **nothing(changed))
        assert found["psf"].meta["r"]["origin"] == origin
        assert found["psf"].fwhm[0] == pytest.approx(width, rel=0.07)  # a pixel widens it
        assert f"is from: {origin}" in caplog.text
        assert found["psf"].n_star[0] == 0


def test_a_band_without_stars_borrows_the_width_of_the_others():
    image = starfield(seed=7)
    blank = np.random.default_rng(0).normal(0, NOISE, image.data.shape).astype(np.float32)
    both = replace(image, data=np.concatenate([image.data, blank]), bands=("r", "u"), variance=np.repeat(image.variance, 2, axis=0))
    psf = run(MeasurePsf, image=both, **detect(image))["psf"]
    assert psf.meta["u"]["origin"] == "other bands"
    assert psf.fwhm[1] == pytest.approx(psf.fwhm[0], rel=0.05)
    assert psf.n_star.tolist()[1] == 0


@pytest.mark.parametrize("size", [(1, 200), (200, 1), (9, 9)])
def test_images_smaller_than_any_psf(size):
    rng = np.random.default_rng(1)
    data = rng.normal(0, 1, (1, *size)).astype(np.float32)
    data[0, size[0] // 2, size[1] // 2 - 1 : size[1] // 2 + 2] += 300
    image = Image(data, ("r",), variance=np.ones_like(data))
    found = run(SegmentDetection, {"min_pixels": 1}, image=image)
    result = run(MeasurePsf, {"fwhm": 12.0}, image=image, **found)
    assert result["image"].psf.shape[1] > min(size)


def test_nan_blocks_infinite_variance_and_a_constant_image():
    image = starfield(seed=8)
    data, variance = image.data.copy(), image.variance.copy()
    data[0, :150, :200] = np.nan
    variance[0, 250:, 300:] = np.inf
    psf = measure(replace(image, data=data, variance=variance))["psf"]
    wide, residual = compared(psf.at(200, 200)[0], USUAL.nodes(16, 1))
    assert abs(wide) < 0.01
    assert residual < 0.01
    flat = replace(empty(), data=np.full((1, 64, 64), 7.0, np.float32))
    with pytest.raises(DataError, match="no star"):
        run(MeasurePsf, image=flat, **nothing(flat))


def test_cosmic_rays_nobody_flagged_are_no_stars():
    image = starfield(seed=9)
    data = image.data.copy()
    rng = np.random.default_rng(3)
    for _ in range(60):  # as many as there are stars: tracks of 1 to 6 pixels, as oblique as they like
        y, x, length, slope = *rng.integers(8, 392, 2), rng.integers(1, 7), rng.uniform(-1, 1)
        step = np.arange(length)
        data[0, y + np.rint(slope * step).astype(int), x + step] += rng.uniform(1e3, 1e4, length)
    psf = measure(replace(image, data=data))["psf"]
    wide, residual = compared(psf.at(200, 200)[0], USUAL.nodes(16, 1))
    assert abs(wide) < 0.01
    assert residual < 0.01
