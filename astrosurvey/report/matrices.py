"""Confusion matrices of Metrics products, as tables whose cells are shaded by the part of the true class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import text

MOST_LABELS = 40


@dataclass(frozen=True)
class Square:
    """One cell: how many, in words, and the part of its row in percent."""

    number: str
    percent: int
    right: bool


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: a row for each true class, a column for each answer."""

    title: str
    header: list[str]
    rows: list[tuple[str, str, list[Square]]]


def matrices(meta: Mapping[str, Any]) -> list[Matrix]:
    """Return the matrices under `confusion` in the `meta` of a Metrics product: by name, their `labels` and `counts`.

    `counts` has a row for each label that is the truth and a column for each that is the answer, and may have one column more, of
    those that got no answer.
    """
    found = meta.get("confusion")
    return [_matrix(str(name), given) for name, given in found.items()] if isinstance(found, Mapping) else []


def _matrix(name: str, given: Any) -> Matrix:
    labels, counts = [str(label) for label in given["labels"]], given["counts"]
    if not 0 < len(labels) <= MOST_LABELS or len(counts) != len(labels):
        raise ValueError(f"the confusion matrix {name!r} has {len(labels)} labels and {len(counts)} rows")
    header = [*labels, "no answer"][: len(counts[0])]
    used = [k for k in range(len(header)) if k < len(labels) or any(row[k] for row in counts)]
    rows = []
    for place, (label, row) in enumerate(zip(labels, counts, strict=True)):
        total = sum(row)
        if total:
            squares = [Square(text.number(row[k]) if row[k] else "", round(100 * row[k] / total), k == place) for k in used]
            rows.append((label, text.number(total), squares))
    return Matrix(f"Confusion, {name}", [header[k] for k in used], rows)
