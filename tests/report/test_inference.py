"""The page's inference: the verdict with its curves, counts of flags, and corner plots with the truth."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from astrosurvey.catalog.flags import SBI
from astrosurvey.products import Catalog, Metric, Metrics, Model, Observations, Samples
from astrosurvey.report.corner import MOST_POINTS, corner
from astrosurvey.report.gather import gather
from astrosurvey.report.inference import MOST_CORNERS, make_inference
from astrosurvey.report.render import report
from astrosurvey.stages.sbi.calibration.check import OFF, Calibration, check
from astrosurvey.stages.sbi.calibration.product import to_metrics
from astrosurvey.stages.sbi.priors import Prior

from .runs import put, write_about

N = 8


def calibration(scale=0.7):
    rng = np.random.default_rng(0)
    truth, draws = rng.normal(size=(300, 2)), scale * rng.normal(size=(300, 50, 2))
    log = -0.5 * (np.concatenate([truth[:, None], draws], axis=1) ** 2).sum(axis=2)
    return check(truth, draws, log[:, 0], log[:, 1:], names=["a", "b<"], rng=rng)


def posteriors():
    rng = np.random.default_rng(1)
    flags = np.zeros(N, np.int32)
    flags[0], flags[3] = SBI["PRIOR_EDGE"] | SBI["OUT_OF_DISTRIBUTION"], SBI["PRIOR_EDGE"]
    table = {
        "posterior_id": np.arange(N),
        "model": "m",
        "method": "sbi.npe",
        "parameter_names": "a,b<",
        "parameter_units": "km,",
        "n_draw": 9,
        "flags": flags,
    }
    owner = np.repeat(np.arange(1, N), 30)  # the first has no draw
    draws = {"posterior_id": owner, "draw": np.tile(np.arange(30), N - 1), "parameters": rng.normal(size=(len(owner), 2))}
    return {"posterior": Catalog.from_columns("posterior", table), "posterior_sample": Catalog.from_columns("posterior_sample", draws)}


def model():
    prior = Prior.declared({"a": {"normal": [0, 5], "unit": "km"}, "b<": {"categorical": [0, 1]}})
    return Model("conditional flow", {}, {"w": np.zeros(1, np.float32)}, {"prior": prior.to_json()})


def made(root, metrics=None):
    stages = {
        "see": {"use": "io.observations"}, "infer": {"use": "sbi.npe", "in": {"observations": "see.observations"}},
        "answer": {"use": "sbi.posterior", "in": {"observations": "see.observations", "posterior_model": "infer.posterior_model"}},
    }  # fmt: skip
    write_about(root, stages)
    truth = Samples(np.zeros((N, 2)), ("a", "b<"), ("km", ""))
    put(root, "see", "t0", {"observations": Observations(np.zeros((N, 3), np.float32), np.arange(N), parameters=truth)})
    learnt = {"training": {"step": [1, 2], "surprise": [2.0, 1.0]}}
    put(root, "infer", None, {"calibration": metrics or to_metrics(calibration(), curves=learnt), "posterior_model": model()})
    put(root, "answer", "t0", posteriors())
    return root


def test_section(tmp_path):
    section = make_inference(gather(made(tmp_path / "run")))
    (verdict,), (answers,) = section.verdicts, section.answers
    assert (verdict.title, verdict.verdict, verdict.mood) == ("infer", "overconfident", "bad")
    assert any("90 %" in fault for fault in verdict.faults)
    assert [picture.title for picture in verdict.pictures] == [
        "Expected coverage",
        "Places of the truth, by parameter",
        "Ranks, a",
        "Ranks, b<",
    ]
    assert dict(answers.facts) == {"posteriors": "8", "without a flag": "6", "prior edge": "2", "out of distribution": "1"}
    assert len(answers.corners) == MOST_CORNERS
    assert "no draws" in answers.corners[0].svg
    assert answers.corners[0].note == "PRIOR_EDGE, OUT_OF_DISTRIBUTION"
    assert answers.corners[0].title == "posterior 0"
    assert answers.corners[1].svg.count('class="truth"') == 3
    assert answers.corners[1].svg.count('class="prior"') == 1  # one parameter is of a few values
    # Ranks are a histogram in front of where those of right posteriors would be.
    assert verdict.pictures[-1].svg.count('class="fill"') == 2
    for picture in verdict.pictures:
        ElementTree.fromstring(picture.svg.partition("<ul")[0])
    ElementTree.fromstring(answers.corners[1].svg)


def test_the_truth_of_what_a_round_is_about(tmp_path):
    """Not that of the simulations it learns from; of all tiles, in the order of the ids, and by name."""
    root = tmp_path / "run"
    wires = {"observations": "sims.observations", "target": "see.observations"}
    write_about(root, {"see": {"use": "simulate.stream"}, "sims": {"use": "simulate.stream"}, "round": {"use": "sbi.tmnre", "in": wires}})
    for tile, ids, value in (("t0", np.arange(4, N), 0.0), ("t1", np.arange(4), 0.5)):
        truth = Samples(np.full((4, 2), (np.nan, value)), ("b<", "a"), ("", "km"))
        put(root, "see", tile, {"observations": Observations(np.full((4, 3), value, np.float32), ids, parameters=truth)})
        wrong = Samples(np.zeros((4, 2)), ("a", "b<"), ("km", ""))
        put(root, "sims", tile, {"observations": Observations(np.zeros((4, 3), np.float32), ids, parameters=wrong)})
    put(root, "round", None, {**posteriors(), "posterior_model": model()})
    (answers,) = make_inference(gather(root)).answers
    lines = [re.findall(r'class="truth" d="M([\d.]+)', picture.svg) for picture in answers.corners]
    middles = [re.findall(r'class="tick middle" x="([\d.]+)" y="\d+">([^<]+)', picture.svg) for picture in answers.corners]
    assert [len(each) for each in lines] == [0, 1, 1, 1, 1, 1]  # "a" alone is known
    for row in (1, 5):
        (x0, low), (x1, high) = ((float(x), float(tick.replace("\u2212", "-"))) for x, tick in middles[row][:2])
        assert low + (float(lines[row][0]) - x0) / (x1 - x0) * (high - low) == pytest.approx(0.5 if row < 4 else 0.0, abs=0.02)
    assert all(picture.svg.count('class="prior"') == 1 for picture in answers.corners[1:])


def test_scores_and_too_few_tests_are_told_apart(tmp_path):
    rng = np.random.default_rng(0)
    few = check(*(np.zeros(shape) for shape in ((20, 2), (20, 50, 2), (20,), (20, 50))), names=["a", "b"], rng=rng)
    level = {"level": [0.0, 1.0], "coverage": [0.0, 1.0], "low": [0.0, 1.0], "high": [0.0, 1.0]}
    scored = to_metrics(few, curves={"central coverage by level, a": level})
    (verdict,) = make_inference(gather(made(tmp_path / "run", scored))).verdicts
    assert (verdict.verdict, verdict.facts) == ("untested", [("tests", "20")])
    assert [picture.title for picture in verdict.pictures] == ["Central intervals, by parameter"]


def test_page_holds_it_and_draws_curves_once(tmp_path, field):
    page = report(made(tmp_path / "run"))
    assert "cannot be shown" not in page
    assert 'id="inference"' in page
    assert "b&lt;" in page
    assert page.count("Expected coverage") == 1
    assert "Tests by rank" not in page
    assert "Training" in page
    assert 'id="inference"' not in report(field)


def test_off_and_other_metrics(tmp_path):
    page = report(made(tmp_path / "off", to_metrics(Calibration(OFF))))
    assert "switched calibration off" in page
    assert make_inference(gather(made(tmp_path / "other", Metrics(())))).verdicts == []


def test_a_prior_has_the_area_of_its_histogram():
    """Draws of the prior itself: its line runs along the tops of the bars."""
    draws = np.random.default_rng(0).normal(size=(50_000, 1))
    svg = corner(draws, ["a"], priors=[lambda x: np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)])
    (line,) = re.findall(r'class="prior" d="M([^"]+)"', svg)
    heights = [float(point.split()[1]) for point in line.split("L")]
    bars = [float(y) for y in re.findall(r"V([\d.]+)h", svg.partition('class="line"')[2])]
    assert min(heights) == pytest.approx(min(bars), abs=3)


def test_numbers_under_a_corner_touch_neither_another_nor_the_edge():
    rng = np.random.default_rng(3)
    svg = corner(rng.normal([0, 1234.5, -0.00123], [1, 0.4, 1e-4], (500, 3)), ["a", "b", "c"])
    said = sorted((float(x), text) for x, text in re.findall(r'class="tick middle" x="([\d.]+)"[^>]*>([^<]+)<', svg))
    ends = [(x - 3.5 * len(text), x + 3.5 * len(text)) for x, text in said]
    assert len(said) >= 5
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(ends))
    assert ends[-1][1] <= float(svg.partition('viewBox="0 0 ')[2].split()[0])


def test_a_posterior_is_called_by_what_it_is_of(tmp_path):
    tables = posteriors()
    put(made(tmp_path / "run"), "answer", "t1", tables | {"posterior": tables["posterior"].replace(source_id=np.arange(N) + 70)})
    (answers,) = make_inference(gather(tmp_path / "run")).answers
    assert [corner.title for corner in answers.corners][2:4] == ["posterior 2", "source 70"]


def test_tiles_that_are_unlike_the_simulations_as_a_whole_are_counted(tmp_path):
    root = made(tmp_path / "run")
    put(root, "answer", "t1", posteriors() | {"likeness": Metrics((Metric("together_p", 0.001),))})
    put(root, "answer", "t2", posteriors() | {"likeness": Metrics((Metric("together_p", 0.4),))})
    (answers,) = make_inference(gather(root)).answers
    assert dict(answers.facts)["tiles unlike the simulations as a whole"] == "1 of 2"


def test_corner_is_bounded():
    rng = np.random.default_rng(2)
    svg = corner(rng.normal(size=(20_000, 9)), [f"p{k}" for k in range(9)])
    ElementTree.fromstring(svg)
    assert svg.count("h0") <= MOST_POINTS * 15
    assert "p6" not in svg
    assert "<svg" in corner(np.ones((5, 2)), ["a", "b"], np.array([1.0, np.nan]))
