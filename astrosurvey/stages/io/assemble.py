"""The flow of io.image: locate, read the tile's window, calibrate, mark what is not there."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ...catalog.flags import PIXEL
from ...core.tiles import Tile
from ...products import Image
from ...products._fits import Window, escape
from .masks import translate
from .noise import to_variance, unit_factor
from .planes import Files, Located
from .psf import read_psf
from .sky import band_wcs, pixel_area, require_one_grid
from .units import UnitError, to_njy

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from .stage import PerBand, ReadImage


def read_image(config: ReadImage.Config, tile: Tile | None, log: logging.Logger) -> Image:
    """Return the tile's image as `io.image` promises it.

    Args:
        config: the stage's settings.
        tile: fills the path templates; with a window, only that part of the files is read.
        log: gets a warning for each repair, and when coordinates are missing.

    Raises:
        DataError: a file cannot be used, or leaves something open that only a setting can say.
    """
    with Files(tile, config.bands, config.checksum) as files:
        images = files.locate(config.path, config.hdu)
        ny, nx = _one_shape(images, config.bands, images[0].shape, "image")
        box = tile.window if tile is not None else None
        window = Window(box.y0, box.y1, box.x0, box.x1) if box else None
        offset, shape = ((box.x0, box.y0), box.shape) if box else ((0, 0), (ny, nx))
        wcs = _sky(config, images, shape, offset, log)
        area = pixel_area(wcs, config.pixel_scale)
        calibrations = [_calibration(config, located, band, area) for located, band in zip(images, config.bands, strict=True)]

        data = np.empty((len(images), *shape), np.float32)
        mask = np.zeros(data.shape, np.int32)
        for k, (located, band) in enumerate(zip(images, config.bands, strict=True)):
            data[k] = located.read(window)
            level = _per_band(config.saturate, config.saturate_keyword, located, band)
            if level is not None:
                mask[k][data[k] >= level] |= PIXEL["SAT"]
            lost = ~np.isfinite(data[k])
            with np.errstate(over="ignore"):
                np.multiply(data[k], calibrations[k]["factor"], out=data[k], dtype=np.float64, casting="same_kind")
            overflown = ~np.isfinite(data[k])
            if (overflown & ~lost).any():
                raise located.file.bad(
                    "holds values beyond what float32 can hold in nJy", located.hdu, "BUNIT", "check `unit` and `zeropoint`"
                )
            data[k][lost] = np.nan
            mask[k][lost] |= PIXEL["NO_DATA"]
        if config.mask is not None:
            _read_mask(config, files, (ny, nx), window, mask)
        variance = _read_variance(config, files, (ny, nx), window, calibrations) if config.variance is not None else None
        if variance is not None:
            mask[np.isinf(variance)] |= PIXEL["NO_DATA"]
            variance[np.isnan(data)] = np.inf
        psf = read_psf(files.locate(config.psf.path or config.path, config.psf.hdu)) if config.psf is not None else None
        repairs = files.repairs()
        for note in repairs:
            log.warning("%s", note)
        meta: dict[str, Any] = {"bands": _origins(config.bands, images, calibrations)}
        if area is not None:
            meta["pixel_scale"] = math.degrees(math.sqrt(area)) * 3600
        if repairs:
            meta["repairs"] = repairs
    keep = config.mask is not None or bool(mask.any())
    return Image(data, tuple(config.bands), variance, mask if keep else None, psf, wcs, meta=meta)


def _one_shape(located: list[Located], bands: list[str], shape: tuple[int, int], what: str) -> tuple[int, int]:
    for place, band in zip(located, bands, strict=True):
        if place.shape != shape:
            reason = f"the {what} of band {band} is {place.shape[1]} x {place.shape[0]} pixels, but must be {shape[1]} x {shape[0]}"
            raise place.file.bad(reason, place.hdu, "NAXIS1", "give planes on one pixel grid, or choose another `hdu`")
    return shape


def _sky(
    config: ReadImage.Config, images: list[Located], shape: tuple[int, int], offset: tuple[int, int], log: logging.Logger
) -> WCS | None:
    """Return the coordinates of the first band that has some, after a check that the others agree."""
    found: list[tuple[str, WCS]] = []
    seen: set[tuple[str, int]] = set()
    for place, band in zip(images, config.bands, strict=True) if config.wcs != "ignore" else ():
        header = str(place.file.path), place.hdu.index
        if header not in seen:
            wcs = band_wcs(place, shape, offset, required=config.wcs == "required", log=log)
            found += [(band, wcs)] if wcs is not None else []
        seen.add(header)
    require_one_grid(found, shape)
    return found[0][1] if found else None


def _per_band(setting: PerBand, keyword: str | None, place: Located, band: str) -> float | None:
    """Return a number from the settings, or from the header of the HDU or the primary HDU."""
    if keyword is not None:
        hdu = place.hdu if keyword in place.hdu.cards else place.file.hdus[0]
        with place.file.cards(hdu, "set the number itself in the pipeline"):
            return hdu.cards.number(keyword)
    return setting[band] if isinstance(setting, dict) else setting


def _calibration(config: ReadImage.Config, place: Located, band: str, area: float | None) -> dict[str, Any]:
    with place.file.cards(place.hdu, "set `unit` of this stage"):
        unit = str(place.hdu.cards.get("BUNIT") or "" if config.unit is None else config.unit).strip()
    zeropoint = _per_band(config.zeropoint, config.zeropoint_keyword, place, band)
    try:
        factor = to_njy(unit, zeropoint, area)
    except UnitError as error:
        reason = escape(error.reason) + (" in the header" if not unit and config.unit is None else "")
        raise place.file.bad(reason, place.hdu, "BUNIT", f"set `{error.setting}` of this stage") from error
    if not (math.isfinite(factor) and factor > 0):
        raise place.file.bad(f"the unit {escape(unit)!r} is worth {factor} nJy", place.hdu, "BUNIT", "check `unit` and `zeropoint`")
    return {"unit": escape(unit), "zeropoint": zeropoint, "factor": factor}


def _read_mask(config: ReadImage.Config, files: Files, shape: tuple[int, int], window: Window | None, mask: np.ndarray) -> None:
    assert config.mask is not None
    located = files.locate(config.mask.path or config.path, config.mask.hdu)
    _one_shape(located, config.bands, shape, "mask")
    done: dict[Located, np.ndarray] = {}
    for k, place in enumerate(located):
        if place not in done:
            done = {place: translate(place.read_integers(window), place.hdu.bitpix, config.mask)}
        mask[k] |= done[place]


def _read_variance(
    config: ReadImage.Config, files: Files, shape: tuple[int, int], window: Window | None, calibrations: list[dict[str, Any]]
) -> np.ndarray:
    assert config.variance is not None
    located = files.locate(config.variance.path or config.path, config.variance.hdu)
    _one_shape(located, config.bands, shape, "variance")
    planes = []
    for place, calibration in zip(located, calibrations, strict=True):
        values = place.read(window) * np.float32(unit_factor(place, config.variance, calibration["unit"]))
        planes.append(to_variance(values, config.variance, calibration["factor"]))
    return np.stack(planes)


def _origins(bands: list[str], images: list[Located], calibrations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return for each band where its pixels came from and how they were calibrated, as JSON values."""
    origins: dict[str, Any] = {}
    for band, place, calibration in zip(bands, images, calibrations, strict=True):
        origin = {"file": escape(place.file.path.name), "hdu": place.hdu.index, **calibration}
        texts = {key: place.file.text(place.hdu, keyword) for key, keyword in _TEXTS.items()}
        numbers = {key: _number(place, keyword) for key, keyword in _NUMBERS.items()}
        origins[band] = {key: value for key, value in {**origin, **texts, **numbers}.items() if value not in ("", None)}
    return origins


_TEXTS = {"object": "OBJECT", "telescope": "TELESCOP", "instrument": "INSTRUME", "filter": "FILTER"}
_NUMBERS = {"exposure": "EXPTIME", "mjd": "MJD-OBS"}


def _number(place: Located, keyword: str) -> float | None:
    """Return a number that is only passed on, from the HDU or the primary HDU; None when there is none that can be read."""
    text = place.file.text(place.hdu, keyword)
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
