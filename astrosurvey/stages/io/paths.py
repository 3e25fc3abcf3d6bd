"""Paths of files from the setting that says where they are."""

from __future__ import annotations

from ...core.stage import DataError
from ...core.tiles import Tile, fill


def path_of(template: str, tile: Tile | None, **more: str) -> str:
    """Return the path that the setting `path` means for a tile, as it is written: a `Path` would make the folder "." of an empty one.

    Args:
        template: the setting; see `core.tiles.fill`.
        tile: whose name and fields it may use.
        more: what else it may use, such as band="r".

    Raises:
        DataError: it uses something else.
    """
    try:
        return fill(template, tile, **more)
    except KeyError as error:
        raise DataError(f"{error.args[0]}; try: correct the setting `path`") from error
