"""Training examples: random squares of simulated tiles, turned and mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ....products import Image
from ..filter import FWHM_PER_SIGMA, DetectionImage
from .features import Features, features, noise_equivalent_area
from .targets import Objects, paint

if TYPE_CHECKING:
    from ....products import Catalog, Segmentation


@dataclass(frozen=True)
class Scene:
    """A simulated tile, ready to be cut into examples.

    Attributes:
        seen: its features; the maps in half precision.
        objects: what is in it.
        mask: (y, x) bool, pixels of the true objects.
    """

    seen: Features
    objects: Objects
    mask: np.ndarray


def scene(image: Image, truth: Catalog, segmentation: Segmentation | None, bands: Sequence[str] | None) -> Scene:
    """Return a simulated tile as a scene.

    Args:
        image: sky-subtracted.
        truth: its objects.
        segmentation: their pixels; None where nothing is to be learnt of them.
        bands: to look at side by side; None combines all that there are.
    """
    seen, _ = features(image, bands, None, apart=bands is not None)
    mask = np.zeros(image.data.shape[1:], bool) if segmentation is None else segmentation.labels > 0
    nothing = np.zeros((0, 0), np.float32)
    empty = DetectionImage(nothing, nothing, Image(nothing[None], image.bands[:1]), [], np.zeros(0, np.float32), 0.0)
    small = Features(seen.maps.astype(np.float16), seen.conditions, empty, seen.fwhm)
    return Scene(small, true_objects(image, truth, seen), mask)


def true_objects(image: Image, truth: Catalog, seen: Features) -> Objects:
    """Return the true objects with the signal to noise that a filter of their own shape would find.

    The noise-equivalent area is that of a Gaussian as wide as the PSF and the object's half-light radius together,
    and the noise is that measured in the image.
    """
    band = truth.column("band")
    x, y, flux, radius = (np.asarray(truth.column(name), float) for name in ("x", "y", "flux", "half_light_radius"))
    ids = truth.column("truth_id")
    assert image.variance is not None
    good = image.usable()
    weight = {name: 1.0 / float(np.median(image.variance[b][good[b]])) if good[b].any() else 0.0 for b, name in enumerate(image.bands)}
    w = np.array([weight.get(name, 0.0) for name in band])
    _, first, which = np.unique(ids, return_index=True, return_inverse=True)
    n = len(first)
    total = np.bincount(which, w, n)
    total = np.where(total > 0, total, np.finfo(float).tiny)  # no band of this object is in the image
    mean = np.bincount(which, w * flux, n) / total
    extent = np.nan_to_num(np.bincount(which, np.nan_to_num(radius) * w, n) / total)
    area = noise_equivalent_area(seen.fwhm) + 4.0 * np.pi * (extent / (FWHM_PER_SIGMA / 2.0)) ** 2
    snr = mean * np.sqrt(total / area) / float(np.exp(seen.conditions[1::2].mean()))
    star = truth.column("object_type")[first] == "star"
    return Objects(x[first], y[first], snr, np.asarray(star, bool))


def batch(scenes: list[Scene], step: int, *, seed: int, size: int, count: int, faintest: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the network's inputs (count, channel, size, size) and targets for a step; the same for the same seed and step."""
    rng = np.random.default_rng((seed, step))
    inputs, targets = [], []
    for _ in range(count):
        one = scenes[int(rng.integers(len(scenes)))]
        ny, nx = one.mask.shape
        y0, x0 = int(rng.integers(ny - size + 1)), int(rng.integers(nx - size + 1))
        maps = one.seen.window(slice(y0, y0 + size), slice(x0, x0 + size))
        mask = one.mask[y0 : y0 + size, x0 : x0 + size]
        objects = one.objects.inside(y0, x0, size)
        keep = objects.snr >= faintest
        x, y = objects.x[keep], objects.y[keep]
        transpose, flip_y, flip_x = (bool(coin) for coin in rng.integers(2, size=3))
        if transpose:
            maps, mask, x, y = maps.swapaxes(1, 2), mask.T, y, x
        if flip_y:
            maps, mask, y = maps[:, ::-1], mask[::-1], size - 1 - y
        if flip_x:
            maps, mask, x = maps[:, :, ::-1], mask[:, ::-1], size - 1 - x
        painted = paint(Objects(x, y, objects.snr[keep], objects.star[keep]), size, one.seen.fwhm)
        inputs.append(np.ascontiguousarray(maps))
        targets.append({**painted, "mask": np.ascontiguousarray(mask, np.float32)})
    stacked = {name: torch.from_numpy(np.stack([t[name] for t in targets])) for name in targets[0]}
    return torch.from_numpy(np.stack(inputs)).contiguous(memory_format=torch.channels_last), stacked
