"""The conformance kit: the laws that every stage and product keeps, and fixtures for their tests.

A pytest plugin, active wherever astrosurvey is installed. A stage's author writes

    from astrosurvey.testing import Example, StageLaws

    class TestSmooth(StageLaws):
        stage = Smooth

        def example(self, tiny_image):
            return Example({"image": tiny_image}, {"width": 1.5})

and pytest tries every law (`astrosurvey.testing.laws`) on every example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ..core.run import RunResult
    from ..core.stage import Context
    from ..products import Image
    from .classes import ProductLaws as ProductLaws
    from .classes import StageLaws as StageLaws
    from .examples import Example as Example
    from .scene import make_image as make_image
    from .trial import Trial

__all__ = ["Example", "ProductLaws", "StageLaws", "make_image"]

_WHERE = {"Example": "examples", "ProductLaws": "classes", "StageLaws": "classes", "make_image": "scene"}

pytest.register_assert_rewrite("astrosurvey.testing.laws", "astrosurvey.testing.product_laws")


def __getattr__(name: str) -> Any:
    # pytest imports this module at every start, so what it offers is imported when it is first used.
    if name not in _WHERE:
        raise AttributeError(f"module 'astrosurvey.testing' has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


@pytest.fixture
def tiny_image() -> Image:
    """Two bands of 96 × 96 pixels: stars on zero sky, noise, variance, mask, PSF and WCS."""
    from .scene import make_image

    return make_image()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """What a running task gets: a tile called "t0", a seeded generator, the CPU and a scratch folder."""
    from .trial import make_context

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return make_context(scratch)


@pytest.fixture
def run_pipeline(tmp_path: Path) -> Callable[..., RunResult]:
    """A function that runs a pipeline given as a mapping and returns its RunResult.

    It is called as `run_pipeline({"stages": {…}}, stages=[MyStage])`; `stages` names classes that no
    installed plugin registers. Paths in the mapping count from `tmp_path`; each call has a run
    directory of its own. A task that fails makes the test fail, unless `failures=True`.
    """
    from .pipelines import Runner

    return Runner(tmp_path)


@pytest.fixture(scope="session")
def other_process() -> Iterator[Executor]:
    """A second Python with other hash seeds and thread counts, in which the laws run stages again."""
    from .trial import start_process

    with start_process() as executor:
        yield executor


@pytest.fixture(scope="class")
def trials_of_class() -> dict[str, Trial]:
    """The trials that the laws of a class share, by example."""
    return {}
