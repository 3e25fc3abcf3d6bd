"""The astrosurvey plugin my_family: what it registers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from astrosurvey import hookimpl

astrosurvey_api = 1


@hookimpl
def register_stages(register: Callable[[type], None]) -> None:
    """Register the stages."""
    from .stage import Compactness

    register(Compactness)


@hookimpl
def register_tables(register: Callable[[Path], None]) -> None:
    """Register the columns that the stages add to the catalogue."""
    register(Path(__file__).with_name("tables.yaml"))
