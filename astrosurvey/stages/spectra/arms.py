"""The arms of one spectrograph, joined into one spectrum without a false edge between them.

Where two arms overlap they are averaged with their inverse variances. But at the rim of an arm the throughput
falls and the calibration drifts, so that a plain average steps by the arms' disagreement where one of them begins:
a break that template fits take for Lyα or for the 4000 Å break. Each weight is therefore multiplied with a ramp
that falls to nothing at the arm's own end, and the average slides from one arm to the other over the whole overlap.
Of two equal arms that costs a fifth of the information in the overlap. An arm is never rescaled: the overlap is too short
to say which of the two is right.

References: desihub/desispec#2278 (false Lyα between arms); Guy et al. (2023), AJ 165, 144.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...catalog.flags import SPECTRUM_PIXEL, SPECTRUM_UNUSABLE

SIGMA, FRACTION = 5.0, 0.05
"""Arms disagree when their means in the overlap differ by more than this many errors, and by more than this part."""


class Arm(NamedTuple):
    """Spectra of one arm: `wave` (pixel,) increasing, of any unit; `flux`, `ivar` and `mask` (n, pixel)."""

    wave: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    mask: np.ndarray


def join(arms: Sequence[Arm]) -> tuple[Arm, np.ndarray]:
    """Return one arm that covers all of them, and which spectra's arms disagree.

    Overlapping arms whose pixels coincide are averaged; others are cut in the middle of the overlap, for nothing
    is resampled here. A gap between arms is filled with pixels that are marked NO_DATA.

    Args:
        arms: in any order.

    Returns:
        The joined arm; (n,) bool.
    """
    first, *rest = sorted(arms, key=lambda arm: float(arm.wave[0]))
    joined, disagree = first, np.zeros(len(first.flux), bool)
    for arm in rest:
        joined, differ = _pair(joined, arm)
        disagree |= differ
    return joined, disagree


def _pair(left: Arm, right: Arm) -> tuple[Arm, np.ndarray]:
    step = float(np.median(np.diff(right.wave))) if len(right.wave) > 1 else 1.0
    shared = left.wave >= right.wave[0] - 0.25 * step
    agree = np.zeros(len(left.flux), bool)
    count = int(shared.sum())
    if count == 0:
        return _stacked(left, _filling(left, right, step), right), agree
    if count < len(right.wave) and np.allclose(left.wave[shared], right.wave[:count], rtol=0, atol=0.01 * step):
        middle, differ = _blend(_cut(left, slice(len(left.wave) - count, None)), _cut(right, slice(0, count)))
        return _stacked(_cut(left, slice(None, -count)), middle, _cut(right, slice(count, None))), differ
    border = 0.5 * (right.wave[0] + left.wave[-1])
    return _stacked(_cut(left, left.wave < border), _cut(right, right.wave >= border)), agree


def _blend(left: Arm, right: Arm) -> tuple[Arm, np.ndarray]:
    """Return the weighted mean of two arms on the same pixels, and which spectra differ."""
    ramp = (np.arange(len(left.wave)) + 0.5) / len(left.wave)
    usable = [((arm.mask & SPECTRUM_UNUSABLE) == 0) & (arm.ivar > 0) & np.isfinite(arm.flux) for arm in (left, right)]
    ivar = [np.where(good, arm.ivar, 0.0).astype(np.float64) for good, arm in zip(usable, (left, right), strict=True)]
    flux = [np.where(good, arm.flux, 0.0).astype(np.float64) for good, arm in zip(usable, (left, right), strict=True)]
    weight = [ivar[0] * (1 - ramp), ivar[1] * ramp]
    total = weight[0] + weight[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = sum(np.where(good, w**2 / i, 0.0) for good, w, i in zip(usable, weight, ivar, strict=True))
        mean = (weight[0] * flux[0] + weight[1] * flux[1]) / total
        joined_ivar = np.where(total > 0, total**2 / variance, 0.0)
    both = usable[0] & usable[1]
    neither = ~(usable[0] | usable[1])
    mask = np.where(usable[0] | neither, left.mask, 0) | np.where(usable[1] | neither, right.mask, 0)
    mask |= np.where(both, SPECTRUM_PIXEL["JOINED"], 0)
    mask |= np.where(total > 0, 0, SPECTRUM_PIXEL["NO_DATA"])
    return Arm(left.wave, mean, joined_ivar, mask.astype(np.int32)), _differ(flux, ivar, both)


def _differ(flux: list[np.ndarray], ivar: list[np.ndarray], both: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(both, 1 / (1 / ivar[0] + 1 / ivar[1]), 0.0)
        total = weight.sum(axis=1)
        offset = (weight * (flux[1] - flux[0])).sum(axis=1) / total
        level = np.abs(weight * (flux[0] + flux[1])).sum(axis=1) / (2 * total)
        differ: np.ndarray = (np.abs(offset) * np.sqrt(total) > SIGMA) & (np.abs(offset) > FRACTION * level)
    return differ


def _filling(left: Arm, right: Arm, step: float) -> Arm:
    """Return pixels without data that fill the gap between two arms; none when one follows on the other."""
    gap = float(right.wave[0] - left.wave[-1])
    wave = np.linspace(left.wave[-1], right.wave[0], max(round(gap / step), 1) + 1)[1:-1]
    shape = len(left.flux), len(wave)
    return Arm(wave, np.full(shape, np.nan), np.zeros(shape), np.full(shape, SPECTRUM_PIXEL["NO_DATA"], np.int32))


def _cut(arm: Arm, pixels: slice | np.ndarray) -> Arm:
    return Arm(arm.wave[pixels], arm.flux[:, pixels], arm.ivar[:, pixels], arm.mask[:, pixels])


def _stacked(*arms: Arm) -> Arm:
    wave = np.concatenate([arm.wave for arm in arms])
    return Arm(wave, *(np.concatenate(planes, axis=1) for planes in zip(*(arm[1:] for arm in arms), strict=True)))
