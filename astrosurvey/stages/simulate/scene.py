"""The scene: which objects stand where, and the photons expected from them in a window.

The sky's pixel grid is divided into cells, and each cell draws its own objects. Bright objects, whose
light reaches far, come from large cells and faint ones from small cells, so that a window has to ask only
few cells beyond its edge. An object is the same, and has the same id, whichever window asks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...core.tiles import Box
from .bleed import Trail, bleed
from .lattice import Purpose, SmoothField, cells, generator, overlap
from .population import Counts, Objects, draw_galaxies, draw_stars, galaxy_counts, star_counts
from .profiles import BULGE_INDEX, DISK_INDEX, moffat_alpha, moffat_brightness, sersic_brightness
from .psf import NARROWEST, ellipse_form
from .stamps import SIZES, Shape, corner, oversampling, render
from .survey import Band

if TYPE_CHECKING:
    from .stage import SimulateSky

EDGE = 0.03
"""A stamp ends where its object has faded to this part of a pixel's noise."""

GRADIENT = 4096.0
"""Distance of the nodes between which the sky level varies (pixel)."""


@dataclass(frozen=True)
class Level:
    """Objects in a range of magnitude, and the cells they are drawn in.

    Attributes:
        number: 0 or 1, the top bit of the ids.
        purpose: keys the level's random numbers.
        cell: side of a cell (pixel).
        largest: the largest stamp (pixel); half of it is how far an object may reach.
        bright: the brightest magnitude.
        faint: the faintest.
    """

    number: int
    purpose: Purpose
    cell: int
    largest: int
    bright: float
    faint: float


def levels(faint_limit: float) -> tuple[Level, Level]:
    """Return the two levels of a sky that is complete to `faint_limit`."""
    split = 20.5
    return (
        Level(0, Purpose.BRIGHT, 1024, 1024, -math.inf, min(split, faint_limit)),
        Level(1, Purpose.FAINT, 256, 128, split, faint_limit),
    )


def truth_ids(level: Level, column: int, row: int, n: int) -> np.ndarray:
    """Return the ids of a cell's objects: level 1 bit, row and column 19 bits each, counter 13 bits."""
    cell = (level.number << 38) | ((row + (1 << 18)) << 19) | (column + (1 << 18))
    return (np.int64(cell) << 13) + np.arange(n, dtype=np.int64)


@dataclass(frozen=True)
class Placed:
    """The objects of one cell, placed in the sky and made ready for rendering.

    Attributes:
        truth_id: (n,) int64.
        x: (n,) column of the centre, in pixels of the sky.
        y: (n,) row.
        objects: what they are, in all bands.
        size: (n,) stamp size.
        reach: (n,) how far above and below its centre an object changes pixels; more than its stamp where it bleeds.
        bulge_form: (n, 3) half-light ellipse (see `ellipse_form`).
        disk_form: (n, 3).
        psf_form: (n, band, 3), in the survey's bands.
    """

    truth_id: np.ndarray
    x: np.ndarray
    y: np.ndarray
    objects: Objects
    size: np.ndarray
    reach: np.ndarray
    bulge_form: np.ndarray
    disk_form: np.ndarray
    psf_form: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


class Scene:
    """One sky, of which any window can be rendered.

    Args:
        config: the settings of `simulate.sky`.
        bands: its bands.
    """

    def __init__(self, config: SimulateSky.Config, bands: tuple[Band, ...]) -> None:
        self.config = config
        self.bands = bands
        self._index = np.array([band.index for band in bands])
        self._noise = np.array([band.noise for band in bands])
        sharpest = min(band.psf.fwhm for band in bands) * max(1.0 - 3.0 * config.psf_variation, NARROWEST)
        self._samples = oversampling(sharpest, config.psf_beta)
        self._levels = levels(config.faint_limit)
        self._counts = {
            level.number: (star_counts(level.bright, level.faint), galaxy_counts(level.bright, level.faint)) for level in self._levels
        }

    def placed(self, window: Box, *, reaching: bool = True) -> Iterator[tuple[Level, Placed]]:
        """Yield the objects of every cell that can touch a window, in the sky's own order.

        Args:
            window: pixels of the sky.
            reaching: include cells outside the window whose objects may reach into it.
        """
        for level in self._levels:
            if level.faint > level.bright:
                for column, row, box in cells(window, level.cell, level.largest // 2 if reaching else 0):
                    yield level, self._populate(level, column, row, box)

    def _populate(self, level: Level, column: int, row: int, box: Box) -> Placed:
        """Draw the objects of one cell."""
        config = self.config
        rng = generator(config.seed, level.purpose, column, row)
        square_degrees = (level.cell * config.pixel_scale / 3600.0) ** 2
        stars, galaxies = self._counts[level.number]
        parts = [
            draw_stars(rng, _draw(rng, stars, config.star_density * square_degrees)),
            draw_galaxies(rng, _draw(rng, galaxies, config.galaxy_density * square_degrees)),
        ]
        objects = Objects.concatenate(parts)
        n = len(objects)
        x = box.x0 - 0.5 + level.cell * rng.random(n)
        y = box.y0 - 0.5 + level.cell * rng.random(n)
        bulge, disk = objects.bulge_radius / config.pixel_scale, objects.disk_radius / config.pixel_scale
        size, reach = self._extent(level, objects)
        return Placed(
            truth_ids(level, column, row, n),
            x,
            y,
            objects,
            size,
            reach,
            ellipse_form(bulge, bulge * objects.bulge_axis_ratio, objects.theta),
            ellipse_form(disk, disk * objects.disk_axis_ratio, objects.theta),
            np.stack([band.psf.form(x, y) for band in self.bands], axis=1),
        )

    def _extent(self, level: Level, objects: Objects) -> tuple[np.ndarray, np.ndarray]:
        """Return each object's stamp size and vertical reach."""
        sizes = np.array([size for size in SIZES if size <= level.largest])
        r = 0.5 * sizes[None, :] * self.config.pixel_scale
        brightness = np.zeros((len(objects), len(sizes), len(self.bands)))
        for radius, ratio, flux, index in (
            (objects.bulge_radius, objects.bulge_axis_ratio, objects.bulge, BULGE_INDEX),
            (objects.disk_radius, objects.disk_axis_ratio, objects.disk, DISK_INDEX),
        ):
            half_light = np.maximum(radius, 1e-3)[:, None]
            profile = sersic_brightness(r / half_light, index) * (self.config.pixel_scale / half_light) ** 2 / ratio[:, None]
            brightness += profile[:, :, None] * flux[:, None, self._index]
        total = (objects.point + objects.bulge + objects.disk)[:, self._index]
        beta = self.config.psf_beta
        peak = np.empty(len(self.bands))
        for k, band in enumerate(self.bands):
            alpha = moffat_alpha(band.psf.fwhm, beta)
            brightness[:, :, k] += total[:, None, k] * moffat_brightness(0.5 * sizes / alpha, beta) / alpha**2
            peak[k] = band.gain * float(moffat_brightness(np.zeros(1), beta)[0]) / (NARROWEST * alpha) ** 2
        enough = np.all(brightness < EDGE * self._noise, axis=2)
        enough[:, -1] = True
        size = sizes[np.argmax(enough, axis=1)]
        room = np.array([band.full_well - band.gain * band.sky for band in self.bands])
        bleeds = np.any(total * peak > room, axis=1)
        return size, np.where(bleeds, level.largest // 2, size // 2)

    def shape(self, placed: Placed, i: int) -> Shape:
        """Return the `i`-th object of a cell as a stamp sees it, in the survey's bands."""
        objects = placed.objects
        return Shape(
            x=float(placed.x[i]),
            y=float(placed.y[i]),
            size=int(placed.size[i]),
            point=objects.point[i, self._index],
            bulge=objects.bulge[i, self._index],
            disk=objects.disk[i, self._index],
            bulge_form=placed.bulge_form[i],
            disk_form=placed.disk_form[i],
            psf_form=placed.psf_form[i],
        )

    def expected(self, window: Box) -> tuple[np.ndarray, list[list[Trail]]]:
        """Return what a window expects of the sky's objects and of the sky itself.

        Returns:
            (band, y, x) float64, nJy per pixel, as if no pixel could saturate; and for each band the bleed
            trails of the stars that do.
        """
        flux = np.stack([self._sky(band, window) for band in self.bands])
        trails: list[list[Trail]] = [[] for _ in self.bands]
        for level, placed in self.placed(window):
            for i in np.flatnonzero(_touching(placed, window)):
                shape = self.shape(placed, int(i))
                stamp = render(shape, self.config.psf_beta, self._samples)
                x0, y0 = corner(shape.x, shape.size), corner(shape.y, shape.size)
                shared = overlap(window, Box(x0, y0, x0 + shape.size, y0 + shape.size))
                if shared:
                    (rows, columns), (stamp_rows, stamp_columns) = shared
                    flux[:, rows, columns] += stamp[:, stamp_rows, stamp_columns]
                for k, band in enumerate(self.bands):
                    trails[k] += bleed(stamp[k] * band.gain, band.gain * band.sky, band.full_well, level.largest // 2, (x0, y0))
        return flux, trails

    def _sky(self, band: Band, window: Box) -> np.ndarray:
        """Return the smoothly varying sky level of a window, (y, x), nJy per pixel."""
        drift = SmoothField(self.config.seed, Purpose.SKY_LEVEL, band.index, GRADIENT).over(window)
        return band.sky * np.maximum(1.0 + self.config.sky_gradient * drift, 0.1)


def _draw(rng: np.random.Generator, counts: Counts, area: float) -> np.ndarray:
    """Return the magnitudes of the objects that happen to lie in an area (square degrees)."""
    return counts.draw(rng, int(rng.poisson(counts.total * area)))


def _touching(placed: Placed, window: Box) -> np.ndarray:
    """Return which objects may change a pixel of the window."""
    half = placed.size // 2 + 1
    reach = np.maximum(placed.reach + 1, half)
    inside_x = (placed.x + half >= window.x0) & (placed.x - half <= window.x1)
    return inside_x & (placed.y + reach >= window.y0) & (placed.y - reach <= window.y1)
