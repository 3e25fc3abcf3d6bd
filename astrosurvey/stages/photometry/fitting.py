"""Model photometry of all sources of an image: windowed centroids, radial fits, neighbours subtracted in turns.

First each source is measured with its neighbours' footprints left out. Then, round after round, all models are
drawn, and each source is measured again in the image from which all models but its own are subtracted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...catalog.flags import UNUSABLE
from ...core.stage import DataError
from ...kernels import centroid, posterior, radial, render
from ...kernels._pixels import Places, Planes, node_radii, nodes_within
from ..detection.filter import FWHM_PER_SIGMA, choose_bands, smoothing
from . import profiles

if TYPE_CHECKING:
    from ...products import Image

Device = Literal["cpu", "cuda"]

STAR = 0.4
"""Probability, before a look at the pixels, that a source is a star; the galaxies share the rest."""
SPREAD, TAIL = 0.5, 3.0
"""Scatter of the log of galaxies' sizes before a look at the pixels, and the degrees of freedom of its Student distribution."""
TRUST = 0.05
"""Relative error of neighbours' models."""
BLUNT = 0.007
"""Relative error of the models themselves."""
SKY = 0.05
"""Error of the local sky, in units of the noise of a pixel."""
DRAWN = 0.02
"""Models are drawn out to where they fall below this part of the noise of a pixel."""
CORE = 1.18
"""Scale of the nodes, in sigmas of a star."""
LEAST_RADIUS = 3.0
"""Pixels are fitted within this many FWHM of the PSF at least."""
SAMPLES = 2500
FEWEST = 50
"""Places on a square image where stars are fitted to the sky, and how many it takes to trust their scatter."""
NOWHERE = -(2.0**20)
"""Where sources without a position are looked for: off every image."""
MOFFAT_BETA = 3.5


@dataclass(frozen=True)
class Frame:
    """An image made ready to be measured.

    Attributes:
        planes: its planes, footprints included.
        psf: (y, x) stamp of each band.
        point: pixel^2, variance along an axis of a star's matched Gaussian, in the mean of the bands used for shapes.
        weights: (band,) of that mean.
        noise: (band,) standard deviation of a typical pixel.
    """

    planes: Planes
    psf: Sequence[np.ndarray]
    point: float
    weights: np.ndarray
    noise: np.ndarray

    @property
    def core(self) -> float:
        """The scale of the nodes in pixels."""
        return float(CORE * np.sqrt(self.point))

    @property
    def fwhm(self) -> float:
        """FWHM in pixels of a star's matched Gaussian."""
        return float(FWHM_PER_SIGMA * np.sqrt(self.point))


def moffat(fwhm: float) -> np.ndarray:
    """Return a stamp of a Moffat profile, for images that come without a PSF."""
    reach = int(np.ceil(4 * max(fwhm, 1.0)))
    steps = np.arange(-reach, reach + 1)
    r2 = steps**2 + steps[:, None] ** 2
    stamp: np.ndarray = (1 + r2 * (2 ** (1 / MOFFAT_BETA) - 1) / (max(fwhm, 1.0) / 2) ** 2) ** -MOFFAT_BETA
    return stamp / stamp.sum()


def frame(image: Image, labels: np.ndarray | None, bands: Sequence[str] | None, warn: Callable[[str], None]) -> Frame:
    """Return an image made ready to be measured.

    Args:
        image: with variance, sky-subtracted.
        labels: (y, x) footprints, label i + 1 source i's; None for none.
        bands: those that positions and shapes are taken from; all for None.
        warn: called with a sentence where something has to be assumed.

    Raises:
        DataError: the image has no variance, or not the bands.
    """
    if image.variance is None:
        raise DataError("the image has no variance, so there is no noise to weigh pixels by; put a background.mesh stage before")
    chosen = choose_bands(image, bands)
    if image.psf is not None:
        stamps: Sequence[np.ndarray] = [stamp.astype(float) for stamp in image.psf]
    else:
        widths, origin = smoothing(image, None)
        warn(f"the image has no PSF: taking Moffat profiles of FWHM {', '.join(f'{w:.3g}' for w in widths)} px ({origin})")
        stamps = [moffat(float(w)) for w in widths]
    noise = np.array([_noise(plane) for plane in image.variance])
    weights = np.zeros(len(noise))
    weights[chosen] = 1 / noise[chosen] ** 2
    weights /= weights.sum()
    planes = Planes(image.data, image.variance)
    if image.mask is not None:
        planes = replace(planes, mask=image.mask, unusable=UNUSABLE)
    if labels is not None:
        planes = replace(planes, labels=labels)
    return Frame(planes, stamps, _point(stamps, weights), weights, noise)


def _noise(variance: np.ndarray) -> float:
    """Return the median standard deviation of the pixels of a band, of a lattice of them where there are many; 1 if unknown."""
    step = max(int(np.sqrt(variance.size) / 256), 1)
    some = variance[::step, ::step]
    some = some[np.isfinite(some) & (some > 0)]
    return float(np.sqrt(np.median(some))) if some.size else 1.0


def _point(stamps: Sequence[np.ndarray], weights: np.ndarray) -> float:
    """Return the variance along an axis of the Gaussian matched to the mean PSF."""
    mean = np.sum([w * stamp for w, stamp in zip(weights, stamps, strict=True)], 0)[None]
    ny, nx = mean.shape[1:]
    at = Places.at(np.array([nx // 2]), np.array([ny // 2]), 1, 1.0)
    planes = Planes(mean, np.full(mean.shape, 1e-12))
    most = np.array([max(min(nx, ny) / 6, 1.0) ** 2])
    _, _, (m,), _, _ = centroid.reference(planes, at, np.ones(1), 0.1, most, np.array([[1.0, 0.0, 1.0]]))
    return float(max((m[0] + m[2]) / 2, 0.1))


@dataclass(frozen=True)
class Fitted:
    """What was measured of n sources.

    Attributes:
        places: positions, ellipses and models.
        planes: the image with all models, as the last round saw it.
        drawn: the sources as those models were drawn.
        covariance: (n, 3) pixel^2: xx, xy, yy of the positions; NaN where there is no windowed centroid.
        centred: (n,) bool, whether the position is a windowed centroid.
        moments: (n, 3) pixel^2, of the matched Gaussian, PSF included.
        ratio: (n,) which of `profiles.AXIS_RATIOS`.
        radius: (n,) pixels along the major axis that were fitted.
        flux, error: (n, band).
        covered: (n, band) part of the ellipse with usable pixels.
        clipped: (n,) bool, whether the ellipse reaches beyond the image.
        outside: (n,) part of the model's light beyond the ellipse.
        size, index, half_light: (n,) mean Sérsic half-light radius before the PSF, mean index, and observed half-light radius.
        star: (n,) probability of the star's model.
    """

    places: Places
    planes: Planes
    drawn: Places
    covariance: np.ndarray
    centred: np.ndarray
    moments: np.ndarray
    ratio: np.ndarray
    radius: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    covered: np.ndarray
    clipped: np.ndarray
    outside: np.ndarray
    size: np.ndarray
    index: np.ndarray
    half_light: np.ndarray
    star: np.ndarray


def ellipses(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return semi-major and semi-minor axis (one sigma) and angle from +x to +y in radians of (n, 3) second moments."""
    xx, xy, yy = moments.astype(float).T
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return np.sqrt(mean + half), np.sqrt(np.maximum(mean - half, 0)), 0.5 * np.arctan2(2 * xy, xx - yy)


def forms(ratio: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return the quadratic forms of the elliptical radius for (n,) indices of axis ratios and angles."""
    steep = 1 / np.array(profiles.AXIS_RATIOS)[ratio] ** 2
    c, s = np.cos(theta), np.sin(theta)
    return np.stack([c * c + s * s * steep, c * s * (1 - steep), s * s + c * c * steep], 1).astype(np.float32)


def nearest_ratio(ratio: np.ndarray) -> np.ndarray:
    """Return the index of the nearest of `profiles.AXIS_RATIOS`, (n,) int32."""
    distance = np.abs(np.log(np.maximum(ratio, 1e-3))[:, None] - np.log(profiles.AXIS_RATIOS))
    return distance.argmin(1).astype(np.int32)


def tables(field: Frame, n_nodes: int) -> list[profiles.Models]:
    """Return the models of every band, all of the same sizes."""
    return [profiles.build(stamp, field.point, field.core, n_nodes) for stamp in field.psf]


def log_prior(log_size: np.ndarray) -> np.ndarray:
    """Return the log of the models' probabilities before a look at the pixels, (model,).

    Args:
        log_size: log of their sizes over the typical one; -inf for the star, which is the first.
    """
    student = -0.5 * (TAIL + 1) * np.log1p((log_size[1:] / SPREAD) ** 2 / TAIL)
    student += np.log(1 - STAR) - np.log(np.exp(student).sum())
    return np.concatenate([[np.log(STAR)], student])


def drawn_nodes(field: Frame, places: Places) -> np.ndarray:
    """Return how many nodes of each source's model are above a small part of the noise; at least 2."""
    seen = (np.abs(places.models) > DRAWN * field.noise[:, None]).any(1)
    last = np.where(seen.any(1), seen.shape[1] - seen[:, ::-1].argmax(1), 0)
    return np.clip(last + 1, 2, seen.shape[1]).astype(np.int32)


def draw(field: Frame, places: Places, device: Device) -> Planes:
    """Return the image with the sum of all models in the place of footprints."""
    model = render.KERNEL.on(device)(field.planes.data.shape[1:], places, drawn_nodes(field, places))
    return replace(field.planes, labels=np.zeros((0, 0), np.int32), model=model)


def measure(
    field: Frame, x: np.ndarray, y: np.ndarray, n_pixels: np.ndarray, typical: float, rounds: int, device: Device,
    progress: Callable[[int, int], None],
) -> Fitted:  # fmt: skip
    """Return positions, shapes and total fluxes of sources.

    Args:
        field: the image.
        x, y: (n,) where they were found, pixels.
        n_pixels: (n,) pixels of their footprints.
        typical: half-light radius that galaxies are expected to have before a look at the pixels, in FWHM of the PSF.
        rounds: how often to subtract neighbours, at least once.
        device: where to calculate.
        progress: called with (done, total).
    """
    n, bands = len(x), len(field.psf)
    start = np.stack([x, y], 1).astype(float)
    start = np.where(np.isfinite(start).all(1, keepdims=True), start, NOWHERE)
    isophote = np.sqrt(n_pixels / np.pi)
    most = np.maximum(2 * field.point, (isophote / 2) ** 2)
    places = Places.at(start[:, 0], start[:, 1], bands, field.core)
    window = np.tile([field.point, 0.0, field.point], (n, 1))
    largest = max(LEAST_RADIUS * field.fwhm, 1.2 * float(isophote.max(initial=0)) / profiles.AXIS_RATIOS[-1] ** 0.5 + field.fwhm)
    n_nodes = int(nodes_within(field.core, np.array(largest)))
    family = tables(field, n_nodes)
    models = np.stack([one.values for one in family]).astype(np.float32)
    linked, prior = family[0].linked, log_prior(family[0].log_size - np.log(typical * field.fwhm))
    planes, moved, ratio = field.planes, places, np.zeros(n, np.int32)
    for turn in range(rounds + 1):
        progress(turn, rounds + 1)
        if turn:
            planes = draw(field, places, device)
        centre, covariance, moments, _, status = centroid.KERNEL.on(device)(planes, places, field.weights, field.point, most, window)
        found = status == centroid.FOUND
        window = np.where(found[:, None], moments, window)
        major, minor, theta = ellipses(window)
        before, ratio = ratio, nearest_ratio(minor / major)
        moved = places.moved(np.where(found[:, None], places.pixels + centre.astype(float), places.position))
        moved = replace(moved, form=forms(ratio, theta))
        if turn:
            # The models move with their sources before these are measured, so that a source's own is where it was drawn.
            narrower = np.array(profiles.AXIS_RATIOS)[before] / np.array(profiles.AXIS_RATIOS)[ratio]
            moved = replace(moved, models=(moved.models * narrower[:, None, None]).astype(np.float32))
            planes = draw(field, moved, device)
        reach = np.maximum(LEAST_RADIUS * field.fwhm, 1.2 * isophote / np.sqrt(np.array(profiles.AXIS_RATIOS)[ratio]) + field.fwhm)
        counts = np.minimum(nodes_within(field.core, reach), n_nodes)
        *sums, used = radial.KERNEL.on(device)(planes, moved, counts, n_nodes, TRUST)
        flux, error, chance, mean = posterior.KERNEL.on(device)(
            tuple(sums), counts, models, linked, ratio, prior, field.weights > 0, 1 / (SKY * field.noise) ** 2, BLUNT
        )
        places = replace(moved, models=mean)
    progress(rounds + 1, rounds + 1)
    radius = node_radii(field.core, counts - 1.0)
    weights = chance.astype(float)
    galaxy = np.maximum(weights[:, 1:].sum(1), 1e-12)
    first = int(np.flatnonzero(field.weights)[0])
    area = np.pi * radius**2 * np.array(profiles.AXIS_RATIOS)[ratio]
    half_x, half_y = (
        np.sqrt(radius**2 * moved.form[:, 2 - 2 * k] / (moved.form[:, 0] * moved.form[:, 2] - moved.form[:, 1] ** 2)) for k in (0, 1)
    )
    ny, nx = field.planes.data.shape[1:]
    px, py = places.position.T
    clipped = (px - half_x < 0) | (px + half_x > nx - 1) | (py - half_y < 0) | (py + half_y > ny - 1)
    return Fitted(
        places=places,
        planes=planes,
        drawn=moved,
        covariance=np.where(found[:, None], covariance, np.nan).astype(float),
        centred=found,
        moments=window,
        ratio=ratio,
        radius=radius,
        flux=flux,
        error=error,
        covered=used[:, 1:] / np.where(clipped, np.maximum(area, used[:, 0]), np.maximum(used[:, 0], 1))[:, None],
        clipped=clipped,
        outside=1 - np.sum(weights * family[first].growth[ratio, counts - 1], 1),
        # As wide as the models are in the ellipse they were fitted in, given for the ellipse that was measured.
        size=galaxy
        * profiles.resized(
            np.exp(np.sum(weights[:, 1:] * family[first].log_size[1:], 1) / galaxy),
            field.point,
            np.array(profiles.AXIS_RATIOS)[ratio] * major / minor,
        ),
        index=np.sum(weights[:, 1:] * family[first].index[1:], 1) / galaxy,
        half_light=np.sum(weights * family[first].half_light[ratio], 1) * np.sqrt(np.array(profiles.AXIS_RATIOS)[ratio]),
        star=weights[:, 0],
    )


def noise_factor(field: Frame, planes: Planes, labels: np.ndarray, device: Device) -> np.ndarray:
    """Return by how much the noise of a star's flux exceeds what independent pixels would give, (band,).

    Stars are fitted where there are none, on a lattice of sky pixels. The scatter of flux over error is what
    correlated noise and undetected sources make of it.

    Args:
        field: the image.
        planes: it, with the sources' models.
        labels: (y, x) footprints, which are avoided.
        device: where to calculate.

    Returns:
        1 where fewer than fifty places are free.
    """
    ny, nx = labels.shape
    gap = int(np.ceil(field.fwhm))
    step = max(int(np.sqrt(labels.size / SAMPLES)), gap)
    y, x = (a.ravel() for a in np.meshgrid(np.arange(gap, ny - gap, step), np.arange(gap, nx - gap, step), indexing="ij"))
    for dy in (-gap, 0, gap):
        for dx in (-gap, 0, gap):
            free = labels[y + dy, x + dx] == 0
            y, x = y[free], x[free]
    factor = np.ones(len(field.psf))
    if len(x) < FEWEST:
        return factor
    reach = 2 * field.fwhm
    n_nodes = int(nodes_within(field.core, np.array(reach)))
    stars = np.stack([profiles.build(stamp, field.point, field.core, n_nodes, np.zeros(0)).values for stamp in field.psf])
    counts = np.full(len(x), n_nodes, np.int32)
    places = Places.at(x.astype(float), y.astype(float), len(field.psf), field.core)
    *sums, _ = radial.KERNEL.on(device)(planes, places, counts, n_nodes, TRUST)
    for b in range(len(factor)):
        one = tuple(s[:, b : b + 1] for s in sums)
        flux, error, _, _ = posterior.KERNEL.on(device)(
            one,
            counts,
            stars[b : b + 1].astype(np.float32),
            np.zeros(1, bool),
            np.zeros(len(x), np.int32),
            np.zeros(1),
            np.ones(1, bool),
            np.array([1e12]),
            0.0,
        )
        pull = (flux / error)[np.isfinite(flux) & (error > 0)]
        if pull.size >= FEWEST:
            low, high = np.percentile(pull, [15.865, 84.135])
            factor[b] = max((high - low) / 2, 0.1)
    return factor
