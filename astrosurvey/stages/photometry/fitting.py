"""Model photometry of all sources of an image: windowed centroids, radial fits, neighbours subtracted in turns.

First each source is measured with its neighbours' footprints left out. Then, round after round, all models are
drawn, and each source is measured again in the image from which all models but its own are subtracted. Where
it is known whose part each pixel is, each source is measured once, on its part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...kernels import centroid, posterior, radial, render
from ...kernels._pixels import Places, Planes, node_radii, nodes_within
from ...kernels._window import EXTENT
from . import profiles
from .apertures import Shares
from .frame import Frame
from .sheets import Sheets, lay

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
LEAST_RADIUS = 3.0
"""Pixels are fitted within this many FWHM of the PSF at least."""
NOWHERE = -(2.0**20)
"""Where sources without a position are looked for: off every image."""


@dataclass(frozen=True)
class Fitted:
    """What was measured of n sources.

    Attributes:
        places: positions, ellipses and models.
        planes: the image with all models, as the last round saw it.
        drawn: the sources as those models were drawn.
        sheets: each source's part of the image, if it was measured on that.
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
    sheets: Sheets | None
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

    def alone(self) -> tuple[Planes, Places]:
        """Return planes and places on which more can be measured of each source without its neighbours."""
        return (self.planes, self.drawn) if self.sheets is None else (self.sheets.planes, self.sheets.places(self.drawn))


def ellipses(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return semi-major and semi-minor axis (one sigma) and angle from +x to +y in radians of (n, 3) second moments."""
    xx, xy, yy = moments.astype(float).T
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return np.sqrt(mean + half), np.sqrt(np.maximum(mean - half, 0)), 0.5 * np.arctan2(2 * xy, xx - yy)


def forms(field: Frame, ratio: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return the quadratic forms of the elliptical radius on the image.

    Args:
        field: the image.
        ratio: (n,) indices of axis ratios, where stars are round.
        theta: (n,) angles of the major axis there, radians.
    """
    steep = 1 / np.array(profiles.AXIS_RATIOS)[ratio] ** 2
    c, s = np.cos(theta), np.sin(theta)
    # A form changes as the moments of the same map, which is symmetric.
    return field.rounded(np.stack([c * c + s * s * steep, c * s * (1 - steep), s * s + c * c * steep], 1)).astype(np.float32, order="C")


def nearest_ratio(ratio: np.ndarray) -> np.ndarray:
    """Return the index of the nearest of `profiles.AXIS_RATIOS`, (n,) int32."""
    distance = np.abs(np.log(np.maximum(ratio, 1e-3))[:, None] - np.log(profiles.AXIS_RATIOS))
    return distance.argmin(1).astype(np.int32)


def tables(field: Frame, n_nodes: int) -> list[profiles.Models]:
    """Return the models of every band, all of the same sizes."""
    return [profiles.build(stamp, field.point, field.core, n_nodes, rounding=field.rounding) for stamp in field.psf]


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


def fitted_out_to(field: Frame, isophote: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Return the radii along the major axis within which sources are fitted, given the footprints' own radii and the axis ratios."""
    radii: np.ndarray = np.maximum(LEAST_RADIUS * field.fwhm, 1.2 * isophote / np.sqrt(ratio) + field.fwhm)
    return radii


def beyond(places: Places, radius: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return whether the ellipses of these radii along the major axis reach beyond an image of (ny, nx) pixels, (n,) bool."""
    xx, xy, yy = places.form.T
    half = radius[:, None] * np.sqrt(np.stack([yy, xx], 1) / (xx * yy - xy**2)[:, None])
    result: np.ndarray = ((places.position < half) | (places.position > np.array([shape[1] - 1, shape[0] - 1]) - half)).any(1)
    return result


def measure(
    field: Frame, x: np.ndarray, y: np.ndarray, n_pixels: np.ndarray, typical: float, rounds: int, device: Device,
    progress: Callable[[int, int], None], shares: Shares | None = None, room: float = 0.0,
) -> Fitted:  # fmt: skip
    """Return positions, shapes and total fluxes of sources.

    Args:
        field: the image.
        x, y: (n,) where they were found, pixels.
        n_pixels: (n,) pixels of their footprints.
        typical: half-light radius that galaxies are expected to have before a look at the pixels, in FWHM of the PSF.
        rounds: how often to subtract neighbours, at least once; not looked at where there are shares.
        device: where to calculate.
        progress: called with (done, total).
        shares: whose part every pixel is, if that is known.
        room: pixels about each source that its sheet has at least, for what is to be measured on it later.
    """
    n, bands = len(x), len(field.psf)
    start = np.stack([x, y], 1).astype(float)
    start = np.where(np.isfinite(start).all(1, keepdims=True), start, NOWHERE)
    isophote = np.sqrt(n_pixels / np.pi)
    most = np.maximum(2 * field.point, (isophote / 2) ** 2)
    places = Places.at(start[:, 0], start[:, 1], bands, field.core)
    window = np.tile(field.star, (n, 1))
    thinnest = np.array(profiles.AXIS_RATIOS[-1])
    n_nodes = int(nodes_within(field.core, fitted_out_to(field, isophote.max(initial=0), thinnest)))
    family = tables(field, n_nodes)
    models = np.stack([one.values for one in family]).astype(np.float32)
    linked, prior = family[0].linked, log_prior(family[0].log_size - np.log(typical * field.fwhm))
    planes, moved, ratio, sheets = field.planes, places, np.zeros(n, np.int32), None
    turns = rounds + 1
    if shares is not None:
        farthest = node_radii(field.core, nodes_within(field.core, fitted_out_to(field, isophote, thinnest)) - 1.0)
        reach = np.maximum(np.maximum(farthest, EXTENT * np.sqrt(most)), room) + np.sqrt(most)
        sheets, turns = lay(field.planes, shares, places.pixels, reach, TRUST), 1
        planes = sheets.planes
    for turn in range(turns):
        progress(turn, turns)
        if turn:
            planes = draw(field, places, device)
        at = places if sheets is None else sheets.places(places)
        centre, covariance, moments, _, status = centroid.KERNEL.on(device)(planes, at, field.weights, field.star, most, window)
        found = status == centroid.FOUND
        window = np.where(found[:, None], moments, window)
        major, minor, theta = ellipses(field.rounded(window))
        before, ratio = ratio, nearest_ratio(minor / major)
        moved = places.moved(np.where(found[:, None], places.pixels + centre.astype(float), places.position))
        moved = replace(moved, form=forms(field, ratio, theta))
        if turn:
            # The models move with their sources before these are measured, so that a source's own is where it was drawn.
            narrower = np.array(profiles.AXIS_RATIOS)[before] / np.array(profiles.AXIS_RATIOS)[ratio]
            moved = replace(moved, models=(moved.models * narrower[:, None, None]).astype(np.float32))
            planes = draw(field, moved, device)
        counts = np.minimum(nodes_within(field.core, fitted_out_to(field, isophote, np.array(profiles.AXIS_RATIOS)[ratio])), n_nodes)
        at = moved if sheets is None else sheets.places(moved)
        *sums, used = radial.KERNEL.on(device)(planes, at, counts, n_nodes, TRUST)
        flux, error, chance, mean = posterior.KERNEL.on(device)(
            tuple(sums), counts, models, linked, ratio, prior, field.weights > 0, 1 / (SKY * field.noise) ** 2, BLUNT
        )
        places = replace(moved, models=mean)
    progress(turns, turns)
    if sheets is not None:
        planes, moved = draw(field, places, device), places
    radius = node_radii(field.core, counts - 1.0)
    weights = chance.astype(float)
    galaxy = np.maximum(weights[:, 1:].sum(1), 1e-12)
    first = int(np.flatnonzero(field.weights)[0])
    area = np.pi * radius**2 * np.array(profiles.AXIS_RATIOS)[ratio]
    clipped = beyond(places, radius, field.planes.data.shape[1:])
    return Fitted(
        places=places,
        planes=planes,
        drawn=moved,
        sheets=sheets,
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
