"""The scale on which a network sees a field: one for all of its places, or for each channel or column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..scaling import DataScaling
from ..sets import sizes


@dataclass(frozen=True, eq=False)
class FieldScaling:
    """Robust scales of data, by what an axis holds; see `sbi.scaling`.

    Attributes:
        scaling: one for each index along the axis, or a single one.
        axis: of one observation that holds channels or columns; None: all values are alike.
        sizes: of sets, the fewest and most rows that one had; None of other data.
    """

    scaling: DataScaling
    axis: int | None
    sizes: tuple[int, int] | None = None

    @classmethod
    def learnt(cls, data: np.ndarray, axis: int | None, *, sets: bool = False) -> FieldScaling:
        """Return the scaling of (n, …) data; values that are not finite do not count.

        Args:
            data: what networks will see.
            axis: that holds channels or columns.
            sets: data are (n, row, column), and a row in which a value is missing is none.
        """
        values = _columns(data, axis)
        rows = sizes(data) if sets else None
        ends = None if rows is None else (int(rows.min()), int(rows.max()))
        return cls(DataScaling.learnt(values[np.isfinite(values).all(axis=1)]), axis, ends)

    def __call__(self, data: np.ndarray) -> np.ndarray:
        """Return (n, …) float32 data as a network sees them, of the same shape; what never varies is 0, and what is missing stays so."""
        values = _columns(data, self.axis)
        scaled = np.where(np.isfinite(values), np.float32(0), np.float32(np.nan))
        scaled[:, self.scaling.varies] = self.scaling(values)
        if self.axis is None:
            return scaled.reshape(data.shape)
        moved = np.moveaxis(data, self.axis + 1, -1).shape
        return np.ascontiguousarray(np.moveaxis(scaled.reshape(moved), -1, self.axis + 1))

    def beyond(self, sets: np.ndarray) -> np.ndarray:
        """Return (n,) by how many rows (n, row, column) sets are smaller or larger than all that it has learnt from."""
        if self.sizes is None:
            return np.zeros(len(sets))
        rows = sizes(sets)
        return np.asarray(rows - rows.clip(*self.sizes))

    def with_sizes(self, summary: np.ndarray, sets: np.ndarray) -> np.ndarray:
        """Return (n, feature + 1) what tells strange sets: their (n, feature) summaries, and whether a network has seen such sizes."""
        return summary if self.sizes is None else np.column_stack([summary, self.beyond(sets)])

    def to_card(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "axis": self.axis,
            "sizes": self.sizes and list(self.sizes),
            **{name: array.tolist() for name, array in self.scaling.to_arrays().items()},
        }

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> FieldScaling:
        """Return the scaling that a card holds."""
        ends = card.get("sizes")
        return cls(DataScaling.from_arrays(card), card["axis"], ends and tuple(ends))


def _columns(data: np.ndarray, axis: int | None) -> np.ndarray:
    """Return (value, channel) of (n, …) data."""
    if axis is None:
        return data.reshape(-1, 1)
    return np.moveaxis(data, axis + 1, -1).reshape(-1, data.shape[axis + 1])
