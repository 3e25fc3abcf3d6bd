"""The deblending network on a fitted scene: stamps from templates, and bands whose shares it has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ....networks.unet import UNet
from ..bands import Band, Measured
from ..stamps import Batch
from . import masks
from .masks import SIDE, Planes

TOGETHER = 32
"""Stamps that the network looks at together; always as many, as each other number would have to be made ready for."""


def bins_of(size: int) -> int:
    """Return how many pixels of a stamp of this side are put together for the network, along each axis."""
    return -(-size // SIDE)


def framed(stamps: Tensor, size: int) -> Tensor:
    """Return (b, size * size) stamps, whose middle is size // 2, as sums over squares of pixels, (b, SIDE, SIDE)."""
    bins = bins_of(size)
    rim = (bins * SIDE - size) // 2
    wide = functional.pad(stamps.reshape(-1, size, size), (rim, rim, rim, rim))
    return wide.reshape(-1, SIDE, bins, SIDE, bins).sum((2, 4))


def unframed(maps: Tensor, size: int) -> Tensor:
    """Return (b, SIDE, SIDE) maps on the pixels of stamps of another side, (b, size * size)."""
    bins = bins_of(size)
    rim = (bins * SIDE - size) // 2
    wide = maps.repeat_interleave(bins, 1).repeat_interleave(bins, 2)
    return wide[:, rim : rim + size, rim : rim + size].flatten(1)


def planes(band: Band, batch: Batch) -> Planes:
    """Return what the network looks at: stamps in units of the noise, binned to one size."""
    ivar = batch.cut(band.ivar)
    sigma, bins = torch.sqrt(ivar), bins_of(batch.size)
    data, own, total = (framed(v * sigma, batch.size) / bins for v in (batch.cut(band.data), band.model(batch), batch.cut(band.total)))
    return Planes(data, framed((ivar > 0).float(), batch.size) / bins**2, own, total)


@dataclass(frozen=True)
class Changes:
    """What the network says of each source.

    Attributes:
        change: (n, SIDE, SIDE) float16, logarithm of the factor on the template.
        gain: (n,) factor on the flux.
    """

    change: Tensor
    gain: Tensor


def predict(network: UNet, band: Band, precision: torch.dtype, progress: Callable[[int, int], None]) -> Changes:
    """Return what the network says of all sources; stamps are small, so more than one thread would mostly wait for the others.

    Args:
        network: as `networks.unet.folded` returns it, on the device of the scene, in `precision`.
        band: the scene's own plane, solved.
        precision: of the network's weights.
        progress: called with (done, total).
    """
    scene = band.scene
    n, device = len(scene.dx), scene.layout.device
    found = Changes(torch.zeros(n, SIDE, SIDE, dtype=torch.float16, device=device), torch.ones(n, device=device))
    waiting: list[tuple[Tensor, Planes]] = []

    def look(rows: Tensor, seen: Planes) -> None:
        inputs = functional.pad(masks.channels(seen), (0, 0, 0, 0, 0, 0, 0, TOGETHER - len(rows)))
        maps = masks.maps(network, inputs.to(dtype=precision, memory_format=torch.channels_last))
        change, gain = (m[: len(rows)] for m in maps)
        found.change[rows] = change.half()
        found.gain[rows] = masks.overall_gain(seen.own, gain)

    with torch.inference_mode():
        for done, batch in enumerate(scene.batches):
            waiting.append((batch.rows, planes(band, batch)))
            if sum(len(rows) for rows, _ in waiting) >= TOGETHER or done + 1 == len(scene.batches):
                every = torch.cat([rows for rows, _ in waiting])
                seen = Planes(*(torch.cat(v) for v in zip(*(one for _, one in waiting), strict=True)))
                for first in range(0, len(every), TOGETHER):
                    some = slice(first, first + TOGETHER)
                    look(every[some], Planes(*(v[some] for v in seen)))
                waiting = []
            progress(done + 1, len(scene.batches))
    return found


class RefinedBand(Band):
    """A band in which pixels are shared as a network says; where sources claim more than the whole of a pixel, all give way.

    Args:
        band: solved.
        changes: what the network says.
    """

    def __init__(self, band: Band, changes: Changes) -> None:
        vars(self).update(vars(band))  # what was solved once is not solved again
        self._changes = changes
        self._claimed = torch.zeros_like(self.data)
        for batch in band.scene.batches:
            batch.add(self._claimed, self._claim(batch))

    def _claim(self, batch: Batch) -> Tensor:
        change = unframed(self._changes.change[batch.rows].float(), batch.size)
        return masks.share(self.model(batch), batch.cut(self.total), change)

    def fractions(self, batch: Batch) -> Tensor:
        """Return the part of every pixel that is each source's, (b, size * size)."""
        return self._claim(batch) / batch.cut(self._claimed).clamp_min(1.0)

    def measure(self) -> Measured:
        """Return the fluxes, times what the network says they are off."""
        found = super().measure()
        gain = self._changes.gain.cpu().numpy()
        return Measured(found.flux * gain, found.flux_err * gain, found.masked_fraction)
