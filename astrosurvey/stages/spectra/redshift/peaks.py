"""The best distinct peaks of the curves: what is worth an exact fit."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from .archetypes import ArchetypeScan
from .sets import LIGHT, STEP, ScanSet

APART = 1000.0
"""km/s between distinct redshifts of galaxies and quasars."""
SEEN = 500.0
"""km/s from a seed."""
APART_STARS = 100.0
"""km/s between distinct velocities of stars."""


class Peaks(NamedTuple):
    """Candidates of one set: spectrum (candidate,), templates (candidate, k), shift in pixels (candidate,)."""

    rows: torch.Tensor
    which: torch.Tensor
    shift: torch.Tensor


def basis_peaks(templates: ScanSet, curve: torch.Tensor, count: int) -> Peaks:
    """Return the highest local maxima of (row, shift) curves, at least `APART` from each other."""
    half = math.ceil(APART / LIGHT / STEP)
    highest = torch.nn.functional.max_pool1d(curve[:, None], 2 * half + 1, stride=1, padding=half)[:, 0]
    peaks = torch.where((curve >= highest) & (curve > 0), curve, torch.full_like(curve, -1.0))
    gain, place = torch.topk(peaks, min(count, curve.shape[1]), dim=1)
    rows, rank = torch.nonzero(gain > 0, as_tuple=True)
    at = place[rows, rank]
    shift = at.double() + vertex(curve, rows, at)
    which = torch.arange(len(templates.flux), device=curve.device).expand(len(rows), -1)
    return Peaks(rows, which, shift + templates.shifts[0])


def single_peaks(scan: ArchetypeScan, curve: torch.Tensor, count: int, mates: int) -> Peaks:
    """Return the highest local maxima over shifts of the best template's (row, shift, template) curve, with templates that may join it."""
    best, _ = curve.max(dim=2)
    highest = torch.nn.functional.max_pool1d(best[:, None], 3, stride=1, padding=1)[:, 0]
    peaks = torch.where((best >= highest) & (best > 0), best, torch.full_like(best, -1.0))
    gain, place = torch.topk(peaks, min(count, best.shape[1]), dim=1)
    rows, rank = torch.nonzero(gain > 0, as_tuple=True)
    at = place[rows, rank]
    order = torch.topk(curve[rows, at], min(1 + mates, curve.shape[2]), dim=1).indices
    own = curve.transpose(1, 2)[rows, order[:, 0]]
    steps = float(scan.shifts[1] - scan.shifts[0]) if len(scan.shifts) > 1 else 1.0
    shift = (at.double() + vertex(own, torch.arange(len(rows), device=rows.device), at)) * steps + float(scan.shifts[0])
    return Peaks(rows, order, shift)


def vertex(curve: torch.Tensor, rows: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Return by what part of a step the parabola through three points peaks beside the middle one, within a half; 0 at the ends."""
    last = curve.shape[1] - 1
    left, middle, right = (curve[rows, (at + k).clamp(0, last)].double() for k in (-1, 0, 1))
    bend = left - 2 * middle + right
    inner = (at > 0) & (at < last) & (bend < 0)
    place = torch.where(inner, (left - right) / (2 * torch.where(inner, bend, torch.ones_like(bend))), torch.zeros_like(bend))
    return place.clamp(-0.5, 0.5)


def near_seeds(templates: ScanSet, curve: torch.Tensor, seeds: np.ndarray, offset: float, peaks: Peaks) -> Peaks:
    """Return peaks, and the highest point of the curve within `SEEN` of every seed that lies in the range.

    A fit that begins there ends within `APART` of the seed, whether or not there is a peak: so what is thought of a seed can be judged.

    Args:
        templates: whose curve it is.
        curve: (row, shift).
        seeds: (row, seed) redshifts, NaN for none.
        offset: of the block, pixels.
        peaks: found without them.
    """
    half = math.ceil(SEEN / LIGHT / STEP)
    with np.errstate(invalid="ignore"):
        centre = np.round(np.log1p(seeds) / STEP - offset) - templates.shifts[0]
        inside = (centre >= 0) & (centre < curve.shape[1])
    rows, _ = (torch.from_numpy(index).to(curve.device) for index in np.nonzero(inside))
    if not len(rows):
        return peaks
    middle = torch.from_numpy(centre[inside].astype(np.int64)).to(curve.device)
    window = (middle[:, None] + torch.arange(-half, half + 1, device=curve.device)).clamp(0, curve.shape[1] - 1)
    at = window[torch.arange(len(rows), device=curve.device), curve[rows[:, None], window].argmax(dim=1)]
    shift = at.double() + vertex(curve, rows, at) + templates.shifts[0]
    members = torch.arange(len(templates.flux), device=curve.device).expand(len(rows), -1)
    return Peaks(*(torch.cat(pair) for pair in zip(peaks, (rows, members, shift), strict=True)))
