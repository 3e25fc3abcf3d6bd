"""Fractions: which part of every pixel's flux belongs to which source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..core.product import ProductError
from ._stored import check_array, check_meta, frozen, meta_plane, open_stored, read_meta

if TYPE_CHECKING:
    from .image import Image

STEPS = 1 << 15
"""Fractions are whole multiples of 1 / STEPS, exact in float32, so that they are stored as integers, compressed and without loss."""

_WIDTH = 256
_BOX = ("X_MIN", "X_MAX", "Y_MIN", "Y_MAX")


@dataclass(frozen=True, eq=False)
class Fractions:
    """Fractional footprints on the pixel grid of an image: source i is row i of the source table, and label i + 1.

    In each pixel the fractions of all sources sum to at most one; the rest is sky. Outside its box a source has
    no part in any pixel.

    Attributes:
        shape: (ny, nx) of the image.
        boxes: (n, 4) int32: x_min, x_max, y_min, y_max of each source's stamp, half-open, inside the image.
        values: flat float32, the stamps (band, y, x) one after the other, in C order; multiples of 1 / `STEPS`.
        bands: the bands of every stamp, in order; () when one plane is shared by all bands.
        meta: JSON values that travel along.
    """

    shape: tuple[int, int]
    boxes: np.ndarray
    values: np.ndarray
    bands: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "fractions"
    suffix: ClassVar[str] = ".fits"

    @classmethod
    def from_stamps(
        cls,
        shape: tuple[int, int],
        boxes: np.ndarray,
        stamps: Sequence[np.ndarray],
        bands: tuple[str, ...] = (),
        meta: Mapping[str, Any] | None = None,
    ) -> Fractions:
        """Return fractions made of one stamp a source, rounded down to multiples of 1 / `STEPS` so that no sum grows.

        Args:
            shape: (ny, nx) of the image.
            boxes: (n, 4) half-open x_min, x_max, y_min, y_max.
            stamps: (band, y, x) or (y, x) fractions, of each box's size; in a pixel their sum is at most one.
            bands: names of the bands; () for stamps shared by all of them.
            meta: JSON values that travel along.
        """
        flat = np.concatenate([np.zeros(0, np.float32), *(np.ravel(stamp) for stamp in stamps)])
        values = np.floor(flat * np.float32(STEPS)).astype(np.float32) / np.float32(STEPS)
        return cls(shape, np.ascontiguousarray(boxes, np.int32).reshape(-1, 4), values, bands, meta or {})

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def planes(self) -> int:
        """The number of planes of a stamp: of bands, or one that all share."""
        return max(len(self.bands), 1)

    @cached_property
    def offsets(self) -> np.ndarray:
        """(n + 1,) int64: the stamp of source i is values[offsets[i] : offsets[i + 1]]."""
        x0, x1, y0, y1 = self.boxes.astype(np.int64).T
        return np.concatenate([[0], np.cumsum((x1 - x0) * (y1 - y0) * self.planes)])

    def window(self, i: int) -> tuple[slice, slice]:
        """Return the (y, x) slices of source i's stamp."""
        x0, x1, y0, y1 = self.boxes[i].tolist()
        return slice(y0, y1), slice(x0, x1)

    def stamps(self) -> list[np.ndarray]:
        """Return the stamp of every source, (band or 1, y, x) float32."""
        offsets = self.offsets
        sizes = [(self.planes, y1 - y0, x1 - x0) for x0, x1, y0, y1 in self.boxes.tolist()]
        return [self.values[offsets[i] : offsets[i + 1]].reshape(size) for i, size in enumerate(sizes)]

    def total(self) -> np.ndarray:
        """Return the part of every pixel that belongs to sources, (band or 1, y, x) float32."""
        total = np.zeros((self.planes, *self.shape), np.float32)
        for i, stamp in enumerate(self.stamps()):
            total[:, *self.window(i)] += stamp
        return total

    def of_others(self, i: int, window: tuple[slice, slice], total: np.ndarray) -> np.ndarray:
        """Return the part of every pixel of a window that belongs to other sources than i.

        Times one minus this, an image shows source i and the sky alone.

        Args:
            i: row of the source; -1 for none of them.
            window: (y, x) slices of the image with start and stop.
            total: what `total` returned.

        Returns:
            (band or 1, y, x) float32.
        """
        others = total[:, *window].copy()
        if i < 0:
            return others
        own = self.window(i)
        first = [max(w.start, o.start) for w, o in zip(window, own, strict=True)]
        last = [min(w.stop, o.stop) for w, o in zip(window, own, strict=True)]
        if first[0] < last[0] and first[1] < last[1]:
            start, end = self.offsets[i : i + 2]
            stamp = self.values[start:end].reshape(self.planes, own[0].stop - own[0].start, own[1].stop - own[1].start)
            here = tuple(slice(a - w.start, b - w.start) for a, b, w in zip(first, last, window, strict=True))
            there = tuple(slice(a - o.start, b - o.start) for a, b, o in zip(first, last, own, strict=True))
            others[:, *here] -= stamp[:, *there]
        return others.clip(0, 1)

    def apply(self, image: Image, i: int) -> np.ndarray:
        """Return source i's flux in every pixel of its box.

        Args:
            image: the image the fractions belong to.
            i: row of the source.

        Returns:
            (band, y, x) float32 in the image's unit; NaN where the image has no data.
        """
        start, end = self.offsets[i : i + 2]
        window = self.window(i)
        data = image.data[:, *window]
        part = self.values[start:end].reshape(self.planes, *data.shape[1:])
        return np.asarray(data * part)

    def check(self) -> None:
        """Raise `ProductError`, naming the attribute, when a shape, type or value breaks the rules above."""
        if len(self.shape) != 2 or not all(isinstance(n, int) and n > 0 for n in self.shape):
            raise ProductError(f"Fractions.shape must be (ny, nx), not {self.shape!r}")
        if len(set(self.bands)) != len(self.bands) or not all(isinstance(b, str) and b and b.isascii() for b in self.bands):
            raise ProductError(f"Fractions.bands must name each band once, in ASCII, not {self.bands!r}")
        if len(self.boxes):
            check_array("Fractions.boxes", self.boxes, np.int32, (None, 4))
            x0, x1, y0, y1 = self.boxes.T
            ny, nx = self.shape
            if not ((x0 >= 0) & (x0 < x1) & (x1 <= nx) & (y0 >= 0) & (y0 < y1) & (y1 <= ny)).all():
                raise ProductError(f"Fractions.boxes must be half-open, not empty and inside the image of {nx} x {ny} pixels")
        count = int(self.offsets[-1])
        if self.values.shape != (count,):
            raise ProductError(f"Fractions.values must hold the {count} pixels of all boxes, not {self.values.shape}")
        if count:
            check_array("Fractions.values", self.values, np.float32, (None,))
            if not (self.values.min() >= 0 and self.values.max() <= 1):
                raise ProductError("Fractions.values must lie between 0 and 1")
            scaled = self.values * np.float32(STEPS)
            if (np.rint(scaled) != scaled).any():
                raise ProductError(f"Fractions.values must be multiples of 1 / {STEPS}; make them with Fractions.from_stamps")
            # A rounded-down stamp exceeds its share by what float32 arithmetic left in it, at most.
            if (most := float(self.total().max())) > 1 + 1e-5:
                raise ProductError(f"Fractions.values sum to {most:g} in a pixel, but nothing can belong to more than one whole")
        check_meta("Fractions.meta", self.meta)

    def write(self, path: Path) -> None:
        """Write a FITS file with the table BOXES and, tile-compressed, the stamps one after the other in FRACTION."""
        from ._fits import Plane, write_fits
        from ._fits.wcs import card
        from ._fits.write import Table

        rows = np.empty(len(self), [(name, np.int32) for name in _BOX])
        for k, name in enumerate(_BOX):
            rows[name] = self.boxes[:, k] if len(self) else 0
        bands = [card("NBAND", len(self.bands)), *(card(f"BAND{n}", name) for n, name in enumerate(self.bands, 1))]
        shape = [card("NY", self.shape[0]), card("NX", self.shape[1])]
        extensions: list[Plane | Table] = [Table("BOXES", rows, [*shape, *bands])]
        if self.values.size:
            steps = np.zeros(-(-self.values.size // _WIDTH) * _WIDTH, np.int32)
            steps[: self.values.size] = self.values * np.float32(STEPS)
            # Folded into rows: compression works on square tiles, and one long row would make thousands of small ones.
            scale = card("STEPS", STEPS, "a fraction is the pixel value / STEPS")
            extensions.append(Plane("FRACTION", steps.reshape(-1, _WIDTH), [scale], compress=True))
        write_fits(path, [card("PRODUCT", self.kind)], [*extensions, *meta_plane(self.meta)])

    @classmethod
    def read(cls, path: Path) -> Fractions:
        """Return the fractions stored at `path`."""
        with open_stored(path, cls.kind) as file:
            table = file.find("BOXES")
            with file.cards(table):
                bands = tuple(table.cards.text(f"BAND{n}") for n in range(1, table.cards.integer("NBAND") + 1))
                shape = (table.cards.integer("NY"), table.cards.integer("NX"))
                rows = table.shape[0]
            boxes = np.frombuffer(file.raw(table), ">i4", count=rows * len(_BOX)).reshape(rows, len(_BOX)).astype(np.int32)
            x0, x1, y0, y1 = boxes.astype(np.int64).T
            size = int(((x1 - x0) * (y1 - y0)).sum()) * max(len(bands), 1)
            values = np.zeros(0, np.float32)
            if size:
                hdu = file.image("FRACTION")
                steps = file.read_integers(hdu).reshape(-1)
                if steps.size < size:
                    raise file.bad(f"holds {steps.size} pixels, but the boxes have {size}", hdu, fix="run the stage that wrote it again")
                values = steps[:size].astype(np.float32) / np.float32(STEPS)
            return cls(shape, frozen(boxes), frozen(values), bands, read_meta(file))

    def summary(self) -> dict[str, Any]:
        """Return the number of sources, the pixels of their boxes, and the part of those boxes' pixels that is shared."""
        used = (self.values > 0).sum()
        shared = ((self.values > 0) & (self.values < 0.999)).sum()
        return {
            "sources": len(self),
            "shape": list(self.shape),
            "bands": list(self.bands),
            "pixels": int(self.values.size),
            "shared_fraction": round(float(shared / used), 6) if used else 0.0,
        }
