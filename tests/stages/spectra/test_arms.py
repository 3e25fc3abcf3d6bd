"""Arms are joined with their inverse variances, and without an edge that is not there."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.catalog.flags import SPECTRUM_PIXEL
from astrosurvey.stages.spectra.arms import Arm, join

STEP = 0.8
B, R = 3600 + STEP * np.arange(2751), 5760 + STEP * np.arange(2326)
OVERLAP = slice(2700, 2751)


def arm(wave, flux, ivar=1.0, mask=0, n=1):
    shape = n, len(wave)
    return Arm(wave, *(np.broadcast_to(np.asarray(v, float), shape).copy() for v in (flux, ivar)), np.full(shape, mask, np.int32))


def smooth(wave):
    return 10 + 3 * np.sin(wave / 400)


def test_equal_arms_give_the_spectrum_back():
    joined, differ = join([arm(R, smooth(R)), arm(B, smooth(B))])
    assert np.allclose(np.diff(joined.wave), STEP)
    assert joined.wave[[0, -1]].tolist() == [B[0], R[-1]]
    assert np.allclose(joined.flux, smooth(joined.wave), rtol=1e-12)
    assert not differ.any()
    assert (joined.mask[0, OVERLAP] == SPECTRUM_PIXEL["JOINED"]).all()
    assert joined.mask[0].sum() == 51 * SPECTRUM_PIXEL["JOINED"]


def test_a_difference_of_calibration_makes_no_edge():
    """An arm 10 % too bright: the plain weighted mean steps by 10 % where the other begins; ours by a fiftieth of it."""
    offset = 1.1
    joined, differ = join([arm(B, smooth(B), 100), arm(R, offset * smooth(R), 100)])
    step = np.abs(np.diff(joined.flux[0] / smooth(joined.wave)))
    assert step.max() < 0.1 / 51 * 1.01
    assert differ.all()
    plain = np.r_[smooth(B)[:2700], 0.5 * (1 + offset) * smooth(R)[:51], offset * smooth(R)[51:]]
    assert np.abs(np.diff(plain / smooth(joined.wave))).max() > 0.045


def test_falling_weights_at_the_rim_make_no_edge_either():
    """As the dichroic fades, an arm's ivar falls by a factor of thirty over the overlap."""
    fade = np.ones(len(B))
    fade[OVERLAP] = np.geomspace(1, 1 / 30, 51)
    joined, _ = join([arm(B, 0.9 * smooth(B), fade), arm(R, smooth(R), 1.0)])
    step = np.abs(np.diff(joined.flux[0] / smooth(joined.wave)))
    assert step.max() < 0.1 / 8


def test_the_variance_is_that_of_the_mean():
    """Empirically, over 400 noisy spectra; the scatter of a variance of 400 values is 7 %."""
    rng = np.random.default_rng(2)
    sigma = 2.0, 1.0
    arms = [arm(w, smooth(w) + s * rng.normal(size=(400, len(w))), s**-2, n=400) for w, s in zip((B, R), sigma, strict=True)]
    joined, differ = join(arms)
    pull = (joined.flux - smooth(joined.wave)) * np.sqrt(joined.ivar)
    assert pull[:, OVERLAP].std() == pytest.approx(1, abs=0.02)
    assert differ.mean() < 0.01
    assert (joined.ivar[0, OVERLAP] <= 0.25 + 1 + 1e-9).all()


def test_the_ramp_costs_a_fifth_of_the_information():
    joined, _ = join([arm(B, 1.0), arm(R, 1.0)])
    assert joined.ivar[0, OVERLAP].mean() == pytest.approx(2 * np.pi / 4, abs=0.01)
    assert joined.ivar[0, OVERLAP].min() > 1


def test_where_one_arm_is_masked_the_other_counts_in_full():
    left, right = arm(B, 1.0, 4.0), arm(R, 2.0, 9.0)
    left.mask[0, 2710], right.ivar[0, 20], right.flux[0, 30] = SPECTRUM_PIXEL["BAD"], 0, np.nan
    left.ivar[0, 2740] = right.ivar[0, 40] = 0
    joined, _ = join([left, right])
    assert joined.flux[0, [2710, 2720, 2730]].tolist() == pytest.approx([2, 1, 1])
    assert joined.ivar[0, [2710, 2720, 2730]].tolist() == pytest.approx([9, 4, 4])
    assert joined.mask[0, [2710, 2720]].tolist() == [0, 0]
    assert joined.ivar[0, 2740] == 0
    assert joined.mask[0, 2740] & SPECTRUM_PIXEL["NO_DATA"]


def test_arms_on_other_pixels_are_cut_in_the_middle():
    joined, _ = join([arm(B, smooth(B)), arm(R + 0.3, smooth(R + 0.3))])
    assert (np.diff(joined.wave) > 0).all()
    assert np.allclose(joined.flux, smooth(joined.wave))
    assert np.abs(np.diff(joined.wave) - STEP).max() < STEP


def test_a_gap_is_filled_with_pixels_without_data():
    red = R + 500
    joined, _ = join([arm(B, smooth(B)), arm(red, smooth(red))])
    inside = (joined.wave > B[-1] + 0.1) & (joined.wave < red[0] - 0.1)
    assert inside.sum() == pytest.approx((red[0] - B[-1]) / STEP, abs=2)
    assert (joined.mask[0, inside] == SPECTRUM_PIXEL["NO_DATA"]).all()
    assert np.diff(joined.wave).max() < 1.1 * STEP


def test_arms_that_follow_on_each_other_need_no_filling():
    red = B[-1] + STEP * np.arange(1, 100)
    joined, _ = join([arm(B, 1.0), arm(red, 1.0)])
    assert len(joined.wave) == len(B) + 99


def test_one_arm_alone():
    joined, differ = join([arm(B, 1.0, n=3)])
    assert joined.flux.shape == (3, len(B))
    assert not differ.any()
