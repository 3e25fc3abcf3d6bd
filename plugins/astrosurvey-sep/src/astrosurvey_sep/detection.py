"""Sources, by sep.extract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import sep

from astrosurvey import Catalog, DataError, Image, Segmentation, Tile
from astrosurvey.catalog import footprint, ids, ownership
from astrosurvey.catalog.flags import PIXEL, SOURCE, UNUSABLE

from .pixels import Plane, combined

if TYPE_CHECKING:
    from .stage import SepDetection


def detect(tile: Tile, image: Image, config: SepDetection.Config) -> Mapping[str, Any]:
    """Return the segmentation and the sources of a tile, in (y, x) order."""
    good = image.usable()
    plane = combined(image, good)
    found, labels = _extract(plane, config, _kernel(image, config.filter))
    order = np.lexsort((found["x"], found["y"]))
    found = found[order]
    new = np.zeros(len(order) + 1, np.int32)
    new[order + 1] = np.arange(1, len(order) + 1)
    labels = new[labels]
    meta = {"tile": footprint.describe(tile, image.data.shape, image.wcs, np.asarray(good.any(axis=0)))}
    sources = Catalog.from_columns("source", _columns(tile, image, plane, found, labels), meta)
    return {"segmentation": Segmentation(labels), "sources": sources}


def _extract(plane: Plane, config: SepDetection.Config, kernel: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Call sep with buffers that are large enough, and leave its global settings as they were."""
    before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    sep.set_extract_pixstack(max(before[0], plane.data.size))
    sep.set_sub_object_limit(config.max_children)
    try:
        found, labels = sep.extract(
            plane.data,
            config.threshold,
            err=plane.error,
            mask=plane.masked,
            minarea=config.min_pixels,
            filter_kernel=kernel,
            deblend_nthresh=config.deblend_levels,
            deblend_cont=config.deblend_contrast,
            clean=config.clean is not None,
            clean_param=config.clean or 1.0,
            segmentation_map=True,
        )
    except Exception as error:  # sep raises bare Exceptions
        if "deblending overflow" not in str(error):
            raise
        raise DataError(
            f"one island holds more than {config.max_children} peaks; raise `max_children`, `threshold` or `deblend_contrast`"
        ) from error
    finally:
        sep.set_extract_pixstack(before[0])
        sep.set_sub_object_limit(before[1])
    return found, labels


def _kernel(image: Image, wish: str) -> np.ndarray | None:
    if wish == "psf":
        if image.psf is None:
            raise DataError("the image has no PSF to filter with; set `filter: default`, or read the PSF with io.image")
        return np.ascontiguousarray(image.psf.mean(axis=0), np.float32)
    return sep.default_kernel if wish == "default" else None


def _columns(tile: Tile, image: Image, plane: Plane, found: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    n = len(found)
    x, y = found["x"], found["y"]
    sky = {"ra": np.full(n, np.nan), "dec": np.full(n, np.nan)}
    if image.wcs is not None and n:
        world = image.wcs.pixel_to_world(x, y).icrs
        sky = {"ra": world.ra.deg, "dec": world.dec.deg}
    peak = plane.data[found["ypeak"], found["xpeak"]] / plane.error[found["ypeak"], found["xpeak"]]
    return {
        "source_id": ids.object_ids(tile.number, n),
        "tile_id": tile.number,
        "x": x,
        "y": y,
        **sky,
        "x_var": found["errx2"],
        "y_var": found["erry2"],
        "xy_cov": found["errxy"],
        "x_min": found["xmin"],
        "x_max": found["xmax"] + 1,
        "y_min": found["ymin"],
        "y_max": found["ymax"] + 1,
        "n_pixels": np.bincount(labels.ravel(), minlength=n + 1)[1:],
        "significance": peak,
        "n_child": 0,
        "primary": ownership.primary(tile, x, y),
        "flags": _flags(image, found, labels) | SOURCE["NO_SKY_POSITION"] * ~np.isfinite(sky["ra"]),
    }


def _flags(image: Image, found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return sep's flags in the words of the catalogue, and what the mask says about the pixels."""
    ny, nx = labels.shape
    flags = np.zeros(len(found), np.int64)
    flags |= SOURCE["BLENDED"] * ((found["flag"] & sep.OBJ_MERGED) != 0)
    flags |= SOURCE["NO_SHAPE"] * ((found["flag"] & sep.OBJ_SINGU) != 0)
    flags |= SOURCE["DEBLEND_SKIPPED"] * ((found["flag"] & sep.OBJ_DOVERFLOW) != 0)
    edge = (found["xmin"] == 0) | (found["ymin"] == 0) | (found["xmax"] == nx - 1) | (found["ymax"] == ny - 1)
    flags |= SOURCE["EDGE"] * edge
    if image.mask is not None:
        bits = np.bitwise_or.reduce(image.mask, axis=0)
        for pixel, name in ((PIXEL["SAT"], "SATURATED"), (UNUSABLE, "MASKED"), (PIXEL["CR"], "COSMIC_RAY")):
            flags |= SOURCE[name] * (np.bincount(labels[(bits & pixel) != 0], minlength=len(found) + 1)[1:] > 0)
    return flags
