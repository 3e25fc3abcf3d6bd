"""Pictures and packed sources: what is chosen, how it is scaled, and that the numbers survive the packing."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from astrosurvey.catalog.flags import PIXEL
from astrosurvey.report import rgb
from astrosurvey.report import sky as sky_module
from astrosurvey.report import sources as sources_module
from astrosurvey.report.gather import gather
from astrosurvey.report.sky import TileImage, choose, make_sky, scale, tangent_plane
from astrosurvey.report.sources import make_sources
from astrosurvey.report.truth import make_truth

from . import runs


def column(packed):
    return np.frombuffer(base64.b64decode(packed["data"]), f"<{packed['type']}")


def test_block_average_leaves_out_nan():
    plane = np.arange(20, dtype=np.float32).reshape(4, 5)
    plane[0, 0], plane[2:, 2:4] = np.nan, np.nan
    made = rgb.block_average(plane, 2)
    assert made.shape == (2, 3)
    np.testing.assert_allclose(made[0], [(1 + 5 + 6) / 3, (2 + 3 + 7 + 8) / 4, (4 + 9) / 2])
    assert np.isnan(made[1, 1])
    assert made[1, 2] == (14 + 19) / 2


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        (["r"], (0,)),
        (["g", "r"], (1, -1, 0)),
        (["i", "r", "g"], (0, 1, 2)),
        (list("grizy"), (4, 2, 0)),
        (["F606W", "F814W", "F105W"], (2, 1, 0)),
    ],
)
def test_long_wavelengths_are_red(bands, expected):
    assert rgb.channels(bands) == expected


def test_rendering_keeps_hue_and_marks_saturation():
    rng = np.random.default_rng(1)
    planes = rng.normal(5, 1, (3, 200, 200)).astype(np.float32)
    for place, colour in (((50, 50), (1, 1, 1)), ((50, 150), (2, 1, 0.5)), ((150, 50), (0.5, 1, 2))):
        y, x = np.mgrid[:200, :200]
        spot = 60 * np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / 50)
        planes += (np.array(colour)[:, None, None] * spot).astype(np.float32)
    planes[:, 150:155, 150:155], planes[:, :10, :10] = np.inf, np.nan
    picture = rgb.Stretch.of([planes]).render(planes)[::-1].astype(int)
    red, blue = picture[50, 150], picture[150, 50]
    assert red[0] > red[2] + 40
    assert blue[2] > blue[0] + 40
    assert (picture[152, 152] == 255).all()
    assert (picture[5, 5] == 0).all()
    sky = picture[90:110, 90:110]
    assert 5 < sky.mean() < 60
    assert np.ptp(sky.mean(axis=(0, 1))) < 4


def test_first_row_is_at_the_bottom():
    planes = np.zeros((1, 20, 20), np.float32)
    planes[0, :4] = 100
    picture = rgb.Stretch(np.zeros(1), np.ones(1), 1.0, 100.0).render(planes)
    assert picture[-2].mean() > 200 > picture[2].mean()


@pytest.mark.parametrize(
    "planes", [np.full((3, 8, 8), np.nan, np.float32), np.full((1, 8, 8), 7, np.float32), np.zeros((3, 1, 1), np.float32)]
)
def test_odd_images_can_be_rendered(planes):
    assert rgb.Stretch.of([planes]).render(planes).shape == (*planes.shape[1:], 3)


def test_masked_pixels_are_left_out():
    data, mask = np.ones((1, 4, 4), np.float32), np.zeros((1, 4, 4), np.int32)
    data[0, 0, 0], mask[0, 0, 0] = 1e6, PIXEL["CR"]
    mask[0, 2:, 2:] = PIXEL["SAT"]
    made = rgb.thumbnail(data, mask, ["r"], 2)
    assert made[0, 0, 0] == 1
    assert np.isinf(made[0, 1, 1])


def test_tangent_plane_agrees_with_astropy():
    wcs = runs.tan_wcs(0)
    found = tangent_plane(wcs, runs.SIZE, runs.SIZE)
    x, y = np.array([0.0, 40.0, 95.0]), np.array([95.0, 3.0, 50.0])
    a, b, c, d, e, f = found["matrix"]
    xi, eta = np.radians(a + b * x + c * y), np.radians(d + e * x + f * y)
    ra0, dec0 = np.radians(found["center"])
    along = np.cos(dec0) - eta * np.sin(dec0)
    ra = np.degrees(ra0 + np.arctan2(xi, along)) % 360
    dec = np.degrees(np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, along)))
    wanted = wcs.all_pix2world(x, y, 0)
    np.testing.assert_allclose(ra, wanted[0], atol=0.01 / 3600)
    np.testing.assert_allclose(dec, wanted[1], atol=0.01 / 3600)


def tile(n: int, window: list[int] | None, size: int = 1) -> TileImage:
    return TileImage(f"t{n}", n, "sky", Path("x"), size, window, None)


def test_large_surveys_show_the_middle(monkeypatch):
    images = [tile(10 * row + c, [100 * c, 100 * row, 100 * c + 100, 100 * row + 100]) for row in range(10) for c in range(10)]
    chosen = choose(images, 16)
    columns = sorted({i.number % 10 for i in chosen})
    assert len(chosen) == 16
    assert columns == sorted({i.number // 10 for i in chosen}) == [3, 4, 5, 6]
    assert [i.number for i in choose([tile(n, None) for n in range(9)], 3)] == [0, 1, 2]
    monkeypatch.setattr(sky_module, "MOST_STORED_BYTES", 10)
    assert len(choose([tile(n, None, size=4) for n in range(9)])) == 2
    assert len(choose([tile(n, None, size=40) for n in range(9)])) == 1  # one at least


def test_thumbnails_stay_within_the_budget():
    assert scale(1024, 1024, 12) == 1
    assert scale(4096, 4096, 1) == 4
    assert scale(1025, 10, 1) == 2
    for tiles in (1, 12, 144):
        factor = scale(4096, 4096, tiles)
        assert tiles * (4096 / factor) ** 2 <= sky_module.MOST_PIXELS


def test_tiles_have_their_place_and_picture(field):
    sky = make_sky(gather(field))
    assert sky.mosaic
    assert sky.bands == ["i", "r", "g"]
    assert sky.stages == ["sky"]
    assert sky.notes == []
    assert [t["place"] for t in sky.tiles] == [[0, 0], [80, 0]]
    picture = Picture.open(io.BytesIO(base64.b64decode(sky.tiles[0]["picture"].partition(",")[2])))
    assert picture.size == (runs.SIZE, runs.SIZE)
    assert picture.mode == "RGB"


def test_image_of_an_earlier_stage_stands_in(tmp_path):
    root = runs.field(tmp_path / "run")
    for path in (root / "products/sky/t1").iterdir():
        path.unlink()
    (root / "products/sky/t1").rmdir()
    sky = make_sky(gather(root))
    assert [t["stage"] for t in sky.tiles] == ["sky", "sim"]


def test_packed_sources_are_those_of_the_catalogue(field):
    run = gather(field)
    sky = make_sky(run)
    shown = make_sources(run, sky)
    n = runs.SOURCES - 1  # the one in the overlap is the neighbour's
    ids = column(shown.columns["id"])
    assert shown.number == shown.total == 2 * n
    assert shown.notes == []
    assert ids.tolist() == [*range(7000, 7000 + n), *range(8000, 8000 + n)]
    x, _ = runs.places(0)
    np.testing.assert_allclose(column(shown.columns["x"])[:n], x[:n], rtol=1e-6)
    assert column(shown.columns["tile"]).tolist() == [0] * n + [1] * n
    assert column(shown.columns["a"])[0] == 6
    assert column(shown.columns["b"])[0] == 3
    assert column(shown.columns["theta"])[0] == 30
    kinds = [(f["band"], f["method"]) for f in shown.fluxes]
    assert sorted(kinds) == sorted((b, m) for b in runs.BANDS for m in ("kron", "aperture_3"))
    flux = column(shown.fluxes[kinds.index(("i", "kron"))]["flux"])
    assert flux[0] == 3000
    assert flux[n + 4] == 15000
    assert np.isnan(flux[2])
    assert shown.statistics.flags == {"BLENDED": 2, "SATURATED": 2}
    assert shown.statistics.flagged == 2
    assert sum(shown.statistics.magnitudes["kron", "g"]) == 2 * (n - 1)
    assert shown.statistics.faint["kron", "g"] == 2


def test_merged_catalogue_comes_first(tmp_path):
    from astrosurvey.products import Catalog

    root = runs.field(tmp_path / "run")
    tables = [runs.catalogues(t) for t in (0, 1)]

    merged = {
        "sources": Catalog.concatenate([t[0] for t in tables]),
        "photometry": Catalog.concatenate([t[1] for t in tables]),
    }
    runs.write_about(root, {**runs.STAGES, "survey": {"use": "catalog.merge"}})
    runs.put(root, "survey", None, merged)
    run = gather(root)
    shown = make_sources(run, make_sky(run))
    assert shown.stage == "survey"
    assert shown.number == 2 * runs.SOURCES
    flux = {(f["band"], f["method"]): column(f["flux"]) for f in shown.fluxes}["r", "aperture_3"]
    assert flux[3] == 4000
    assert flux[runs.SOURCES] == 1000


def test_the_most_significant_are_kept(field, monkeypatch):
    monkeypatch.setattr(sources_module, "MOST_SOURCES", 5)
    run = gather(field)
    shown = make_sources(run, make_sky(run))
    assert sorted(column(shown.columns["id"])) == [7000, 7001, 7002, 8000, 8001]
    assert shown.total == 2 * (runs.SOURCES - 1)
    assert "The 5 most significant of 22 sources" in shown.notes[0]


def test_truth_is_shown_once_an_object(field):
    run = gather(field)
    truth = make_truth(run, make_sky(run))
    assert truth.band == "r"
    assert truth.number == 2 * (runs.SOURCES - 1)
    np.testing.assert_allclose(column(truth.columns["magnitude"]), 31.4 - 7.5, rtol=1e-6)
    assert set(column(truth.columns["star"])) == {0, 1}
