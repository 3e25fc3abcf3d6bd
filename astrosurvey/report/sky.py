"""The pictures of the sky: which tiles to show, how large, and where they lie."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .gather import Run
from .rgb import Stretch, channels, jpeg, thumbnail

if TYPE_CHECKING:
    from ..products import Image

LONGEST_SIDE = 1024
MOST_PIXELS = 14_000_000
"""Of all thumbnails together: at less than half a byte a pixel they stay below the bytes allowed."""
MOST_IMAGE_BYTES = 4_200_000
MOST_TILES = 144
MOST_STORED_BYTES = 1_000_000_000
"""Of the stored images that are read to make the thumbnails."""
QUALITIES = (88, 72, 50)


@dataclass(frozen=True)
class TileImage:
    """Where a tile's final image is stored.

    Attributes:
        window: [x0, y0, x1, y1] in the larger frame, or None.
        core: the cell whose sources are the tile's own, in the same frame, or None.
    """

    tile: str
    number: int | None
    stage: str
    path: Path
    bytes: int
    window: list[int] | None
    core: list[int] | None


@dataclass
class Sky:
    """What the page needs to draw the sky.

    Attributes:
        tiles: JSON values of each tile shown: name, size, place, picture.
        shown: the same tiles as they are stored.
        mosaic: whether the tiles share one frame.
        notes: what was left out or could not be shown, in words.
    """

    tiles: list[dict[str, Any]] = field(default_factory=list)
    shown: list[TileImage] = field(default_factory=list)
    mosaic: bool = False
    bands: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def final_images(run: Run) -> list[TileImage]:
    """Return each tile's image from the last stage that has given one, in tile order."""
    found: dict[str, TileImage] = {}
    for stage in run.stages:
        for tile in run.tiles_of(stage):
            record = run.records[stage, tile]
            ports = [port for port, stored in record.outputs.items() if stored.kind == "image"]
            if not ports:
                continue
            stored = record.outputs["image" if "image" in ports else ports[0]]
            identity = record.fields.get("tile") if isinstance(record.fields, dict) else None
            identity = identity if isinstance(identity, dict) else {}
            path = run.store.folder(stage, tile) / stored.file
            size = stored.bytes if type(stored.bytes) is int else 0
            number = identity.get("number") if type(identity.get("number")) is int else None
            found[tile] = TileImage(tile, number, stage, path, size, box(identity.get("window")), box(identity.get("core")))
    return list(found.values())


def box(value: Any) -> list[int] | None:
    """Return [x0, y0, x1, y1] if a JSON value is such a box, else None."""
    sound = isinstance(value, list) and len(value) == 4 and all(type(v) is int for v in value)
    return value if sound and value[2] > value[0] and value[3] > value[1] else None


def make_sky(run: Run, *, most_tiles: int = MOST_TILES) -> Sky:
    """Return the thumbnails of a run's final images on one stretch, at most so many and within the page's budget."""
    images = final_images(run)
    sky = Sky(mosaic=bool(images) and all(image.window for image in images))
    chosen = choose(images, most_tiles)
    if len(chosen) < len(images):
        where = "those around the middle of the footprint" if sky.mosaic else "the first"
        sky.notes.append(
            f"{len(chosen)} of {len(images)} tiles are shown, {where}; more would make this page too large and too slow to write."
        )
    planes = _thumbnails(run, sky, chosen)
    if not planes:
        return sky
    groups: dict[tuple[str, int], list[int]] = {}
    for place, image in enumerate(sky.shown):
        # An image from an earlier stage, of a tile that failed later, may still have its sky; it gets a scale of its own.
        groups.setdefault((image.stage, len(planes[place])), []).append(place)
    pictures: list[np.ndarray] = [np.empty(0)] * len(planes)
    for places in groups.values():
        stretch = Stretch.of([planes[place] for place in places])
        for place in places:
            pictures[place] = stretch.render(planes[place])
    for quality in QUALITIES:
        encoded = [jpeg(picture, quality) for picture in pictures]
        if sum(map(len, encoded)) <= MOST_IMAGE_BYTES:
            break
    for tile, data in zip(sky.tiles, encoded, strict=True):
        tile["picture"] = "data:image/jpeg;base64," + base64.b64encode(data).decode()
    sky.stages = list(dict.fromkeys(image.stage for image in sky.shown))
    return sky


def choose(images: list[TileImage], most: int = MOST_TILES) -> list[TileImage]:
    """Return the images to show: all within the budget; of a mosaic too large, the tiles nearest to its middle."""
    ranked = list(images)
    if images and all(image.window for image in images):
        middles = {i.tile: ((i.window[0] + i.window[2]) / 2, (i.window[1] + i.window[3]) / 2) for i in images if i.window}
        cx, cy = (float(np.mean([m[axis] for m in middles.values()])) for axis in (0, 1))
        # A square rather than a circle of tiles, so that the patch has no ragged edge.
        ranked.sort(key=lambda i: max(abs(middles[i.tile][0] - cx), abs(middles[i.tile][1] - cy)))
    taken: set[str] = set()
    size = 0
    for image in ranked:
        size += image.bytes
        if len(taken) == most or (taken and size > MOST_STORED_BYTES):
            break
        taken.add(image.tile)
    return [image for image in images if image.tile in taken]


def _thumbnails(run: Run, sky: Sky, chosen: list[TileImage]) -> list[np.ndarray]:
    from ..products import Image

    planes = []
    for image in chosen:
        try:
            product = Image.read(run.store.get(image.path))
            ny, nx = product.data.shape[1:]
            factor = scale(nx, ny, len(chosen))
            planes.append(thumbnail(product.data, product.mask, product.bands, factor))
            described = _described(image, product, factor)
        except Exception as error:  # one odd product must not cost the page
            sky.notes.append(f"The image of tile {image.tile} ({image.path.name} of {image.stage}) cannot be shown: {error}")
            del planes[len(sky.shown) :]
            continue
        sky.shown.append(image)
        sky.tiles.append(described)
        if not sky.bands:
            sky.bands = _said_bands(product.bands)
    return planes


def scale(nx: int, ny: int, tiles: int) -> int:
    """Return the factor by which to block-average a tile of that size when so many are shown."""
    longest = math.ceil(max(nx, ny) / LONGEST_SIDE)
    budget = math.ceil(math.sqrt(nx * ny * tiles / MOST_PIXELS))
    return max(1, longest, budget)


def _described(image: TileImage, product: Image, factor: int) -> dict[str, Any]:
    ny, nx = product.data.shape[1:]
    return {
        "name": image.tile,
        "number": image.number,
        "stage": image.stage,
        "size": [nx, ny],
        "factor": factor,
        "place": image.window[:2] if image.window else [0, 0],
        "core": image.core,
        "bands": list(product.bands),
        "wcs": tangent_plane(product.wcs, nx, ny),
    }


def _said_bands(bands: Iterable[str]) -> list[str]:
    names = list(bands)
    chosen = channels(names)
    return [names[index] for index in chosen if index >= 0]


def tangent_plane(wcs: Any, nx: int, ny: int) -> dict[str, Any] | None:
    """Return a linear approximation of a tile's world coordinates, good to well below a pixel of the screen.

    Returns:
        `center` (ra, dec in deg) and `matrix` [a, b, c, d, e, f]: xi = a + b x + c y and eta = d + e x + f y
        in degrees on the plane that touches the sky at the centre. None without usable coordinates.
    """
    if wcs is None:
        return None
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0, nx - 1, 7), np.linspace(0, ny - 1, 7)))
    ra, dec = wcs.all_pix2world(np.append(x, (nx - 1) / 2), np.append(y, (ny - 1) / 2), 0)
    if not (np.isfinite(ra).all() and np.isfinite(dec).all()):
        return None
    ra0, dec0 = np.radians(ra[-1]), np.radians(dec[-1])
    dra, dec = np.radians(ra[:-1]) - ra0, np.radians(dec[:-1])
    depth = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(dra)
    if (depth <= 0).any():
        return None
    xi = np.degrees(np.cos(dec) * np.sin(dra) / depth)
    eta = np.degrees((np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(dra)) / depth)
    design = np.stack([np.ones_like(x), x, y], axis=1)
    matrix = np.concatenate([np.linalg.lstsq(design, plane, rcond=None)[0] for plane in (xi, eta)])
    return {"center": [math.degrees(ra0) % 360, math.degrees(dec0)], "matrix": [float(v) for v in matrix]}
