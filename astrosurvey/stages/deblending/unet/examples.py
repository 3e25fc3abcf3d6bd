"""Blends to learn from: simulated tiles whose templates were fitted to a list of sources with all that detectors get wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ...detection.filter import FWHM_PER_SIGMA
from ..bands import Band
from ..members import Planes as ImagePlanes
from ..members import reach_of
from ..scene import Scene
from ..stamps import Layout
from .masks import REACH, Planes
from .refine import bins_of, framed, planes

if TYPE_CHECKING:
    from ....products import Catalog, Fractions, Image

FAINTEST = 5.0
"""Signal to noise from which an object is listed and learnt."""
JITTER, LOST_JITTER, LOST = 0.3, 1.0, 0.15
"""Scatter of listed positions in pixels; the scatter of those that are worse, and how many are."""
UNLISTED, CLOSE, UNLISTED_CLOSE = 0.03, 0.6, 0.6
"""The chance that an object is not in the list; within how many widths of the PSF of a brighter one it is close; its chance then."""
SHREDS = 0.04
"""Positions in the list where nothing is, on the wings of objects, by the number of objects."""


@dataclass(frozen=True)
class Examples:
    """The stamps of a tile's sources in one band, and what is to be learnt of them; half precision where it is many.

    Attributes:
        planes: (n, y, x) each; see `masks.Planes`.
        fraction: (n, y, x) true part of the light.
        flux, flux_err, whole: (n,) true flux, the error of its measurement were it alone, and the template's flux, in units of the noise
            of the stamp's pixels.
    """

    planes: Planes
    fraction: Tensor
    flux: Tensor
    flux_err: Tensor
    whole: Tensor

    def __len__(self) -> int:
        return len(self.flux)


def examples(image: Image, truth: Catalog, fractions: Fractions, rng: np.random.Generator, rounds: int) -> list[Examples]:
    """Return the examples of every band of a simulated tile that has any.

    Args:
        image: sky-subtracted, with variance.
        truth: its objects, in the order of the fractions; a row for each object and band.
        fractions: each object's part of the light.
        rng: draws what is wrong with the list of sources.
        rounds: of fitting the templates.
    """
    result = []
    for b, name in enumerate(image.bands):
        one = replace(image, data=image.data[b : b + 1], bands=(name,), psf=None if image.psf is None else image.psf[b : b + 1],
                      variance=None if image.variance is None else image.variance[b : b + 1])  # fmt: skip
        here = np.asarray(truth.column("band") == name)
        if not here.any() or not one.usable().any():
            continue
        x, y, flux, snr, half = (np.asarray(truth.column(c), float)[here] for c in ("x", "y", "flux", "snr", "half_light_radius"))
        seen = ImagePlanes.of(one, None)
        fwhm = seen.sigma * FWHM_PER_SIGMA
        which, at_x, at_y = listed(rng, x, y, flux, snr, np.nan_to_num(half), fwhm)
        # A footprint ends where the light sinks in the noise: the further out, the brighter the object is.
        edge = 1.2 * np.hypot(np.nan_to_num(half), fwhm / 2)[which] * np.log10(snr[which].clip(10)) * rng.uniform(0.7, 1.3, len(which))
        ny, nx = image.data.shape[1:]
        row, column = (np.clip(np.rint(v).astype(int), 0, m - 1) for v, m in ((at_y, ny), (at_x, nx)))
        layout = Layout((ny, nx), at_x, at_y, reach_of(edge, REACH, fwhm), seen.mean.data[row, column], "cpu")
        scene = Scene(seen.mean, seen.sigma, at_x, at_y, layout)
        scene.fit(rounds, lambda done, total: None)
        parts = [stamp[min(b, len(stamp) - 1)] for stamp in fractions.stamps()]
        made = _cut(Band(scene, seen.mean, True), which, parts, fractions.boxes, flux / seen.mean.unit, snr)
        if len(made):
            result.append(made)
    return result


def listed(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, flux: np.ndarray, snr: np.ndarray, half: np.ndarray, fwhm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a list of sources as a detector might give it: which object each is, and its position.

    Args:
        rng: draws what is wrong with it.
        x, y, flux, snr, half: (n,) of the objects.
        fwhm: of the PSF.
    """
    lost = np.full(len(x), UNLISTED)
    if len(x) > 1:
        for i, near in enumerate(cKDTree(np.column_stack([x, y])).query_ball_point(np.column_stack([x, y]), CLOSE * fwhm)):
            if (flux[near] > flux[i]).any():
                lost[i] = UNLISTED_CLOSE
    which = np.flatnonzero((snr > FAINTEST) & (rng.random(len(x)) >= lost))
    scatter = np.where(rng.random(len(which)) < LOST, LOST_JITTER, JITTER)
    at = [c[which] + scatter * rng.standard_normal(len(which)) for c in (x, y)]
    torn = which[rng.random(len(which)) < SHREDS]
    far, angle = rng.uniform(0.5, 1.5, len(torn)) * (half[torn] + fwhm), rng.uniform(0, 2 * np.pi, len(torn))
    at_x, at_y = (np.append(a, c[torn] + far * turn) for a, c, turn in zip(at, (x, y), (np.cos(angle), np.sin(angle)), strict=True))
    return np.append(which, np.full(len(torn), -1)), at_x, at_y


def _cut(band: Band, which: np.ndarray, parts: list[np.ndarray], boxes: np.ndarray, flux: np.ndarray, snr: np.ndarray) -> Examples:
    """Return the stamps of the sources that are objects."""
    layout = band.layout
    stamps: list[Planes] = []
    fraction, number, bins = [], [], []
    for batch in band.scene.batches:
        rows = batch.rows.numpy()
        good = which[rows] >= 0
        if not good.any():
            continue
        seen = planes(band, batch)
        light = batch.cut(band.total).clamp_min(1e-3)
        true = torch.stack(
            [_placed(layout, int(r), batch.size, parts[k], boxes[k]) if (k := int(which[r])) >= 0 else light[0] * 0 for r in rows]
        )
        shared = framed(true * light, batch.size) / framed(light, batch.size).clamp_min(1e-6)
        stamps.append(Planes(*(v[torch.from_numpy(good)].half() for v in seen)))
        fraction.append(shared[torch.from_numpy(good)].half())
        number.append(rows[good])
        bins.append(np.full(good.sum(), bins_of(batch.size)))
    if not number:
        return Examples(Planes(*(torch.zeros(0, 1, 1),) * 4), *(torch.zeros(0),) * 4)
    rows, scale = np.concatenate(number), np.concatenate(bins)
    k = which[rows]
    per = [torch.tensor(v / scale, dtype=torch.float32) for v in (flux[k], flux[k] / snr[k], band.whole.numpy()[rows])]
    return Examples(Planes(*(torch.cat(v) for v in zip(*stamps, strict=True))), torch.cat(fraction), *per)


def _placed(layout: Layout, row: int, size: int, part: np.ndarray, box: np.ndarray) -> Tensor:
    """Return an object's fractions on the stamp of a source, (size * size,)."""
    stamp = np.zeros((size, size), np.float32)
    x0, x1, y0, y1 = (int(v) for v in box)
    sx, sy = int(layout.x0[row]) - size // 2, int(layout.y0[row]) - size // 2
    a, b, c, d = max(x0, sx), min(x1, sx + size), max(y0, sy), min(y1, sy + size)
    if a < b and c < d:
        stamp[c - sy : d - sy, a - sx : b - sx] = part[c - y0 : d - y0, a - x0 : b - x0]
    return torch.from_numpy(stamp.reshape(-1))


def batch(tiles: Sequence[Examples], step: int, *, seed: int, count: int) -> tuple[Planes, dict[str, Tensor]]:
    """Return the stamps of a step, turned and mirrored, with what is to be learnt; the same for the same seed and step."""
    rng = np.random.default_rng((seed, step))
    chosen = rng.choice(len(tiles), count, p=np.array([len(t) for t in tiles]) / sum(len(t) for t in tiles))
    at = [(tiles[t], int(rng.integers(len(tiles[t])))) for t in chosen.tolist()]
    flip_y, flip_x, swap = (bool(coin) for coin in rng.integers(2, size=3))

    def turned(stamps: list[Tensor]) -> Tensor:
        stack = torch.stack([stamp.float() for stamp in stamps])
        stack = stack.flip([axis for axis, flip in ((1, flip_y), (2, flip_x)) if flip])
        return (stack.transpose(1, 2) if swap else stack).contiguous()

    seen = Planes(*(turned([getattr(tile.planes, name)[i] for tile, i in at]) for name in Planes._fields))
    numbers = {name: torch.stack([getattr(tile, name)[i] for tile, i in at]) for name in ("flux", "flux_err", "whole")}
    return seen, {"fraction": turned([tile.fraction[i] for tile, i in at]), **numbers}
