"""Fractions: whose flux is it, and what is left of it after storing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from astrosurvey import Fractions
from astrosurvey.testing import make_image

from .test_round_trip import fractions


def test_each_source_gets_its_part_and_the_parts_make_the_whole():
    image = make_image()
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.1, 1, (2, 12, 12))
    box = np.array([20, 32, 40, 52])
    made = Fractions.from_stamps(image.data.shape[1:], np.array([box, box]), list(weight / weight.sum(axis=0)))
    window = np.s_[:, 40:52, 20:32]
    both = made.apply(image, 0) + made.apply(image, 1)
    assert both.shape == image.data[window].shape
    # Rounding down loses less than one step a source.
    np.testing.assert_allclose(both, image.data[window], rtol=3 / 32768, atol=1e-6)
    np.testing.assert_allclose(made.apply(image, 0), image.data[window] * (weight[0] / weight.sum(axis=0)), rtol=1e-2, atol=0.05)


def test_planes_of_bands_stay_with_their_bands():
    made = fractions()
    image = replace(make_image(), data=np.ones((2, *made.shape), np.float32), variance=None, mask=None)
    for i, stamp in enumerate(made.stamps()):
        np.testing.assert_array_equal(made.apply(image, i), stamp)
    assert made.total().shape == (2, *made.shape)
    assert made.total().max() <= 1


def test_a_source_without_part_is_all_sky():
    empty = Fractions.from_stamps((5, 6), np.zeros((0, 4)), [])
    assert len(empty) == 0
    assert not empty.total().any()
    assert empty.summary()["shared_fraction"] == 0.0


def test_smooth_fractions_are_stored_in_less_than_half_the_bytes(tmp_path):
    y, x = np.mgrid[:200, :200]
    near, far = (np.exp(-((x - c) ** 2 + (y - 100) ** 2) / 2000) for c in (75, 125))
    stamps = [near / (near + far), far / (near + far)]
    made = Fractions.from_stamps((200, 200), np.array([[0, 200, 0, 200]] * 2), stamps)
    made.write(tmp_path / "f.fits")
    assert (tmp_path / "f.fits").stat().st_size < made.values.nbytes / 2
    np.testing.assert_array_equal(Fractions.read(tmp_path / "f.fits").values, made.values)
