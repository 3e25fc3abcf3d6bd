"""The stage keeps the laws of stages, and measures what it says."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey import Catalog
from astrosurvey.testing import Example, StageLaws
from my_package.compactness import light_ratio
from my_package.stage import Compactness

COLUMN = "x_my_family_compactness"


@pytest.fixture
def sources(tiny_image):
    """The stars of the tiny image as a catalogue."""
    x, y, _ = (np.array(values) for values in zip(*tiny_image.meta["stars"], strict=True))
    columns = {
        "source_id": np.arange(len(x)),
        "tile_id": 7,
        "x": x,
        "y": y,
        "x_min": np.floor(x) - 3,
        "x_max": np.floor(x) + 4,
        "y_min": np.floor(y) - 3,
        "y_max": np.floor(y) + 4,
        "n_pixels": 49,
        "significance": 20.0,
        "n_child": 0,
        "primary": True,
        "flags": 0,
    }
    return Catalog.from_columns("source", columns, {"tile": {"name": "t0", "tile_id": 7}})


class TestCompactness(StageLaws):
    """Every law of stages, tried on these examples."""

    stage = Compactness

    def example(self, tiny_image, sources):
        return Example({"image": tiny_image, "sources": sources})

    def example_of_another_band(self, tiny_image, sources):
        return Example({"image": tiny_image, "sources": sources}, {"band": "r", "inner": 1.5, "outer": 4.0})

    def wrong_band(self, tiny_image, sources):
        return Example({"image": tiny_image, "sources": sources}, {"band": "z"})


@pytest.mark.parametrize("sigma", [1.2, 1.6, 2.5])
def test_a_gaussian_has_the_ratio_of_a_gaussian(sigma):
    y, x = np.mgrid[:41, :41]
    star = np.exp(-((x - 20.3) ** 2 + (y - 19.8) ** 2) / (2 * sigma**2))
    ratio = light_ratio(star, np.ones(star.shape, bool), np.array([20.3]), np.array([19.8]), inner=2.0, outer=8.0)
    expected = (1 - np.exp(-(2.0**2) / (2 * sigma**2))) / (1 - np.exp(-(8.0**2) / (2 * sigma**2)))
    assert ratio == pytest.approx(expected, abs=0.02)


def test_what_cannot_be_measured_is_nan():
    data, good = np.ones((21, 21)), np.ones((21, 21), bool)
    good[10, 3] = False
    ratio = light_ratio(data, good, np.array([2.0, 5.0, 12.0]), np.array([10.0, 10.0, 10.0]), inner=1.0, outer=3.0)
    assert np.isnan(ratio).tolist() == [True, True, False]


def test_in_a_pipeline(run_pipeline):
    stages = {
        "sim": {"use": "simulate.sky", "bands": ["r"]},
        "sky": {"use": "background.mesh", "in": "sim"},
        "detect": {"use": "detection.segment", "in": "sky"},
        "compact": {"use": "my_family.compactness", "in": ["sky", "detect"]},
    }
    result = run_pipeline({"tiles": {"count": 1, "size": 256}, "stages": stages})
    found = result.read("compact", "sources", Catalog, "t0000")
    ratio = found.column(COLUMN)
    assert len(found) > 10
    assert 0.2 < np.nanmedian(ratio) < 0.8
