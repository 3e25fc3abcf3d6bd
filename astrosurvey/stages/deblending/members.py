"""From image and sources to planes and stamps, and from models back to products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...catalog.flags import SOURCE
from ...core.stage import DataError
from ...products import Fractions
from ..detection.filter import FWHM_PER_SIGMA, choose_bands, effective_fwhm, gaussian, smoothing
from .bands import Band
from .scene import Plane, Scene
from .stamps import Batch, Layout

if TYPE_CHECKING:
    from ...products import Catalog, Image

REACH = 1.35
"""How far the stamps of templates reach, in units of the footprints: a model's light counts also where it lies beyond its stamp, so that
larger ones cost in proportion to their pixels and make no flux better."""
TRIM = 0.05
"""A source's box ends where its light falls below this part of the noise of a pixel."""
OVERLAP = 0.02
"""From this part of other sources' light in its footprint, a source is flagged BLENDED."""


def psfs(image: Image) -> np.ndarray:
    """Return (band, y, x) PSF stamps: the image's own, or Gaussians of its seeing."""
    if image.psf is not None:
        return image.psf
    fwhm, _ = smoothing(image, None)
    half = int(np.ceil(4 * fwhm.max() / FWHM_PER_SIGMA))
    stamps = []
    for width in fwhm:
        kernel = gaussian(width)
        kernel = np.pad(kernel, half - len(kernel) // 2)
        stamps.append(np.outer(kernel, kernel).astype(np.float32))
    return np.stack(stamps)


@dataclass(frozen=True)
class Planes:
    """The image as the deblenders work on it.

    Attributes:
        bands: one plane for each band of the image.
        mean: the chosen bands, weighted by their depth: where shapes are fitted.
        single: whether the image has one band only, so that `mean` is it.
        sigma: the standard deviation of the mean's PSF as a Gaussian, pixels.
    """

    bands: tuple[Plane, ...]
    mean: Plane
    single: bool
    sigma: float

    @classmethod
    def of(cls, image: Image, bands: Sequence[str] | None) -> Planes:
        """Return the planes of an image.

        Raises:
            DataError: the image has no variance, or not a band asked for.
        """
        if image.variance is None:
            raise DataError(
                "the image has no variance, so there is no noise to weigh pixels by; put a background.mesh stage before, which measures it"
            )
        chosen = choose_bands(image, bands)
        good, stamps = image.usable(), psfs(image)
        each = tuple(Plane.of(d, v, g, p) for d, v, g, p in zip(image.data, image.variance, good, stamps, strict=True))
        if len(each) == 1:
            mean = each[0]
        else:
            depth = [1 / each[b].unit ** 2 if good[b].any() else 0.0 for b in chosen]
            depth = (np.array(depth) / max(sum(depth), 1e-300)).tolist()
            shape = image.data.shape[1:]
            total, weight, noise = (np.zeros(shape) for _ in range(3))
            for b, part in zip(chosen, depth, strict=True):
                total += part * np.where(good[b], image.data[b], 0)
                weight += part * good[b]
                noise += part**2 * np.where(good[b], image.variance[b], 0)
            seen = weight > 0
            scale = np.where(seen, weight, 1)
            psf = np.sum([part * stamps[b] for b, part in zip(chosen, depth, strict=True)], axis=0) if any(depth) else stamps[chosen[0]]
            mean = Plane.of((total / scale).astype(np.float32), np.where(seen, noise / scale**2, np.inf).astype(np.float32), seen, psf)
        return cls(each, mean, len(each) == 1, float(max(effective_fwhm(mean.psf), 1.0) / FWHM_PER_SIGMA))


def layout(planes: Planes, sources: Catalog, reach: float, device: str) -> Layout:
    """Return the stamps of all sources, which reach so many times as far as their footprints, and never less than the PSF."""
    x, y = sources.column("x"), sources.column("y")
    sides = (x - sources.column("x_min"), sources.column("x_max") - 1 - x, y - sources.column("y_min"), sources.column("y_max") - 1 - y)
    far = reach_of(np.max(sides, axis=0, initial=0), reach, planes.sigma * FWHM_PER_SIGMA)
    ny, nx = planes.mean.data.shape
    row, column = (np.clip(np.rint(v).astype(int), 0, n - 1) for v, n in ((y, ny), (x, nx)))
    return Layout((ny, nx), x, y, far, planes.mean.data[row, column], device)


def reach_of(edge: np.ndarray, reach: float, fwhm: float) -> np.ndarray:
    """Return how far stamps reach, (n,) pixels.

    Args:
        edge: (n,) how far each footprint reaches from the source, pixels.
        reach: in units of the footprints.
        fwhm: of the PSF, pixels.
    """
    return np.maximum(reach * edge + 0.75 * fwhm, 3 * fwhm)


def fractions(scene: Scene, bands: Sequence[Band], names: tuple[str, ...], meta: Mapping[str, Any]) -> Fractions:
    """Return every source's part of every pixel.

    Args:
        scene: fitted; its models say where a source's box ends.
        bands: solved, in the order of `names`.
        names: of the bands; () for a single band, whose fractions all bands would share.
        meta: JSON values for the product.
    """
    n = len(scene.dx)
    boxes, stamps = np.zeros((n, 4), np.int64), [np.zeros(0, np.float32)] * n
    for batch in scene.batches:
        parts = torch.stack([band.fractions(batch) for band in bands], 1).clamp(0, 1)
        cut(scene.layout, batch, scene.model(batch) > TRIM, parts, boxes, stamps)
    return Fractions.from_stamps(scene.layout.shape, boxes, stamps, names, meta)


def cut(layout: Layout, batch: Batch, inside: torch.Tensor, parts: torch.Tensor, boxes: np.ndarray, stamps: list[np.ndarray]) -> None:
    """Trim the stamps of a batch to the box of their pixels `inside`, within the image; write box and stamp of each source.

    Args:
        layout: of the stamps.
        batch: whose.
        inside: (b, size * size) bool.
        parts: (b, band, size * size) fractions.
        boxes: (n, 4) to write to.
        stamps: (n) to write to.
    """
    size, (ny, nx) = batch.size, layout.shape
    rows = batch.rows.cpu().numpy()
    grid = inside.reshape(-1, size, size)
    middle = size // 2
    grid[:, middle, middle] = True  # a source without light keeps the pixel it is in
    over_y, over_x = grid.any(2).cpu().numpy(), grid.any(1).cpu().numpy()
    first = [over.argmax(1) for over in (over_x, over_y)]
    last = [size - over[:, ::-1].argmax(1) for over in (over_x, over_y)]
    x0, y0 = layout.x0[rows] - middle, layout.y0[rows] - middle
    edges = np.stack([x0 + first[0], x0 + last[0], y0 + first[1], y0 + last[1]], 1)
    edges[:, :2], edges[:, 2:] = edges[:, :2].clip(0, nx), edges[:, 2:].clip(0, ny)
    images = parts.reshape(len(rows), -1, size, size).cpu().numpy()
    local = edges - np.stack([x0, x0, y0, y0], 1)
    outside = (edges[:, 0] >= edges[:, 1]) | (edges[:, 2] >= edges[:, 3])  # these get none of the pixel nearest to them
    column, row = (np.clip(v[rows][outside], 0, n - 1) for v, n in ((layout.x0, nx), (layout.y0, ny)))
    edges[outside], local[outside], images[outside] = np.stack([column, column + 1, row, row + 1], 1), (0, 1, 0, 1), 0
    boxes[rows] = edges
    for k, (row, (a, b, c, d)) in enumerate(zip(rows.tolist(), local.tolist(), strict=True)):
        stamps[row] = images[k, :, c:d, a:b].copy()


def blendedness(scene: Scene, labels: np.ndarray) -> np.ndarray:
    """Return the part of the light in each source's footprint that belongs to other sources, (n,); NaN where there is no light.

    Args:
        scene: fitted.
        labels: (y, x) label i + 1 for source i.
    """
    plane = scene.layout.plane(labels)
    total = torch.zeros_like(scene.data)
    for batch in scene.batches:
        batch.add(total, scene.model(batch))
    share = torch.full((len(scene.dx),), torch.nan)
    for batch in scene.batches:
        own = batch.cut(plane) == (batch.rows + 1)[:, None]
        all_light = (batch.cut(total) * own).sum(1)
        ours = (scene.model(batch) * own).sum(1)
        share[batch.rows.cpu()] = torch.where(all_light > 0, 1 - ours / all_light, torch.nan).clamp(0, 1).cpu()
    return share.numpy()


def ellipses(seen: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return semi-axes and angle (deg) of (n, 3) second moments."""
    xx, xy, yy = seen.cpu().numpy().astype(float).T
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return np.sqrt(mean + half), np.sqrt(np.maximum(mean - half, 0)), np.degrees(0.5 * np.arctan2(2 * xy, xx - yy))


def flagged(sources: Catalog, share: np.ndarray, more: np.ndarray) -> Catalog:
    """Return the sources with blendedness, and with flags added."""
    flags = sources.column("flags") | more | SOURCE["BLENDED"] * (np.nan_to_num(share) > OVERLAP)
    return sources.replace(blendedness=share.astype(np.float32), flags=flags)
