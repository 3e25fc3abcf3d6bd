"""Template deblending: known fluxes in known blends, what is left over, and inputs that make no sense."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from astrosurvey import Box, Catalog, Context, DataError, Fractions, Image, Segmentation, Tile
from astrosurvey.catalog.flags import PIXEL, SOURCE
from astrosurvey.catalog.ids import object_ids
from astrosurvey.stages.deblending.fractional import TemplateDeblending
from astrosurvey.stages.detection.rows import source_rows

from .scenes import gaussians, psf_stamp

SIGMA = 4.0 / 2.354820045


def listed(image: Image, x: np.ndarray, y: np.ndarray, half: int = 6) -> tuple[Segmentation, Catalog]:
    """Return a segmentation and sources at given positions, in (y, x) order; pixels go to the nearest."""
    ny, nx = image.data.shape[1:]
    rows, columns = np.mgrid[:ny, :nx]
    distance = np.hypot(columns - x[:, None, None], rows - y[:, None, None])
    labels = np.where(distance.min(0) < half, distance.argmin(0) + 1, 0).astype(np.int32)
    zero = np.zeros(len(x))
    edges = {
        "x_min": np.clip(np.rint(x) - half, 0, nx - 1), "x_max": np.clip(np.rint(x) + half + 1, 1, nx),
        "y_min": np.clip(np.rint(y) - half, 0, ny - 1), "y_max": np.clip(np.rint(y) + half + 1, 1, ny),
    }  # fmt: skip
    columns_ = {
        "x": x, "y": y, "x_var": zero, "y_var": zero, "xy_cov": zero, "significance": zero + 9, "flags": np.zeros(len(x), np.int64),
        "n_pixels": np.maximum(np.bincount(labels.ravel(), minlength=len(x) + 1)[1:], 1),
        **{name: edge.astype(np.int64) for name, edge in edges.items()},
    }  # fmt: skip
    tile = Tile("t", 3, 0, Box(0, 0, nx, ny), Box(0, 0, nx, ny))
    return Segmentation(labels), source_rows(tile, image, columns_, source_id=object_ids(3, len(x)))


def deblend(image: Image, x, y, **config) -> dict:
    return deblended(image, *listed(image, np.asarray(x, float), np.asarray(y, float)), **config)


def deblended(image: Image, segmentation: Segmentation, sources: Catalog, **config) -> dict:
    ny, nx = image.data.shape[1:]
    tile = Tile("t", 3, 0, Box(0, 0, nx, ny), Box(0, 0, nx, ny))
    context = Context(tile, np.random.default_rng(1), "cpu", logging.getLogger("test"), lambda done, total: None, Path())
    stage = TemplateDeblending(TemplateDeblending.Config.model_validate(config))
    made = stage.run(context, image=image, segmentation=segmentation, sources=sources, photometry=None)
    for product in made.values():
        product.check()
    return dict(made)


def picture(data: np.ndarray, noise: float = 1.0, **more: object) -> Image:
    data = data.reshape((-1, *data.shape[-2:])).astype(np.float32)
    variance = np.full(data.shape, noise**2, np.float32)
    return Image(data, tuple("gri"[: len(data)]), variance, psf=np.stack([psf_stamp()] * len(data)), **more)


def pair(
    separation: float, flux: tuple[float, float] = (4000.0, 1500.0), shape: tuple[int, int] = (64, 72)
) -> tuple[np.ndarray, np.ndarray]:
    x = np.array([32.3, 32.3 + separation])
    return x, np.array([31.6, 31.6])


@pytest.mark.parametrize("separation", [5.0, 8.0, 14.0])
def test_the_fluxes_of_a_pair_of_stars_without_noise(separation):
    x, y = pair(separation)
    flux = np.array([4000.0, 1500.0])
    made = deblend(picture(gaussians((64, 72), x, y, flux)), x, y)
    np.testing.assert_allclose(made["photometry"].column("flux"), flux, rtol=0.02)
    assert np.abs(made["residual"].data).max() < 1.5
    share = made["sources"].column("blendedness")
    assert share[1] > share[0]


def test_each_band_has_its_own_fluxes_and_fractions():
    x, y = pair(7.0)
    flux = np.array([[4000.0, 500.0], [1000.0, 3000.0]])
    data = np.stack([gaussians((64, 72), x, y, f) for f in flux])
    made = deblend(picture(data), x, y)
    found = made["photometry"].column("flux").reshape(2, 2)
    np.testing.assert_allclose(found, flux.T, rtol=0.03)
    assert made["fractions"].bands == ("g", "r")
    image = picture(data)
    sums = np.array([made["fractions"].apply(image, i).sum(axis=(1, 2)) for i in range(2)])
    np.testing.assert_allclose(sums, flux.T, rtol=0.03)


def test_errors_are_those_of_the_noise():
    rng = np.random.default_rng(5)
    x, y = pair(8.0)
    flux = np.array([600.0, 300.0])
    clean = gaussians((64, 72), x, y, flux)
    pulls = []
    for _ in range(40):
        table = deblend(picture(clean + rng.normal(0, 3.0, clean.shape), 3.0), x, y)["photometry"]
        pulls.append((table.column("flux") - flux) / table.column("flux_err"))
    # 80 pulls scatter by 8 % about one; their mean by 0.11.
    assert 0.6 < np.std(pulls) < 1.3
    assert abs(np.mean(pulls)) < 0.5


def test_a_crowd_of_more_than_a_thousand_members_in_one_island():
    rng = np.random.default_rng(2)
    side = 33
    gy, gx = (g.ravel() * 8.0 + 6 + rng.uniform(-0.4, 0.4, side * side) for g in np.mgrid[:side, :side])
    order = np.lexsort((gx, gy))
    gx, gy = gx[order], gy[order]
    flux = np.exp(rng.uniform(np.log(500), np.log(5000), gx.size))
    clean = gaussians((268, 268), gx, gy, flux)
    made = deblend(picture(clean + rng.normal(0, 1.0, clean.shape)), gx, gy, rounds=6)
    error = made["photometry"].column("flux") / flux - 1
    assert 1.4826 * np.median(np.abs(error)) < 0.05
    assert (made["sources"].column("flags") & SOURCE["BLENDED"] > 0).mean() > 0.8


def test_masked_pixels_are_filled_by_the_template():
    x, y = pair(14.0)
    clean = gaussians((64, 72), x, y, np.array([4000.0, 1500.0]))
    mask = np.zeros((1, 64, 72), np.int32)
    mask[:, 30:33, 33] = PIXEL["CR"]
    data = clean.copy()
    data[30:33, 33] = 1e5
    made = deblend(picture(data, mask=mask), x, y)
    np.testing.assert_allclose(made["photometry"].column("flux"), [4000, 1500], rtol=0.04)
    assert made["photometry"].column("masked_fraction")[0] > 0.1


def test_stamps_are_cut_and_put_back_where_they_belong():
    import torch

    from astrosurvey.stages.deblending.stamps import Layout

    rng = np.random.default_rng(9)
    image = rng.normal(size=(70, 90)).astype(np.float32)
    x, y, reach = np.array([3.2, 60.0, 88.0]), np.array([4.0, 40.1, 69.0]), np.array([9.0, 14.0, 9.0])
    layout = Layout(image.shape, x, y, reach, np.ones(3), "cpu")
    plane, around = layout.plane(image), np.pad(image, layout.pad)
    for batch in layout.batches():
        half = batch.size // 2
        for row, stamp in zip(batch.rows.tolist(), batch.cut(plane).numpy(), strict=True):
            v, u = layout.y0[row] - half + layout.pad, layout.x0[row] - half + layout.pad
            np.testing.assert_array_equal(stamp.reshape(batch.size, -1), around[v : v + batch.size, u : u + batch.size])
        before = batch.cut(plane)
        batch.add(plane, torch.ones_like(before))
        np.testing.assert_array_equal(batch.cut(plane), before + 1)
        batch.put(plane, before)
    np.testing.assert_array_equal(layout.image(plane), image)


def test_a_transform_has_a_fast_length_with_room_for_the_stamp():
    from astrosurvey.stages.deblending.profiles import fast_side

    assert [fast_side(n) for n in (1, 36, 37, 45, 63, 91)] == [2, 36, 40, 48, 64, 96]


def test_results_are_the_same_bytes_for_any_number_of_threads():
    import torch

    x, y = pair(6.0)
    image = picture(gaussians((64, 72), x, y, np.array([4000.0, 1500.0])) + np.random.default_rng(1).normal(0, 1, (64, 72)))
    before = torch.get_num_threads()
    first = deblend(image, x, y)
    try:
        torch.set_num_threads(2)
        second = deblend(image, x, y)
    finally:
        torch.set_num_threads(before)
    assert first["fractions"].values.tobytes() == second["fractions"].values.tobytes()
    assert first["photometry"].rows.equals(second["photometry"].rows)


@pytest.mark.parametrize("kind", ["masked", "constant", "nan block", "infinite variance", "one row"])
def test_images_without_sense_give_sound_results(kind):
    x, y = pair(8.0)
    image = picture(gaussians((64, 72), x, y, np.array([4000.0, 1500.0])))
    if kind == "masked":
        image = replace(image, mask=np.full(image.data.shape, PIXEL["BAD"], np.int32))
    elif kind == "constant":
        image = replace(image, data=np.full_like(image.data, 7.0))
    elif kind == "nan block":
        data = image.data.copy()
        data[:, 20:40, 20:36] = np.nan
        image = replace(image, data=data)
    elif kind == "infinite variance":
        image = replace(image, variance=np.full_like(image.data, np.inf))
    else:
        image = picture(np.ascontiguousarray(image.data[0, 31:32]))
        y = np.zeros(2)
    made = deblend(image, x, y)
    flux, flags = made["photometry"].column("flux"), made["photometry"].column("flags")
    assert (np.isfinite(flux) | ((flags & SOURCE["NO_FLUX"]) > 0)).all()
    if kind in ("masked", "infinite variance"):
        assert (flags & SOURCE["NO_FLUX"]).all()


def test_a_source_that_is_not_there_gets_nothing_and_says_so():
    x, y = pair(6.0)
    clean = gaussians((64, 72), x[:1], y[:1], np.array([4000.0]))
    clean[:, 42:] -= 4.0  # where the second is listed there is less than nothing
    made = deblend(picture(clean), np.array([32.3, 52.0]), np.array([31.6, 31.6]))
    assert made["sources"].column("flags")[1] & SOURCE["DEBLEND_NO_FLUX"]
    assert made["photometry"].column("flux")[1] <= 0


def test_the_error_of_nothing_is_that_of_a_star():
    x, y = pair(6.0)
    clean = gaussians((64, 72), x[:1], y[:1], np.array([4000.0]))
    clean[:, 42:] -= 4.0
    rows = deblend(picture(clean, noise=2.0), np.array([32.3, 52.0]), np.array([31.6, 31.6]))["photometry"]
    # The noise of the best sum over a Gaussian PSF is that of its noise-equivalent area, 4 pi sigma^2.
    assert rows.column("flux_err")[1] == pytest.approx(2.0 * np.sqrt(4 * np.pi) * SIGMA, rel=0.1)


@pytest.mark.parametrize("shapes", [["r"], ["g"], None])
def test_without_a_pixel_to_see_shapes_in_there_is_no_flux(shapes):
    x, y = pair(9.0)
    light = gaussians((64, 72), x, y, np.array([4000.0, 1500.0]))
    image = picture(np.stack([light, np.full_like(light, np.nan)]))
    made = deblend(image, x, y, bands=shapes)
    flux, flags = (made["photometry"].column(name).reshape(2, 2) for name in ("flux", "flags"))
    dead = np.array([shapes == ["r"], True])
    assert np.array_equal(np.isnan(flux), np.tile(dead, (2, 1)))
    assert np.array_equal(flags & SOURCE["NO_FLUX"] != 0, np.tile(dead, (2, 1)))
    assert not (flags & SOURCE["DEBLEND_NO_FLUX"]).any(), "no neighbour accounts for it"
    if shapes != ["r"]:
        np.testing.assert_allclose(flux[:, 0], [4000.0, 1500.0], rtol=0.05)


@pytest.mark.parametrize("far", [(1e7, 30.0), (-1e7, -1e7), (250.0, 30.0), (30.0, -1e4)])
def test_a_source_far_outside_has_no_flux_and_does_no_harm(far):
    x, y = pair(9.0)
    image = picture(gaussians((64, 72), x, y, np.array([4000.0, 1500.0])))
    alone = deblend(image, x, y)
    segmentation, sources = listed(image, np.append(x, 60.0), np.append(y, 60.0))
    moved = sources.replace(x=np.append(x, far[0]), y=np.append(y, far[1]))
    made = deblended(image, segmentation, moved)
    flux, flags = made["photometry"].column("flux"), made["photometry"].column("flags")
    assert np.isnan(flux[2])
    assert flags[2] & SOURCE["NO_FLUX"]
    np.testing.assert_allclose(flux[:2], alone["photometry"].column("flux"), rtol=1e-5)


def test_photometry_counts_each_members_own_part():
    from astrosurvey.stages.photometry.stage import AperturePhotometry, KronPhotometry

    x, y = pair(9.0)
    flux = np.array([4000.0, 1500.0])
    image = picture(gaussians((64, 72), x, y, flux) + np.random.default_rng(3).normal(0, 1.0, (64, 72)))
    segmentation, sources = listed(image, x, y)
    fractions = deblend(image, x, y)["fractions"]
    context = Context(Tile("t", 3, 0), np.random.default_rng(1), "cpu", logging.getLogger("test"), lambda done, total: None, Path())
    inputs = {"image": image, "segmentation": segmentation, "sources": sources, "photometry": None}
    for stage, config in ((AperturePhotometry, {"radii": [8.0]}), (KronPhotometry, {})):
        made = stage(stage.Config.model_validate(config))
        alone = made.run(context, **inputs, fractions=fractions)["photometry"].column("flux")
        np.testing.assert_allclose(alone, flux, rtol=0.05)
    kept = AperturePhotometry(AperturePhotometry.Config(radii=(8.0,))).run(context, **inputs)["photometry"].column("flux")
    assert kept[1] > 1.5 * flux[1]
    with pytest.raises(DataError, match="same stage"):
        made.run(context, **inputs, fractions=Fractions.from_stamps((64, 72), np.zeros((0, 4)), []))
