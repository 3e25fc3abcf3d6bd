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
    from .background.stage import MeshBackground
    from .catalog.stage import MergeCatalogs
    from .deblending.stage import WatershedDeblending
    from .detection.stage import MatchedDetection, SegmentDetection
    from .evaluate.stage import EvaluateDetection
    from .export.stage import ExportFits, ExportRegions, ExportVOTable
    from .io.stage import ReadImage
    from .photometry.stage import AperturePhotometry, KronPhotometry
    from .simulate.field import SimulateField
    from .simulate.stage import SimulateSky

    for stage in (
        ReadImage,
        SimulateSky,
        SimulateField,
        MeshBackground,
        SegmentDetection,
        MatchedDetection,
        WatershedDeblending,
        KronPhotometry,
        AperturePhotometry,
        MergeCatalogs,
        EvaluateDetection,
        ExportFits,
        ExportVOTable,
        ExportRegions,
    ):
        register(stage)
