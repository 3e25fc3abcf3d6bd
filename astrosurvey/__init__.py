"""astrosurvey: survey images, cubes, spectra and catalogues through a graph of plugin stages.

The names below are the public API; each is imported when it is first used, so `import astrosurvey`
costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "Box": "core.tiles",
    "Catalog": "products",
    "Context": "core.stage",
    "Cube": "products",
    "DataError": "core.stage",
    "Export": "products",
    "Field": "core.stage",
    "FilePath": "core.stage",
    "Fractions": "products",
    "Image": "products",
    "LightCurves": "products",
    "Metric": "products",
    "Metrics": "products",
    "Model": "products",
    "NoWork": "core.stage",
    "Observations": "products",
    "Pipeline": "core.pipeline",
    "PipelineError": "core.problems",
    "ProductError": "core.product",
    "PsfModel": "products",
    "RunResult": "core.run",
    "Samples": "products",
    "Segmentation": "products",
    "Selection": "core.plan",
    "Simulator": "stages.sbi.simulator",
    "Spectra": "products",
    "Stage": "core.stage",
    "StageConfig": "core.stage",
    "Tile": "core.tiles",
    "Tiles": "core.product",
    "hookimpl": "hookspecs",
    "load": "api",
    "optional": "core.product",
    "run": "api",
}

__all__ = [*_WHERE, "__version__"]  # noqa: PLE0604  (the names are resolved below)

if TYPE_CHECKING:
    from pydantic import Field as Field

    from .api import load as load
    from .api import run as run
    from .core.pipeline import Pipeline as Pipeline
    from .core.plan import Selection as Selection
    from .core.problems import PipelineError as PipelineError
    from .core.product import ProductError as ProductError
    from .core.product import Tiles as Tiles
    from .core.product import optional as optional
    from .core.run import RunResult as RunResult
    from .core.stage import Context as Context
    from .core.stage import DataError as DataError
    from .core.stage import FilePath as FilePath
    from .core.stage import NoWork as NoWork
    from .core.stage import Stage as Stage
    from .core.stage import StageConfig as StageConfig
    from .core.tiles import Box as Box
    from .core.tiles import Tile as Tile
    from .hookspecs import hookimpl as hookimpl
    from .products import Catalog as Catalog
    from .products import Cube as Cube
    from .products import Export as Export
    from .products import Fractions as Fractions
    from .products import Image as Image
    from .products import LightCurves as LightCurves
    from .products import Metric as Metric
    from .products import Metrics as Metrics
    from .products import Model as Model
    from .products import Observations as Observations
    from .products import PsfModel as PsfModel
    from .products import Samples as Samples
    from .products import Segmentation as Segmentation
    from .products import Spectra as Spectra
    from .stages.sbi.simulator import Simulator as Simulator


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'astrosurvey' has no attribute {name!r}")
    value = getattr(import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
