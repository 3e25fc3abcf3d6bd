"""Running a stage by itself, as a worker would."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from astrosurvey.core.product import Tiles
from astrosurvey.core.stage import Context, Stage, check_stage, ports
from astrosurvey.core.tiles import Box, Tile


def a_tile(name: str = "t", number: int = 7, **more: Any) -> Tile:
    return Tile(name=name, number=number, index=0, **more)


def context(tile: Tile | None, scratch: Path | None = None) -> Context:
    return Context(
        tile=tile,
        rng=np.random.default_rng(0),
        device="cpu",
        log=logging.getLogger("astrosurvey.test"),
        progress=lambda done, total: None,
        scratch=scratch or Path(tempfile.mkdtemp()),
    )


def run(
    stage: type[Stage], settings: dict[str, Any] | None = None, *, tile: Tile | None = None, scratch: Path | None = None, **inputs: Any
) -> dict[str, Any]:
    """Run a stage with read-only inputs, and check what comes out as the coordinator would."""
    check_stage(stage)
    if stage.scope == "tile" and tile is None:
        tile = a_tile()
    for value in inputs.values():
        for array in vars(value).values() if hasattr(value, "__dict__") else ():
            if isinstance(array, np.ndarray):
                array.setflags(write=False)
    filled = {name: inputs.get(name) for name in stage.inputs}
    result = dict(stage(stage.Config(**(settings or {}))).run(context(tile, scratch), **filled))
    assert set(result) == set(stage.outputs)
    offered = {name: port.contract for name, port in ports(stage, "inputs").items()}
    for name, port in ports(stage, "outputs").items():
        contract = port.contract.resolve(offered)
        contract.check(result[name])
    return result


def tiles_of(**products: Any) -> Tiles[Any]:
    return Tiles(tuple(products), lambda name: products[name])


def cut_into_tiles(shape: tuple[int, int], size: int, overlap: int) -> list[Tile]:
    """Return overlapping tiles of a large image whose cores cover it once."""
    tiles = []
    for row, y in enumerate(range(0, shape[0], size)):
        for column, x in enumerate(range(0, shape[1], size)):
            core = Box(x, y, min(x + size, shape[1]), min(y + size, shape[0]))
            window = Box(max(x - overlap, 0), max(y - overlap, 0), min(core.x1 + overlap, shape[1]), min(core.y1 + overlap, shape[0]))
            number = row * 100 + column + 1
            tiles.append(Tile(f"t{row}{column}", number, len(tiles), window, core))
    return tiles
