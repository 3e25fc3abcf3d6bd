"""What the instrument does to spectra: errors that are true, ratios as asked for, and nothing but the generator's randomness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from astrosurvey.stages.simulate.spectra.grid import LogGrid
from astrosurvey.stages.simulate.spectra.instrument import Instrument, observe

WAVE = LogGrid(3600.0, 2176, 2).wave
CLEAN = Instrument(sky=0.0, spikes=0.0, smoothing=0.0)


def seen(flux, instrument=CLEAN, seed=1, shapes=None):
    return observe(torch.from_numpy(flux), WAVE, torch.Generator().manual_seed(seed), instrument, shapes)


@pytest.fixture(scope="module")
def flux():
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, len(WAVE))
    rows = 1 + 0.5 * np.sin(20 * x * rng.uniform(0.5, 2, (120, 1))) * x
    rows[:20] = 0
    return rows.astype(np.float32)


def test_noise_is_what_the_inverse_variance_says(flux):
    out = seen(flux)
    good = out.ivar > 0
    pull = ((out.flux - torch.from_numpy(flux) * out.response) * out.ivar.sqrt())[good]
    n = int(good.sum())
    assert abs(float(pull.mean())) < 4 / np.sqrt(n)
    assert float(pull.std()) == pytest.approx(1, abs=4 / np.sqrt(2 * n))
    assert (out.flux[~good] == 0).all()
    assert torch.isfinite(out.flux).all()
    assert torch.isfinite(out.ivar).all()


def test_signal_to_noise_is_as_asked_for(flux):
    out = seen(flux, replace(CLEAN, snr=(7.0, 7.0)))
    good = out.ivar > 0
    ratio = (torch.from_numpy(flux) * out.response * out.ivar.sqrt()).abs()
    mean = (ratio * good).sum(dim=1) / good.sum(dim=1)
    np.testing.assert_allclose(mean[20:], 7, rtol=1e-4)
    np.testing.assert_allclose(out.snr[20:], 7, rtol=0.5)
    error = torch.where(good, out.ivar.clamp(min=1e-12) ** -0.5, 0).sum(dim=1) / good.sum(dim=1)
    np.testing.assert_allclose(error[:20], 1, rtol=1e-4)
    assert (out.snr[:20] == 0).all()


def test_everything_comes_from_the_generator(flux):
    first, again, other = seen(flux, Instrument()), seen(flux, Instrument()), seen(flux, Instrument(), seed=2)
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.flux, other.flux)


def test_calibration_errors_stay_within_their_bounds(flux):
    tame = replace(CLEAN, distorted=0.0, wiggle=0.0, arms=0.0, tilt=0.2)
    response = seen(flux, tame).response
    assert 0.799 < float(response.min()) < 0.85
    assert 1.15 < float(response.max()) < 1.201
    assert float(seen(flux, replace(tame, distorted=1.0)).response.log().std()) > 0.2


def test_spectra_keep_to_the_ranges_of_surveys(flux):
    covered = (seen(flux, replace(CLEAN, cut=1.0)).ivar > 0).numpy()
    first = WAVE[covered.argmax(axis=1)]
    assert 0.3 < np.mean(first > 3650) < 0.65  # SDSS and LAMOST, and not BOSS and DESI
    assert (seen(flux, replace(CLEAN, cut=0.0)).ivar > 0).float().mean() > 0.95


def test_real_errors_are_lent_with_their_gaps(flux):
    shapes = torch.ones((1, len(WAVE)))
    shapes[0, 500:600] = 0
    gaps = (seen(flux, CLEAN, shapes=shapes).ivar[:, 500:600] == 0).all(dim=1)
    assert 0.3 < float(gaps.float().mean()) < 0.7


def test_sky_lines_and_spikes_leave_more_than_the_noise(flux):
    out = seen(flux, replace(CLEAN, sky=1.0))
    pull = ((out.flux - torch.from_numpy(flux) * out.response) * out.ivar.sqrt()).numpy()
    near = abs(WAVE - 5578.9) < 3
    assert np.std(pull[:, near]) > 1.3
    assert np.std(pull[20:, (WAVE > 4500) & (WAVE < 5100)]) == pytest.approx(1, abs=0.02)
    spiky = seen(flux, replace(CLEAN, spikes=1.0))
    assert float(((spiky.flux - torch.from_numpy(flux) * spiky.response) * spiky.ivar.sqrt()).abs().max()) > 10
