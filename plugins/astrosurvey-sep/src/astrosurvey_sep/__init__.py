"""The astrosurvey plugin sep: Source Extractor's algorithms as stages."""

from __future__ import annotations

from collections.abc import Callable

from astrosurvey import hookimpl

astrosurvey_api = 1


@hookimpl
def register_stages(register: Callable[[type], None]) -> None:
    """Register the stages."""
    from .stage import SepBackground, SepDetection, SepPhotometry

    for stage in (SepBackground, SepDetection, SepPhotometry):
        register(stage)
