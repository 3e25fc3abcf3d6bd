"""Paths of files from the setting that says where they are."""

from __future__ import annotations

from pathlib import Path

from ...core.stage import DataError
from ...core.tiles import Tile, fill


def path_of(template: str, tile: Tile | None, **more: str) -> Path:
    """Return the path that the setting `path` means for a tile.

    Args:
        template: the setting; see `core.tiles.fill`.
        tile: whose name and fields it may use.
        more: what else it may use, such as band="r".

    Raises:
        DataError: it uses something else.
    """
    try:
        return Path(fill(template, tile, **more))
    except KeyError as error:
        raise DataError(f"{error.args[0]}; try: correct the setting `path`") from error
