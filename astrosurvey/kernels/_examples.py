"""Small images with sources on them, for the examples of the measuring kernels."""

from __future__ import annotations

import numpy as np

from ._pixels import Places, Planes, node_radii

CORE, NODES, SIGMA = 2.0, 14, 1.5


def scene(rng: np.random.Generator) -> list[tuple[Planes, Places]]:
    """Return images of at most 48 x 44 pixels with sources: clean, with neighbours' models, with dirt, 1 x N, and empty."""
    x, y = np.array([10.2, 16.4, 30.7, 1.3, 40.0, 22.5]), np.array([9.6, 12.1, 30.2, 40.4, 0.0, 33.0])
    flux = np.array([900.0, 500.0, 2500.0, 400.0, 300.0, 600.0])
    one = _image(rng, x, y, flux, (1, 44, 48))
    places = _places(x, y, flux, 1)
    labels = np.zeros((44, 48), np.int32)
    for i in range(len(x)):
        labels[np.hypot(*(np.mgrid[0:44, 0:48] - np.array([y[i], x[i]])[:, None, None])) < 4] = i + 1
    two = np.concatenate([one, one * np.float32(0.7) + rng.normal(0, 1, one.shape).astype(np.float32)])
    dirt = two.copy()
    dirt[0, 28:30, 20:26] = np.nan
    variance = np.ones_like(two)
    variance[1, 5:8] = np.inf
    variance[0, :, 44:] = 0
    mask = np.zeros(two.shape, np.int32)
    mask[1, 10, :20] = 4
    total = np.sum([_draw(p, q, f, two.shape[1:]) for p, q, f in zip(x, y, flux, strict=True)], 0)
    model = np.stack([total, 0.7 * total]).astype(np.float32)
    row = rng.normal(0, 1, (1, 1, 37)).astype(np.float32)
    return [
        (Planes(one, np.ones_like(one), labels=labels), places),
        (Planes(two, np.ones_like(two), model=model), _places(x, y, flux, 2)),
        (Planes(dirt, variance, mask, 4, labels=labels), _places(x, y, flux, 2)),
        (Planes(row, np.ones_like(row)), _places(np.array([5.0, 36.4]), np.array([0.0, -0.3]), np.array([5.0, 9.0]), 1)),
        (Planes(np.full_like(one, np.nan), np.ones_like(one)), _places(x[:1], y[:1], flux[:1], 1)),
        (Planes(one, np.ones_like(one)), _places(x[:0], y[:0], flux[:0], 1)),
    ]


def _draw(x: float, y: float, flux: float, shape: tuple[int, ...]) -> np.ndarray:
    yy, xx = np.mgrid[0 : shape[0], 0 : shape[1]]
    light: np.ndarray = flux / (2 * np.pi * SIGMA**2) * np.exp(-0.5 * ((xx - x) ** 2 + (yy - y) ** 2) / SIGMA**2)
    return light


def _image(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, flux: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    light = np.sum([_draw(p, q, f, shape[1:]) for p, q, f in zip(x, y, flux, strict=True)], 0)
    return (light + rng.normal(0, 1, shape)).astype(np.float32)


def _places(x: np.ndarray, y: np.ndarray, flux: np.ndarray, bands: int) -> Places:
    at = Places.at(x, y, bands, CORE)
    profile = np.exp(-0.5 * (node_radii(CORE, np.arange(NODES)) / SIGMA) ** 2) / (2 * np.pi * SIGMA**2)
    models = (flux[:, None, None] * np.array([1.0, 0.7])[:bands, None] * profile).astype(np.float32)
    form = at.form.copy()
    form[1::2] = 1.1, 0.2, 1.3
    return Places(at.pixels, at.offsets, form, models, CORE)
