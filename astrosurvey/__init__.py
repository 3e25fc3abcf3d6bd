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
    "DataError": "core.stage",
    "Field": "core.stage",
    "FilePath": "core.stage",
    "Image": "products",
    "NoWork": "core.stage",
    "Pipeline": "core.pipeline",
    "Stage": "core.stage",
    "StageConfig": "core.stage",
    "Tile": "core.tiles",
    "Tiles": "core.product",
    "hookimpl": "hookspecs",
    "optional": "core.product",
    "run": "core.run",
}

__all__ = [*_WHERE, "__version__"]  # noqa: PLE0604  (names are resolved lazily below)

if TYPE_CHECKING:
    from pydantic import Field

    from .core.pipeline import Pipeline
    from .core.product import Tiles, optional
    from .core.run import run
    from .core.stage import Context, DataError, FilePath, NoWork, Stage, StageConfig
    from .core.tiles import Box, Tile
    from .hookspecs import hookimpl
    from .products import Catalog, Image


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'astrosurvey' has no attribute {name!r}")
    value = getattr(import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
