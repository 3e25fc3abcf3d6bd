"""The deblending network on all sources of an image: stamps, bins for large sources, parts of pixels, fluxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from . import masks
from .profiles import centred
from .scene import Plane

BATCH = 32
CERTAIN = 0.5
"""Where all sources together claim less than this part of a pixel, the rest is sky; where they claim more, they share all of it."""
REACH = SIDE = masks.SIDE


@dataclass(frozen=True)
class Stamps:
    """Where each source's stamp lies: pixels binned `bins` by `bins`, the source's in the middle.

    Attributes:
        x0, y0: (n,) corners, pixels of the image.
        bins: (n,) pixels of the image along the side of a pixel of the stamp.
    """

    x0: np.ndarray
    y0: np.ndarray
    bins: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray, reach: np.ndarray) -> Stamps:
        """Return stamps around positions that reach so many pixels to each side."""
        bins = np.maximum(np.ceil(2 * reach / SIDE), 1).astype(np.int64)
        half = bins * (SIDE // 2) + bins // 2
        return cls(np.rint(x).astype(np.int64) - half, np.rint(y).astype(np.int64) - half, bins)

    def side(self, i: int) -> int:
        """Return the stamp's side in pixels of the image."""
        return int(self.bins[i]) * SIDE

    def cut(self, i: int, padded: np.ndarray, pad: int) -> np.ndarray:
        """Return the pixels of stamp i from a plane that is padded by `pad` on all sides."""
        y, x, side = int(self.y0[i]) + pad, int(self.x0[i]) + pad, self.side(i)
        return padded[y : y + side, x : x + side]


def binned(pixels: np.ndarray, bins: int) -> np.ndarray:
    """Return sums over squares of pixels."""
    if bins == 1:
        return pixels
    side = pixels.shape[0] // bins
    return np.asarray(pixels.reshape(side, bins, side, bins).sum((1, 3)))


@torch.inference_mode()
def predict(
    network: nn.Module, plane: Plane, x: np.ndarray, y: np.ndarray, stamps: Stamps, device: str, progress: Callable[[int, int], None]
) -> masks.Maps:
    """Return the network's maps of all sources, (n, SIDE, SIDE) on the CPU.

    Args:
        network: in evaluation mode on the device.
        plane: the image in which fractions are found, in units of its noise.
        x, y: (n,) positions of the sources.
        stamps: of the sources.
        device: where to compute.
        progress: called with (done, total).
    """
    from scipy.spatial import cKDTree

    n, pad = len(x), int((stamps.bins * SIDE).max(initial=SIDE))
    data, ivar = np.pad(plane.data, pad), np.pad(plane.ivar, pad)
    snr = data * np.sqrt(ivar)
    tree = cKDTree(np.column_stack([x, y]))
    near = tree.query_ball_point(np.column_stack([x, y]), 0.75 * SIDE * stamps.bins + 4 * stamps.bins, p=np.inf)
    kernels = {int(k): _kernel(plane.psf, int(k)) for k in np.unique(stamps.bins)}
    found: list[masks.Maps] = []
    for first in range(0, n, BATCH):
        rows = range(first, min(first + BATCH, n))
        # Binned, the noise of a pixel is the root of the number of pixels in it.
        light = np.stack([binned(stamps.cut(i, snr, pad), int(stamps.bins[i])) / stamps.bins[i] for i in rows])
        mine, others = np.zeros((2, len(rows), SIDE, SIDE), np.float32)
        for k, i in enumerate(rows):
            place = [(v - c + 0.5) / stamps.bins[i] - 0.5 for v, c in ((x[near[i]], stamps.x0[i]), (y[near[i]], stamps.y0[i]))]
            spot = masks.spots(*(torch.tensor(p, dtype=torch.float32) for p in place)).numpy()
            own = np.asarray(near[i]) == i
            mine[k], others[k] = spot[own].sum(0), spot[~own].sum(0)
        kernel = np.stack([kernels[int(stamps.bins[i])] for i in rows])
        tensors = (torch.from_numpy(np.ascontiguousarray(a, np.float32)).to(device) for a in (light, kernel, mine, others))
        maps = masks.maps(network, masks.channels(*tensors))
        found.append(masks.Maps(*(m.cpu() for m in maps)))
        progress(rows.stop, n)
    if not found:
        return masks.Maps(*(torch.zeros(0, SIDE, SIDE) for _ in range(3)))
    return masks.Maps(*(torch.cat(part) for part in zip(*found, strict=True)))


def _kernel(psf: np.ndarray, bins: int) -> np.ndarray:
    """Return the middle of the PSF in binned pixels."""
    side = masks.KERNEL * bins + (masks.KERNEL * bins + 1) % 2
    stamp = np.fft.fftshift(centred(psf, side))
    if bins == 1:
        return stamp
    whole = np.zeros((masks.KERNEL * bins,) * 2, np.float32)
    whole[: min(side, len(whole)), : min(side, len(whole))] = stamp[: len(whole), : len(whole)]
    return binned(whole, bins)


def shared(maps: masks.Maps, stamps: Stamps, shape: tuple[int, int]) -> list[np.ndarray]:
    """Return every source's part of the pixels of its stamp, full resolution, once all sources have had their say.

    Args:
        maps: of all sources.
        stamps: of all sources.
        shape: (ny, nx) of the image.
    """
    pad = int((stamps.bins * SIDE).max(initial=SIDE))
    total = np.zeros((shape[0] + 2 * pad, shape[1] + 2 * pad), np.float32)
    claims = []
    for i, fraction in enumerate(maps.fraction.numpy()):
        claim = np.kron(fraction, np.ones((int(stamps.bins[i]),) * 2, np.float32)) if stamps.bins[i] > 1 else fraction
        claims.append(claim)
        stamps.cut(i, total, pad)[...] += claim
    return [claim / np.maximum(stamps.cut(i, total, pad), CERTAIN) for i, claim in enumerate(claims)]


def measure(maps: masks.Maps, parts: list[np.ndarray], stamps: Stamps, plane: Plane) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return flux, its error from the noise of the pixels, and the masked part of the weight, (n,) each, in the plane's units.

    Args:
        maps: of all sources.
        parts: each source's part of every pixel.
        stamps: of all sources.
        plane: the band to measure.
    """
    n, pad = len(parts), int((stamps.bins * SIDE).max(initial=SIDE))
    data, ivar = np.pad(plane.data, pad), np.pad(plane.ivar, pad)
    flux, error, masked = np.full(n, np.nan), np.full(n, np.nan), np.ones(n)
    for i, part in enumerate(parts):
        bins = int(stamps.bins[i])
        grown = [torch.from_numpy(np.kron(m[i].numpy(), np.ones((bins, bins), np.float32)))[None] for m in maps]
        pixels, weight = stamps.cut(i, data, pad), stamps.cut(i, ivar, pad)
        known = torch.from_numpy((weight > 0).astype(np.float32))[None]
        if not known.any():
            continue
        mine = torch.from_numpy(part)[None]
        total, each = masks.flux(masks.Maps(*grown), mine, torch.from_numpy(pixels)[None], known)
        inverse = np.divide(1, weight, out=np.zeros_like(weight), where=weight > 0)
        flux[i], error[i] = float(total[0]), float(np.sqrt((np.square(each[0].numpy()) * inverse).sum(dtype=float)))
        used = grown[1] * mine
        masked[i] = 1 - float((used * known).sum() / used.sum().clamp_min(1e-6))
    return flux, error, masked
