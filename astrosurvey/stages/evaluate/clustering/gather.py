"""Truth, clusters and memberships of all tiles, by source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....catalog.schema import suggestion
from ....core.product import Tiles
from ....core.stage import DataError
from ....products import Catalog

BACKGROUND = ("", "0", "-1", "background", "field", "noise", "none")
"""What labels say, in lower case, of sources that belong to nothing."""


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of n sources.

    Attributes:
        ids: (n,) source_id, ascending.
        labels: (n,) index into `names`; -1 for the background.
        names: of the structures.
        kinds: what each of them is, such as clump; "" where that is not known.
    """

    ids: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Found:
    """What a method says of the n sources.

    Attributes:
        labels: (n,) index of the cluster that a source is put into; -1 for none.
        groups: indices of each cluster's members, in the order of cluster_id.
        probability: (m,) of membership, for each group; NaN where the method gives none.
    """

    labels: np.ndarray
    groups: list[np.ndarray]
    probability: list[np.ndarray]


def simulated(tiles: Tiles[Catalog]) -> Known:
    """Return what tables `cluster_truth` say.

    Structures of one number are one in all snapshots of the same objects, whose rows have tracers; other tiles each have their own.
    """
    parts = [catalog for _, catalog in tiles.items()]
    ids, structure, tile = (_joined(parts, name) for name in ("source_id", "structure", "tile_id"))
    tracer = np.concatenate([_integers(catalog.rows, "tracer_id") for catalog in parts]) if parts else np.zeros(0, np.int64)
    order = np.argsort(ids, kind="stable")
    ids, structure = ids[order], structure[order].astype(np.int64)
    _require_once(ids)
    of, system = np.unique(np.where(tracer >= 0, -1, tile)[order], return_inverse=True)
    # The background has one key, 0, in all tiles.
    key = np.where(structure > 0, structure + system * (structure.max(initial=0) + 1), 0)
    keys, first, labels = np.unique(key, return_index=True, return_inverse=True)
    real = keys > 0
    places = np.where(real, np.cumsum(real) - 1, -1)
    kinds = _some([catalog.rows.column("structure_type") for catalog in parts], order[first[real]])
    where = [f" of tile {of[system[index]]}" if len(of) > 1 else "" for index in first[real]]
    names = [f"{k} {structure[index]}{at}" for k, index, at in zip(kinds, first[real], where, strict=True)]
    return Known(ids, places[labels], tuple(names), tuple(kinds))


def labelled(tiles: Tiles[Catalog], label: str) -> Known:
    """Return what a column of the sources says; empty, or one of `BACKGROUND`, is the background.

    Raises:
        DataError: there is no such column.
    """
    parts = [catalog for _, catalog in tiles.items()]
    ids = _joined(parts, "source_id")
    values = np.concatenate([_texts(catalog.rows, label) for catalog in parts]) if parts else np.zeros(0, "U1")
    order = np.argsort(ids, kind="stable")
    ids, values = ids[order], values[order]
    _require_once(ids)
    names = [name for name in np.unique(values).tolist() if name.lower() not in BACKGROUND]
    place = {name: index for index, name in enumerate(names)}
    labels = np.array([place.get(value, -1) for value in values.tolist()], np.int64)
    return Known(ids, labels, tuple(names), ("",) * len(names))


def clustered(tiles: Tiles[Catalog]) -> Known:
    """Return into which cluster another method puts each source."""
    parts = [catalog for _, catalog in tiles.items()]
    ids = _joined(parts, "source_id")
    cluster = np.concatenate([_integers(catalog.rows, "cluster_id") for catalog in parts]) if parts else np.zeros(0, np.int64)
    order = np.argsort(ids, kind="stable")
    ids, cluster = ids[order], cluster[order]
    _require_once(ids)
    numbers, place = np.unique(cluster, return_inverse=True)
    numbers, labels = (numbers[1:], place - 1) if (numbers < 0).any() else (numbers, place)
    return Known(ids, labels, tuple(f"cluster {number}" for number in numbers), ("",) * len(numbers))


def found(points: Tiles[Catalog], members: Tiles[Catalog], known: Known) -> Found:
    """Return clusters and memberships of the sources of which something is known.

    Raises:
        DataError: the points are those of more than one method.
    """
    listed = [catalog for _, catalog in points.items()]
    methods = sorted({method for catalog in listed for method in pc.unique(catalog.rows.column("method")).to_pylist()})
    if len(methods) > 1:
        raise DataError(f"the points are of several methods, {', '.join(methods)}; evaluate them one by one")
    owned = [catalog for _, catalog in members.items()]
    cluster, source, stated = (_joined(owned, name) for name in ("cluster_id", "source_id", "probability"))
    numbers, index = np.unique(cluster, return_inverse=True)
    row, there = _rows(source, known)
    order = np.argsort(index[there], kind="stable")
    edges = np.searchsorted(index[there][order], np.arange(1, len(numbers)))
    groups = np.split(row[there][order], edges) if len(numbers) else []
    probability = np.split(stated[there][order].astype(np.float64), edges) if len(numbers) else []
    row, there = _rows(_joined(listed, "source_id"), known)
    assigned = np.concatenate([_integers(catalog.rows, "cluster_id") for catalog in listed]) if listed else np.zeros(0, np.int64)
    place = np.searchsorted(numbers, assigned).clip(max=max(len(numbers) - 1, 0))
    inside = there & (assigned >= 0) & (len(numbers) > 0)
    labels = np.full(len(known.ids), -1)
    labels[row[inside]] = place[inside]
    return Found(labels, groups, probability)


def _texts(rows: pa.Table, label: str) -> np.ndarray:
    """Return a column, or the only plugin's column that ends in its name, as text without blanks around it."""
    short = {name.split("_", 2)[2]: name for name in rows.column_names if name.startswith("x_") and name.count("_") >= 2}
    name = label if label in rows.column_names else short.get(label)
    if name is None:
        raise DataError(f"the sources have no column {label!r} for `label`{suggestion(label, [*short, *rows.column_names])}")
    texts = pc.fill_null(pc.cast(rows.column(name), pa.string()), "")
    return np.char.strip(np.array(texts.to_pylist(), np.str_)) if rows.num_rows else np.zeros(0, "U1")


def _integers(rows: pa.Table, name: str) -> np.ndarray:
    """Return an integer column with -1 for null."""
    return np.asarray(pc.fill_null(rows.column(name), -1).to_numpy(), np.int64)


def _some(parts: Sequence[pa.ChunkedArray], rows: np.ndarray) -> list[str]:
    """Return some rows of a column of texts, which as an array would need far more memory than numbers."""
    chunks = [chunk for part in parts for chunk in part.chunks]
    return [str(text) for text in pa.chunked_array(chunks, pa.string()).take(pa.array(rows)).to_pylist()]


def _joined(parts: Sequence[Catalog], name: str) -> np.ndarray:
    return np.concatenate([part.column(name) for part in parts]) if parts else np.zeros(0, np.int64)


def _require_once(ids: np.ndarray) -> None:
    if (twice := ids[1:] == ids[:-1]).any():
        raise DataError(f"the truth has source {ids[1:][twice][0]} more than once; evaluate one run at a time")


def _rows(ids: np.ndarray, known: Known) -> tuple[np.ndarray, np.ndarray]:
    """Return where ids are in the truth, and whether they are there at all."""
    if not len(known.ids):
        return np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
    row = np.searchsorted(known.ids, ids).clip(max=len(known.ids) - 1)
    return row, known.ids[row] == ids
