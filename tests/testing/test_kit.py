"""The conformance kit accepts what is right and names what is wrong."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import toy
from toy import Number

from astrosurvey import Catalog, Spectra
from astrosurvey.core.stage import StageError
from astrosurvey.testing import Example, ProductLaws, StageLaws, laws
from astrosurvey.testing.trial import Trial

from . import rogues
from .heavy import Heavy


class TestAdd(StageLaws):
    stage = toy.Add

    def example(self):
        return Example({"number": Number(3.0)}, {"amount": 2.0})

    def example_negative(self):
        return Example({"number": Number(3.0)}, {"mode": "negative"})


class TestRandom(StageLaws):
    stage = toy.Random

    def example(self):
        return Example({"number": Number(3.0)})


class TestRead(StageLaws):
    stage = toy.Read

    def example(self, tmp_path):
        (tmp_path / "t0.txt").write_text("4")
        return Example(config={"path": str(tmp_path / "{tile}.txt")})


class TestTotal(StageLaws):
    stage = toy.Total

    def example(self):
        return Example({"number": [Number(1.0), Number(2.5), Number(4.0)]})


class TestShare(StageLaws):
    stage = toy.Share

    def example(self):
        return Example({"number": Number(1.0), "total": Number(4.0)})

    def example_unwired(self):
        return Example({"number": Number(1.0)})


class TestNumber(ProductLaws):
    product = Number

    def example(self):
        return Number(2.5)

    def wrong_nan(self):
        return Number(float("nan"))


@pytest.fixture
def trial(tmp_path, other_process):
    def make(stage, **example):
        folder = tmp_path / "trial"
        folder.mkdir()
        return Trial(stage, Example({"number": Number(3.0)}, **example), folder, other_process)

    return make


@pytest.mark.parametrize(
    ("stage", "law", "complaint"),
    [
        (rogues.Remembers, laws.equal_inputs_give_equal_bytes, "a second time"),
        (rogues.GlobalRandom, laws.equal_inputs_give_equal_bytes, "randomness from ctx.rng alone"),
        (rogues.Draws, laws.leaves_no_traces, "random's generator"),
        (rogues.Hashes, laws.other_processes_give_equal_bytes, "in another process"),
        (rogues.Batches, laws.batch_changes_nothing, "ctx.batch = 0.5"),
        (rogues.Litters, laws.leaves_no_traces, "the files in the working directory"),
        (rogues.Exports, laws.leaves_no_traces, "the environment"),
        (rogues.Overwrites, laws.leaves_its_inputs_alone, "modified one of its inputs"),
        (rogues.Idle, laws.makes_what_it_declares, "NoWork"),
        (rogues.Rambles, laws.makes_what_it_declares, "rogue.rambles failed: no"),
    ],
)
def test_a_broken_law_is_named(trial, monkeypatch, stage, law, complaint):
    monkeypatch.setenv("ROGUE", "no")  # so that what a rogue sets is undone
    rogues.Remembers.seen.clear()
    with pytest.raises(AssertionError, match=complaint):
        law(trial(stage))


def test_the_honest_one_keeps_the_laws_that_the_rogues_break(trial):
    honest = trial(rogues.Honest)
    for law in laws.LAWS:
        if law.per_example and law.applies(rogues.Honest):
            law.check(honest)


@pytest.mark.parametrize(
    ("stage", "law", "complaint"),
    [
        (rogues.Mute, laws.follows_the_protocol, "one sentence"),
        (Heavy, laws.is_listed_without_heavy_imports, "scipy"),
        (rogues.Misdirects, laws.passes_on_what_it_takes, "passes on 'source', which is no input port"),
        (rogues.Confuses, laws.passes_on_what_it_takes, "of another table"),
    ],
)
def test_a_broken_law_of_the_class_is_named(stage, law, complaint):
    with pytest.raises(AssertionError, match=complaint):
        law(stage)


SOURCES = [
    Catalog.from_columns(
        "source",
        {
            "source_id": [tile * 10 + i for i in range(3)],
            **{name: [5.0 + tile, 6.0, 7.0] for name in ("x", "y", "significance")},
            **{name: [4, 5, 6] for name in ("x_min", "y_min")},
            **{name: [7, 8, 9] for name in ("x_max", "y_max")},
            **dict.fromkeys(("tile_id", "n_pixels"), tile + 1),
            **dict.fromkeys(("n_child", "flags"), 0),
            "primary": True,
        },
    )
    for tile in range(2)
]


@pytest.mark.parametrize(
    ("stage", "law", "complaint"),
    [
        (rogues.Forgets, laws.hands_on_foreign_columns, "output 'sources' has lost the column x_laws_tag"),
        (rogues.Shuffles, laws.hands_on_foreign_columns, "other values of x_laws_tag than the input, first in row"),
        (rogues.NeedsRows, laws.copes_with_nothing, "rogue.needs_rows failed"),
        (rogues.NeedsPixels, laws.copes_with_unexposed_images, "rogue.needs_pixels failed"),
        (rogues.NeedsFinite, laws.copes_with_damaged_images, "rogue.needs_finite failed: NaN"),
        (rogues.NeedsWcs, laws.copes_with_bare_images, "pixel_to_world"),
    ],
)
def test_a_broken_law_about_data_is_named(tmp_path, tiny_image, other_process, stage, law, complaint):
    example = Example({"image": tiny_image, "sources": SOURCES[0]})
    honest, rogue = (tmp_path / name for name in ("honest", "rogue"))
    for folder in (honest, rogue):
        folder.mkdir()
    law(Trial(rogues.Passes, example, honest, other_process))
    with pytest.raises(AssertionError, match=complaint):
        law(Trial(stage, example, rogue, other_process))


@pytest.mark.parametrize(
    ("stage", "law", "complaint"),
    [
        (rogues.NeedsUsable, laws.copes_with_spectra_without_data, "rogue.needs_usable failed"),
        (rogues.TrustsWeights, laws.copes_with_damaged_spectra, "wild"),
        (rogues.SharesGrids, laws.copes_with_spectra_on_their_own_grids, "object too deep"),
    ],
)
def test_a_broken_law_about_spectra_is_named(tmp_path, other_process, stage, law, complaint):
    flux = np.random.default_rng(2).normal(5, 1, (3, 80)).astype(np.float32)
    spectra = Spectra(flux, np.ones_like(flux), np.zeros(flux.shape, np.int32), np.linspace(4000.0, 5000, 80), np.arange(3))
    honest, rogue = (tmp_path / name for name in ("honest", "rogue"))
    for folder in (honest, rogue):
        folder.mkdir()
    law(Trial(rogues.Scales, Example({"spectra": spectra}), honest, other_process))
    with pytest.raises(AssertionError, match=complaint):
        law(Trial(stage, Example({"spectra": spectra}), rogue, other_process))


def test_a_stage_may_ask_for_what_a_bare_image_lacks(tmp_path, tiny_image, other_process):
    example = Example({"image": tiny_image, "sources": SOURCES[0]})
    laws.copes_with_bare_images(Trial(rogues.AsksForWcs, example, tmp_path, other_process))


def test_sources_must_say_of_which_tile_they_are(tmp_path, tiny_image, other_process):
    example = Example({"image": tiny_image, "sources": SOURCES[0]})
    with pytest.raises(AssertionError, match=r"output 'sources' has no meta\['tile'\]"):
        laws.says_which_tile_it_is_of(Trial(rogues.Passes, example, tmp_path, other_process))


def test_arrays_that_were_read_must_be_read_only(tmp_path):
    from astrosurvey.testing import product_laws

    with pytest.raises(AssertionError, match="can be written to: values"):
        product_laws.is_read_only_when_read(Loose, Loose(np.zeros(3)), tmp_path)


def test_rows_must_not_depend_on_the_order_of_tiles(tmp_path, other_process):
    with pytest.raises(AssertionError, match="rows of output 'sources' depend on the order of the tiles"):
        laws.works_on_any_tiles(Trial(rogues.FirstOnly, Example({"sources": SOURCES}), tmp_path, other_process))


def test_a_column_that_the_schema_does_not_know_is_found_at_registration():
    with pytest.raises(StageError, match=r"port 'sources' of `outputs`: table source has no column 'brightnes'"):
        laws.follows_the_protocol(rogues.Invents)


def test_a_stage_must_refuse_wrong_input(trial):
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        laws.refuses(trial(rogues.Gullible))


def test_a_survey_stage_must_work_on_one_tile(tmp_path, other_process):
    example = Example({"number": [Number(1.0), Number(2.0)]})
    with pytest.raises(AssertionError, match="one tile is not enough for me"):
        laws.works_on_any_tiles(Trial(rogues.Ordered, example, tmp_path, other_process))


def test_a_gather_is_tried_with_several_tiles(tmp_path, other_process):
    with pytest.raises(pytest.fail.Exception, match="at least two"):
        laws.works_on_any_tiles(Trial(toy.Total, Example({"number": [Number(1.0)]}), tmp_path, other_process))


@pytest.mark.parametrize(
    ("example", "complaint"),
    [
        (Example(), "nothing for the port 'number'"),
        (Example({"number": Number(1.0), "numbr": Number(1.0)}), "numbr"),
        (Example({"number": Number(1.0)}, {"amuont": 1.0}), "did you mean 'amount'"),
    ],
)
def test_a_wrong_example_is_explained(tmp_path, other_process, example, complaint):
    with pytest.raises(AssertionError, match=complaint):
        Trial(toy.Add, example, tmp_path, other_process).run()


@dataclass(frozen=True)
class Stamped(Number):
    """A number that is stored with its file's name."""

    kind: ClassVar[str] = "stamped"

    def write(self, path):
        path.write_text(f'{{"value": {self.value}, "name": "{path.name}"}}')


@dataclass(frozen=True)
class Loose:
    """An array that anybody may write to."""

    values: np.ndarray

    kind: ClassVar[str] = "loose"
    suffix: ClassVar[str] = ".npy"

    def write(self, path):
        np.save(path, self.values)

    @classmethod
    def read(cls, path):
        return cls(np.load(path))


def test_a_product_must_not_depend_on_its_file(tmp_path):
    from astrosurvey.testing import product_laws

    with pytest.raises(AssertionError, match="file's name"):
        product_laws.equal_products_are_equal_bytes(Stamped, Stamped(1.0), tmp_path)


def test_a_class_without_examples_fails():
    class Empty(StageLaws):
        stage = toy.Add

    with pytest.raises(AssertionError, match="write a method `example` that returns an Example for toy.add"):
        Empty().test_has_an_example()


def test_run_pipeline_runs_stages_that_no_plugin_registers(run_pipeline):
    result = run_pipeline(
        {"tiles": ["a", "b"], "stages": {"make": {"use": "toy.make"}, "add": {"use": "toy.add", "in": "make"}}}, stages=[toy.Make, toy.Add]
    )
    assert [result.read("add", "number", Number, tile).value for tile in ("a", "b")] == [2.0, 3.0]


def test_run_pipeline_fails_with_the_stage(run_pipeline):
    pipeline = {
        "tiles": ["a"],
        "run": {"retries": 0},
        "stages": {"make": {"use": "toy.make"}, "bad": {"use": "toy.break", "in": "make", "tiles": ["a"]}},
    }
    with pytest.raises(AssertionError, match="bad/a failed: a is cursed"):
        run_pipeline(pipeline, stages=[toy.Make, toy.Break])
    assert run_pipeline(pipeline, stages=[toy.Make, toy.Break], failures=True).exit_code == 1


def test_the_plugin_costs_nothing_when_pytest_starts():
    dear = ("numpy", "pydantic", "astrosurvey.core.stage", "astrosurvey.testing.laws")
    code = f"import sys, astrosurvey.testing; print([m for m in {dear!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_context_is_ready(context, tmp_path):
    from astrosurvey.testing.trial import make_context

    assert context.tile.name == "t0"
    assert context.scratch.is_dir()
    assert context.rng.random() == make_context(tmp_path).rng.random()
