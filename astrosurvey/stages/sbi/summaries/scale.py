"""The scale on which a network sees a field: one for all of its places, or for each channel or column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..scaling import DataScaling


@dataclass(frozen=True, eq=False)
class FieldScaling:
    """Robust scales of data, by what an axis holds; see `sbi.scaling`.

    Attributes:
        scaling: one for each index along the axis, or a single one.
        axis: of one observation that holds channels or columns; None: all values are alike.
    """

    scaling: DataScaling
    axis: int | None

    @classmethod
    def learnt(cls, data: np.ndarray, axis: int | None) -> FieldScaling:
        """Return the scaling of (n, …) data; values that are not finite do not count."""
        values = _columns(data, axis)
        return cls(DataScaling.learnt(values[np.isfinite(values).all(axis=1)]), axis)

    def __call__(self, data: np.ndarray) -> np.ndarray:
        """Return (n, …) float32 data as a network sees them, of the same shape; what never varies is 0."""
        values = _columns(data, self.axis)
        scaled = np.zeros(values.shape, np.float32)
        scaled[:, self.scaling.varies] = self.scaling(values)
        if self.axis is None:
            return scaled.reshape(data.shape)
        moved = np.moveaxis(data, self.axis + 1, -1).shape
        return np.ascontiguousarray(np.moveaxis(scaled.reshape(moved), -1, self.axis + 1))

    def to_card(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"axis": self.axis, **{name: array.tolist() for name, array in self.scaling.to_arrays().items()}}

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> FieldScaling:
        """Return the scaling that a card holds."""
        return cls(DataScaling.from_arrays(card), card["axis"])


def _columns(data: np.ndarray, axis: int | None) -> np.ndarray:
    """Return (value, channel) of (n, …) data."""
    if axis is None:
        return data.reshape(-1, 1)
    return np.moveaxis(data, axis + 1, -1).reshape(-1, data.shape[axis + 1])
