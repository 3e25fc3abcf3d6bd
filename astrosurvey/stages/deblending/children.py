"""Putting whole islands and the pieces of split ones together, in one segmentation and one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...catalog.flags import SOURCE
from ...catalog.ids import object_ids, split_id
from ...kernels._islands import renumbered
from ...products import Catalog, Segmentation
from ..detection import footprints
from ..detection.rows import source_rows

if TYPE_CHECKING:
    from ...core.tiles import Tile
    from ...products import Image
    from ..detection.filter import DetectionImage


@dataclass(frozen=True)
class Children:
    """The pieces of islands that were split.

    Attributes:
        where: (pixel,) int64, flat indices in the image of all pixels of children.
        number: (pixel,) int32, the child that each is of, from 1.
        parent: (n,) int32, label of the island that each child is part of.
        measured: columns of length n, as `footprints.measure` returns them.
    """

    where: np.ndarray
    number: np.ndarray
    parent: np.ndarray
    measured: dict[str, np.ndarray]

    @classmethod
    def concatenate(cls, parts: Sequence[Children]) -> Children:
        """Return the children of several parts of an image."""
        if not parts:
            return cls(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32), {})
        before = np.cumsum([0, *(len(part.parent) for part in parts)])
        number = np.concatenate([part.number + n for part, n in zip(parts, before, strict=False)]).astype(np.int32)
        measured = {name: np.concatenate([part.measured[name] for part in parts]) for name in parts[0].measured}
        where, parent = (np.concatenate([getattr(part, name) for part in parts]) for name in ("where", "parent"))
        return cls(where, number, parent, measured)

    @classmethod
    def of(cls, pieces: np.ndarray, parent: np.ndarray, detection: DetectionImage) -> Children:
        """Measure the pieces of islands of which there is more than one.

        Args:
            pieces: (y, x) int, 0 for sky, pieces 1 to m.
            parent: (m,) int, label of the island that each piece is part of; one with one piece was not split.
            detection: the maps that pieces are measured in.
        """
        child = np.bincount(parent, minlength=1)[parent] > 1
        number = np.zeros(len(parent) + 1, np.int32)
        number[1:][child] = np.arange(1, child.sum() + 1)
        labels = number[pieces]
        where = np.flatnonzero(labels)
        return cls(where, labels.reshape(-1)[where], parent[child], footprints.measure(labels, detection))


def replace_islands(
    tile: Tile, image: Image, segmentation: Segmentation, sources: Catalog, children: Children
) -> tuple[Segmentation, Catalog]:
    """Return the segmentation and the sources in which split islands have given way to their pieces.

    Whole islands keep their rows. A piece carries the island's `source_id` as `parent_source_id`, the flag
    BLENDED and an id of its own after all ids of the detection.

    Args:
        tile: the tile that all of it is on.
        image: its image.
        segmentation: label i is row i - 1 of the sources.
        sources: rows of the source table.
        children: the pieces.

    Returns:
        label i of the segmentation is row i - 1 of the sources, in (y, x) order.
    """
    if len(children.parent) == 0:
        return segmentation, sources
    n, parent = len(sources), children.parent
    measured = {**children.measured, "flags": children.measured["flags"] | SOURCE["BLENDED"]}
    split = np.zeros(n, bool)
    split[parent - 1] = True
    ids = sources.column("source_id")
    used = int(split_id(ids)[1].max()) + 1
    order = np.lexsort((measured["x"], measured["y"]))
    child_ids = np.empty(len(order), np.int64)
    child_ids[order] = object_ids(tile.number, used + len(order))[used:]
    rows = source_rows(tile, image, measured, source_id=child_ids, parent_source_id=ids[parent - 1])

    whole = Catalog("source", sources.rows.take(np.flatnonzero(~split)), sources.meta)
    both = Catalog.concatenate([whole, rows], sources.meta)
    order = np.lexsort((both.column("x"), both.column("y")))
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(1, len(order) + 1)
    of_island = np.zeros(n + 1, np.int32)
    of_island[1:][~split] = place[: len(whole)]
    labels = renumbered(segmentation.labels, of_island)
    labels.reshape(-1)[children.where] = place[len(whole) :][children.number - 1]
    return Segmentation(labels, segmentation.meta), Catalog("source", both.rows.take(order), sources.meta)
