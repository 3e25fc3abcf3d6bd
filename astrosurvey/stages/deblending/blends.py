"""Blends to learn from: stamps of several objects on noise, of which one is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .galaxies import SIDE as OBJECT_SIDE
from .galaxies import Group
from .masks import LEAST, SIDE, channels, spots

MOST = 5
"""Objects in a blend, at most."""


@dataclass(frozen=True)
class Recipe:
    """What blends are like.

    Attributes:
        snr: least and greatest matched signal-to-noise ratio of the object asked for; logarithms are uniform.
        ratio: scatter of the neighbours' fluxes relative to its own, natural logarithm.
        separation: least and greatest distance of neighbours in pixels; a third of them lie within 12.
        unlisted: chance that a neighbour much fainter than the object is not in the list of positions.
        jitter: scatter of the listed positions in pixels.
    """

    snr: tuple[float, float] = (8.0, 600.0)
    ratio: float = 1.0
    separation: tuple[float, float] = (3.0, 32.0)
    unlisted: float = 0.2
    jitter: float = 0.4


def batch(rng: np.random.Generator, groups: Sequence[Group], chances: np.ndarray, count: int, recipe: Recipe) -> dict[str, torch.Tensor]:
    """Return blends with what is to be learned of each.

    Args:
        rng: draws everything.
        groups: the objects; those of one blend are seen through one PSF.
        chances: of each group.
        count: blends.
        recipe: what they are like.

    Returns:
        inputs (b, channel, y, x); snr, light, fraction (b, y, x): data and all light in units of the noise, the object's
        part of the light; flux, flux_err (b,): the object's flux and the error of its measurement were it alone.
    """
    half = SIDE // 2
    light = np.zeros((count, MOST, SIDE, SIDE), np.float32)
    flux, error = np.zeros(count), np.zeros(count)
    x, y = (np.full((count, MOST), 1e3) for _ in range(2))  # far off the stamp: no spot
    kernels = []
    for b in range(count):
        group = groups[int(rng.choice(len(groups), p=chances))]
        kernels.append(group.psf)
        members = 1 + min(int(rng.poisson(1.5)), MOST - 1)
        for k in range(members):
            stamp, dx, dy = _turned(rng, group, int(rng.integers(len(group.stamps))))
            if k == 0:
                own = float(np.sqrt(np.square(stamp.astype(np.float32)).sum()))
                flux[b] = np.exp(rng.uniform(*np.log(recipe.snr))) / own
                amount, cx, cy = flux[b], half, half
                error[b] = 1 / own
            else:
                amount = flux[b] * float(np.exp(recipe.ratio * rng.standard_normal()))
                far = recipe.separation[1] if rng.random() < 0.67 else 12.0
                distance, angle = rng.uniform(recipe.separation[0], far), rng.uniform(0, 2 * np.pi)
                cx, cy = half + round(distance * np.cos(angle)), half + round(distance * np.sin(angle))
            _paste(light[b, k], stamp, cx, cy, amount)
            if k == 0 or not (amount < 0.3 * flux[b] and rng.random() < recipe.unlisted):
                x[b, k], y[b, k] = (c + d + recipe.jitter * rng.standard_normal() for c, d in ((cx, dx), (cy, dy)))
    total = light.sum(1)
    snr = torch.from_numpy(total + rng.standard_normal(total.shape).astype(np.float32))
    fraction = torch.from_numpy(np.where(total > LEAST, light[:, 0] / np.maximum(total, LEAST), 0)).clamp(0, 1)
    position = torch.tensor(np.stack([x, y]), dtype=torch.float32)
    mine = spots(position[0, :, 0], position[1, :, 0])
    others = torch.stack([spots(position[0, :, k], position[1, :, k]) for k in range(1, MOST)]).sum(0)
    inputs = channels(snr, torch.from_numpy(np.stack(kernels)), mine, others)
    return {
        "inputs": inputs, "snr": snr, "light": torch.from_numpy(total).clamp_min(0), "fraction": fraction,
        "flux": torch.tensor(flux, dtype=torch.float32), "flux_err": torch.tensor(error, dtype=torch.float32),
    }  # fmt: skip


def _turned(rng: np.random.Generator, group: Group, i: int) -> tuple[np.ndarray, float, float]:
    """Return an object turned by a random multiple of 90 degrees and perhaps mirrored, and its position."""
    stamp, x, y = group.stamps[i], float(group.x[i]), float(group.y[i])
    if rng.random() < 0.5:
        stamp, x = stamp[:, ::-1], -x
    for _ in range(int(rng.integers(4))):
        stamp, x, y = np.rot90(stamp), y, -x
    return stamp, x, y


def _paste(canvas: np.ndarray, stamp: np.ndarray, cx: int, cy: int, amount: float) -> None:
    """Add an object, its middle pixel at (cy, cx), to a canvas that may cut it."""
    x0, y0 = cx - OBJECT_SIDE // 2, cy - OBJECT_SIDE // 2
    left, low = max(x0, 0), max(y0, 0)
    right, high = min(x0 + OBJECT_SIDE, SIDE), min(y0 + OBJECT_SIDE, SIDE)
    if left < right and low < high:
        canvas[low:high, left:right] += np.float32(amount) * stamp[low - y0 : high - y0, left - x0 : right - x0].astype(np.float32)
