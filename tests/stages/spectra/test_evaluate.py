"""evaluate.spectra on answers whose scores can be worked out by hand."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from astrosurvey.core.stage import DataError
from astrosurvey.products import Catalog
from astrosurvey.stages.evaluate.spectra import calibration, scores
from astrosurvey.stages.evaluate.spectra.stage import EvaluateSpectra
from astrosurvey.stages.spectra.classes import COARSE, FINE

from ..running import context, tiles_of


def truth(classes, z=None, snr=10.0, subclass="", first=1):
    n = len(classes)
    columns = {"spectrum_id": np.arange(first, first + n), "tile_id": 1, "spectral_class": classes, "subclass": subclass, "snr": snr}
    return Catalog.from_columns("spectrum_truth", {**columns, "z": np.zeros(n) if z is None else z})


def classes(probability, labels=COARSE, name="net/coarse", first=1, novelty=None):
    probability = np.asarray(probability, np.float32)
    n, size = probability.shape
    columns = {"object_table": "spectrum", "object_id": np.repeat(np.arange(first, first + n), size), "classifier": name, "flags": 0}
    columns |= {"label": np.tile(labels, n), "probability": probability.ravel()}
    if novelty is not None:
        columns["ood_score"] = np.repeat(np.asarray(novelty, np.float32), size)
    return Catalog.from_columns("classification", columns)


def redshifts(z, error=1e-4, label="galaxy", warning=0, first=1, **more):
    n = len(z)
    columns = {"spectrum_id": np.arange(first, first + n), "rank": 0, "z": z, "z_err": error, "spectral_class": label, "method": "scan"}
    return Catalog.from_columns("redshift", {**columns, "z_warning": warning, **more})


def sure(names, p=0.8):
    """Return probabilities of which the named class has `p`, and the others the rest."""
    rest = (1 - p) / (len(COARSE) - 1)
    return [[p if label == name else rest for label in COARSE] for name in names]


def run(settings=None, **inputs):
    given = {port: None if value is None else tiles_of(**{f"t{k}": part for k, part in enumerate(value)}) for port, value in inputs.items()}
    stage = EvaluateSpectra(EvaluateSpectra.Config(**(settings or {})))
    metrics = stage.run(context(None), **{"classes": None, "redshifts": None, **given})["metrics"]
    metrics.check()
    return metrics


def test_accuracy_and_confusion_by_hand():
    known = ["star"] * 4 + ["galaxy"] * 4 + ["unknown"]
    said = ["star"] * 3 + ["galaxy"] + ["galaxy"] * 2 + ["quasar"] * 2 + ["star"]
    metrics = run({"min_accuracy": 0.5}, truth=[truth(known)], classes=[classes(sure(said))])
    assert metrics["accuracy.coarse"].value == 5 / 8
    assert metrics["accuracy.coarse"].passed
    assert metrics["mean_diagonal.coarse"].value == (0.75 + 0.5) / 2
    assert np.isclose(metrics["mean_diagonal.coarse"].error, np.sqrt(0.75 * 0.25 / 4 + 0.25 / 4) / 2)
    assert metrics["worst_class.coarse"].value == 0.5
    assert metrics["star.recall"].value == 0.75
    assert metrics["galaxy.purity"].value == 2 / 3
    counts = metrics.meta["confusion"]["coarse"]["counts"]
    assert counts[0] == [3, 1, 0, 0, 0, 0]
    assert counts[1] == [0, 2, 2, 0, 0, 0]
    assert counts[4] == [1, 0, 0, 0, 0, 0]


def test_tiles_are_put_together_and_no_answer_is_a_wrong_one():
    known = [truth(["star", "star"]), truth(["galaxy", "quasar"], first=3)]
    metrics = run(truth=known, classes=[classes(sure(["star", "star"])), classes(sure(["galaxy"]), first=3)])
    assert metrics["accuracy.coarse"].value == 0.75
    assert metrics.meta["confusion"]["coarse"]["counts"][2] == [0, 0, 0, 0, 0, 1]
    assert metrics.meta["spectra"] == 4


def test_fine_classes_have_scores_of_their_own():
    labels = ["STAR_K1", "STAR_K3", "GALAXY", ""]
    known = truth(["star", "star", "galaxy", "sky"], subclass=labels)
    fine = np.full((4, 13), 0.01)
    for row, label in enumerate(["STAR_K1", "STAR_K5", "GALAXY", "QSO"]):
        fine[row, FINE.index(label)] = 0.88
    both = Catalog.concatenate([classes(sure(["star"] * 4)), classes(fine, FINE, "net/fine")])
    metrics = run(truth=[known], classes=[both])
    assert metrics["accuracy.fine"].value == 2 / 3
    assert metrics["mean_diagonal.fine"].value == 2 / 3
    assert metrics["worst_class.fine"].value == 0


class TestCalibration:
    def test_honest_probabilities_have_no_error(self):
        rng = np.random.default_rng(2)
        confidence = rng.uniform(0.2, 1, 40_000)
        assert calibration.calibration_error(confidence, rng.random(40_000) < confidence) < 0.01

    def test_boasting_ones_have_what_they_boast(self):
        assert np.isclose(calibration.calibration_error(np.full(10, 0.9), np.arange(10) < 6), 0.3)

    def test_log_loss_and_brier_score_by_hand(self):
        probability, known = np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([0, 0])
        assert np.isclose(calibration.log_loss(probability, known), -(np.log(0.8) + np.log(0.4)) / 2)
        assert np.isclose(calibration.brier(probability, known), (0.04 + 0.04 + 0.36 + 0.36) / 2)

    def test_reliability_curve_has_accuracy_and_confidence(self):
        curve = calibration.reliability(np.array([0.5, 0.5, 1.0, 1.0]), np.array([True, False, True, True]))
        assert curve["n"] == [2, 2]
        assert curve["accuracy"] == [0.5, 1.0]
        assert curve["confidence"] == [0.5, 1.0]


def test_redshifts_by_hand():
    known = truth(["galaxy"] * 4 + ["quasar"], z=[0.1, 0.2, 0.3, 0.4, 2.0])
    off = np.array([0.0001, 0.002, 0.0045, 0.2, np.nan])
    measured = redshifts(np.array([0.1, 0.2, 0.3, 0.4, 2.0]) + off, error=[2e-4, 1.5e-3, 1e-3, 1e-3, 1e-3], warning=[0, 0, 0, 4, 4])
    metrics = run({"max_outliers": 0.3}, truth=[known], redshifts=[measured])
    # 0.0045 / 1.3 = 0.00346 is an outlier, and so is what has no redshift.
    assert metrics["redshift_outlier.all"].value == 3 / 5
    assert not metrics["redshift_outlier.all"].passed
    assert metrics["redshift_catastrophic.all"].value == 2 / 5
    assert metrics["redshift_outlier.galaxy"].value == 2 / 4
    assert metrics["redshift_outlier_safe.galaxy"].value == 1 / 3
    assert metrics["redshift_safe.all"].value == 3 / 5
    assert metrics["redshift_within_1_sigma.galaxy"].value == 1 / 2
    assert metrics["redshift_within_2_sigma.galaxy"].value == 1
    # Without a classifier the templates' classes are the answers.
    assert metrics["galaxy.recall"].value == 1


def test_errors_that_are_right_cover_what_they_should():
    rng = np.random.default_rng(1)
    z = rng.uniform(0.1, 1, 3000)
    metrics = run(truth=[truth(["galaxy"] * 3000, z=z)], redshifts=[redshifts(z + rng.normal(0, 3e-4, 3000), error=3e-4)])
    assert abs(metrics["redshift_within_1_sigma.all"].value - 0.683) < 0.03
    assert abs(metrics["redshift_within_2_sigma.all"].value - 0.954) < 0.015
    assert metrics.curves["right redshifts by snr"]["n"] == [3000]


def test_sky_that_passes_for_an_object():
    known = truth(["sky"] * 4 + ["star"])
    said = classes([*sure(["sky", "galaxy", "star"], 0.95), *sure(["star"], 0.6), *sure(["star"], 0.95)])
    measured = redshifts(np.zeros(5), warning=[0, 4, 0, 4, 0], probability=[0.95, 0.99, 0.5, 0.5, 1.0])
    metrics = run(truth=[known], classes=[said], redshifts=[measured])
    assert metrics["sky_accepted.classes"].value == 2 / 4
    assert metrics["sky_accepted.redshifts"].value == 1 / 4


def test_the_score_of_strange_things():
    known = truth(["star", "galaxy", "unknown", "unknown"])
    metrics = run(truth=[known], classes=[classes(sure(["star", "galaxy", "star", "star"]), novelty=[1, 2, 3, 1.5])])
    assert metrics["auroc.unknown"].value == 0.75
    assert scores._area([1.0], [1.0]) == 0.5


def test_one_of_several_classifiers_is_chosen_by_its_name():
    both = Catalog.concatenate([classes(sure(["star"])), classes(sure(["galaxy"]), name="other/coarse")])
    for name, accuracy in (("net", 1.0), ("other", 0.0)):
        assert run({"classifier": name}, truth=[truth(["star"])], classes=[both])["accuracy.coarse"].value == accuracy
    with pytest.raises(DataError, match="no classifier 'nett'.*net/coarse, other/coarse"):
        run({"classifier": "nett"}, truth=[truth(["star"])], classes=[both])
    strange = classes([[0.5]], labels=("unknown",), name="spectra.anomaly")
    assert run(truth=[truth(["star"])], classes=[Catalog.concatenate([classes(sure(["star"])), strange])])["accuracy.coarse"].value == 1


def test_what_cannot_be_evaluated_is_refused():
    with pytest.raises(DataError, match="wire `classes`, `redshifts` or both"):
        run(truth=[truth(["star"])])
    two = Catalog.concatenate([classes(sure(["star"])), classes(sure(["star"]), name="other")])
    with pytest.raises(DataError, match="more than one classifier.*net/coarse, other"):
        run(truth=[truth(["star"])], classes=[two])
    with pytest.raises(DataError, match="spectrum 1 2 times"):
        run(truth=[truth(["star"]), truth(["star"])], classes=[classes(sure(["star"]))])


def test_nothing_known_is_said(caplog):
    with caplog.at_level(logging.WARNING, "astrosurvey.test"):
        metrics = run(truth=[Catalog.empty("spectrum_truth")], classes=[classes(sure(["star"]))])
    assert metrics.values == ()
    assert "no truth is known" in caplog.text
