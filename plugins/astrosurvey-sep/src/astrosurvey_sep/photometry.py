"""Automatic fluxes, by sep.kron_radius, sep.sum_ellipse and sep.flux_radius."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sep

from astrosurvey import Catalog, Context, DataError, Image, Segmentation
from astrosurvey.catalog.flags import SOURCE

from .pixels import Plane, combined, plane

if TYPE_CHECKING:
    from .stage import SepPhotometry

KRON_SEARCH = 6.0
"""Reach of the Kron radius' first moment in units of the ellipse's axes, as Source Extractor has it."""


class Shape(NamedTuple):
    """Ellipses of second moments: semi-axes in pixels, theta in radians from +x to +y; and where they could be measured."""

    a: np.ndarray
    b: np.ndarray
    theta: np.ndarray
    measured: np.ndarray


def measure(
    ctx: Context, image: Image, segmentation: Segmentation, sources: Catalog, before: Catalog | None, config: SepPhotometry.Config
) -> Mapping[str, Any]:
    """Return the sources as they came, and photometry rows after those measured before."""
    labels = np.array(segmentation.labels)
    if labels.shape != image.data.shape[1:] or int(labels.max()) != len(sources):
        raise DataError("segmentation and sources do not belong together; wire both from the same detection or deblending stage")
    if before is not None and config.method in set(before.column("method").tolist()):
        raise DataError(f"the photometry has rows of method {config.method} already; set `method` to a name of your own")
    good = image.usable()
    x, y = np.array(sources.column("x")), np.array(sources.column("y"))
    reference = combined(image, good)
    shape = moments(labels, reference, x, y)
    others = _neighbours(labels, config.neighbours, len(x))
    kron, _ = sep.kron_radius(reference.data, x, y, shape.a, shape.b, shape.theta, KRON_SEARCH, mask=reference.masked, **others)
    axis = np.maximum(config.factor * np.nan_to_num(kron, nan=0.0), config.minimum_radius)
    rows = []
    for band, name in enumerate(image.bands):
        rows.append({"band": np.full(len(x), name, object), **_fluxes(plane(image, good, band), x, y, shape, axis, others)})
        ctx.progress(band + 1, len(image.bands))
    # One row a source and band, the bands of a source together.
    columns = {key: np.stack([row[key] for row in rows], axis=1).ravel() for key in rows[0]}
    per_source = {
        "source_id": sources.column("source_id"),
        "tile_id": sources.column("tile_id"),
        "radius": axis * shape.a,
        "semi_major": np.where(shape.measured, shape.a, np.nan),
        "semi_minor": np.where(shape.measured, shape.b, np.nan),
        "theta": np.where(shape.measured, np.degrees(shape.theta), np.nan),
    }
    columns |= {key: np.repeat(values, len(image.bands)) for key, values in per_source.items()}
    columns["flags"] |= SOURCE["NO_SHAPE"] * np.repeat(~shape.measured, len(image.bands))
    columns["method"] = np.full(len(columns["band"]), config.method, object)
    own = Catalog.from_columns("photometry", columns, sources.meta)
    return {"sources": sources, "photometry": own if before is None else Catalog.concatenate([before, own], sources.meta)}


def moments(labels: np.ndarray, reference: Plane, x: np.ndarray, y: np.ndarray) -> Shape:
    """Return the ellipses of the flux-weighted second moments of each source's pixels.

    Args:
        labels: (y, x) int32; label i is source i - 1.
        reference: the pixels; negative ones weigh nothing.
        x: (n,) columns of the sources.
        y: (n,) rows of the sources.

    Returns:
        semi-axes of at least the width that a pixel itself has; circles of it where there is no flux.
    """
    n, least = len(x), 1 / np.sqrt(12)
    rows, columns = np.nonzero(labels)
    source = labels[rows, columns] - 1
    weight = np.maximum(reference.data[rows, columns].astype(np.float64), 0)
    total = np.bincount(source, weight, n)
    measured = total > 0
    safe = np.where(measured, total, 1)
    dx, dy = columns - x[source], rows - y[source]
    xx, yy, xy = (np.bincount(source, weight * term, n) / safe for term in (dx * dx, dy * dy, dx * dy))
    mean, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    a, b = np.sqrt(np.maximum(mean + spread, least**2)), np.sqrt(np.maximum(mean - spread, least**2))
    # sep wants theta within a quarter turn, where rounding may not put it.
    theta = np.clip(0.5 * np.arctan2(2 * xy, xx - yy), -np.pi / 2, np.pi / 2)
    return Shape(np.where(measured, a, least), np.where(measured, b, least), np.where(measured, theta, 0), measured)


def _neighbours(labels: np.ndarray, wish: str, n: int) -> dict[str, Any]:
    """Return sep's arguments about pixels of other sources: with a positive id, it replaces them as masked ones."""
    if wish == "keep" or n == 0:
        return {}
    return {"segmap": labels, "seg_id": np.arange(1, n + 1, dtype=np.int32)}


def _fluxes(pixels: Plane, x: np.ndarray, y: np.ndarray, shape: Shape, axis: np.ndarray, others: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return flux, error, half-light radius, masked fraction and flags in one band, (n,) each.

    `axis` is the size of the ellipses in units of their semi-axes.
    """
    a, b, theta = shape.a, shape.b, shape.theta
    flux, error, flag = sep.sum_ellipse(pixels.data, x, y, a, b, theta, axis, err=pixels.error, mask=pixels.masked, subpix=0, **others)
    area = np.pi * a * b * axis**2
    lost, _, _ = sep.sum_ellipse(pixels.masked.astype(np.float32), x, y, a, b, theta, axis, subpix=0)
    half, half_flag = sep.flux_radius(pixels.data, x, y, axis * a, 0.5, normflux=flux, mask=pixels.masked, subpix=5, **others)
    hopeless = ((flag & sep.APER_ALLMASKED) != 0) | ~np.isfinite(flux) | (lost >= 0.999 * area)
    flags = SOURCE["APERTURE_TRUNCATED"] * ((flag & sep.APER_TRUNC) != 0)
    flags |= SOURCE["APERTURE_MASKED"] * (lost > 0)
    flags |= SOURCE["NO_FLUX"] * hopeless
    return {
        "flux": np.where(hopeless, np.nan, flux),
        "flux_err": np.where(hopeless, np.nan, error),
        "half_light_radius": np.where(hopeless | (half_flag != 0) | ~(half > 0), np.nan, half),
        "masked_fraction": np.clip(lost / area, 0, 1),
        "flags": flags.astype(np.int64),
    }
