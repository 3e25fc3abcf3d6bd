"""Noise, full wells, cosmic rays and bad columns."""

import math

import numpy as np
import pytest
from scipy.ndimage import label

from astrosurvey.catalog.flags import PIXEL
from astrosurvey.core.tiles import Box
from astrosurvey.stages.simulate.bleed import bleed
from astrosurvey.stages.simulate.cosmic_rays import cosmic_rays
from astrosurvey.stages.simulate.detector import _spill, bad_columns, observe, photon_noise
from astrosurvey.stages.simulate.exposure import image_of, tangent_wcs
from astrosurvey.stages.simulate.scene import Scene
from astrosurvey.stages.simulate.stage import SimulateSky
from astrosurvey.stages.simulate.survey import bands

EMPTY = {"galaxy_density": 0, "star_density": 0, "cosmic_rays": 0, "bad_columns": 0}


def image(window, **settings):
    config = SimulateSky.Config(**settings)
    sky = Scene(config, bands(config))
    return sky, image_of(sky, window, tangent_wcs(config.center, config.pixel_scale, window))


@pytest.mark.parametrize("mean", [0.3, 5.0, 39.9, 40.1, 300.0, 2e4])
def test_photon_noise_is_poisson(mean):
    n = 400_000
    charge = photon_noise(np.full(n, mean), np.random.default_rng(int(mean * 10)).standard_normal(n))
    assert charge.mean() == pytest.approx(mean, abs=4.5 * math.sqrt(mean / n))
    assert charge.var() == pytest.approx(mean, rel=4.5 * math.sqrt((2 + 1 / mean) / n))
    skewness = np.mean((charge - charge.mean()) ** 3) / charge.std() ** 3
    assert skewness == pytest.approx(1 / math.sqrt(mean), abs=5 * math.sqrt((6 + 20 / mean) / n))


def test_no_photons_without_light():
    assert not photon_noise(np.zeros(1000), np.random.default_rng(0).standard_normal(1000)).any()


@pytest.mark.parametrize("read_noise", [0.0, 5.0, 80.0])
def test_empty_sky_has_the_claimed_depth(read_noise):
    sky, seen = image(
        Box(0, 0, 512, 512),
        bands=["u", "g", "r", "i", "z", "y"],
        sky_gradient=0,
        read_noise=read_noise,
        psf_variation=0,
        psf_ellipticity=0,
        **EMPTY,
    )
    for k, band in enumerate(sky.bands):
        data = seen.data[k].astype(float)
        scatter = data.std() / math.sqrt(2 * data.size)
        assert data.mean() == pytest.approx(band.sky, abs=5 * data.std() / 512)
        assert math.sqrt(seen.variance[k].mean()) == pytest.approx(data.std(), abs=5 * scatter)
        # the noise of a flux fitted with the PSF as weight
        fitted = data.std() / math.sqrt(np.sum(seen.psf[k].astype(float) ** 2))
        depth = 31.4 - 2.5 * math.log10(5 * fitted)
        assert depth == pytest.approx(sky.config.depth[band.name], abs=0.02)


def test_flux_of_a_fitted_star_scatters_as_the_variance_plane_says():
    sky, seen = image(Box(0, 0, 1024, 1024), bands=["r"], sky_gradient=0, **EMPTY)
    profile = seen.psf[0].astype(float)
    n = len(profile)
    data, variance = seen.data[0].astype(float) - sky.bands[0].sky, seen.variance[0].astype(float)
    score = []
    for y in range(0, 1024 - n, n):
        for x in range(0, 1024 - n, n):
            weight = profile / variance[y : y + n, x : x + n]
            error = 1 / math.sqrt(np.sum(weight * profile))
            score.append(np.sum(weight * data[y : y + n, x : x + n]) * error**2 / error)
    assert np.std(score) == pytest.approx(1.0, abs=4 / math.sqrt(2 * len(score)))
    assert np.mean(score) == pytest.approx(0.0, abs=4 / math.sqrt(len(score)))


def bright_star(peak, n=64, width=2.0):
    rows, columns = np.mgrid[:n, :n] - n // 2
    return peak * np.exp(-0.5 * (rows**2 + columns**2) / width**2)


@pytest.mark.parametrize("peak", [1.2e4, 1e5, 1e6])
def test_bleeding_keeps_a_columns_charge(peak):
    full_well, sky, reach = 1e4, 500.0, 512
    light = bright_star(peak)
    trails = bleed(light, sky, full_well, reach, (-32, -32))
    window = Box(-40, -reach - 10, 40, reach + 10)
    before = np.full(window.shape, sky)
    before[reach + 10 - 32 : reach + 10 + 32, 40 - 32 : 40 + 32] += light
    after = before.copy()
    _spill(after, trails, window, full_well)
    assert trails
    assert after.max() <= full_well * (1 + 1e-12)
    assert after.sum(axis=0) == pytest.approx(before.sum(axis=0), rel=1e-9)
    assert {t.column for t in trails} == set((np.flatnonzero(before.max(axis=0) > full_well) - 40).tolist())
    assert all(abs(t.first + t.last) <= 2 for t in trails)


def test_a_trail_ends_within_reach():
    trails = bleed(bright_star(1e9), 500.0, 1e4, 50, (0, 0))
    assert min(t.first for t in trails) == 32 - 50
    assert max(t.last for t in trails) == 32 + 49
    assert all(t.above == 0 for t in trails if t.last == 32 + 49)


def test_faint_star_does_not_bleed():
    assert bleed(bright_star(9000.0), 500.0, 1e4, 50, (0, 0)) == []


def test_saturated_pixels_are_full_and_flagged():
    sky, seen = image(Box(0, 0, 512, 512), bands=["r"], star_density=60, seed=3, cosmic_rays=0, bad_columns=0)
    band = sky.bands[0]
    full = band.full_well / band.gain
    saturated = (seen.mask[0] & PIXEL["SAT"]) > 0
    assert saturated.sum() > 100
    read = 6 * band.read_noise / band.gain
    assert np.abs(seen.data[0][saturated] - full).max() < read
    assert seen.data[0][~saturated].max() < full + read
    # trails run along columns
    assert np.count_nonzero(saturated.any(axis=0)) < np.count_nonzero(saturated.any(axis=1))


def test_cosmic_rays_have_the_rate_and_the_charge_of_muons():
    window = Box(-512, 256, 1536, 2304)
    charge = cosmic_rays(1, 2, window, 100.0)
    hit = charge > 50
    _, n = label(hit, np.ones((3, 3)))
    expected = 100.0 * 2048**2 / 1e6
    assert n == pytest.approx(expected, abs=4 * math.sqrt(expected) + 0.03 * expected)  # a few overlap
    total = charge.sum() / expected
    assert 1e4 < total < 5e4
    assert cosmic_rays(1, 2, window, 0.0).sum() == 0


def test_cosmic_rays_can_stay_unflagged():
    window = Box(0, 0, 256, 256)
    settings = {**EMPTY, "cosmic_rays": 300.0, "bands": ["r"]}
    _, told = image(window, **settings)
    _, untold = image(window, **settings, flag_cosmic_rays=False)
    assert np.array_equal(told.data, untold.data)
    flagged = (told.mask[0] & PIXEL["CR"]) > 0
    assert flagged.sum() > 50
    assert not untold.mask.any()
    sigma = np.sqrt(told.variance[0].mean())
    excess = (told.data[0] - np.median(told.data[0])) / sigma
    assert excess[flagged].mean() > 5
    assert np.sum(excess[~flagged] > 5) == 0


def test_bad_columns():
    window = Box(0, 0, 2048, 2048)
    defects = bad_columns(1, 2, window, 10.0)
    hot, dead = (defects.hot > 0).any(axis=0).sum(), defects.dead.any(axis=0).sum()
    # on average 42 begin inside, and some reach in from below
    assert 25 < hot + dead < 85
    assert hot > 0 < dead
    band = bands(SimulateSky.Config(bands=("r",)))[0]
    part = Box(0, 0, 512, 512)
    expected = np.full(part.shape, band.sky)
    data, variance, mask = observe(1, band, part, expected, [], cosmic_ray_rate=0, flag_cosmic_rays=True, bad_column_rate=40.0)
    defects = bad_columns(1, 2, part, 40.0)
    bad = defects.dead | (defects.hot > 0)
    assert bad.any()
    assert np.array_equal(mask == PIXEL["BAD"], bad)
    assert np.abs(data[defects.dead]).max() < 6 * band.read_noise / band.gain
    only_hot = (defects.hot > 0) & ~defects.dead
    excess = (data[only_hot] - band.sky) * band.gain - defects.hot[only_hot]
    assert np.abs(excess).max() < 6 * math.sqrt(band.sky * band.gain + defects.hot.max())
    assert (variance > 0).all()
