"""io.image on real images, each with the dirt that its telescope adds."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrosurvey.catalog.flags import PIXEL
from astrosurvey.core.stage import DataError
from astrosurvey.core.tiles import Box, Tile
from astrosurvey.products import Cube, Image
from astrosurvey.stages.io.assemble import read_image
from astrosurvey.stages.io.stage import ReadImage

pytestmark = pytest.mark.real


@pytest.fixture
def images(real_data) -> Path:
    return real_data / "images"


def read(window=None, **config) -> Image:
    image = read_image(ReadImage.Config(**config), Tile("t", 1, 0, window=window), logging.getLogger("real"))
    image.check()
    return image


def peer(path: Path, hdu: int = 0) -> tuple[np.ndarray, fits.Header]:
    with warnings.catch_warnings(action="ignore"), fits.open(path) as hdus:
        return np.array(hdus[hdu].data, dtype=np.float64), hdus[hdu].header


def same_sky(image: Image, header: fits.Header) -> float:
    with warnings.catch_warnings(action="ignore"):
        wcs = WCS(header).celestial
    ny, nx = image.data.shape[1:]
    x, y = np.random.default_rng(1).uniform(0, [[nx], [ny]], (2, 200))
    return float(image.wcs.pixel_to_world(x, y).icrs.separation(wcs.pixel_to_world(x, y).icrs).arcsec.max())


def test_decam_exposure_with_weight_and_mask(images):
    config = {
        "path": str(images / "decam_z_ooi_N2.fits"),
        "bands": ["z"],
        "unit": "adu",
        "zeropoint_keyword": "MAGZERO",
        "variance": {"path": str(images / "decam_z_oow_N2.fits"), "kind": "inverse_variance"},
        "mask": {"path": str(images / "decam_z_ood_N2.fits"), "codes": {"SAT": [3, 4], "CR": [6]}},
    }
    image = read(**config)
    data, header = peer(images / "decam_z_ooi_N2.fits", 1)
    weight, _ = peer(images / "decam_z_oow_N2.fits", 1)
    quality, _ = peer(images / "decam_z_ood_N2.fits", 1)
    factor = 10 ** ((31.4 - 29.915) / 2.5)
    assert np.allclose(image.data[0], data * factor, rtol=1e-6)
    assert same_sky(image, header) < 1e-6  # a TPV distortion
    known = (weight > 0) & np.isfinite(data)
    assert np.allclose(image.variance[0][known], factor**2 / weight[known], rtol=1e-5)
    assert np.array_equal(image.mask[0] & PIXEL["NO_DATA"] != 0, ~known)
    assert np.array_equal(image.mask[0] & PIXEL["BAD"] != 0, ~np.isin(quality, [0, 3, 4, 6]))
    # the noise that the weights promise is the noise that the pixels have
    difference = np.diff(image.data[0], axis=1) / np.sqrt(image.variance[0][:, 1:] + image.variance[0][:, :-1])
    clean = (image.mask[0] == 0)[:, 1:] & (image.mask[0] == 0)[:, :-1]
    scatter = 1.4826 * np.median(np.abs(difference[clean]))
    assert 0.85 < scatter < 1.15


def test_decam_tile_in_three_bands_and_a_window(images):
    config = {"path": str(images / "decam_tile_{band}.fits"), "bands": ["g", "r", "z"], "unit": "nanomaggy"}
    mask = {"path": str(images / "decam_tile_mask.fits"), "hdu": 0, "nonzero": "BRIGHT"}
    image = read(**config, mask=mask)
    data, header = peer(images / "decam_tile_r.fits")
    assert np.allclose(image.data[1], data * 10 ** (8.9 / 2.5), rtol=1e-6)
    assert same_sky(image, header) < 1e-6
    assert 0 < (image.mask == PIXEL["BRIGHT"]).mean() < 0.01
    part = read(Box(100, 50, 300, 250), **config, mask=mask)
    assert np.array_equal(part.data, image.data[:, 50:250, 100:300])
    assert np.array_equal(part.mask, image.mask[:, 50:250, 100:300])


@pytest.mark.parametrize("name", ["emmi_ngc_rband_256.fits", "m51_b_noao.fits", "m67_dss.fits", "w5_image.fits"])
def test_scaled_and_unscaled_images_of_counts(images, name):
    with pytest.raises(DataError, match="BUNIT: there is no unit in the header; try: set `unit`"):
        read(path=str(images / name), bands=["x"])
    image = read(path=str(images / name), bands=["x"], unit="adu", zeropoint=31.4)
    data, header = peer(images / name)
    assert np.allclose(image.data[0], data, rtol=1e-6)
    assert (image.wcs is not None) == (name == "w5_image.fits")
    assert image.wcs is None or same_sky(image, header) < 1e-6


def test_spitzer_surface_brightness_with_nan_edges(images):
    image = read(path=str(images / "spitzer_irac_galplane.fits"), bands=["i2"])
    data, header = peer(images / "spitzer_irac_galplane.fits")
    assert np.allclose(image.data[0], data * 1e15 * np.radians(1.2 / 3600) ** 2, rtol=1e-5, equal_nan=True)
    assert np.isnan(data).any()
    assert np.array_equal(image.mask[0] == PIXEL["NO_DATA"], np.isnan(data))
    assert same_sky(image, header) < 1e-6  # galactic coordinates


def test_hsc_cube_of_five_bands_with_psf(images):
    config = {"path": str(images / "joint_Cut_HSC1.fits"), "bands": list("grizy"), "unit": "adu", "zeropoint": 27.0}
    image = read(**config, psf={"path": str(images / "joint_PSF_HSC.fits")})
    assert image.data.shape == (5, 50, 50)
    assert image.psf.shape == (5, 31, 31)
    assert image.meta["pixel_scale"] == pytest.approx(0.168, rel=1e-6)


def test_many_hdus_need_a_choice(images):
    path = str(images / "cosmos_real_galaxy_images_extension.fits")
    with pytest.raises(DataError, match=r"holds several images; try: set `hdu` to one of 0 \(PRIMARY\) 54x54, 1 36x36"):
        read(path=path, bands=["i"], unit="adu", zeropoint=25.9)
    assert read(path=path, bands=["i"], unit="adu", zeropoint=25.9, hdu=7).data.shape == (1, 32, 32)


def test_a_published_file_whose_pixels_disagree_with_its_checksum(images):
    config = {"path": str(images / "perseus_extinction_2mass.fits"), "bands": ["av"], "unit": "nJy"}
    with pytest.raises(DataError, match=r"DATASUM: .*the pixels were damaged or changed.*`checksum: false`"):
        read(**config)
    assert read(**config, checksum=False).data.shape == (1, 313, 217)


@pytest.mark.filterwarnings("ignore:COPY_IF_NEEDED")  # spectral-cube with numpy 2
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("l1448_13co.fits", (53, 105, 105)),
        ("ngc2903_hi.fits", (113, 89, 70)),
        ("spectral_cube_example.fits", (7, 4, 3)),
        ("wsrt_sofia_test_subcube.fits", (100, 52, 51)),
    ],
)
def test_cubes(real_data, name, shape, tmp_path):
    path = real_data / "cubes" / name
    cube = Cube.from_fits(path, unit="K" if name.startswith("l1448") else None)
    cube.check()
    data, _ = peer(path)
    assert cube.data.shape == shape
    assert np.array_equal(cube.data, data.reshape(shape).astype(np.float32), equal_nan=True)
    cube.write(tmp_path / "cube.fits")
    back = Cube.read(tmp_path / "cube.fits")
    grid = np.random.default_rng(1).uniform(0, 40, (50, 3))
    assert back.wcs.all_pix2world(grid, 0).tobytes() == cube.wcs.all_pix2world(grid, 0).tobytes()
    assert (back.unit, back.beam, back.rest_frequency, back.meta) == (cube.unit, cube.beam, cube.rest_frequency, cube.meta)
    spectral = cube.to_spectral_cube()
    assert spectral.shape == shape
    assert str(spectral.unit) in ("K", "Jy / beam")


def test_a_cube_without_a_unit_says_so(real_data):
    with pytest.raises(DataError, match="BUNIT: is missing, so the brightness unit is unknown; try: give `unit`"):
        Cube.from_fits(real_data / "cubes" / "l1448_13co.fits")
