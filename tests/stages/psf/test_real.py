"""From pixels to the PSF and the stars on real frames, with photutils and sep as witnesses."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial import cKDTree

from astrosurvey import plugins
from astrosurvey.catalog.flags import PIXEL, SOURCE
from astrosurvey.products import Image
from astrosurvey.stages.background.stage import MeshBackground
from astrosurvey.stages.deblending.stage import WatershedDeblending
from astrosurvey.stages.detection.stage import SegmentDetection
from astrosurvey.stages.psf.stage import MeasurePsf, StarGalaxy

from ..running import run
from ..test_real_images import as_image, load

pytestmark = pytest.mark.real


def decam_exposure(folder: Path) -> Image:
    data, wcs = load(folder / "decam_z_ooi_N2.fits", 1)
    weight, quality = load(folder / "decam_z_oow_N2.fits", 1)[0], load(folder / "decam_z_ood_N2.fits", 1)[0]
    variance = np.divide(1, weight, out=np.full(weight.shape, np.inf, np.float32), where=weight > 0)
    mask = np.where(quality != 0, PIXEL["BAD"], 0).astype(np.int32)
    return as_image(data, ("z",), wcs=wcs, variance=variance[None].astype(np.float32), mask=mask[None])


def decam_tile(folder: Path) -> Image:
    planes = [load(folder / f"decam_tile_{band}.fits") for band in "grz"]
    data = np.stack([plane for plane, _ in planes]).astype(np.float32)
    return as_image(data, ("g", "r", "z"), wcs=planes[0][1], mask=np.where(data > 60_000, PIXEL["SAT"], 0).astype(np.int32))


def plain(name: str, band: str, part: int | None = None) -> Callable[[Path], Image]:
    def read(folder: Path) -> Image:
        data, wcs = load(folder / name)
        return as_image(data[:part, :part], (band,), wcs=wcs)

    return read


@dataclass(frozen=True)
class Frame:
    """A real frame: how it is read, how its sky is taken, how many stars it has at least, and between which widths its PSF lies."""

    read: Callable[[Path], Image]
    sky: dict[str, Any]
    stars: int
    widths: tuple[float, float]
    agreement: float = 0.06


FRAMES = {
    # Good seeing on 0.27 arcsec pixels; SExtractor's users take 2 to 2.5 px.
    "emmi": Frame(plain("emmi_ngc_rband_256.fits", "R"), {"box": 64}, 5, (1.8, 2.6)),
    "decam_exposure": Frame(decam_exposure, {"box": 64}, 3, (3.2, 4.5)),
    "decam_tile": Frame(decam_tile, {"box": 64}, 15, (1.6, 2.8)),
    # The mosaics of GLIMPSE have pixels of 1.2 arcsec; IRAC's channel 2 has a FWHM of 1.72 arcsec on the detector's own.
    "spitzer": Frame(plain("spitzer_irac_galplane.fits", "ch2"), {"box": 32}, 100, (1.5, 2.1)),
    "m51": Frame(plain("m51_b_noao.fits", "B"), {"box": 128}, 3, (2.2, 2.9)),
    "m67": Frame(plain("m67_dss.fits", "plate", 600), {"box": 64}, 60, (2.0, 2.8)),
    "w5": Frame(plain("w5_image.fits", "w3", 600), {"box": 16, "mask_sources": False}, 10, (1.1, 1.8), 0.2),
}


@cache
def found(name: str, folder: Path) -> dict[str, Any]:
    """Return the frame after background, detection, deblending and psf.measure, and again with the PSF that was found."""
    frame = FRAMES[name]
    background = run(MeshBackground, frame.sky, image=frame.read(folder))
    sky = background["image"]
    first = run(SegmentDetection, image=sky)
    first = run(WatershedDeblending, image=sky, **first)
    once = run(MeasurePsf, image=sky, **first)
    again = run(SegmentDetection, image=once["image"])
    again = run(WatershedDeblending, image=once["image"], **again)
    twice = run(MeasurePsf, image=once["image"], **again)
    return {"background": background["background"], "once": once["psf"], **again, **twice}


@pytest.mark.parametrize("name", FRAMES)
def test_the_psf_is_sane(name, real_data):
    frame, result = FRAMES[name], found(name, real_data / "images")
    psf = result["psf"]
    assert all(psf.meta[band]["origin"] == "stars" for band in psf.bands)
    assert (psf.n_star >= frame.stars).all()
    assert ((psf.fwhm > frame.widths[0]) & (psf.fwhm < frame.widths[1])).all(), psf.fwhm
    assert (psf.ellipticity < 0.1).all()
    assert all(psf.meta[band]["residual"] < 0.01 for band in psf.bands)
    ny, nx = psf.shape
    for x in (0.1 * nx, 0.5 * nx, 0.9 * nx):
        for stamp in psf.at(x, 0.5 * ny):
            half = np.array(stamp.shape) // 2
            assert np.abs(np.array(np.unravel_index(stamp.argmax(), stamp.shape)) - half).max() <= 1
            assert stamp.min() > -0.03 * stamp.max()


@pytest.mark.parametrize("name", FRAMES)
def test_measuring_again_with_the_measured_psf_changes_little(name, real_data):
    """Detected with the PSF that was found, the frame gives it again: the bootstrap has settled."""
    frame, result = FRAMES[name], found(name, real_data / "images")
    np.testing.assert_allclose(result["psf"].fwhm, result["once"].fwhm, rtol=frame.agreement)


@pytest.mark.parametrize("name", FRAMES)
def test_photutils_sees_the_same_width(name, real_data):
    """A Gaussian fitted by photutils is as wide on the stars of the frame as on the PSF model."""
    from photutils.psf import fit_fwhm

    frame, result = FRAMES[name], found(name, real_data / "images")
    psf, image = result["psf"], result["image"]
    ny, nx = psf.shape
    for b, fwhm in enumerate(psf.fwhm.tolist()):
        stars = psf.stars[psf.stars["band"] == b]
        settings = {"fwhm": fwhm, "fit_shape": 2 * int(np.ceil(fwhm)) + 1}
        data = np.where(image.usable()[b], image.data[b], 0).astype(float)
        model = psf.at((nx - 1) / 2, (ny - 1) / 2)[b].astype(float)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen = np.median(fit_fwhm(data, xypos=np.column_stack([stars["x"], stars["y"]]), **settings))
            expected = fit_fwhm(model, xypos=[tuple(side // 2 for side in model.shape[::-1])], **settings)[0]
        assert expected == pytest.approx(seen, rel=frame.agreement)


@pytest.mark.parametrize("name", ["emmi", "decam_exposure", "decam_tile", "spitzer", "m67"])
def test_nothing_bright_that_sep_finds_is_missing(name, real_data):
    """Of what sep finds above 10 sigma, no more than one in fifty has no source of ours within three pixels."""
    import sep

    result = found(name, real_data / "images")
    image, sources = result["image"], result["sources"]
    data = np.where(image.usable()[0], image.data[0], 0).astype(float)
    noise = float(np.sqrt(np.median(result["background"].variance[0][np.isfinite(result["background"].variance[0])])))
    theirs = sep.extract(data, 10.0, err=noise, mask=~image.usable()[0])
    tree = cKDTree(np.column_stack([sources.column("x"), sources.column("y")]))
    distance, _ = tree.query(np.column_stack([theirs["x"], theirs["y"]]))
    assert len(theirs) >= 4
    assert (distance < 3).mean() >= 0.98


@pytest.mark.parametrize("name", ["emmi", "decam_tile", "spitzer"])
def test_stars_are_called_stars(name, real_data):
    """What the PSF was measured on is called so, and in the plane of the Galaxy nearly everything bright."""
    result = found(name, real_data / "images")
    inputs = {key: result[key] for key in ("image", "segmentation", "sources", "psf")}
    sources = run(StarGalaxy, **inputs)["sources"]
    p = sources.column("star_probability")
    assert np.isfinite(p).mean() > 0.98
    used = np.isin(sources.column("source_id"), result["psf"].stars["source_id"])
    assert (p[used] > 0.5).mean() > 0.8
    if name == "spitzer":
        bright = sources.column("significance") > 30
        assert (p[bright] > 0.5).mean() > 0.8


def test_a_photographic_plate_is_doubted(real_data, caplog):
    """On a plate that is not linear the width of a star goes with its brightness: no PSF fits all, and the stage says so."""
    result = found("m67", real_data / "images")
    inputs = {key: result[key] for key in ("image", "segmentation", "sources", "psf")}
    with caplog.at_level(logging.WARNING):
        flags = run(StarGalaxy, **inputs)["sources"].column("flags")
    assert "is the detector linear?" in caplog.text
    judged = flags & SOURCE["NO_STAR_PROBABILITY"] == 0
    assert (flags[judged] & SOURCE["STAR_DOUBTFUL"] > 0).all()


def test_m51_is_not_shredded_by_persistence(real_data):
    """Bar D2: no more than 1.5 times the pieces that sep makes of the island with M51's nucleus."""
    import sep

    registry = plugins.load().stages
    result = found("m51", real_data / "images")
    image = result["image"]
    data = image.data[0].astype(float)
    noise = float(np.sqrt(np.median(result["background"].variance[0])))
    y, x = 258, 256
    _, islands = sep.extract(data, 1.5, err=noise, segmentation_map=True, deblend_cont=1.0)
    _, pieces = sep.extract(data, 1.5, err=noise, segmentation_map=True)
    theirs = np.unique(pieces[(islands == islands[y, x]) & (pieces > 0)]).size
    detected = run(registry.get("detection.matched", SegmentDetection), image=image)
    apart = run(registry["deblending.persistence"], image=replace(image), **{k: detected[k] for k in ("segmentation", "sources")})
    island = detected["segmentation"].labels
    island = island == island[y, x]
    labels = apart["segmentation"].labels
    assert np.unique(labels[island & (labels > 0)]).size <= 1.5 * theirs
