"""The stages keep the laws of stages, and their ports are those of astrosurvey's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from astrosurvey_sep.stage import SepBackground, SepDetection, SepPhotometry

from astrosurvey import Catalog, plugins
from astrosurvey.core.stage import ports
from astrosurvey.testing import Example, StageLaws, make_image


@pytest.fixture
def detected(tiny_image, context):
    """Segmentation and sources of the tiny image."""
    return SepDetection().run(context, image=tiny_image)


class TestBackground(StageLaws):
    """Every law, on images with and without variance."""

    stage = SepBackground

    def example(self):
        return Example({"image": make_image(sky=120.0)}, {"box": 24})

    def example_measured(self):
        return Example({"image": replace(make_image(sky=120.0), variance=None)}, {"box": 24, "filter_size": 1})


class TestDetection(StageLaws):
    """Every law, with the default kernel and with the PSF."""

    stage = SepDetection

    def example(self, tiny_image):
        return Example({"image": tiny_image})

    def example_psf(self, tiny_image):
        return Example({"image": tiny_image}, {"filter": "psf", "threshold": 4.0, "clean": None})

    def empty(self):
        return Example({"image": make_image(noise=1e6)}, {"threshold": 30.0})

    def wrong_without_variance(self, tiny_image):
        return Example({"image": replace(tiny_image, variance=None)})

    def wrong_without_psf(self, tiny_image):
        return Example({"image": replace(tiny_image, psf=None)}, {"filter": "psf"})

    def wrong_too_many_peaks(self, tiny_image):
        return Example({"image": tiny_image}, {"threshold": 0.001, "deblend_contrast": 0.0, "max_children": 1, "min_pixels": 1})


class TestPhotometry(StageLaws):
    """Every law, alone and after another stage's photometry."""

    stage = SepPhotometry

    def example(self, tiny_image, detected):
        return Example({"image": tiny_image, **detected})

    def example_beside_another(self, tiny_image, detected, context):
        before = SepPhotometry().run(context, image=tiny_image, photometry=None, **detected)["photometry"]
        settings = {"method": "sep_auto", "neighbours": "keep", "minimum_radius": 5.0}
        return Example({"image": tiny_image, **detected, "photometry": before}, settings)

    def wrong_pair(self, tiny_image, detected):
        return Example({"image": tiny_image, "segmentation": detected["segmentation"], "sources": Catalog.empty("source")})

    def wrong_method(self, tiny_image, detected, context):
        before = SepPhotometry().run(context, image=tiny_image, photometry=None, **detected)["photometry"]
        return Example({"image": tiny_image, **detected, "photometry": before})


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(SepBackground, "background.mesh"), (SepDetection, "detection.segment"), (SepPhotometry, "photometry.kron")],
)
def test_the_ports_are_those_of_the_built_in_stage(ours, theirs):
    other = plugins.load().stages[theirs]
    for direction in ("inputs", "outputs"):
        mine, its = ports(ours, direction), ports(other, direction)
        # What sep cannot use, such as fractions of blends, it may leave out.
        assert [name for name in its if name in mine] == list(mine)
        assert all(its[name].optional for name in its.keys() - mine.keys())
        for name, port in ((name, its[name]) for name in mine):
            assert not mine[name].contract.refuses(port.contract)
            assert not port.contract.refuses(mine[name].contract)
            assert mine[name].optional == port.optional
