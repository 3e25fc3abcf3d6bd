"""The network over an image of any size: overlapping windows, of which only what no edge reaches is kept.

References:
    Gal & Ghahramani (2016), arXiv:1506.02142 (the scatter of predictions under dropout).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ....networks.determinism import prediction_threads, seeded
from ....networks.unet import UNet
from .features import Features


@dataclass(frozen=True)
class Maps:
    """What the network says of every pixel.

    Attributes:
        centre: (y, x) float32, 0 to 1.
        offset: (2, y, x) float32, pixels to the centre, (y, x).
        mask: (y, x) bool, the pixel is more probably brighter for a source than not.
        star: (y, x) float32, 0 to 1.
        scatter: (y, x) float32, standard deviation of `centre` under dropout; None if it was not asked for.
    """

    centre: np.ndarray
    offset: np.ndarray
    mask: np.ndarray
    star: np.ndarray
    scatter: np.ndarray | None


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
    out = Maps(
        np.zeros(shape, np.float32),
        np.zeros((2, *shape), np.float32),
        np.zeros(shape, bool),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32) if samples else None,
    )
    squares = list(_squares(shape, window, network))
    for number, (keep, look, inner) in enumerate(squares):
        x = torch.from_numpy(seen.window(*look))[None]
        # Outside the image there is nothing: no significance, and the same conditions.
        x, crop = _padded(x, network.multiple, seen.conditions)
        x = x.to(device=device, dtype=precision, memory_format=torch.channels_last)
        with torch.inference_mode(), prediction_threads(precision):
            features = network.encode(x)
            network.sample_dropout = False
            maps = {name: m[0, :, crop[0], crop[1]][:, inner[0], inner[1]].float() for name, m in network.decode(features).items()}
            if out.scatter is not None:
                out.scatter[keep] = _scatter(network, features, samples, seed + number, crop, inner)
        out.centre[keep] = torch.sigmoid(maps["centre"][0]).cpu().numpy()
        out.mask[keep] = (maps["mask"][0] > 0).cpu().numpy()
        out.star[keep] = torch.sigmoid(maps["star"][0]).cpu().numpy()
        out.offset[(slice(None), *keep)] = maps["offset"].cpu().numpy()
        progress(number + 1, len(squares))
    return out


def _scatter(
    network: UNet, features: list[torch.Tensor], samples: int, seed: int, crop: tuple[slice, slice], inner: tuple[slice, slice]
) -> np.ndarray:
    network.sample_dropout = True
    try:
        with seeded(seed):
            drawn = [torch.sigmoid(network.decode(features)["centre"][0, 0, crop[0], crop[1]][inner].float()) for _ in range(samples)]
    finally:
        network.sample_dropout = False
    return np.asarray(torch.stack(drawn).std(dim=0).cpu().numpy())


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


def _padded(x: torch.Tensor, multiple: int, conditions: np.ndarray) -> tuple[torch.Tensor, tuple[slice, slice]]:
    """Return the input filled up at its far edges to multiples of `multiple`, and where it lies in that."""
    ny, nx = x.shape[2:]
    full = torch.zeros((1, x.shape[1], -(-ny // multiple) * multiple, -(-nx // multiple) * multiple))
    full[:, -len(conditions) :] = torch.from_numpy(conditions)[None, :, None, None]
    full[:, :, :ny, :nx] = x
    return full, (slice(0, ny), slice(0, nx))
