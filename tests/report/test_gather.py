"""Reading run directories: finished, running, failed, and with whatever can be wrong in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from astrosurvey.report import render, write
from astrosurvey.report.cards import cards
from astrosurvey.report.gather import gather
from astrosurvey.report.head import make_head
from astrosurvey.report.truth import Truth

from . import runs


def log(root: Path, *events: tuple[str, str, str | None, dict]) -> None:
    lines = [json.dumps({"version": 1, "kind": k, "time": 1.0, "stage": s, "tile": t, "data": d}) for k, s, t, d in events]
    (root / "events.jsonl").write_text("\n".join(lines) + "\n")


def card(run, name):
    return next(c for c in cards(run) if c.name == name)


def test_finished_run(field):
    run = gather(field)
    assert run.problems == []
    assert run.title == "A field"
    assert list(run.stages) == ["sim", "sky", "measure", "judge"]
    assert run.tiles_of("sky") == ["t0", "t1"]
    assert run.tiles_of("judge") == ["survey"]
    measure = card(run, "measure")
    assert measure.states == [("done", 2)]
    assert dict(measure.measures)["time"] == "1 s"
    assert {f.port: f.rows for f in measure.outputs} == {"sources": 2 * runs.SOURCES, "photometry": 2 * runs.SOURCES * 6}
    assert {f.port: (f.source, f.rows) for f in card(run, "judge").inputs} == {
        "sources": ("measure.sources", 2 * runs.SOURCES),
        "truth": ("sim.truth", 2 * runs.SOURCES * 3),
    }


def test_running_run_counts_what_is_pending(tmp_path):
    runs.write_about(tmp_path, runs.STAGES, exit_code=None, finished=None)
    runs.put(tmp_path, "sim", "t0", {"image": runs.image(0)})
    log(tmp_path, ("run_started", "", None, {"tasks": {"sim": 2, "sky": 2}}), ("task_finished", "sim", "t0", {"state": "done"}))
    run = gather(tmp_path)
    assert run.counts("sim") == {"done": 1, "pending": 1}
    assert run.counts("sky") == {"pending": 2}
    assert make_head(run, cards(run), 0).mood == "idle"


def test_what_the_last_run_does_not_count_as_its_own_is_left_out(tmp_path):
    runs.write_about(tmp_path, runs.STAGES)
    for stage, tile in (("sim", "t0"), ("sim", "t1"), ("removed", "t0")):
        runs.put(tmp_path, stage, tile, {"image": runs.image(0)})
    states = [("task_finished", "sim", "t0", {"state": "cached"}), ("task_finished", "sim", "t1", {"state": "pending"})]
    log(tmp_path, ("run_started", "", None, {"tasks": {"sim": 2}}), *states)
    run = gather(tmp_path)
    assert list(run.records) == [("sim", "t0")]
    assert run.counts("sim") == {"cached": 1, "pending": 1}


@pytest.mark.parametrize(("ending", "tiles"), [(0, ["t0"]), (1, ["t0"]), (130, ["t0", "t1"]), (None, ["t0", "t1"])])
def test_tiles_that_left_the_pipeline_are_left_out_once_the_run_came_to_its_end(tmp_path, ending, tiles):
    runs.write_about(tmp_path, runs.STAGES, exit_code=ending)
    for tile in ("t0", "t1"):
        runs.put(tmp_path, "sim", tile, {"image": runs.image(0)})
    runs.fail(tmp_path, "sky", "t1", "no sky")
    events = [("run_started", "", None, {"tasks": {"sim": 1}}), ("task_finished", "sim", "t0", {"state": "cached"})]
    log(tmp_path, *events, *([] if ending is None else [("run_finished", "", None, {"exit_code": ending})]))
    run = gather(tmp_path)
    assert run.tiles_of("sim") == tiles
    assert [failure.tile for failure in run.failed] == tiles[1:]
    facts = dict(make_head(run, cards(run), 0).facts)
    assert facts["tasks done"] == ("1 of 1" if len(tiles) == 1 else "2 of 3")


def test_failures_are_grouped_with_the_command_that_reproduces_one(tmp_path):
    runs.write_about(tmp_path, runs.STAGES, exit_code=1)
    for n in range(4):
        runs.fail(tmp_path, "sky", f"t{n}", f"t{n} has only {n} good pixels; look at its mask")
    runs.fail(tmp_path, "sky", "t9", "the disk of t9 is on fire")
    made = card(gather(tmp_path), "sky")
    assert made.states == [("failed", 5)]
    assert made.failed
    assert [g.count for g in made.failures] == [4, 1]
    first = made.failures[0]
    assert first.example == "DataError: t0 has only 0 good pixels; look at its mask"
    assert first.command == "astrosurvey run p.yaml --only sky"
    assert first.traceback.startswith("Traceback")
    assert "t0, t1, t2, t3" in first.where


def test_mended_failure_is_no_failure(tmp_path):
    runs.write_about(tmp_path, runs.STAGES)
    runs.fail(tmp_path, "sim", "t0", "not yet")
    runs.put(tmp_path, "sim", "t0", {"image": runs.image(0)})
    run = gather(tmp_path)
    assert run.failed == []
    assert run.counts("sim") == {"done": 1}


def test_warnings_are_grouped(tmp_path):
    runs.write_about(tmp_path, runs.STAGES)
    for n in range(3):
        runs.put(tmp_path, "sim", f"t{n}", {}, facts={"warnings": [f"{n} NaN pixels in t{n}", "no WCS"]})
    groups = card(gather(tmp_path), "sim").warnings
    assert [(g.count, g.example) for g in groups] == [(3, "0 NaN pixels in t0"), (3, "no WCS")]


@pytest.mark.parametrize("name", ["run.json", "pipeline.yaml", "events.jsonl", "products/sky/t0/task.json", "failures/sky/t1/error.json"])
@pytest.mark.parametrize(
    "content", [None, b"", b"\xff\xfe{", b"[1, 2]", b'{"kind": 3}', b"null", b'{"stages": 4, "versions": 1, "command": 7}']
)
def test_damaged_file_costs_no_page(tmp_path, name, content):
    runs.write_about(tmp_path, {"sky": {"use": "background.mesh"}})
    runs.put(tmp_path, "sky", "t0", {"image": runs.image(0)})
    runs.fail(tmp_path, "sky", "t1", "broken")
    log(tmp_path, ("run_started", "", None, {"tasks": {"sky": 2}}))
    path = tmp_path / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    text = write(tmp_path).read_text()
    assert '<h2 id="stages-h">' in text
    assert "sky" in text


@pytest.mark.parametrize(
    "what",
    [
        "sky/t0/image.fits",
        "measure/t0/sources.parquet",
        "measure/t1/photometry.parquet",
        "sim/t0/truth.parquet",
        "judge/survey/metrics.json",
    ],
)
def test_damaged_product_is_named_and_costs_no_page(tmp_path, what):
    root = runs.field(tmp_path / "run")
    (root / "products" / what).write_bytes(b"this is no product")
    text = write(root).read_text()
    notes = re.search(r'<div class="notes".*?</div>', text, re.S)[0]
    assert "cannot be" in notes
    assert Path(what).parts[1].replace("survey", "judge") in notes
    assert "data:image/jpeg;base64," in text


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("gather", "The run directory"),
        ("make_sky", "The sky"),
        ("make_sources", "The sources"),
        ("make_truth", "The truth"),
        ("cards", "The stages"),
        ("citations", "What to cite"),
        ("make_head", "How the run went"),
        ("metric_groups", "The metrics"),
        ("make_counts", "The counts"),
        ("picture", "The graph"),
        ("_plugin_sections", "A plugin&#39;s section"),
    ],
)
def test_a_part_that_breaks_is_named_and_costs_no_page(field, monkeypatch, part, said):
    def broken(*args, **kwargs):
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(render, part, broken)
    text = render.report(field)
    assert f"{said} cannot be shown: RuntimeError: nobody thought of this" in text
    assert '<h2 id="stages-h">' in text


def test_data_that_cannot_be_embedded_costs_no_page(field, monkeypatch):
    monkeypatch.setattr(render, "make_truth", lambda run, sky: Truth(columns={"x": object()}))
    text = render.report(field)
    assert "The map cannot be shown: TypeError" in text
    assert '<h2 id="stages-h">' in text


def test_empty_folder_has_a_page(tmp_path):
    text = write(tmp_path).read_text()
    assert "run.json is missing" in text
    assert "Nothing is known of any stage yet." in text


def test_unknown_products_are_summarised(tmp_path):
    class Strange:
        kind, suffix = "strange", ".bin"

        def write(self, path):
            path.write_bytes(b"x")

        def summary(self):
            return {"depth": 3.25, "names": ["a", "<b>"], "nested": {"x": [1, {"y": None}]}, "rows": "many"}

    runs.write_about(tmp_path, {"odd": {"use": "my.stage"}})
    runs.put(tmp_path, "odd", "t0", {"thing": Strange()})
    text = write(tmp_path).read_text()
    assert "3.25" in text
    assert "&lt;b&gt;" in text
    assert "What to cite for my.stage is not known here" in text


def test_same_run_same_page(field):
    assert write(field).read_bytes() == write(field).read_bytes()


def test_a_run_of_many_tiles_is_told_in_few_words(tmp_path):
    runs.write_about(tmp_path, runs.STAGES)
    for number in range(40):
        runs.put(tmp_path, "sim", f"t{number}", {}, facts={"warnings": [f"{number} pixels of t{number} are bad"]})
        runs.fail(tmp_path, "sky", f"t{number}", f"t{number} is cursed for the {number}th time")
    run = gather(tmp_path)
    (warning,) = card(run, "sim").warnings
    assert (warning.count, warning.where) == (40, "on t0, t1, t10, t11 and 36 other tiles")
    (failure,) = card(run, "sky").failures
    assert failure.count == 40
    assert "cursed" in failure.traceback
    assert failure.command.endswith("--only sky")


def test_no_page_has_notes_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("astrosurvey.report.render.MOST_NOTES", 3)
    runs.write_about(tmp_path, runs.STAGES)
    for number in range(10):
        (tmp_path / "products" / "sky" / f"x{number}").mkdir(parents=True)
    assert re.search(r"\d+ further notes are left out", render.report(tmp_path))
