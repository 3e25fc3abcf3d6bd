"""Forced photometry: given positions and shapes, on any image that shows the same sky."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...catalog.flags import SOURCE
from ...kernels import radial
from ...kernels._pixels import Places, node_radii, nodes_within
from . import profiles
from .fitting import LEAST_RADIUS, NOWHERE, SKY, TRUST, Device, draw, ellipses, forms, nearest_ratio
from .frame import Frame
from .noise import noise_factor

if TYPE_CHECKING:
    from ...products import Catalog, Image

FULL = 0.999
HALF2 = profiles.HALF_LIGHT_PER_SIGMA**2
REACH = 2.0
"""Pixels are fitted within this many half-light semi-major axes, and a FWHM of the PSF beyond."""


@dataclass(frozen=True)
class Shapes:
    """Sérsic models before the PSF, (n,) each, in the pixels of the image they were measured on.

    Attributes:
        size: half-light semi-major axis in pixels; 0 for a star.
        index: Sérsic index.
        ratio: axis ratio.
        theta: angle of the major axis from +x to +y, radians.
    """

    size: np.ndarray
    index: np.ndarray
    ratio: np.ndarray
    theta: np.ndarray


def shapes_of(sources: Catalog, photometry: Catalog | None, method: str, band: str | None) -> Shapes:
    """Return the shapes that a photometry table gives to sources; stars where it gives none."""
    n = len(sources)
    found = {name: np.zeros(n) for name in ("sersic_radius", "n_sersic", "semi_major", "semi_minor", "theta")}
    if photometry is not None and n:
        rows = np.flatnonzero((photometry.column("method") == method) & ((photometry.column("band") == band) if band else True))
        ids = photometry.column("source_id")[rows]
        ids, first = np.unique(ids, return_index=True)
        place = np.clip(np.searchsorted(ids, sources.column("source_id")), 0, max(len(ids) - 1, 0))
        there = ids[place] == sources.column("source_id") if len(ids) else np.zeros(n, bool)
        for name in found:
            if len(ids):
                found[name] = np.where(there, np.nan_to_num(photometry.column(name)[rows[first]][place].astype(float)), 0)
    size = found["sersic_radius"]
    # The PSF adds the same to the moments along both axes, so that their difference is the galaxy's own.
    flattening = HALF2 * (found["semi_major"] ** 2 - found["semi_minor"] ** 2) / np.maximum(size, 1e-6) ** 2
    ratio = np.where(size > 0, np.sqrt(np.clip(1 - flattening, 0.01, 1)), 1.0)
    return Shapes(size, np.where(size > 0, found["n_sersic"], 1.0), ratio, np.radians(found["theta"]))


def places_on(image: Image, sources: Catalog) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, 2) pixels of sources on an image, and the (2, 2) map from steps in their own pixels to steps in its.

    By world coordinates where both sides have them; the map is the least squares of all sources' own positions.
    """
    own = np.stack([sources.column("x"), sources.column("y")], 1).astype(float)
    ra, dec = sources.column("ra"), sources.column("dec")
    known = np.isfinite(ra) & np.isfinite(dec)
    if image.wcs is None or not known.any():
        return own, np.eye(2)
    from astropy.coordinates import SkyCoord

    at = np.full(own.shape, np.nan)
    at[known] = np.stack(image.wcs.world_to_pixel(SkyCoord(ra[known], dec[known], unit="deg")), 1)
    known &= np.isfinite(at).all(1)
    steps, seen = own[known] - own[known].mean(0), at[known] - at[known].mean(0)
    if known.sum() < 3 or np.linalg.matrix_rank(steps) < 2:
        return at, np.eye(2)
    return at, np.linalg.lstsq(steps, seen, rcond=None)[0].T


def turned(shapes: Shapes, steps: np.ndarray) -> Shapes:
    """Return shapes after a (2, 2) map of steps."""
    along = np.stack([np.cos(shapes.theta), np.sin(shapes.theta)], 1)
    across = np.stack([-along[:, 1], along[:, 0]], 1) * (shapes.size * shapes.ratio)[:, None]
    axes = np.stack([along * shapes.size[:, None], across], 2)
    full = np.einsum("ij,njk,nlk,ml->nim", steps, axes, axes, steps)
    major, minor, theta = ellipses(full[:, [0, 0, 1], [0, 1, 1]])
    return replace(shapes, size=major, ratio=np.where(major > 0, minor / np.where(major > 0, major, 1), 1.0), theta=theta)


def unit_models(field: Frame, shapes: Shapes, ratio: np.ndarray, n_nodes: int) -> np.ndarray:
    """Return (n, band, node), each source's model of unit flux, between those of the family."""
    sizes = np.geomspace(profiles.SMALLEST, profiles.LARGEST, profiles.SIZES) * field.fwhm
    indices = np.array(profiles.INDICES)
    place = np.clip(np.log(np.maximum(shapes.size, 1e-6) / sizes[0]) / np.log(sizes[1] / sizes[0]), 0, len(sizes) - 1.001)
    level = np.clip(np.interp(shapes.index, indices, np.arange(len(indices))), 0, len(indices) - 1.001)
    s, k = place.astype(int), level.astype(int)
    fs, fk = (place - s)[:, None], (level - k)[:, None]
    star = (shapes.size < sizes[0] / 2)[:, None]
    result = np.empty((len(ratio), len(field.psf), n_nodes), np.float32)
    for b, stamp in enumerate(field.psf):
        table = profiles.build(stamp, field.point, field.core, n_nodes, rounding=field.rounding).values.transpose(0, 2, 1)

        def at(i: np.ndarray, j: np.ndarray, table: np.ndarray = table) -> np.ndarray:
            values: np.ndarray = table[ratio, 1 + i * len(sizes) + j]
            return values

        galaxy = (1 - fk) * ((1 - fs) * at(k, s) + fs * at(k, s + 1)) + fk * ((1 - fs) * at(k + 1, s) + fs * at(k + 1, s + 1))
        result[:, b] = np.where(star, table[ratio, 0], galaxy)
    return result


def solve(sums: tuple[np.ndarray, ...], unit: np.ndarray, counts: np.ndarray, sky: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, band) flux and error of one model a source, a constant local sky of known inverse variance taken out."""
    light, gram, cross = (s.astype(float) for s in sums)
    inside = np.arange(unit.shape[2]) < counts[:, None, None]
    p = np.where(inside, unit, 0).astype(float)
    rows = gram + cross
    rows[..., 1:] += cross[..., :-1]
    level = rows.sum(2) + sky
    shared = np.sum(p * rows, 2)
    precision = np.sum(gram * p**2, 2) + 2 * np.sum(cross[..., :-1] * p[..., :-1] * p[..., 1:], 2) - shared**2 / level
    seen = precision > 0
    safe = np.where(seen, precision, 1.0)
    flux = (np.sum(p * light, 2) - shared * light.sum(2) / level) / safe
    return np.where(seen, flux, np.nan), np.where(seen, 1 / np.sqrt(safe), np.nan)


def forced_columns(
    field: Frame, image: Image, sources: Catalog, photometry: Catalog | None, method: str, band: str | None, rounds: int, device: Device,
    warn: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Return the columns of forced photometry, a row a source and band.

    Args:
        field: the image made ready.
        image: the image.
        sources: where to measure.
        photometry: rows with shapes, or None for stars.
        method: the method of these rows.
        band: their band; the first that a source has for None.
        rounds: how often to subtract neighbours.
        device: where to calculate.
        warn: called with a sentence where something has to be assumed.
    """
    n, bands = len(sources), len(image.bands)
    position, jacobian = places_on(image, sources)
    shapes = turned(shapes_of(sources, photometry, method, band), field.rounding @ jacobian)
    if photometry is not None and n and not (shapes.size > 0).any():
        warn(f"no row of method {method!r} gives a shape: all sources are measured as stars")
    known = np.isfinite(position).all(1)
    size2 = shapes.size**2 / HALF2
    seen = np.sqrt((shapes.ratio**2 * size2 + field.point) / (size2 + field.point))
    ratio = nearest_ratio(seen)
    q = np.array(profiles.AXIS_RATIOS)[ratio]
    # of the same area in the family's ellipse
    shapes = replace(shapes, size=np.where(shapes.size > 0, profiles.resized(shapes.size, field.point, seen / q), 0))
    reach = np.maximum(LEAST_RADIUS * field.fwhm, REACH * shapes.size + field.fwhm)
    n_nodes = int(nodes_within(field.core, np.array(max(float(reach.max(initial=0)), LEAST_RADIUS * field.fwhm))))
    counts = nodes_within(field.core, reach)
    unit = unit_models(field, shapes, ratio, n_nodes)
    at = np.where(known[:, None], position, NOWHERE)
    places = replace(Places.at(at[:, 0], at[:, 1], bands, field.core), form=forms(field, ratio, shapes.theta), models=0 * unit)
    planes = field.planes
    sky = 1 / (SKY * field.noise) ** 2
    for turn in range(rounds + 1):
        if turn:
            planes = draw(field, places, device)
        *sums, used = radial.KERNEL.on(device)(planes, places, counts, n_nodes, TRUST)
        flux, error = solve(tuple(sums), unit, counts, sky)
        places = replace(places, models=(np.nan_to_num(flux)[:, :, None] * unit).astype(np.float32))
    free = np.zeros(image.data.shape[1:], np.int32)
    factor = noise_factor(field, draw(field, places, device), free, device)
    radius = node_radii(field.core, counts - 1.0)
    whole = np.pi * radius**2 * q
    ny, nx = image.data.shape[1:]
    inside = (at >= radius[:, None]).all(1) & (at <= np.array([nx - 1, ny - 1]) - radius[:, None]).all(1)
    covered = used[:, 1:] / np.where(inside, np.maximum(used[:, 0], 1), np.maximum(whole, used[:, 0]))[:, None]
    flags = SOURCE["NO_FLUX"] * ~np.isfinite(flux)
    flags |= (SOURCE["APERTURE_TRUNCATED"] * (used[:, 0] < 0.97 * whole))[:, None]
    flags |= SOURCE["APERTURE_MASKED"] * (used[:, 1:] < FULL * used[:, :1])
    return {
        **{name: np.repeat(sources.column(name), bands) for name in ("source_id", "tile_id")},
        **{
            name: np.repeat(values, bands)
            for name, values in (("radius", radius), ("sersic_radius", shapes.size), ("n_sersic", shapes.index))
        },
        "flux": flux.ravel(),
        "flux_err": (error * factor).ravel(),
        "masked_fraction": np.clip(1 - covered, 0, 1).ravel(),
        "flags": flags.ravel(),
        "band": np.tile(np.array(image.bands, dtype=object), n),
    }
