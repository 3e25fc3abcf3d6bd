"""What the built-in plugin registers, through the same hooks as any other plugin."""

from __future__ import annotations

from collections.abc import Callable

from ..hookspecs import hookimpl

astrosurvey_api = 1


@hookimpl
def register_products(register: Callable[[type], None]) -> None:
    """Register the products that ship with astrosurvey."""
    from .. import products

    for name in products.__all__:
        register(getattr(products, name))


@hookimpl
def register_stages(register: Callable[[type], None]) -> None:
    """Register the stages that ship with astrosurvey."""
    from .io.stage import ReadImage
    from .simulate.stage import SimulateSky

    for stage in (ReadImage, SimulateSky):
        register(stage)
