"""Segmentation: which pixel (or voxel) belongs to which source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core.product import ProductError
from ._stored import check_array, check_meta, frozen, meta_plane, open_stored, read_meta


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels on the pixel grid of an image or a cube.

    Attributes:
        labels: (y, x) or (z, y, x) int32; 0 is sky, a positive number a source.
        meta: JSON values that travel along.
    """

    labels: np.ndarray
    meta: Mapping[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "segmentation"
    suffix: ClassVar[str] = ".fits"

    def check(self) -> None:
        """Raise `ProductError` for a wrong type or shape, or negative labels."""
        axes = getattr(self.labels, "ndim", 0)
        check_array("Segmentation.labels", self.labels, np.int32, (None,) * (3 if axes == 3 else 2))
        if int(self.labels.min()) < 0:
            raise ProductError(f"Segmentation.labels must not be negative, but the least is {int(self.labels.min())}")
        check_meta("Segmentation.meta", self.meta)

    def write(self, path: Path) -> None:
        """Write a FITS file with the tile-compressed extension SEG."""
        from ._fits import Plane, write_fits
        from ._fits.wcs import card

        write_fits(path, [card("PRODUCT", self.kind)], [Plane("SEG", self.labels, compress=True), *meta_plane(self.meta)])

    @classmethod
    def read(cls, path: Path) -> Segmentation:
        """Return the segmentation stored at `path`."""
        with open_stored(path, cls.kind) as file:
            hdu = file.image("SEG")
            return cls(frozen(file.read_integers(hdu).astype(np.int32).reshape(hdu.shape)), read_meta(file))

    def summary(self) -> dict[str, Any]:
        """Return the shape, the number of labels and the fraction of pixels that have one."""
        present = np.unique(self.labels)
        return {
            "shape": list(self.labels.shape),
            "labels": int((present > 0).sum()),
            "labelled_fraction": round(float((self.labels > 0).mean()), 6),
        }
