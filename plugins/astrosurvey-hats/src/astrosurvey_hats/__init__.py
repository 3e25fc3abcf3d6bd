"""The astrosurvey plugin hats: catalogues as HATS."""

from __future__ import annotations

from collections.abc import Callable

from astrosurvey import hookimpl

astrosurvey_api = 1


@hookimpl
def register_stages(register: Callable[[type], None]) -> None:
    """Register the stage."""
    from .stage import HatsExport

    register(HatsExport)
