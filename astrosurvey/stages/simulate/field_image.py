"""From a field's objects to its image, its truth table and its true segmentation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from ...catalog.footprint import describe
from ...catalog.ids import object_ids
from ...catalog.ownership import primary
from ...core.tiles import Box, Tile
from ...products import Catalog, Fractions, Image, Segmentation
from .exposure import tangent_wcs
from .field_draw import Field, draw_field
from .real import Templates
from .render import matched_norms, render, smoothing_loss

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from .field import SimulateField

TRIM = 0.03
"""An object's fractions end where its light falls below this part of a pixel's noise."""


@dataclass(frozen=True)
class Made:
    """A field, rendered.

    Attributes:
        field: what it holds.
        image: with noise, variance and the point-spread function.
        truth: a row for each object and band, the brightest object first.
        segmentation: label k is the k-th object of the truth, counted from one.
        fractions: source k is the k-th object of the truth: its part of the light of all objects.
    """

    field: Field
    image: Image
    truth: Catalog
    segmentation: Segmentation
    fractions: Fractions


def field(
    config: SimulateField.Config,
    tile: Tile,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] = lambda done, total: None,
    templates: Templates | None = None,
) -> Made:
    """Return a random field of the size of a tile's window.

    Args:
        config: the settings of `simulate.field`.
        tile: a tile that has a window.
        rng: draws everything.
        progress: called with (done, total).
        templates: real galaxies, of which `config.real_fraction` of the galaxies get their looks.
    """
    assert tile.window is not None
    drawn = draw_field(rng, config, tile.window.shape, len(templates) if templates is not None else 0)
    return imaged(drawn, config, tile, rng, progress, templates)


def imaged(
    drawn: Field,
    config: SimulateField.Config,
    tile: Tile,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] = lambda done, total: None,
    templates: Templates | None = None,
) -> Made:
    """Return a given field as a camera sees it.

    Args:
        drawn: what the field holds.
        config: the settings of `simulate.field`, of which sky, noise, bands and pixels count.
        tile: a tile that has a window.
        rng: draws the noise.
        progress: called with (done, total).
        templates: real galaxies that objects may look like.
    """
    assert tile.window is not None
    shape = tile.window.shape
    light, labels, snr, parts = compose(drawn, shape, config, progress, templates)
    data = light + sky(config, drawn, shape) + noise(rng, light.shape, config.noise, drawn.correlation)
    wcs = tangent_wcs(config.center, config.pixel_scale, tile.window)
    meta = {
        "origin": "simulate.field",
        "seeing": {band: round(float(w) * config.pixel_scale, 4) for band, w in zip(config.bands, drawn.psf.fwhm, strict=True)},
        "noise_correlation": round(drawn.correlation, 4),
    }
    image = Image(
        data.astype(np.float32),
        config.bands,
        variance=np.full(data.shape, config.noise**2, np.float32),
        psf=drawn.psf.stamp(),
        wcs=wcs,
        meta=meta,
    )
    return Made(drawn, image, truth(drawn, snr, config, tile, wcs), Segmentation(labels), parts)


def compose(
    drawn: Field,
    shape: tuple[int, int],
    config: SimulateField.Config,
    progress: Callable[[int, int], None] = lambda done, total: None,
    templates: Templates | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Fractions]:
    """Add up the light of all objects.

    Returns:
        light: (band, y, x) float32.
        labels: (y, x) int32, the object that is the brightest in a pixel and there above the mask level, counted from one.
        snr: (n, band) matched-filter signal-to-noise ratio of each object as if it were alone.
        fractions: each object's part of the light, in each band; its box ends where it fades below `TRIM` of the noise.
    """
    bodies = drawn.bodies
    n_bands = len(config.bands)
    light = np.zeros((n_bands, *shape), np.float32)
    brightest = np.full(shape, config.mask_level * config.noise * math.sqrt(n_bands), np.float32)
    labels = np.zeros(shape, np.int32)
    snr = np.zeros((len(bodies), n_bands))
    boxes, own_light = np.zeros((len(bodies), 4), np.int64), [np.zeros((n_bands, 0, 0), np.float32)] * len(bodies)
    done = 0
    for which, x0, y0, stamps in render(bodies, drawn.psf, np.full(n_bands, config.noise), templates):
        snr[which] = matched_norms(stamps, drawn.correlation) / config.noise
        size = stamps.shape[-1]
        for i, x, y, stamp in zip(which.tolist(), x0.tolist(), y0.tolist(), stamps, strict=True):
            rows, columns = slice(max(y, 0), min(y + size, shape[0])), slice(max(x, 0), min(x + size, shape[1]))
            part = stamp[:, rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
            light[:, rows, columns] += part
            boxes[i], own_light[i] = _trimmed(part, rows.start, columns.start, TRIM * config.noise)
            own, best = part.sum(axis=0) if n_bands > 1 else part[0], brightest[rows, columns]
            ahead = own > best
            best[ahead] = own[ahead]
            labels[rows, columns][ahead] = i + 1
        done += len(which)
        progress(done, len(bodies))
    return light, labels, snr, _fractions(light.shape, boxes, own_light, config.bands)


def _fractions(shape: tuple[int, int, int], boxes: np.ndarray, own_light: list[np.ndarray], bands: tuple[str, ...]) -> Fractions:
    """Return each object's part of the positive light of all: transforms ring a little below zero, and real galaxies have noise.

    Args:
        shape: (band, y, x) of the image.
        boxes: (n, 4) x_min, x_max, y_min, y_max.
        own_light: (n) of (band, y, x), what each object has in its box.
        bands: their names.
    """
    windows = [(slice(None), slice(y0, y1), slice(x0, x1)) for x0, x1, y0, y1 in boxes.tolist()]
    total = np.full(shape, np.finfo(np.float32).tiny, np.float32)
    for window, own in zip(windows, own_light, strict=True):
        total[window] += np.maximum(own, 0.0)
    parts = [np.maximum(own, 0.0) / total[window] for window, own in zip(windows, own_light, strict=True)]
    return Fractions.from_stamps((shape[1], shape[2]), boxes, parts, bands if len(bands) > 1 else ())


def _trimmed(part: np.ndarray, y0: int, x0: int, level: float) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """Return the box (x_min, x_max, y_min, y_max) of the pixels above a level, at least one, and the light in it.

    Args:
        part: (band, y, x) an object's light, the first pixel being (y0, x0) of the image.
        y0, x0: row and column.
        level: light per pixel.
    """
    above = part.max(axis=0) > level
    if not above.any():
        above[np.unravel_index(np.argmax(part[0]), above.shape)] = True
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    a, b, c, d = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return (x0 + c, x0 + d, y0 + a, y0 + b), part[:, a:b, c:d].copy()


def sky(config: SimulateField.Config, drawn: Field, shape: tuple[int, int]) -> np.ndarray:
    """Return the sky's level, (y, x) float32: a tilted plane."""
    y, x = ((np.arange(n, dtype=np.float32) + 0.5) / n - 0.5 for n in shape)
    slope = y[:, None] * math.sin(drawn.direction) + x * math.cos(drawn.direction)
    return np.asarray(config.sky * (1.0 + drawn.gradient * slope), np.float32)


def noise(rng: np.random.Generator, shape: tuple[int, int, int], sigma: float, correlation: float) -> np.ndarray:
    """Return Gaussian noise, (band, y, x) float32, of a given standard deviation, smoothed by a Gaussian of sigma `correlation`."""
    white = rng.standard_normal(shape, dtype=np.float32)
    if correlation > 0.0:
        white = gaussian_filter(white, correlation, axes=(1, 2), mode="wrap") / np.float32(math.sqrt(smoothing_loss(correlation)))
    return np.asarray(np.float32(sigma) * white)


def truth(drawn: Field, snr: np.ndarray, config: SimulateField.Config, tile: Tile, wcs: WCS) -> Catalog:
    """Return the truth table: a row for each object and band; its `meta["psf_fwhm"]` is the seeing in pixels."""
    assert tile.window is not None
    bodies, n_bands = drawn.bodies, len(config.bands)
    box: Box = tile.window
    widths = {band: round(float(width), 6) for band, width in zip(config.bands, drawn.psf.fwhm, strict=True)}
    meta = {"tile": describe(tile, box.shape, wcs), "psf_fwhm": widths}
    n = len(bodies)
    if n == 0:
        return Catalog.empty("truth", meta)
    star = bodies.half_light == 0.0
    ids = object_ids(tile.number, n)
    ra, dec = wcs.pixel_to_world_values(bodies.x, bodies.y)
    real = np.zeros(n, bool) if bodies.template is None else bodies.template >= 0
    stretch = np.where(real, np.nan, np.sqrt(bodies.ratio))
    of_galaxies = {
        "half_light_radius": bodies.half_light,
        "semi_major": bodies.half_light / stretch,
        "semi_minor": bodies.half_light * stretch,
        "theta": np.where(real, np.nan, np.rad2deg(bodies.theta)),
        "n_sersic": np.where(real, np.nan, bodies.index),
    }
    columns = {
        "truth_id": ids,
        "object_type": np.where(star, "star", "galaxy"),
        "x": bodies.x,
        "y": bodies.y,
        "ra": ra,
        "dec": dec,
        **{name: np.where(star, np.nan, values) for name, values in of_galaxies.items()},
        "pair_id": np.ma.masked_array(ids[_first_of_pair(drawn.pair)], drawn.pair < 0),
        "primary": primary(tile, bodies.x, bodies.y),
    }
    spread = {name: np.ma.repeat(v, n_bands) if isinstance(v, np.ma.MaskedArray) else np.repeat(v, n_bands) for name, v in columns.items()}
    return Catalog.from_columns(
        "truth",
        {**spread, "band": np.tile(config.bands, n), "tile_id": np.int64(tile.number), "flux": bodies.flux.ravel(), "snr": snr.ravel()},
        meta,
    )


def _first_of_pair(pair: np.ndarray) -> np.ndarray:
    """Return for each object the first member of its pair, or itself."""
    first = np.arange(len(pair))
    numbers, where, which = np.unique(pair, return_index=True, return_inverse=True)
    return np.where(pair >= 0, where[which], first) if len(numbers) else first
