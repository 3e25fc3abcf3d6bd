"""Putting whole islands and the pieces of split ones together, in one segmentation and one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...catalog.flags import SOURCE
from ...catalog.ids import object_ids, split_id
from ...products import Catalog, Segmentation
from ..detection import footprints
from ..detection.rows import source_rows

if TYPE_CHECKING:
    from ...core.tiles import Tile
    from ...products import Image
    from ..detection.filter import DetectionImage


def replace_islands(
    tile: Tile,
    image: Image,
    detection: DetectionImage,
    segmentation: Segmentation,
    sources: Catalog,
    pieces: np.ndarray,
    parent: np.ndarray,
    flags: np.ndarray | int = 0,
) -> tuple[Segmentation, Catalog]:
    """Return the segmentation and the sources in which split islands have given way to their pieces.

    Whole islands keep their rows. A piece's row is measured anew; it carries the island's `source_id` as
    `parent_source_id`, the flag BLENDED and an id of its own after all ids of the detection.

    Args:
        tile: the tile that all of it is on.
        image: its image.
        detection: the maps that pieces are measured in.
        segmentation: label i is row i - 1 of the sources.
        sources: rows of the source table.
        pieces: (y, x) int, 0 for sky, pieces 1 to m.
        parent: (m,) int, label of the island that each piece is part of; one with one piece was not split.
        flags: (m,) int, further source flags of each piece, given to the rows of pieces.

    Returns:
        label i of the segmentation is row i - 1 of the sources, in (y, x) order.
    """
    n = len(sources)
    split = np.bincount(parent, minlength=n + 1)[1:] > 1
    is_child = split[parent - 1]
    child_of_piece = np.zeros(len(parent) + 1, np.int32)
    child_of_piece[1:][is_child] = np.arange(1, is_child.sum() + 1)
    child_labels = child_of_piece[pieces]
    measured = footprints.measure(child_labels, detection)
    measured["flags"] |= SOURCE["BLENDED"] | np.broadcast_to(flags, len(parent))[is_child]
    ids = sources.column("source_id")
    used = int(split_id(ids)[1].max()) + 1
    order = np.lexsort((measured["x"], measured["y"]))
    child_ids = np.empty(len(order), np.int64)
    child_ids[order] = object_ids(tile.number, used + len(order))[used:]
    children = source_rows(tile, image, measured, source_id=child_ids, parent_source_id=ids[parent[is_child] - 1])

    whole = Catalog("source", sources.rows.take(np.flatnonzero(~split)), sources.meta)
    both = Catalog.concatenate([whole, children], sources.meta)
    order = np.lexsort((both.column("x"), both.column("y")))
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(1, len(order) + 1)
    of_island = np.zeros(n + 1, np.int32)
    of_island[1:][~split] = place[: len(whole)]
    of_child = np.concatenate([np.zeros(1, np.int32), place[len(whole) :]])
    labels = np.where(child_labels > 0, of_child[child_labels], of_island[segmentation.labels])
    return Segmentation(labels, segmentation.meta), Catalog("source", both.rows.take(order), sources.meta)
