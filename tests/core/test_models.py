"""A Model port that nothing is wired to falls back to the built-in model it names, keyed by the model's content."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from astrosurvey import Pipeline, PipelineError, Stage, optional
from astrosurvey.core.plan import State
from astrosurvey.core.run import run_pipeline


@dataclass(frozen=True)
class Weights:
    """Weights in a folder."""

    value: float

    kind: ClassVar[str] = "weights"
    suffix: ClassVar[str] = ""

    def write(self, path: Path) -> None:
        path.mkdir()
        (path / "weights.json").write_text(json.dumps(self.value))

    @classmethod
    def read(cls, path: Path) -> "Weights":
        return cls(json.loads((path / "weights.json").read_text()))

    def check(self) -> None:
        assert self.value == self.value

    def summary(self) -> dict[str, Any]:
        return {}


class Apply(Stage):
    """Apply weights."""

    name = "test.apply"
    inputs = {"net": optional(Weights, default="builtin:small")}
    outputs = {"result": Weights}

    def run(self, ctx, *, net):
        return {"result": Weights(net.value * 2)}


class Train(Stage):
    """Train weights."""

    name = "test.train"
    outputs = {"net": Weights}

    def run(self, ctx):
        return {"net": Weights(21.0)}


@pytest.fixture
def registry(toys, tmp_path):
    Weights(1.5).write(tmp_path / "small")
    return type(toys)(stages={"test.apply": Apply, "test.train": Train}, models={"small": tmp_path / "small"})


def build(registry, **stages):
    return Pipeline.build({"astrosurvey": 1, "stages": stages}, registry)


def test_the_default_is_used_and_a_wired_model_comes_before_it(registry, tmp_path):
    default = run_pipeline(build(registry, apply={"use": "test.apply"}), tmp_path / "a")
    assert default.read("apply", "result", Weights, "field").value == 3.0
    wired = run_pipeline(build(registry, train={"use": "test.train"}, apply={"use": "test.apply", "in": "train"}), tmp_path / "b")
    assert wired.read("apply", "result", Weights, "field").value == 42.0


def test_other_weights_under_the_same_name_are_run_again(registry, tmp_path):
    pipeline = build(registry, apply={"use": "test.apply"})
    run_pipeline(pipeline, tmp_path / "run")
    assert run_pipeline(pipeline, tmp_path / "run").counts["apply", State.CACHED] == 1
    (tmp_path / "small" / "weights.json").write_text("2.5")
    again = run_pipeline(pipeline, tmp_path / "run")
    assert again.counts["apply", State.DONE] == 1
    assert again.read("apply", "result", Weights, "field").value == 5.0


def test_a_default_that_is_not_installed_is_an_error_before_anything_runs(registry):
    registry.models.clear()
    with pytest.raises(PipelineError, match="built-in model 'small', which is not installed"):
        build(registry, apply={"use": "test.apply"})
