"""Settings that are files count from the pipeline file and are keyed by content, wherever FilePath stands in a type."""

import pytest
from toy import Number

from astrosurvey import Field, FilePath, Pipeline, PipelineError, Stage, StageConfig, load
from astrosurvey.core.device import NoDevice, decide
from astrosurvey.core.plan import State
from astrosurvey.core.run import run_pipeline


class Part(StageConfig):
    weights: FilePath | None = Field(None, description="file with a number")


class Sum(Stage):
    """Add up the numbers in files."""

    name = "test.sum"
    outputs = {"number": Number}

    class Config(StageConfig):
        one: FilePath | None = Field(None, description="a file")
        several: list[FilePath] = Field([], description="files")
        named: dict[str, FilePath] = Field({}, description="files by name")
        parts: list[Part] = Field([], description="nested files")
        label: str = Field("", description="not a file")

    def run(self, ctx):
        return {"number": Number(sum(float(open(path).read()) for path in self.external_files(self.config, ctx.tile)))}


SETTINGS = {
    "one": {"one": "w.txt"},
    "several": {"several": ["w.txt", "v.txt"]},
    "named": {"named": {"a": "w.txt"}},
    "parts": {"parts": [{"weights": "w.txt"}, {}]},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_files_count_from_the_pipeline_and_are_keyed_by_content(toys, tmp_path, settings):
    (tmp_path / "v.txt").write_text("1")
    (tmp_path / "w.txt").write_text("3")
    registry = type(toys)(stages={"test.sum": Sum})
    pipeline = Pipeline.build(
        {"astrosurvey": 1, "stages": {"s": {"use": "test.sum", "label": "w.txt", **settings}}}, registry, base=tmp_path
    )
    first = run_pipeline(pipeline, tmp_path / "run").read("s", "number", Number, "field").value
    assert run_pipeline(pipeline, tmp_path / "run").counts["s", State.CACHED] == 1
    (tmp_path / "w.txt").write_text("9")
    again = run_pipeline(pipeline, tmp_path / "run")
    assert again.counts["s", State.DONE] == 1
    assert again.read("s", "number", Number, "field").value == first + 6
    assert pipeline.nodes["s"].config.label == "w.txt"


def test_a_mapping_takes_overrides_overlays_paths_and_numpy_numbers(tmp_path):
    import numpy as np

    (tmp_path / "site.yaml").write_text("seed: 9\n")
    (tmp_path / "nothing.yaml").write_text("# nothing to change here\n")
    values = {"astrosurvey": 1, "tiles": tmp_path / "*.fits", "stages": {"sim": {"use": "simulate.sky", "seed": np.int64(3)}}}
    pipeline = load(values, overrides=["sim.exposures=2"], overlays=[tmp_path / "site.yaml", tmp_path / "nothing.yaml"])
    assert pipeline.seed == 9
    assert (pipeline.nodes["sim"].config.seed, pipeline.nodes["sim"].config.exposures) == (3, 2)
    with pytest.raises(PipelineError, match="cannot hold"):
        load({"astrosurvey": 1, "stages": {"sim": {"use": "simulate.sky", "seed": object()}}})


def test_a_folder_with_brackets_is_a_name_and_no_pattern(toy_pipeline, tmp_path):
    folder = tmp_path / "br[1]*"
    folder.mkdir()
    for name in ("a_r.fits", "b_r.fits"):
        (folder / name).touch()
    stages = {"make": {"use": "toy.make"}}
    assert [t.name for t in toy_pipeline(tiles="*_r.fits", stages=stages, base=folder).tiles()] == ["a", "b"]
    assert [t.name for t in toy_pipeline(tiles="a_r.fits", stages=stages, base=folder).tiles()] == ["a_r"]


def test_problems_with_tiles_have_their_place(toys, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("astrosurvey: 1\nseed: 1\ntiles: 'none/*.fits'\nstages: {make: {use: toy.make}}\n")
    with pytest.raises(PipelineError, match=r"p.yaml:3:1 tiles: no file matches"):
        Pipeline.load(path, toys).tiles()


def test_an_unknown_device_is_refused():
    with pytest.raises(NoDevice, match="use auto, cpu or cuda"):
        decide("gpu")


def test_a_stale_failure_and_a_stale_product_are_not_taken_for_news(toy_pipeline, tmp_path):
    def run(tiles):
        stages = {"make": {"use": "toy.make"}, "break": {"use": "toy.break", "in": "make", "tiles": tiles, "how": "data"}}
        return run_pipeline(toy_pipeline(tiles={"count": 2}, stages=stages), tmp_path)

    good = run([])
    failed = run(["t0001"])
    with pytest.raises(KeyError, match="break/t0001 is failed"):
        failed.read("break", "number", Number, "t0001")
    assert good.exit_code == run([]).exit_code == 0
    assert list(good.store.failures()) == []


def test_a_setup_that_fails_once_is_called_again(toys, tmp_path):
    class Fragile(Stage):
        """Need two attempts to set up."""

        name = "test.fragile"
        outputs = {"number": Number}
        attempts = 0

        def setup(self, ctx):
            type(self).attempts += 1
            if type(self).attempts == 1:
                raise RuntimeError("the licence server sleeps")
            self.value = 5.0

        def run(self, ctx):
            return {"number": Number(self.value)}

    globals()["Fragile"] = Fragile
    Fragile.__qualname__ = "Fragile"
    registry = type(toys)(stages={"test.fragile": Fragile})
    result = run_pipeline(Pipeline.build({"astrosurvey": 1, "stages": {"f": {"use": "test.fragile"}}}, registry), tmp_path)
    assert result.exit_code == 0, result.failures
    assert result.read("f", "number", Number, "field").value == 5.0
