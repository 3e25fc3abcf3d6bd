"""The astrosurvey plugin sbi_package: the estimators of the package sbi as stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from astrosurvey import hookimpl

astrosurvey_api = 1


@hookimpl
def register_stages(register: Callable[[type], None]) -> None:
    """Register the stages."""
    from .stage import SbiLikelihood, SbiPosterior, SbiRatio

    for stage in (SbiPosterior, SbiLikelihood, SbiRatio):
        register(stage)


@hookimpl
def register_estimators(register: Callable[[str, Callable[[], Any]], None]) -> None:
    """Register what `sbi.posterior` needs to draw from the models of these stages."""
    from .stage import SbiLikelihood, SbiPosterior, SbiRatio

    for stage in (SbiPosterior, SbiLikelihood, SbiRatio):
        register(stage.name, lambda name=stage.name: _estimator(name))


def _estimator(stage: str) -> Any:
    from .methods import METHODS

    return METHODS[stage].build, METHODS[stage].answers
