"""Running whole pipelines in tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.pipeline import Pipeline
from ..core.plan import Selection
from ..core.run import RunResult, run_pipeline
from ..core.stage import Stage, check_stage


class Runner:
    """Runs pipelines given as mappings; see the fixture `run_pipeline`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs = 0

    def __call__(
        self,
        pipeline: Mapping[str, Any],
        *,
        stages: Sequence[type[Stage]] = (),
        failures: bool = False,
        selection: Selection | None = None,
        out: str | None = None,
    ) -> RunResult:
        """Run a pipeline and return how it ended.

        Args:
            pipeline: a mapping that reads as the file would; `astrosurvey: 1` may be left out.
            stages: classes that no installed plugin registers.
            failures: whether tasks may fail.
            selection: which tasks may run.
            out: the run directory below the test's folder; a new one for each call when left out.
        """
        from .. import plugins

        registry = plugins.load()
        for cls in stages:
            check_stage(cls)
        known = replace(registry, stages={**registry.stages, **{cls.name: cls for cls in stages}})
        self._runs += 1
        checked = Pipeline.build({"astrosurvey": 1, **pipeline}, known, base=self.folder)
        result = run_pipeline(checked, self.folder / (out or f"run-{self._runs}"), selection=selection or Selection())
        if result.failures and not failures:
            stage, tile, failure = result.failures[0]
            raise AssertionError(f"{stage}/{tile or 'survey'} failed: {failure.message}\n{failure.traceback}")
        return result
