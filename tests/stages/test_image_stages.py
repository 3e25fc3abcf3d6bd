"""The tile stages together: on known skies, dirty skies and none."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from astrosurvey import Model, plugins
from astrosurvey.catalog.flags import PIXEL, SOURCE
from astrosurvey.catalog.ids import split_id
from astrosurvey.core.stage import DataError
from astrosurvey.core.tiles import Box
from astrosurvey.products import Catalog, Image
from astrosurvey.stages.background.stage import MeshBackground
from astrosurvey.stages.deblending.fractional import TemplateDeblending
from astrosurvey.stages.deblending.persistence import PersistenceDeblending
from astrosurvey.stages.deblending.stage import WatershedDeblending
from astrosurvey.stages.deblending.unet.stage import UNetDeblending
from astrosurvey.stages.detection.stage import MatchedDetection, SegmentDetection
from astrosurvey.stages.detection.unet.stage import UNetDetection
from astrosurvey.stages.photometry.model_stage import TotalPhotometry
from astrosurvey.stages.photometry.stage import AperturePhotometry, KronPhotometry

from .running import a_tile, run
from .scenes import FWHM, gaussians, grid, make_image

RMS = 5.0
SHAPE = (384, 384)


def tangent_wcs():
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [192.5, 192.5]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    return wcs


def starry(bands: int = 3, seed: int = 1, **more) -> tuple[Image, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, y = grid(SHAPE, 48, rng)
    x, y = np.concatenate([x, x[::3] + 8.0]), np.concatenate([y, y[::3] + 2.0])
    flux = 10 ** rng.uniform(3.5, 4.8, x.size)
    colours = np.array([1.0, 0.5, 2.0])[:bands]
    data = np.stack([gaussians(SHAPE, x, y, flux * colour) for colour in colours]) + rng.normal(0, RMS, (bands, *SHAPE)) + 100.0
    return make_image(data, RMS, **{"wcs": tangent_wcs(), "meta": {"seeing": 0.8}, **more}), x, y, flux


def chain(image: Image, tile=None, **settings) -> dict:
    found = run(MeshBackground, settings.get("background"), tile=tile, image=image)
    found |= run(SegmentDetection, settings.get("detect"), tile=tile, image=found["image"])
    found["islands"] = found["sources"]
    found |= run(
        WatershedDeblending,
        settings.get("deblend"),
        tile=tile,
        image=found["image"],
        segmentation=found["segmentation"],
        sources=found["sources"],
    )
    wired = {"image": found["image"], "segmentation": found["segmentation"]}
    found |= run(AperturePhotometry, settings.get("aperture"), tile=tile, sources=found["sources"], **wired)
    found |= run(KronPhotometry, settings.get("kron"), tile=tile, sources=found["sources"], photometry=found["photometry"], **wired)
    return found


def test_stars_come_out_with_their_fluxes_positions_and_links():
    from scipy.spatial import cKDTree

    image, x, y, flux = starry()
    found = chain(image)
    sources, photometry, labels = found["sources"], found["photometry"], found["segmentation"].labels
    distance, match = cKDTree(np.stack([sources.column("x"), sources.column("y")], 1)).query(np.stack([x, y], 1))
    assert np.mean(distance < 1.5) > 0.97
    assert len(sources) <= x.size + 3

    inside = labels[np.rint(sources.column("y")).astype(int), np.rint(sources.column("x")).astype(int)]
    assert np.mean(inside == np.arange(1, len(sources) + 1)) > 0.98
    assert labels.max() == len(sources)
    assert (np.diff(sources.column("y")) >= 0).all()
    tile, counter = split_id(sources.column("source_id"))
    assert (tile == 7).all()
    assert len(set(counter.tolist())) == len(sources)
    assert sources.meta["tile"]["tile_id"] == 7
    assert photometry.meta == sources.meta

    islands = set(found["islands"].column("source_id").tolist())
    own = sources.rows.column("parent_source_id")
    split = ~own.is_null().to_numpy()
    assert split.any()
    assert set(own.drop_null().to_pylist()) <= islands - set(sources.column("source_id").tolist())
    assert ((sources.column("flags") & SOURCE["BLENDED"] != 0) >= split).all()
    assert set(sources.column("source_id")[~split].tolist()) <= islands

    back_x, back_y = image.wcs.world_to_pixel_values(sources.column("ra"), sources.column("dec"))
    np.testing.assert_allclose(back_x, sources.column("x"), atol=1e-5)
    np.testing.assert_allclose(back_y, sources.column("y"), atol=1e-5)

    assert sorted(set(photometry.column("method").tolist())) == ["aperture_3", "aperture_5", "aperture_8", "kron"]
    assert len(photometry) == len(sources) * 3 * 4
    order = {source: i for i, source in enumerate(sources.column("source_id").tolist())}
    row = np.array([order[i] for i in photometry.column("source_id").tolist()])
    alone = (distance < 1.5) & ~split[match]
    for band, colour in zip("gri", (1.0, 0.5, 2.0), strict=True):
        here = (photometry.column("method") == "kron") & (photometry.column("band") == band)
        measured, error = np.empty(len(sources)), np.empty(len(sources))
        measured[row[here]], error[row[here]] = photometry.column("flux")[here], photometry.column("flux_err")[here]
        relative = measured[match[alone]] / (flux[alone] * colour) - 1
        assert abs(np.median(relative)) < 0.02
        assert (error > 0).all()


def test_same_input_same_bytes(tmp_path):
    image, *_ = starry(bands=2)
    for name in ("a", "b"):
        found = chain(image)
        (tmp_path / name).mkdir()
        for port in ("image", "background", "segmentation", "sources", "photometry"):
            found[port].write(tmp_path / name / port)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def nothing_there() -> dict[str, Image]:
    noise = np.random.default_rng(3).normal(0, 0.01, (2, 64, 64))
    masked = np.full((2, 64, 64), PIXEL["NO_DATA"], np.int32)
    return {
        "constant": make_image(np.full((2, 64, 64), 3.0), RMS),
        "constant without variance": make_image(np.full((2, 64, 64), 3.0), RMS, variance=None),
        "all NaN": make_image(np.full((2, 64, 64), np.nan), RMS),
        "all masked": make_image(noise, RMS, mask=masked),
        "infinite variance": make_image(noise, RMS, variance=np.full((2, 64, 64), np.inf, np.float32)),
        "faint noise": make_image(noise, RMS),
        "one row": make_image(np.zeros((1, 1, 200)), RMS),
        "one column": make_image(np.zeros((1, 200, 1)), RMS),
        "one pixel": make_image(np.zeros((1, 1, 1)), RMS),
    }


@pytest.mark.parametrize("name", nothing_there())
@pytest.mark.parametrize("combine", ["mean", "chi"])
def test_a_tile_without_sources_has_empty_catalogues(name, combine):
    image = nothing_there()[name]
    found = chain(image, detect={"combine": combine})
    assert len(found["sources"]) == len(found["photometry"]) == 0
    assert found["sources"].meta["tile"]["nx"] == image.data.shape[-1]
    assert not found["segmentation"].labels.any()


def test_a_dead_band_is_told_and_the_others_carry_on(caplog):
    image, x, *_ = starry()
    mask = np.zeros(image.data.shape, np.int32)
    mask[1] = PIXEL["NO_DATA"]
    data = image.data.copy()
    data[1] = np.nan
    with caplog.at_level(logging.WARNING):
        found = chain(replace(image, data=data, mask=mask))
    assert "band r has no usable pixel" in caplog.text
    assert len(found["sources"]) > 0.9 * x.size
    photometry = found["photometry"]
    dead = photometry.column("band") == "r"
    assert np.isnan(photometry.column("flux")[dead]).all()
    assert (photometry.column("flags")[dead] & SOURCE["NO_FLUX"] != 0).all()
    assert np.isfinite(photometry.column("flux")[~dead]).all()
    assert (photometry.column("masked_fraction")[dead] == 1).all()


def test_no_world_coordinates_is_flagged():
    image, *_ = starry(bands=1, wcs=None)
    found = chain(image)
    assert np.isnan(found["sources"].column("ra")).all()
    assert (found["sources"].column("flags") & SOURCE["NO_SKY_POSITION"] != 0).all()


def test_galactic_coordinates_become_icrs():
    from astropy.coordinates import SkyCoord

    wcs = tangent_wcs()
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR"]
    wcs.wcs.crval = [0.0, 0.0]
    image, *_ = starry(bands=1, wcs=wcs)
    sources = run(SegmentDetection, image=run(MeshBackground, image=image)["image"])["sources"]
    near = SkyCoord(sources.column("ra"), sources.column("dec"), unit="deg")
    assert near.separation(SkyCoord(0, 0, unit="deg", frame="galactic")).arcmin.max() < 1.5


def test_primary_is_the_core():
    image, *_ = starry(bands=1)
    tile = a_tile(window=Box(1000, 2000, 1384, 2384), core=Box(1000, 2000, 1192, 2384))
    sources = chain(image, tile)["sources"]
    np.testing.assert_array_equal(sources.column("primary"), sources.column("x") < 191.5)
    assert sources.meta["tile"]["x0"] == 1000


def test_variance_kept_rescaled_measured():
    image, *_ = starry(bands=1)
    wrong = replace(image, variance=image.variance * 4)
    kept = run(MeshBackground, {"variance": "keep"}, image=wrong)["image"].variance
    np.testing.assert_array_equal(kept, wrong.variance)
    rescaled = run(MeshBackground, {"variance": "rescale"}, image=wrong)["image"].variance
    assert np.median(rescaled) == pytest.approx(RMS**2, rel=0.1)
    measured = run(MeshBackground, {"variance": "measure"}, image=wrong)["image"]
    assert np.median(measured.variance) == pytest.approx(RMS**2, rel=0.1)
    bright = run(MeshBackground, {"variance": "measure", "gain": 0.5}, image=wrong)["image"]
    peak = np.unravel_index(image.data.argmax(), image.data.shape)
    assert bright.variance[peak] - measured.variance[peak] == pytest.approx(2 * bright.data[peak], rel=1e-4)
    bare = run(MeshBackground, image=replace(image, variance=None))
    np.testing.assert_array_equal(bare["image"].variance, bare["background"].variance)
    assert np.median(bare["background"].data) == pytest.approx(100, abs=0.5)


def test_pixels_without_data_have_infinite_variance():
    image, *_ = starry(bands=1)
    data = image.data.copy()
    data[0, 50:60, 50:60] = np.nan
    out = run(MeshBackground, image=replace(image, data=data))
    assert np.isinf(out["image"].variance[0, 50:60, 50:60]).all()
    assert np.isnan(out["image"].data[0, 50:60, 50:60]).all()
    assert np.isfinite(out["background"].data).all()


def test_detection_in_one_band():
    image, *_ = starry()
    only = chain(image, detect={"bands": ["r"]}, deblend={"bands": ["r"]}, kron={"bands": ["r"]})
    single = replace(image, data=image.data[1:2], variance=image.variance[1:2], psf=image.psf[1:2], bands=("r",))
    alone = chain(single)
    np.testing.assert_array_equal(only["segmentation"].labels, alone["segmentation"].labels)
    with pytest.raises(DataError, match="no band 'z'"):
        chain(image, detect={"bands": ["z"]})


def test_a_plugin_column_passes_through_deblending():
    image, *_ = starry(bands=1)
    ready = run(MeshBackground, image=image)["image"]
    found = run(SegmentDetection, image=ready)
    sources = found["sources"].replace(x_me_score=np.arange(len(found["sources"]), dtype=float))
    after = run(WatershedDeblending, image=ready, segmentation=found["segmentation"], sources=sources)["sources"]
    score = after.rows.column("x_me_score")
    np.testing.assert_array_equal(score.is_null().to_numpy(), ~after.rows.column("parent_source_id").is_null().to_numpy())


def test_large_islands_are_kept_whole_and_flagged(caplog):
    image, *_ = starry(bands=1)
    ready = run(MeshBackground, image=image)["image"]
    found = run(SegmentDetection, image=ready)
    wired = {"image": ready, "segmentation": found["segmentation"], "sources": found["sources"]}
    with caplog.at_level(logging.WARNING):
        after = run(WatershedDeblending, {"max_pixels": 60}, **wired)
    large = found["sources"].column("n_pixels") > 60
    assert large.any()
    assert f"{large.sum()} islands" in caplog.text
    flagged = after["sources"].column("flags") & SOURCE["DEBLEND_SKIPPED"] != 0
    assert flagged.sum() == large.sum()
    assert (after["sources"].column("n_pixels")[flagged] > 60).all()


def test_fixed_apertures_follow_the_settings():
    image, *_ = starry(bands=1)
    ready = run(MeshBackground, image=image)["image"]
    sources = run(SegmentDetection, image=ready)["sources"]
    pixels = run(AperturePhotometry, {"radii": [2.5, 5]}, image=ready, sources=sources)["photometry"]
    arcsec = run(AperturePhotometry, {"radii": [0.5, 1.0], "unit": "arcsec"}, image=ready, sources=sources)["photometry"]
    assert set(arcsec.column("method").tolist()) == {"aperture_0.5arcsec", "aperture_1arcsec"}
    np.testing.assert_allclose(arcsec.column("flux"), pixels.column("flux"), rtol=1e-5)
    np.testing.assert_allclose(arcsec.column("radius"), pixels.column("radius"), rtol=1e-6)
    tilted = replace(ready, data=ready.data + np.float32(30))
    local = run(AperturePhotometry, {"radii": [5], "annulus": {"inner": 10, "outer": 16}}, image=tilted, sources=sources)["photometry"]
    plain = pixels.column("flux")[pixels.column("method") == "aperture_5"]
    assert np.median(local.column("flux") - plain) == pytest.approx(0, abs=0.05 * 30 * np.pi * 25)


def test_wrong_wiring_is_told():
    image, *_ = starry(bands=1)
    ready = run(MeshBackground, image=image)["image"]
    found = run(SegmentDetection, image=ready)
    fewer = Catalog("source", found["sources"].rows.slice(1), found["sources"].meta)
    for stage in (WatershedDeblending, KronPhotometry, AperturePhotometry):
        with pytest.raises(DataError, match="labels up to"):
            run(stage, image=ready, segmentation=found["segmentation"], sources=fewer)
    small = replace(found["segmentation"], labels=np.zeros((3, 3), np.int32))
    with pytest.raises(DataError, match="same tile"):
        run(KronPhotometry, image=ready, segmentation=small, sources=found["sources"])
    with pytest.raises(DataError, match="wire a segmentation"):
        run(AperturePhotometry, {"neighbours": "mask"}, image=ready, sources=found["sources"])
    with pytest.raises(DataError, match="unit: pixel"):
        run(AperturePhotometry, {"unit": "arcsec"}, image=replace(ready, wcs=None), sources=found["sources"])
    once = run(AperturePhotometry, image=ready, sources=found["sources"])["photometry"]
    with pytest.raises(DataError, match="aperture_3"):
        run(AperturePhotometry, {"radii": [3]}, image=ready, sources=found["sources"], photometry=once)


@pytest.mark.parametrize(
    ("stage", "settings", "message"),
    [
        (MeshBackground, {"filter_size": 2}, "odd, such as 3"),
        (AperturePhotometry, {"radii": [3, 3.0]}, "differ"),
        (AperturePhotometry, {"radii": [-1]}, "positive"),
        (AperturePhotometry, {"radii": [3], "annulus": {"inner": 9, "outer": 5}}, "must exceed"),
        (SegmentDetection, {"threshold": 0}, "greater than 0"),
        (SegmentDetection, {"bands": []}, "at least 1"),
        (WatershedDeblending, {"contrast": 2}, "less than or equal to 1"),
    ],
)
def test_wrong_settings_are_told(stage, settings, message):
    with pytest.raises(ValueError, match=message):
        stage.Config(**settings)


def test_unknown_seeing_warns(caplog):
    image, *_ = starry(bands=1, psf=None, meta={})
    with caplog.at_level(logging.WARNING):
        found = run(SegmentDetection, image=run(MeshBackground, image=image)["image"])
    assert "set `fwhm`" in caplog.text
    assert len(found["sources"]) > 0


@pytest.mark.parametrize(
    "stage",
    [
        MatchedDetection, SegmentDetection, UNetDetection, WatershedDeblending, PersistenceDeblending, TemplateDeblending, UNetDeblending,
        KronPhotometry, TotalPhotometry,
    ],
    ids=lambda stage: stage.name,
)  # fmt: skip
def test_unknown_seeing_is_told_in_the_same_words_by_all(stage, caplog):
    data = gaussians((64, 72), np.array([30.0, 42.0]), np.array([30.0, 34.0]), np.array([4000.0, 2000.0]))
    image = make_image(data + np.random.default_rng(1).normal(0, 2.0, data.shape), 2.0)
    assert image.psf is not None
    inputs = {"image": image}
    if "segmentation" in stage.inputs:
        inputs |= run(SegmentDetection, image=image)
    if "model" in stage.inputs:
        inputs["model"] = Model.read(plugins.load().models["deblend-v1" if stage is UNetDeblending else "unet-v1"])
    run(stage, **inputs)
    assert "neither PSF nor seeing" not in caplog.text
    run(stage, **{**inputs, "image": replace(image, psf=None)})
    told = [message for message in caplog.messages if "neither PSF nor seeing" in message]
    assert len(told) == 1
    assert "2.5 px; put a psf.measure stage before, or set `fwhm`" in told[0]


def test_stages_import_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys; from astrosurvey.stages.background.stage import *; from astrosurvey.stages.detection.stage import *;"
        "from astrosurvey.stages.deblending.stage import *; from astrosurvey.stages.photometry.stage import *;"
        "from astrosurvey.stages.catalog.stage import *; from astrosurvey.stages.evaluate.stage import *;"
        "from astrosurvey.stages.export.stage import *;"
        "print([m for m in ('torch','numba','astropy','photutils','scipy','pyarrow','fitsio','matplotlib') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_smoothing_scales_with_the_psf():
    image, *_ = starry(bands=1)
    wide = run(WatershedDeblending, {"smoothing": 2.0, "fwhm": FWHM}, **wire(image))["sources"]
    sharp = run(WatershedDeblending, {"smoothing": 0.5, "fwhm": FWHM}, **wire(image))["sources"]
    assert len(sharp) > len(wide)


def wire(image: Image) -> dict:
    ready = run(MeshBackground, image=image)["image"]
    return {"image": ready, **run(SegmentDetection, image=ready)}
