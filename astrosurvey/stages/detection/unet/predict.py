"""The network over an image of any size: overlapping windows, of which only what no edge reaches is kept.

References:
    Gal & Ghahramani (2016), arXiv:1506.02142 (the scatter of predictions under dropout).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from ....networks.determinism import prediction_threads, seeded
from ....networks.unet import UNet
from .decode import Peaks, peaks
from .features import Features


@dataclass(frozen=True)
class Maps:
    """What the network says of every pixel, on its device and in its precision: more digits there are not.

    Attributes:
        centre: (y, x) logits.
        offset: (2, y, x), pixels to the centre, (y, x).
        mask: (y, x) bool, the pixel is more probably brighter for a source than not.
        star: (y, x) logits.
        scatter: (y, x) standard deviation of the probability behind `centre` under dropout; None if it was not asked for.
    """

    centre: torch.Tensor
    offset: torch.Tensor
    mask: torch.Tensor
    star: torch.Tensor
    scatter: torch.Tensor | None

    def peaks(self, least: float) -> Peaks:
        """Return the sources whose score is at least `least`, which is between 0 and 1."""
        found = peaks(self.centre, self.offset, self.star, float(np.log(least) - np.log1p(-least)))
        return replace(found, score=_sigmoid(found.score), star=_sigmoid(found.star))


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(torch.sigmoid(torch.from_numpy(logits)).numpy())


def predict(
    network: UNet,
    seen: Features,
    *,
    window: int,
    samples: int,
    seed: int,
    device: Literal["cpu", "cuda"],
    precision: torch.dtype,
    progress: Callable[[int, int], None],
) -> Maps:
    """Run a network over an image.

    Args:
        network: as `networks.unet.folded` returns it, on `device`, in `precision`.
        seen: the image.
        window: side in pixels of the squares whose result is kept; the network sees `network.reach` more on every side. What it
            says does not depend on it beyond rounding.
        samples: how often to predict under dropout for the scatter; 0 for never.
        seed: of the dropout.
        device: where the network is.
        precision: of the network's weights.
        progress: called with (done, total).
    """
    shape = seen.maps.shape[1:]

    def plane(*size: int, dtype: torch.dtype = precision) -> torch.Tensor:
        return torch.zeros(size, dtype=dtype, device=device)

    out = Maps(plane(*shape), plane(2, *shape), plane(*shape, dtype=torch.bool), plane(*shape), plane(*shape) if samples else None)
    whole, conditions = torch.from_numpy(seen.maps).to(device), torch.from_numpy(seen.conditions).to(device)
    squares = list(_squares(shape, window, network))
    for number, (keep, look, inner) in enumerate(squares):
        x, crop = _input(whole[:, *look], conditions, network.multiple, precision)
        with torch.inference_mode(), prediction_threads(precision):
            features = network.encode(x)
            network.sample_dropout = False
            maps = {name: m[0, :, crop[0], crop[1]][:, inner[0], inner[1]] for name, m in network.decode(features).items()}
            if out.scatter is not None:
                out.scatter[keep] = _scatter(network, features, samples, seed + number, crop, inner).to(precision)
            out.centre[keep] = maps["centre"][0]
            out.mask[keep] = maps["mask"][0] > 0
            out.star[keep] = maps["star"][0]
            out.offset[:, *keep] = maps["offset"]
        progress(number + 1, len(squares))
    return out


def _scatter(
    network: UNet, features: list[torch.Tensor], samples: int, seed: int, crop: tuple[slice, slice], inner: tuple[slice, slice]
) -> torch.Tensor:
    network.sample_dropout = True
    try:
        with seeded(seed):
            drawn = [torch.sigmoid(network.decode(features)["centre"][0, 0, crop[0], crop[1]][inner].float()) for _ in range(samples)]
    finally:
        network.sample_dropout = False
    return torch.stack(drawn).std(dim=0)


def _squares(
    shape: tuple[int, ...], window: int, network: UNet
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice], tuple[slice, slice]]]:
    """Yield (what to keep, what to look at, where what to keep lies in it); looks begin at multiples of the network's."""
    largest = max(window // network.multiple, 1) * network.multiple
    # As few squares as that allows, of one size: narrow ones at the far edges would be all margin.
    steps = [-(-n // -(-n // largest) // network.multiple) * network.multiple for n in shape]
    halo = -(-network.reach // network.multiple) * network.multiple
    ny, nx = shape
    for y0 in range(0, ny, steps[0]):
        for x0 in range(0, nx, steps[1]):
            y1, x1 = min(y0 + steps[0], ny), min(x0 + steps[1], nx)
            from_y, from_x = max(y0 - halo, 0), max(x0 - halo, 0)
            look = slice(from_y, min(y1 + halo, ny)), slice(from_x, min(x1 + halo, nx))
            yield (slice(y0, y1), slice(x0, x1)), look, (slice(y0 - from_y, y1 - from_y), slice(x0 - from_x, x1 - from_x))


def _input(maps: torch.Tensor, conditions: torch.Tensor, multiple: int, precision: torch.dtype) -> tuple[torch.Tensor, tuple[slice, slice]]:
    """Return the network's input, filled up at its far edges to multiples of `multiple`, and where the maps lie in that.

    Outside the image there is nothing: no significance, and the same conditions.
    """
    ny, nx = maps.shape[1:]
    shape = (1, len(maps) + len(conditions), -(-ny // multiple) * multiple, -(-nx // multiple) * multiple)
    full = torch.empty(shape, dtype=precision, device=maps.device, memory_format=torch.channels_last).zero_()
    full[:, len(maps) :] = conditions[:, None, None]
    full[0, : len(maps), :ny, :nx] = maps
    return full, (slice(0, ny), slice(0, nx))
