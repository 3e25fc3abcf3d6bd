"""Tiles, the unit of parallel work: what they are, and how a pipeline's `tiles:` names them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NUMBER_BITS = 26
"""A tile number has this many bits, so that an id of tile number and counter stays below 2^53."""


@dataclass(frozen=True)
class Box:
    """A half-open rectangle of pixels: x0 <= x < x1, y0 <= y < y1, 0-based."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx), as NumPy has it."""
        return self.y1 - self.y0, self.x1 - self.x0


@dataclass(frozen=True)
class Tile:
    """A patch of sky, a cube, a block of spectra or a batch of simulations.

    Attributes:
        name: unique in the run, and safe as a folder's name.
        number: a deterministic number below 2^26, from which ids are made.
        index: place in the tile order, from 0.
        window: the pixels of a larger image (or simulated sky) that the tile covers; None when the
            tile has files of its own.
        core: the half-open cell inside `window` whose sources belong to this tile, in the pixels of
            the larger image; cells of all tiles cover it exactly once. None: the whole tile.
        fields: what a path template may name besides {tile}: CSV columns, or the image being cut.
        rows: the half-open range of rows of a larger file, such as one of a million spectra, that is this tile;
            None when the tile has files of its own.
    """

    name: str
    number: int
    index: int
    window: Box | None = None
    core: Box | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[int, int] | None = None

    def identity(self) -> dict[str, Any]:
        """Return what of the tile goes into content keys: neither its place in the order nor a path."""
        boxes = {key: [b.x0, b.y0, b.x1, b.y1] for key, b in (("window", self.window), ("core", self.core)) if b}
        rows = {"rows": list(self.rows)} if self.rows else {}
        return {"name": self.name, "number": self.number, **boxes, **rows}


def fill(template: str, tile: Tile | None, **more: str) -> str:
    """Return a path template with `{tile}`, the tile's fields and `more` (such as band="r") filled in.

    A field that holds an absolute path, such as `{path}` of a CSV file, replaces all that stands before it.

    Raises:
        KeyError: the template names something that is not there; the message lists what is.
    """
    return _fill(template, {**({"tile": tile.name, **tile.fields} if tile else {}), **more})


def _fill(template: str, known: Mapping[str, str]) -> str:
    path, *rest = re.split(r"\{(\w+)\}", template)
    for name, literal in zip(rest[::2], rest[1::2], strict=True):
        if name not in known:
            names = ", ".join(f"{{{key}}}" for key in known) or "no placeholder"
            raise KeyError(f"{{{name}}} in {template!r} is unknown; here one may use {names}")
        # The field may be a template itself, as the image of a cut is when it names {band}.
        value = _fill(known[name], {key: text for key, text in known.items() if key != name})
        path = (value if value.startswith("/") else path + value) + literal
    return path
