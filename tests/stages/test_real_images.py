"""The image stages on real, dirty images: what other tools or eyes found there is found again."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial import cKDTree

from astrosurvey.catalog.flags import PIXEL, SOURCE
from astrosurvey.products import Image

from .test_image_stages import chain

pytestmark = pytest.mark.real


def load(path: Path, hdu: int = 0) -> tuple[np.ndarray, Any]:
    """Return pixels and celestial WCS of a file, whatever its header's sins."""
    from astropy.io import fits
    from astropy.wcs import WCS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path) as file:
            data, wcs = np.asarray(file[hdu].data), WCS(file[hdu].header).celestial
    return data, wcs if wcs.has_celestial else None


def as_image(data: np.ndarray, bands: tuple[str, ...], **more: Any) -> Image:
    data = np.ascontiguousarray(data.reshape((-1, *data.shape[-2:])), np.float32)
    image = Image(data=data, bands=bands, **more)
    image.check()
    return image


def seeing(fwhm: float, **more: Any) -> dict[str, Any]:
    return {**{stage: {"fwhm": fwhm} for stage in ("detect", "deblend", "kron")}, **more}


def distances(found: dict[str, Any], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sources = found["sources"]
    return cKDTree(np.stack([sources.column("x"), sources.column("y")], 1)).query(np.stack([x, y], 1))


def kron(found: dict[str, Any], band: str) -> dict[str, np.ndarray]:
    photometry = found["photometry"]
    here = (photometry.column("method") == "kron") & (photometry.column("band") == band)
    np.testing.assert_array_equal(photometry.column("source_id")[here], found["sources"].column("source_id"))
    return {name: photometry.column(name)[here] for name in ("flux", "flux_err", "radius", "flags", "half_light_radius")}


def test_emmi_agrees_with_sextractor(real_data):
    data, _ = load(real_data / "images" / "emmi_ngc_rband_256.fits")
    sextractor = np.loadtxt(real_data / "images" / "emmi_sextractor_catalog.cat")
    x, y, flux, flags = sextractor[:, 1] - 1, sextractor[:, 2] - 1, sextractor[:, 15], sextractor[:, -1].astype(int)
    # SExtractor's sky is that of all pixels, so like is compared with like.
    found = chain(as_image(data, ("R",)), **seeing(2.5, background={"mask_sources": False}))
    distance, match = distances(found, x, y)
    clean = flags == 0
    assert np.mean(distance[clean] < 1.5) >= 0.95
    usable = clean & (distance < 1.5) & (flux > 0)
    assert np.median(kron(found, "R")["flux"][match[usable]] / flux[usable]) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("file", "at_least"), [("hsc_cosmos.npz", 6), ("hsc_cosmos_35.npz", 4)])
def test_hsc_blends(real_data, file, at_least):
    held = np.load(real_data / "images" / file)
    psf = held["psfs"] / held["psfs"].sum(axis=(1, 2), keepdims=True)
    variance = {"variance": held["variance"]} if "variance" in held else {}
    image = as_image(held["images"], tuple(held["filters"].tolist()), psf=psf.astype(np.float32), **variance)
    found = chain(image, background={"box": 32})
    distance, match = distances(found, held["catalog"]["x"], held["catalog"]["y"])
    assert len(set(match[distance < 1.5].tolist())) >= at_least
    assert len(found["sources"]) <= len(held["catalog"]) + 3
    for band in image.bands:
        assert np.isfinite(kron(found, band)["flux"]).all()


def test_spitzer_crowded_galactic_plane(real_data):
    from astropy.coordinates import SkyCoord
    from astropy.table import Table

    data, wcs = load(real_data / "images" / "spitzer_irac_galplane.fits")
    assert np.isnan(data).any()
    found = chain(as_image(data, ("ch2",), wcs=wcs), **seeing(2.0, background={"box": 32}))
    glimpse = Table.read(real_data / "images" / "spitzer_glimpse_catalog.xml")
    there = SkyCoord(glimpse["l"], glimpse["b"], unit="deg", frame="galactic")
    x, y = wcs.world_to_pixel(there)
    inside = (x > 5) & (x < data.shape[1] - 6) & (y > 5) & (y < data.shape[0] - 6)
    distance, match = distances(found, x[inside], y[inside])
    assert np.mean(distance < 1.5) > 0.95
    sources = found["sources"]
    near = distance < 1.5
    sky = SkyCoord(sources.column("ra")[match[near]], sources.column("dec")[match[near]], unit="deg")
    assert np.median(sky.separation(there[inside][near].icrs).arcsec) < 0.6
    measured = kron(found, "ch2")["flux"][match[near]]
    # MJy/sr times pixels is a flux up to a constant; neighbours and the Galaxy's own sky leave some scatter.
    ratio = np.log10(measured / np.asarray(glimpse["f4_5"])[inside][near])
    assert 1.4826 * np.median(np.abs(ratio - np.median(ratio))) < 0.1
    assert len(sources) > 4000


def test_w5_nebula_does_not_swallow_its_stars(real_data):
    data, wcs = load(real_data / "images" / "w5_image.fits")
    table = np.genfromtxt(
        real_data / "images" / "w5_pointsources.csv", delimiter=",", names=True, dtype=None, encoding="utf-8", comments=None
    )
    names = table.dtype.names
    ra, dec, magnitude = (np.asarray(table[names[i]], float) for i in (1, 2, 7))
    x, y = wcs.world_to_pixel_values(ra, dec)
    inside = (x > 5) & (x < 994) & (y > 5) & (y < 994)
    bright = inside & (magnitude < 8)
    assert bright.sum() > 150
    # Over structured emission a fine mesh is the sky, and masking sources would mask the nebula.
    found = chain(as_image(data, ("w3",), wcs=wcs), **seeing(2.0, background={"box": 16, "mask_sources": False}))
    distance, _ = distances(found, x[bright], y[bright])
    chance = len(found["sources"]) * np.pi * 4 / data.size
    assert np.mean(distance < 2) > 0.55
    assert chance < 0.05
    assert found["sources"].column("n_pixels").max() < 5000


def test_m51_is_not_shredded(real_data):
    data, _ = load(real_data / "images" / "m51_b_noao.fits")
    image = as_image(data, ("B",))
    found = chain(image, **seeing(3.0, background={"box": 256}))
    parents = found["sources"].rows.column("parent_source_id").drop_null().to_numpy()
    largest = np.unique(parents, return_counts=True)[1].max()
    assert largest <= 40  # foreground stars and star-forming knots among them
    calm = chain(image, **seeing(3.0, background={"box": 256}) | {"deblend": {"fwhm": 3.0, "contrast": 0.02, "dip": 0.0}})
    parents = calm["sources"].rows.column("parent_source_id").drop_null().to_numpy()
    assert np.unique(parents, return_counts=True)[1].max(initial=1) <= 4
    for result, share in ((found, 0.1), (calm, 0.5)):
        labels = result["segmentation"].labels
        light = np.bincount(labels.ravel(), np.where(labels > 0, data, 0).ravel())
        assert light.argmax() == labels[258, 256] > 0  # the piece with the nucleus is the brightest
        assert light.max() > share * light.sum()


def test_decam_three_bands_with_mask(real_data):
    from scipy import ndimage

    planes = [load(real_data / "images" / f"decam_tile_{band}.fits") for band in "grz"]
    data = np.stack([plane for plane, _ in planes]).astype(np.float32)
    saturated = data > 60_000
    mask = np.where(saturated, PIXEL["SAT"], 0).astype(np.int32)
    mask[1, :, 100:103] |= PIXEL["BAD"]
    found = chain(as_image(data, ("g", "r", "z"), wcs=planes[0][1], mask=mask), **seeing(4.0))
    sources = found["sources"]
    for hdu in (0, 1):
        labels = load(real_data / "images" / "decam_tile_mask.fits", hdu)[0].astype(int)
        centres = np.array(ndimage.center_of_mass(labels > 0, labels, np.unique(labels)[1:]))
        assert np.mean(distances(found, centres[:, 1], centres[:, 0])[0] < 4) > 0.95
    assert (sources.column("flags") & SOURCE["SATURATED"] != 0).sum() >= 1
    hot = np.argwhere(saturated.any(axis=0))
    assert distances(found, hot[:, 1].astype(float), hot[:, 0].astype(float))[0].max() < 25
    struck = kron(found, "r")["flags"] & SOURCE["APERTURE_MASKED"] != 0
    untouched = kron(found, "g")["flags"] & SOURCE["APERTURE_MASKED"] != 0
    assert struck.sum() > untouched.sum()
    assert np.isfinite(sources.column("ra")).all()
    assert 150 < len(sources) < 220


def test_decam_exposure_with_weight_and_quality_planes(real_data):
    folder = real_data / "images"
    data, wcs = load(folder / "decam_z_ooi_N2.fits", 1)
    weight, _ = load(folder / "decam_z_oow_N2.fits", 1)
    quality, _ = load(folder / "decam_z_ood_N2.fits", 1)
    with np.errstate(divide="ignore"):
        variance = np.where(weight > 0, 1 / weight, np.inf).astype(np.float32)[None]
    mask = np.where(quality != 0, PIXEL["BAD"], 0).astype(np.int32)[None]
    found = chain(as_image(data, ("z",), wcs=wcs, variance=variance, mask=mask), **seeing(4.0))
    # The survey's weights must agree with the noise of the sky they come with.
    good = np.isfinite(variance[0]) & (mask[0] == 0)
    assert np.median(found["background"].variance[0][good] / variance[0][good]) == pytest.approx(1, abs=0.15)
    assert 8 <= len(found["sources"]) <= 20
    measured = kron(found, "z")
    assert (measured["flux"] / measured["flux_err"] > 3).all()


def test_a_photographic_plate_does_not_break_anything(real_data):
    data, _ = load(real_data / "images" / "m67_dss.fits")
    found = chain(as_image(data[:400, :400], ("plate",)), **seeing(3.0))
    assert len(found["sources"]) > 200
    assert np.isfinite(kron(found, "plate")["flux"]).mean() > 0.99
