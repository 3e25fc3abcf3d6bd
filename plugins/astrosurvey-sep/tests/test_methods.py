"""What the stages measure: against the truth of synthetic images, and beside astrosurvey's own stages."""

from __future__ import annotations

import numpy as np
import pytest
from astrosurvey_sep.photometry import moments
from astrosurvey_sep.pixels import Plane
from astrosurvey_sep.stage import SepBackground, SepDetection, SepPhotometry

from astrosurvey import Catalog, Image, Metrics
from astrosurvey.catalog.flags import SOURCE
from astrosurvey.testing import make_image


def nearest(catalog, stars):
    """Return the row nearest to each star, and its distance."""
    x, y = catalog.column("x"), catalog.column("y")
    distance = np.hypot(x[None] - stars[:, :1], y[None] - stars[:, 1:2])
    return distance.argmin(axis=1), distance.min(axis=1)


def test_the_sky_is_taken_away(context):
    gradient = np.linspace(80, 88, 256, dtype=np.float32)[None, None]
    image = make_image((256, 256))
    tilted = Image(**{**vars(image), "data": image.data + gradient, "variance": None})
    made = SepBackground(SepBackground.Config(box=32)).run(context, image=tilted)
    # Sky within a tenth of the noise of a pixel, and the noise itself within 3 %.
    assert np.abs(np.median(made["background"].data - gradient)) < 0.3
    assert np.sqrt(np.median(made["background"].variance)) == pytest.approx(3.0, rel=0.03)
    assert np.array_equal(made["image"].variance, made["background"].variance)


def test_every_star_is_found_and_the_blend_is_split(tiny_image, context):
    sources = SepDetection().run(context, image=tiny_image)["sources"]
    stars = np.array(tiny_image.meta["stars"])
    row, distance = nearest(sources, stars)
    assert distance.max() < 0.7
    assert len(set(row)) == len(stars)
    blended = sources.column("flags")[row[:2]] & SOURCE["BLENDED"]
    assert blended.all()
    assert sources.column("significance").min() > 1


def test_labels_and_rows_are_one(tiny_image, context):
    made = SepDetection().run(context, image=tiny_image)
    labels, sources = made["segmentation"].labels, made["sources"]
    assert np.array_equal(np.unique(labels), np.arange(len(sources) + 1))
    assert np.array_equal(np.bincount(labels.ravel())[1:], sources.column("n_pixels"))
    for i in range(len(sources)):
        rows, columns = np.nonzero(labels == i + 1)
        box = [sources.column(name)[i] for name in ("x_min", "x_max", "y_min", "y_max")]
        assert box == [columns.min(), columns.max() + 1, rows.min(), rows.max() + 1]
    order = np.lexsort((sources.column("x"), sources.column("y")))
    assert np.array_equal(order, np.arange(len(sources)))


def test_fluxes_of_stars(context):
    image = make_image((160, 160), noise=1.0)
    made = SepDetection().run(context, image=image)
    photometry = SepPhotometry().run(context, image=image, photometry=None, **made)["photometry"]
    stars = np.array(image.meta["stars"])
    row, _ = nearest(made["sources"], stars)
    flux = photometry.column("flux").reshape(-1, 2)[row]
    error = photometry.column("flux_err").reshape(-1, 2)[row]
    # A Kron ellipse of 2.5 radii holds 94 % or more of a star; the blended pair shares its overlap.
    ratio = flux / (stars[:, 2:] * [1.0, 1.5])
    assert np.all(ratio[2:] > 0.9 - 4 * (error / flux)[2:])
    assert np.all(ratio[2:] < 1.03 + 4 * (error / flux)[2:])
    half = photometry.column("half_light_radius").reshape(-1, 2)[row[2:5]]
    assert half == pytest.approx(1.6 * np.sqrt(2 * np.log(2)), rel=0.08)


def test_moments_of_an_ellipse():
    y, x = np.mgrid[:81, :81]
    u, v = (x - 40) * np.cos(0.5) + (y - 40) * np.sin(0.5), (y - 40) * np.cos(0.5) - (x - 40) * np.sin(0.5)
    light = np.exp(-(u**2 / (2 * 5.0**2) + v**2 / (2 * 2.5**2))).astype(np.float32)
    pixels = Plane(light, np.ones_like(light), np.zeros(light.shape, bool))
    shape = moments(np.ones(light.shape, np.int32), pixels, np.array([40.0]), np.array([40.0]))
    assert (shape.a[0], shape.b[0], shape.theta[0]) == (
        pytest.approx(5.0, rel=1e-3),
        pytest.approx(2.5, rel=1e-3),
        pytest.approx(0.5, abs=1e-3),
    )
    assert shape.measured.all()


BUILT_IN = {
    "sky": {"use": "background.mesh", "in": "sim"},
    "found": {"use": "detection.segment", "in": "sky"},
    "detect": {"use": "deblending.watershed", "in": ["sky", "found"]},
    "measure": {"use": "photometry.kron", "in": ["sky", "detect"]},
}
OURS = {
    "sky": {"use": "sep.background", "in": "sim"},
    "detect": {"use": "sep.detection", "in": "sky", "threshold": 3.0},
    "measure": {"use": "sep.photometry", "in": ["sky", "detect"]},
}
JUDGED = {"sources": "survey.sources", "truth": "sim.truth", "photometry": "survey.photometry"}


@pytest.fixture
def survey(run_pipeline):
    """A function that runs the same sky through chosen stages and returns sources, photometry and metrics."""

    def run(stages, size=384):
        before = {"sim": {"use": "simulate.sky", "bands": ["g", "r"], "seed": 3}}
        after = {
            "survey": {"use": "catalog.merge", "in": "measure"},
            "judge": {"use": "evaluate.detection", "in": JUDGED, "band": "r", "magnitude_limit": 24.0},
        }
        result = run_pipeline({"tiles": {"count": 1, "size": size}, "seed": 1, "stages": {**before, **stages, **after}})
        tables = [result.read("survey", port, Catalog) for port in ("sources", "photometry")]
        metrics = {metric.name: metric.value for metric in result.read("judge", "metrics", Metrics).values}
        return *tables, metrics

    return run


def test_both_find_what_is_bright(survey):
    for stages in (BUILT_IN, OURS):
        _, _, metrics = survey(stages)
        assert metrics["completeness"] > 0.8
        assert metrics["purity"] > 0.8


def test_fluxes_beside_those_of_the_built_in_stage(survey):
    """On the same footprints, in the same pipeline, the two total fluxes of sources that stand alone agree."""
    first = {**BUILT_IN["measure"]}
    second = {"use": "sep.photometry", "in": ["sky", "detect", "kron.photometry"], "method": "sep_auto"}
    before = {name: BUILT_IN[name] for name in ("sky", "found", "detect")}
    sources, photometry, _ = survey({**before, "kron": first, "measure": second})
    flux = {method: photometry.column("flux")[photometry.column("method") == method] for method in ("kron", "sep_auto")}
    error = photometry.column("flux_err")[photometry.column("method") == "kron"]
    alone = np.repeat(sources.column("flags") == 0, 2) & (flux["kron"] > 10 * error)
    ratio = flux["sep_auto"][alone] / flux["kron"][alone]
    assert alone.sum() >= 15
    # Single ratios scatter by 2 %, so the median of fifteen is known to 1 %.
    assert np.median(ratio) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("ours", ["sky", "detect", "measure"])
def test_each_stage_can_be_exchanged_alone(survey, ours):
    sources, photometry, _ = survey({**BUILT_IN, ours: OURS[ours]}, size=192)
    assert len(sources) > 10
    assert len(photometry) == 2 * len(sources)
