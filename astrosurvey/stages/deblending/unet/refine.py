"""The deblending network on a fitted scene: stamps from templates, and bands whose shares it has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ....networks.unet import UNet
from ..bands import Band, Measured
from ..profiles import Basis
from ..stamps import Batch, Layout
from . import masks
from .masks import SIDE, Planes

TOGETHER = 32
"""Stamps that the network looks at together; always as many, as each other number would have to be made ready for."""
ALONE = 0.02
"""Below this part of others' light in a source's pixels, weighed by its own, there is nothing to share."""
UNLIKE = 1.2
"""Mean squared misfit in units of the noise above which a source may be two of which one is not listed."""


def bins_of(size: int) -> int:
    """Return how many pixels of a stamp of this side are put together for the network, along each axis."""
    return -(-size // SIDE)


def framed(stamps: Tensor, size: int) -> Tensor:
    """Return (b, size * size) stamps, whose middle is size // 2, as sums over squares of pixels, (b, SIDE, SIDE)."""
    bins = bins_of(size)
    rim = (bins * SIDE - size) // 2
    wide = functional.pad(stamps.reshape(-1, size, size), (rim, rim, rim, rim))
    return wide.reshape(-1, SIDE, bins, SIDE, bins).sum((2, 4)) if bins > 1 else wide


def unframed(maps: Tensor, size: int, bins: int) -> Tensor:
    """Return (b, SIDE, SIDE) maps of so many pixels together on the pixels of stamps of another side, (b, size * size)."""
    rim = (bins * SIDE - size) // 2
    wide = maps.repeat_interleave(bins, 1).repeat_interleave(bins, 2)
    return wide[:, rim : rim + size, rim : rim + size].flatten(1)


class Seen(Protocol):
    """What the network's stamps are cut from: a band, or a band on other stamps."""

    data: Tensor
    ivar: Tensor
    total: Tensor

    def model(self, batch: Batch) -> Tensor:
        """Return the models of a batch, (b, size * size)."""
        ...


def planes(band: Seen, batch: Batch) -> Planes:
    """Return what the network looks at: stamps in units of the noise, binned to one size."""
    ivar = batch.cut(band.ivar)
    sigma, bins = torch.sqrt(ivar), bins_of(batch.size)
    data, own, total = (framed(v * sigma, batch.size) / bins for v in (batch.cut(band.data), band.model(batch), batch.cut(band.total)))
    return Planes(data, framed((ivar > 0).float(), batch.size) / bins**2, own, total)


class Wide:
    """A solved band on stamps larger than those it was solved on, as the network was taught to see sources.

    Args:
        band: the scene's own plane, solved.
        psf: of that plane.
        layout: the larger stamps, of the same sources.
    """

    def __init__(self, band: Band, psf: np.ndarray, layout: Layout) -> None:
        self.band, self.layout = band, layout
        self.data, self.ivar = (layout.plane(band.layout.image(plane)) for plane in (band.data, band.ivar))
        self.bases = {size: Basis(psf, band.scene.psf_sigma, size, layout.device) for size in np.unique(layout.size).tolist()}
        self.total = torch.zeros_like(self.data)
        self.batches = list(layout.batches())
        for batch in self.batches:
            batch.add(self.total, self.model(batch))

    def model(self, batch: Batch) -> Tensor:
        """Return the models of a batch, (b, size * size)."""
        scene, rows, size = self.band.scene, batch.rows, batch.size
        basis = self.bases[size]
        coefficients = scene.coefficients[rows]
        coefficients = functional.pad(coefficients, (0, max(basis.count - coefficients.shape[1], 0)))
        model = basis.mix(scene.dx[rows], scene.dy[rows], scene.shape[rows], coefficients)
        for k, row in enumerate(rows.tolist()):
            if row in scene.extra:
                side = int(scene.layout.size[row])
                rim = (size - side) // 2
                model[k].view(size, size)[rim : rim + side, rim : rim + side] += scene.extra[row].view(side, side)
        return model.clamp_min(0.0) * self.band.amount[rows, None]


@dataclass(frozen=True)
class Changes:
    """What the network says of each source; where it was not asked, that nothing changes.

    Attributes:
        change: (n, SIDE, SIDE) float16, logarithm of the factor on the template.
        bins: (n,) int64, pixels of the image in one of these, along each axis.
        gain: (n,) factor on the flux.
    """

    change: Tensor
    bins: Tensor
    gain: Tensor


def doubtful(band: Band) -> Tensor:
    """Return which sources the network is to be asked about, (n,) bool: those among others' light, and those unlike their templates."""
    scene = band.scene
    found = scene.misfit > UNLIKE
    found[list(scene.extra)] = True
    for batch in scene.batches:
        own = band.model(batch)
        others = 1 - own / batch.cut(band.total).clamp_min(1e-20)
        found[batch.rows] |= (own * others).sum(1) > ALONE * own.sum(1)
    return found


def predict(network: UNet, band: Band, wide: Wide, precision: torch.dtype, progress: Callable[[int, int], None]) -> Changes:
    """Return what the network says of all sources; stamps are small, so more than one thread would mostly wait for the others.

    Args:
        network: as `networks.unet.folded` returns it, on the device of the scene, in `precision`.
        band: the scene's own plane, solved.
        wide: the same on the stamps that the network looks at.
        precision: of the network's weights.
        progress: called with (done, total).
    """
    n, device = len(band.whole), band.layout.device
    bins = torch.from_numpy(-(-wide.layout.size // SIDE)).to(device)
    found = Changes(torch.zeros(n, SIDE, SIDE, dtype=torch.float16, device=device), bins, torch.ones(n, device=device))
    asked = doubtful(band)

    def look(rows: Tensor, seen: Planes) -> None:
        inputs = functional.pad(masks.channels(seen), (0, 0, 0, 0, 0, 0, 0, TOGETHER - len(rows)))
        maps = masks.maps(network, inputs.to(dtype=precision, memory_format=torch.channels_last))
        change, gain = (m[: len(rows)] for m in maps)
        found.change[rows] = change.half()
        found.gain[rows] = masks.overall_gain(seen.own, gain)

    with torch.inference_mode():
        for done, (rows, seen) in enumerate(_together(wide, asked)):
            look(rows, seen)
            progress(min((done + 1) * TOGETHER, n), n)
    return found


def _together(wide: Wide, asked: Tensor) -> Iterator[tuple[Tensor, Planes]]:
    """Yield the rows and stamps of the sources that are asked about, TOGETHER at a time."""
    rows, stamps = list[Tensor](), list[Planes]()
    for batch in wide.batches:
        some = batch[asked[batch.rows]]
        if len(some.rows):
            rows.append(some.rows)
            stamps.append(planes(wide, some))
        while (ready := sum(map(len, rows))) >= TOGETHER or (ready and batch is wide.batches[-1]):
            every, seen = torch.cat(rows), Planes(*(torch.cat(v) for v in zip(*stamps, strict=True)))
            yield every[:TOGETHER], Planes(*(v[:TOGETHER] for v in seen))
            rows, stamps = [every[TOGETHER:]], [Planes(*(v[TOGETHER:] for v in seen))]


class RefinedBand(Band):
    """A band in which pixels are shared as a network says; where sources claim more than the whole of a pixel, all give way.

    Args:
        band: solved.
        changes: what the network says.
    """

    def __init__(self, band: Band, changes: Changes) -> None:
        vars(self).update(vars(band))  # what was solved once is not solved again
        self._changes = changes
        self._claims = {size: torch.zeros_like(model) for size, model in band.models.items()}
        self._claimed = torch.zeros_like(self.data)
        for batch in band.scene.batches:
            claim = self._claim(batch)
            self._claims[batch.size][band.scene.place[batch.rows]] = claim
            batch.add(self._claimed, claim)

    def _claim(self, batch: Batch) -> Tensor:
        own, bins = self.model(batch), self._changes.bins[batch.rows]
        change = torch.zeros_like(own)
        for many in bins.unique().tolist():
            some = bins == many
            change[some] = unframed(self._changes.change[batch.rows[some]].float(), batch.size, many)
        return masks.share(own, batch.cut(self.total), change)

    def fractions(self, batch: Batch) -> Tensor:
        """Return the part of every pixel that is each source's, (b, size * size)."""
        return self._claims[batch.size][self.scene.place[batch.rows]] / batch.cut(self._claimed).clamp_min(1.0)

    def measure(self) -> Measured:
        """Return the fluxes, times what the network says they are off."""
        found = super().measure()
        gain = self._changes.gain.cpu().numpy()
        return Measured(found.flux * gain, found.flux_err * gain, found.masked_fraction)
