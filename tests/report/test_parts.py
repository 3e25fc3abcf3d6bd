"""The page's small parts: words, YAML, charts, figures, the graph, citations."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from astrosurvey.core import yaml
from astrosurvey.products import Metric, Metrics
from astrosurvey.report import text, yamltext
from astrosurvey.report.charts import Curve, curves, histogram, powers, ticks
from astrosurvey.report.citations import references
from astrosurvey.report.figures import figures
from astrosurvey.report.gather import gather
from astrosurvey.report.graph import picture
from astrosurvey.report.metrics import MOST_TILES, metric_groups

from .runs import put, write_about


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (text.decimal(0.000123456), "0.0001235"),
        (text.decimal(-12.5), "−12.5"),
        (text.decimal(float("nan")), "—"),
        (text.decimal(1e9), "1.000e9".replace("e9", "e+09")),
        (text.measured(0.56921, 0.0079), "0.5692 ± 0.0079"),
        (text.measured(-2.0, None), "−2"),
        (text.measured(123456.0, 2000.0), "123456 ± 2000"),
        (text.duration(0.0004), "< 1 ms"),
        (text.duration(0.02), "20 ms"),
        (text.duration(61), "61 s"),
        (text.duration(4000), "66 min 40 s"),
        (text.duration(90_000), "25 h 00 min"),
        (text.size(999), "999 B"),
        (text.size(1500), "1.5 kB"),
        (text.size(152e6), "152 MB"),
        (text.size(2e15), "2000 TB"),
        (text.number(1234567), "1\u202f234\u202f567"),
        (text.moment(0), "1970-01-01 00:00:00 UTC"),
        (text.moment(1e30), ""),
        (text.moment("x"), ""),
        (text.visible("a\x1b[0m\u202eb\ud800\n"), "a\\x1b[0m\\u202eb\\ud800\n"),
    ],
)
def test_words(made, expected):
    assert made == expected


def test_embedded_json_cannot_end_its_element():
    value = {"a</script><!--": ["</SCRIPT>", "&amp;", "\u2028", "\x00", float("nan"), {"b": float("inf")}]}
    said = str(text.embedded(value))
    assert not set("<>&") & set(said)
    assert said.isascii()
    assert json.loads(said)["a</script><!--"][4] is None


@pytest.mark.parametrize(
    "values",
    [
        {
            "astrosurvey": 1,
            "title": "no",
            "tiles": ["on", "a b", "1", "x" * 120],
            "seed": 2,
            "stages": {"a": {"use": "io.image", "path": "/a/{tile}.fits", "n": None}},
        },
        {
            "stages": {"b": {}, "c": {"long": {"k" * 60: "v" * 60, "x": [1.5, True]}, "quote": 'a"b: c # d'}, "d": None},
            "run": {"device": "auto"},
        },
        {"stages": [], "title": "<b>\n\ttwo lines"},
    ],
)
def test_yaml_reads_back(values):
    assert yaml.load(yamltext.dump(values), "x").data == values


def sound_svg(markup: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{markup}</div>")


def test_curves_are_drawn_with_their_intervals():
    curve = Curve("g <b>", [1, 2, 3, 4], [0.1, math.nan, 0.4, 0.5], [0.0, 0, 0.3, 0.4], [0.2, 1, 0.5, 0.6])
    drawing = sound_svg(curves([curve, Curve("r", [1, 4], [1, 1])], x="magnitude", y="completeness"))
    assert len(drawing.findall(".//circle")) == 5
    line = drawing.find(".//*[@class='series s0']/path[@class='line']").get("d")
    assert line.count("M") == 2  # the line is broken where there is no value
    assert [item.text for item in drawing.findall(".//li")] == ["g <b>", "r"]


def test_nothing_to_draw():
    assert "nothing to draw" in curves([Curve("a", [math.nan], [1])], x="x", y="y")
    assert "nothing to draw" in histogram([0, 1], {"a": [0]}, x="x", y="y")


def test_logarithmic_axis():
    drawing = sound_svg(curves([Curve("a", [1, 10, 100], [1, 2, 3])], x="x", y="y", log=True))
    places = [float(c.get("cx")) for c in drawing.findall(".//circle")]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.2)
    assert powers(1, 100) == [1, 2, 5, 10, 20, 50, 100]
    assert powers(1, 1e6) == [10.0**n for n in range(7)]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (17.3, 26.9), (-3e-5, 4e-5), (1e6, 9e6), (0.999, 1.001)])
def test_ticks_are_round_and_inside(low, high):
    found = ticks(low, high, 6)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-9 <= t <= high + 1e-9 for t in found)


def test_equal_numbers_equal_bytes():
    made = [histogram([0, 1, 2], {"g": [3, 4]}, x="m", y="n") for _ in range(2)]
    assert made[0] == made[1]
    assert "font-family" not in made[0]
    assert "url(" not in made[0]


def test_figures_group_bands_and_put_total_fluxes_first():
    def curve(value):
        return {
            "magnitude_min": [20, 21, None],
            "magnitude_max": [21, 22, 23],
            "completeness": [1.0, value, None],
            "low": [0.9, 0.2, 0],
            "high": [1, 0.6, 1],
            "n": [4, 9, 1],
        }

    stored = {f"completeness by magnitude, {m}, {b}": curve(0.5) for m in ("aperture_3", "kron") for b in "gr"}
    first, others = figures({**stored, "purity by significance": {"significance": [1, 2, 5], "purity": [0.5, 0.8, 1.0]}})
    assert [c.title for c in first] == ["Completeness by magnitude, kron", "Purity by significance"]
    assert [c.title for c in others] == ["Completeness by magnitude, aperture_3"]
    drawing = sound_svg(first[0].svg)
    assert [item.text for item in drawing.findall(".//li")] == ["g", "r"]
    assert len(drawing.findall(".//circle")) == 4  # the last bin holds one object and is in the table alone
    assert first[0].header[:3] == ["", "magnitude min", "magnitude max"]
    assert len(first[0].rows) == 6


def test_bins_that_widen_are_drawn_apart_and_an_open_one_beyond_its_end():
    low = [3, 4, 5, 7, 10, 20, 50, 100]
    snr = {"snr_min": low, "snr_max": [*low[1:], None], "completeness": [0.1, 0.3, 0.6, 0.9, 1, 1, 1, 1], "n": [9] * 8}
    (chart,), _ = figures({"completeness by true signal to noise, all": snr})
    drawing = sound_svg(chart.svg)
    places = [float(c.get("cx")) for c in drawing.findall(".//circle")]
    assert places[4] - places[0] > 0.25 * (places[-1] - places[0]), "from 3 to 20 is a good part of the axis"
    hundred = next(float(t.get("x")) for t in drawing.findall(".//text") if t.text == "100")
    assert places[-2] < hundred < places[-1]
    assert chart.note == "The last point is of all over 100."
    even = {"separation_min": [2, 4, 6], "separation_max": [4, 6, 8], "found": [0.2, 0.5, 1.0], "n": [9] * 3}
    (chart,), _ = figures({"pairs found by separation": even})
    places = [float(c.get("cx")) for c in sound_svg(chart.svg).findall(".//circle")]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.2)
    assert chart.note == ""


def test_curve_without_an_axis_is_left_out():
    assert figures({"strange": {"a": [3, 1, 2]}, "empty": {"a": [], "b": []}}) == ([], [])


def test_metrics_of_a_run(field):
    (group,) = metric_groups(gather(field), notes := [])
    assert notes == []
    assert group.title == "judge"
    assert [(name, cell.value, cell.bar, cell.passed) for name, cell in group.rows] == [
        ("completeness", "0.930 ± 0.010", "≥ 0.9", True),
        ("purity", "0.8", "≥ 0.9", False),
    ]
    assert group.pivots[0].header == ["g", "r"]
    assert group.pivots[0].rows[0][0] == "flux bias, kron"
    assert len(group.first) == 1


def test_the_same_numbers_of_many_tiles_are_one_table(tmp_path):
    write_about(tmp_path / "run", {"answer": {"use": "sbi.posterior"}})
    for tile in range(MOST_TILES + 3):
        values = (Metric("unlike", tile / 100, description="part of them"), Metric("together_p", 0.5))
        put(tmp_path / "run", "answer", f"t{tile:04d}", {"likeness": Metrics(values)})
    (group,) = metric_groups(gather(tmp_path / "run"), notes := [])
    assert notes == ["Metrics of 3 further tasks are not shown."]
    assert (group.title, group.notes) == ("answer, likeness", ["unlike: part of them"])
    (table,) = group.pivots
    assert table.header == ["unlike", "together p"]
    assert [(tile, [cell.value for cell in cells]) for tile, cells in table.rows[:2]] == [
        ("t0000", ["0", "0.5"]),
        ("t0001", ["0.01", "0.5"]),
    ]
    assert len(table.rows) == MOST_TILES


def test_a_learning_rate_is_in_the_table_alone():
    training = {"step": [1, 2], "rate": [0.1, 0.01], "loss": [2.0, 1.0], "loss.validation": [2.0, 1.5]}
    (chart,), _ = figures({"training": training})
    assert chart.header == ["step", "loss", "loss.validation", "rate"]
    assert [t.text for t in sound_svg(chart.svg).findall(".//text")][-2:] == ["step", "loss"]


def test_graph_goes_from_left_to_right_without_overlaps():
    stages = {name: f"family.{name}" for name in "abcdef"}
    edges = {
        ("a", "b"): ["a.x → b.x"],
        ("b", "c"): [],
        ("a", "c"): [],
        ("c", "d"): [],
        ("a", "d"): [],
        ("b", "e"): [],
        ("e", "f"): [],
        ("d", "f"): [],
        ("z", "f"): [],
    }
    drawing = sound_svg(picture(stages, edges, {"a": "done"}))
    boxes = {}
    for link in drawing.findall(".//a"):
        rect = link.find(".//rect")
        boxes[link.get("href").removeprefix("#stage-")] = tuple(float(rect.get(k)) for k in ("x", "y", "width", "height"))
    assert set(boxes) == set(stages)
    assert all(boxes[a][0] + boxes[a][2] < boxes[b][0] for a, b in edges if a in boxes)
    for one in stages:
        for other in stages:
            same_layer = one < other and boxes[one][0] == boxes[other][0]
            assert not same_layer or abs(boxes[one][1] - boxes[other][1]) >= boxes[one][3]
    assert len(drawing.findall(".//path")) == 8


def test_graph_of_one_stage_and_of_a_cycle():
    assert "<svg" in picture({"a": "x.y"}, {}, {})
    assert "<svg" in picture({"a": "x.y", "b": "x.y"}, {("a", "b"): [], ("b", "a"): []}, {})


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        (
            "Do it.\n\n    References: Kron (1980), ApJS 43, 305; Bertin & Arnouts\n    (1996), A&AS 117.\n\n    More.",
            ["Kron (1980), ApJS 43, 305.", "Bertin & Arnouts (1996), A&AS 117."],
        ),
        ("Do it.\n\nReferences:\n    Szalay et al. (1999).\n", ["Szalay et al. (1999)."]),
        ("Do it.", []),
        ("", []),
    ],
)
def test_references(docstring, expected):
    assert references(docstring) == expected
