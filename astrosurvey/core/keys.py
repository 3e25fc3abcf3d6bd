"""What a task's content key is made from."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from .digests import FileDigests, digest_of
from .pipeline import Pipeline
from .settings import keyed_settings
from .stage import DataError, Stage
from .tiles import Tile
from .tiling import SURVEY
from .wiring import DefaultModel, Node, Wire

Found = Callable[[Wire], list[tuple[str | None, str]]]
"""Returns the (tile, sha256) of every product behind a wire."""


class Keys:
    """Makes the fields of which content keys are digests; what all tasks of a stage share is made once."""

    def __init__(self, pipeline: Pipeline, digests: FileDigests) -> None:
        self._pipeline, self._digests = pipeline, digests
        self._shared: dict[str, dict[str, Any]] = {}

    def fields(self, node: Node, tile: Tile | None, found: Found) -> dict[str, Any]:
        """Return what a task's content key is made from.

        Raises:
            DataError: a file it reads is not there.
        """
        try:
            files = node.cls.external_files(node.config, tile)
        except KeyError as error:
            raise DataError(f"stages.{node.name}: {error.args[0]}") from None
        shared = self._shared.get(node.name)
        if shared is None:
            shared = self._shared[node.name] = self._of_stage(node)
        return {
            **shared,
            "inputs": {port: self._input(node, port, found) for port in node.wires},
            "files": [self._digests.digest(path) for path in files],
            "tile": tile.identity() if tile else None,
        }

    def _of_stage(self, node: Node) -> dict[str, Any]:
        origin = self._pipeline.registry.origins.get(("stages", node.cls.name))
        package = origin.package if origin else node.cls.__module__.partition(".")[0]
        return {
            "stage": [node.name, node.cls.name],
            "version": node.cls.version,
            "source": source_digest(node.cls, package),
            "config": keyed_settings(node.config),
            "seed": self._pipeline.seed,
        }

    def _input(self, node: Node, port: str, found: Found) -> Any:
        source = node.wires[port]
        if isinstance(source, DefaultModel):
            return self._digests.digest(str(self._pipeline.registry.models[source.name]))
        if source is None:
            return None
        products = found(source)
        if node.inputs[port].gather:
            return [[tile or SURVEY, sha256] for tile, sha256 in products]
        return products[0][1]


def source_digest(cls: type[Stage], package: str) -> str | None:
    """Return a digest of the Python source of a stage whose package is installed editable, else None.

    A stage being worked on changes without its version; so its source counts, with all it may import from
    its own package. Of astrosurvey itself it is the folder of the stages.
    """
    if not _is_editable(package):
        return None
    parts = cls.__module__.split(".")
    root = sys.modules.get(".".join(parts[:2] if parts[0] == "astrosurvey" else parts[:1]))
    source = getattr(root, "__file__", None)
    if source is None:
        return None
    return _source_digest(Path(source).parent if hasattr(root, "__path__") else Path(source))


@cache
def _source_digest(path: Path) -> str:
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return digest_of([[f.name, hashlib.sha256(f.read_bytes()).hexdigest()] for f in files])


@cache
def _is_editable(package: str) -> bool:
    try:
        text = distribution(package).read_text("direct_url.json")
    except PackageNotFoundError:
        return False
    return bool(text) and bool(json.loads(text or "{}").get("dir_info", {}).get("editable"))
