"""The classes that a test subclasses: pytest tries every law on every example in them."""

from __future__ import annotations

import inspect
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from .. import plugins
from . import laws, product_laws
from .trial import Trial

if TYPE_CHECKING:
    from ..core.stage import Stage


class StageLaws:
    """The laws of a stage; subclass it, name the stage, and write examples.

    Each method called `example…` returns an `Example` that the stage must manage, `empty…` one that
    holds nothing to do, and `wrong…` one that it must refuse with a DataError. They may ask for
    fixtures, as tests do.
    """

    stage: ClassVar[type[Stage]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test of each law and each example it applies to."""
        if metafunc.function.__name__ != "test_law":
            return
        examples = _methods(type(self), "example")
        cases = []
        for law in laws.LAWS:
            if law.applies(self.stage):
                cases += [(law.check, name if law.per_example else None) for name in (examples if law.per_example else ["class"])]
        cases += [(laws.gives_nothing, name) for name in _methods(type(self), "empty")]
        cases += [(laws.refuses, name) for name in _methods(type(self), "wrong")]
        metafunc.parametrize(("law", "example"), cases, ids=[f"{law.__name__}-{name}" if name else law.__name__ for law, name in cases])

    def test_has_an_example(self) -> None:
        """Every law that runs the stage needs an example to run it on."""
        assert _methods(type(self), "example"), f"write a method `example` that returns an Example for {self.stage.name}"

    def test_law(
        self,
        law: Any,
        example: str | None,
        request: pytest.FixtureRequest,
        tmp_path_factory: pytest.TempPathFactory,
        other_process: Executor,
        trials_of_class: dict[str, Trial],
    ) -> None:
        """Try one law on one example; laws share a trial, and its first run, where the example asks for no fixture."""
        plugins.load()  # the schema must know the plugins' tables
        if example is None:
            law(self.stage)
            return
        trial = trials_of_class.get(example)
        if trial is None:
            trial = Trial(self.stage, _call(self, example, request), tmp_path_factory.mktemp("trial"), other_process)
            if not inspect.signature(getattr(self, example)).parameters:
                trials_of_class[example] = trial
        law(trial)


class ProductLaws:
    """The laws of a product class; subclass it, name the product, and write examples.

    Each method called `example…` returns a sound product, and `wrong…` one that `check` must refuse.
    """

    product: ClassVar[type[Any]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test of each law and each example."""
        if metafunc.function.__name__ != "test_law":
            return
        cases = [(law, name) for law in product_laws.LAWS for name in _methods(type(self), "example")]
        cases += [(product_laws.refuses, name) for name in _methods(type(self), "wrong")]
        metafunc.parametrize(("law", "example"), cases, ids=[f"{law.__name__}-{name}" for law, name in cases])

    def test_has_an_example(self) -> None:
        """Every law needs an example."""
        assert _methods(type(self), "example"), f"write a method `example` that returns a {self.product.__name__}"

    def test_law(self, law: Any, example: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        """Try one law on one example."""
        law(self.product, _call(self, example, request), tmp_path)


def _methods(cls: type, prefix: str) -> list[str]:
    return [name for name in dir(cls) if name.startswith(prefix) and callable(getattr(cls, name))]


def _call(holder: Any, method: str, request: pytest.FixtureRequest) -> Any:
    function = getattr(holder, method)
    return function(**{name: request.getfixturevalue(name) for name in inspect.signature(function).parameters})
