"""Sums of flux in apertures: cut-outs, neighbours, exact pixel overlaps, in all bands at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from photutils.geometry import circular_overlap_grid, elliptical_overlap_grid

from ...catalog.flags import SOURCE
from ...products import Fractions

Neighbours = Literal["keep", "mask", "correct"]
CROWDED = 0.1
"""From this fraction of an aperture's area on other sources' footprints, its flux is flagged BLENDED."""


@dataclass(frozen=True)
class Shares:
    """Whose part every pixel is."""

    fractions: Fractions

    @cached_property
    def total(self) -> np.ndarray:
        """The part of every pixel that belongs to sources, (band or 1, y, x)."""
        return self.fractions.total()

    def kept(self, label: int, window: tuple[slice, slice]) -> np.ndarray:
        """Return the part of every pixel of a window that is the labelled source's or the sky's, (band or 1, y, x)."""
        return 1 - self.fractions.of_others(label - 1, window, self.total)


@dataclass(frozen=True)
class Planes:
    """The planes that apertures are laid on.

    Attributes:
        data: (band, y, x) sky-subtracted flux per pixel.
        variance: (band, y, x), or None where errors are unknown.
        good: (band, y, x) bool, pixels with usable flux.
        labels: (y, x) int footprints, or None where neighbours are not to be told apart.
        shares: whose part every pixel is; None where pixels are whole.
    """

    data: np.ndarray
    variance: np.ndarray | None
    good: np.ndarray
    labels: np.ndarray | None = None
    shares: Shares | None = None


@dataclass(frozen=True)
class Cutout:
    """The surroundings of one source, neighbours dealt with.

    Attributes:
        x, y: the source's position in the cut-out's pixels.
        data, variance, good: (band, y, x); data and variance are 0 where `good` is False.
        others: (y, x) bool, pixels of other sources' footprints.
        truncated: whether the extent asked for reaches beyond the image.
    """

    x: float
    y: float
    data: np.ndarray
    variance: np.ndarray
    good: np.ndarray
    others: np.ndarray
    truncated: bool

    @property
    def edges(self) -> tuple[float, float, float, float, int, int]:
        """Pixel edges relative to the source, and the number of pixels, as photutils' overlap functions take them."""
        ny, nx = self.others.shape
        return -0.5 - self.x, nx - 0.5 - self.x, -0.5 - self.y, ny - 0.5 - self.y, nx, ny


def cut(planes: Planes, x: float, y: float, half_x: float, half_y: float, label: int, neighbours: Neighbours) -> Cutout | None:
    """Return the cut-out of all pixels within `half_x`, `half_y` of a source, or None if there is none in the image.

    Args:
        planes: the image.
        x, y: the source's position, pixels.
        half_x, half_y: half the extent of the aperture, pixels.
        label: the source's own label; 0 if it has none.
        neighbours: "keep" leaves other sources' footprints as they are, "mask" leaves them out, "correct"
            puts the flux of the pixel opposite in their place, or none where that one is taken as well. Where the
            planes have shares, these take the neighbours' flux away instead.
    """
    ny, nx = planes.data.shape[1:]
    if not (np.isfinite(x) and np.isfinite(y)):
        return None
    x0, x1 = int(np.floor(x - half_x + 0.5)), int(np.floor(x + half_x + 0.5)) + 1
    y0, y1 = int(np.floor(y - half_y + 0.5)), int(np.floor(y + half_y + 0.5)) + 1
    truncated = x0 < 0 or y0 < 0 or x1 > nx or y1 > ny
    x0, x1, y0, y1 = max(x0, 0), min(x1, nx), max(y0, 0), min(y1, ny)
    if x0 >= x1 or y0 >= y1:
        return None
    box = (slice(None), slice(y0, y1), slice(x0, x1))
    good = planes.good[box]
    data = np.where(good, planes.data[box], 0).astype(float)
    variance = np.where(good, planes.variance[box], 0).astype(float) if planes.variance is not None else np.full(data.shape, np.nan)
    if planes.labels is None:
        others = np.zeros(data.shape[1:], bool)
    else:
        local = planes.labels[box[1:]]
        others = (local != 0) & (local != label)
    if planes.shares is not None:
        kept = planes.shares.kept(label, box[1:])
        data, variance = data * kept, variance * kept**2
    elif neighbours == "mask":
        good = good & ~others
        data, variance = np.where(good, data, 0), np.where(good, variance, 0)
    elif neighbours == "correct" and others.any():
        data, variance, good = _mirrored(data, variance, good, others, x - x0, y - y0)
    return Cutout(x - x0, y - y0, data, variance, good, others, truncated)


def _mirrored(
    data: np.ndarray, variance: np.ndarray, good: np.ndarray, others: np.ndarray, x: float, y: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Replace the pixels of others by those opposite about the source; by zero where these are no use either."""
    ny, nx = others.shape
    rows, columns = np.nonzero(others)
    opposite_y, opposite_x = np.rint(2 * y - rows).astype(int), np.rint(2 * x - columns).astype(int)
    inside = (opposite_y >= 0) & (opposite_y < ny) & (opposite_x >= 0) & (opposite_x < nx)
    opposite_y, opposite_x = np.clip(opposite_y, 0, ny - 1), np.clip(opposite_x, 0, nx - 1)
    serves = inside & ~others[opposite_y, opposite_x] & good[:, opposite_y, opposite_x]
    data, variance, good = data.copy(), variance.copy(), good.copy()
    # All of the right side is read before anything is written, so the order of the pixels does not matter.
    data[:, rows, columns] = np.where(serves, data[:, opposite_y, opposite_x], 0)
    variance[:, rows, columns] = np.where(serves, variance[:, opposite_y, opposite_x], variance[:, rows, columns])
    good[:, rows, columns] |= serves
    return data, variance, good


@dataclass(frozen=True)
class Sums:
    """Flux in one aperture, (band,) each.

    Attributes:
        flux: NaN where no pixel of the aperture is usable.
        flux_err: standard deviation of the pixel noise in the sum; NaN where unknown.
        area: usable area of the aperture in pixels.
        masked_fraction: part of the aperture that is unusable or beyond the image.
        flags: bits of `SOURCE`.
    """

    flux: np.ndarray
    flux_err: np.ndarray
    area: np.ndarray
    masked_fraction: np.ndarray
    flags: np.ndarray


def add_up(cutout: Cutout, weights: np.ndarray, area: float) -> Sums:
    """Return the flux in an aperture in every band.

    Args:
        cutout: the source's surroundings, at least as large as the aperture where the image is.
        weights: (y, x) fraction of each pixel inside the aperture.
        area: area of the whole aperture in pixels, beyond the image as well.
    """
    within = float(weights.sum())
    used = np.einsum("byx,yx->b", cutout.good, weights)
    flux = np.einsum("byx,yx->b", cutout.data, weights)
    variance = np.einsum("byx,yx->b", cutout.variance, weights**2)
    measured = used > 0
    flags = np.zeros(len(flux), np.int64)
    truncated = within < area * (1 - 1e-9) and cutout.truncated
    flags |= SOURCE["APERTURE_TRUNCATED"] * truncated
    flags |= SOURCE["APERTURE_MASKED"] * (used < within * (1 - 1e-9))
    flags |= SOURCE["NO_FLUX"] * ~measured
    flags |= SOURCE["BLENDED"] * (float(weights[cutout.others].sum()) > CROWDED * area)
    return Sums(
        flux=np.where(measured, flux, np.nan),
        flux_err=np.where(measured, np.sqrt(variance), np.nan),
        area=used,
        masked_fraction=np.clip(1 - used / area, 0, 1),
        flags=flags,
    )


def nothing(n_bands: int) -> Sums:
    """Return the sums of an aperture that could not be laid."""
    unknown = np.full(n_bands, np.nan)
    return Sums(unknown, unknown, np.zeros(n_bands), np.ones(n_bands), np.full(n_bands, SOURCE["NO_FLUX"], np.int64))


def circle(cutout: Cutout, radius: float) -> np.ndarray:
    """Return the exact fraction of each pixel within `radius` of the source."""
    return circular_overlap_grid(*cutout.edges, radius, 1, 1)


def ellipse(cutout: Cutout, semi_major: float, semi_minor: float, theta: float) -> np.ndarray:
    """Return the exact fraction of each pixel within an ellipse about the source; theta in radians from +x to +y."""
    return elliptical_overlap_grid(*cutout.edges, semi_major, semi_minor, theta, 1, 1)
