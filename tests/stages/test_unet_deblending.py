"""Deblending by a network: known blends, fractions that add up, real galaxies that training never saw, and inputs that make no sense."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from astrosurvey import Box, Context, DataError, Image, Model, Tile, plugins
from astrosurvey.catalog.flags import PIXEL, SOURCE
from astrosurvey.networks.unet import UNet
from astrosurvey.stages.deblending import members
from astrosurvey.stages.deblending.bands import Band
from astrosurvey.stages.deblending.fractional import TemplateDeblending
from astrosurvey.stages.deblending.scene import Scene
from astrosurvey.stages.deblending.unet import masks
from astrosurvey.stages.deblending.unet.examples import batch, examples, listed
from astrosurvey.stages.deblending.unet.refine import Wide, bins_of, framed, unframed
from astrosurvey.stages.deblending.unet.stage import UNetDeblending
from astrosurvey.stages.models.load import to_model
from astrosurvey.stages.simulate.field import SimulateField
from astrosurvey.stages.simulate.field_image import field

from . import test_templates as known
from .scenes import gaussians, psf_stamp

CARD = {"task": "deblending", "bands": None, "trained_on": {"fwhm": [2.0, 7.0]}}


def network(head: float = 1.0) -> Model:
    """Return a network that has learnt nothing; its answers are `head` times those of random weights."""
    torch.manual_seed(5)
    config = {"in_channels": 5, "heads": [["change", 1], ["gain", 1]], "widths": [4, 6], "dropout": 0.0}
    made = UNet(**config)
    with torch.no_grad():
        made.head.weight.mul_(head)
    return to_model(made, "unet", config, CARD)


@cache
def built_in() -> Model:
    return Model.read(plugins.load().models["deblend-v1"])


def run(stage, image: Image, x, y, model: Model | None = None, **config) -> dict:
    segmentation, sources = known.listed(image, np.asarray(x, float), np.asarray(y, float))
    ny, nx = image.data.shape[1:]
    tile = Tile("t", 3, 0, Box(0, 0, nx, ny), Box(0, 0, nx, ny))
    context = Context(tile, np.random.default_rng(1), "cpu", logging.getLogger("test"), lambda done, total: None, Path())
    more = {"model": model} if stage is UNetDeblending else {}
    made = stage(stage.Config.model_validate(config)).run(
        context, image=image, segmentation=segmentation, sources=sources, photometry=None, **more
    )
    for product in made.values():
        product.check()
    return dict(made)


def noisy_pair(bands: int = 1) -> tuple[Image, np.ndarray, np.ndarray]:
    x, y = known.pair(7.0)
    data = np.stack([gaussians((64, 72), x, y, np.array([4000.0, 1500.0 * (b + 1)])) for b in range(bands)])
    return known.picture(data + np.random.default_rng(2).standard_normal(data.shape)), x, y


def test_a_network_that_says_nothing_leaves_the_templates_as_they_are():
    image, x, y = noisy_pair(2)
    ours, plain = run(UNetDeblending, image, x, y, network(0.0)), run(TemplateDeblending, image, x, y)
    np.testing.assert_allclose(ours["photometry"].column("flux"), plain["photometry"].column("flux"), rtol=2e-3)
    np.testing.assert_allclose(ours["fractions"].values, plain["fractions"].values, atol=2e-2)
    assert set(ours["photometry"].column("method")) == {"deblender"}


def test_whatever_a_network_says_no_pixel_is_given_away_twice():
    image, x, y = noisy_pair()
    made = run(UNetDeblending, image, x, y, network(30.0))
    assert made["fractions"].total().max() <= 1 + 1e-5  # and check() has looked as well
    assert np.isfinite(made["photometry"].column("flux")).all()


def test_the_fluxes_of_a_pair_of_stars_in_each_band():
    image, x, y = noisy_pair(2)
    made = run(UNetDeblending, image, x, y, built_in())
    flux = made["photometry"].column("flux").reshape(2, 2)
    np.testing.assert_allclose(flux, [[4000.0, 4000.0], [1500.0, 3000.0]], rtol=0.12)


@pytest.mark.parametrize("size", [32, 48, 64, 96, 192, 2048])
def test_stamps_of_all_sizes_are_framed_around_their_middle(size):
    stamp = torch.zeros(2, size, size)
    stamp[:, size // 2, size // 2] = 3.0
    small = framed(stamp.flatten(1), size)
    assert small[0, masks.SIDE // 2, masks.SIDE // 2] == 3.0
    assert small.sum() == 6.0
    back = unframed(small, size, bins_of(size)).reshape(2, size, size)
    assert back[0, size // 2, size // 2] == 3.0
    assert (back > 0).sum() == 2 * bins_of(size) ** 2
    cut = unframed(small, 32, bins_of(size)).reshape(2, 32, 32)
    assert torch.equal(cut, back[:, size // 2 - 16 : size // 2 + 16, size // 2 - 16 : size // 2 + 16])


def test_wide_stamps_show_the_same_models_and_more_around_them():
    image, x, y = noisy_pair()
    _, sources = known.listed(image, x, y, half=9)
    seen = members.Planes.of(image, None)
    layouts = [members.layout(seen, sources, reach, "cpu") for reach in (members.REACH, 3.0)]
    scene = Scene(seen.mean, seen.sigma, x, y, layouts[0])
    scene.fit(2, lambda done, total: None)
    scene.extra[1] = torch.ones(int(layouts[0].size[1]) ** 2)
    band = Band(scene, seen.mean, True)
    for batch_ in scene.batches:  # as a source that is no sum of profiles has it
        band.models[batch_.size][scene.place[batch_.rows[batch_.rows == 1]]] += 1.0
    wide = Wide(band, seen.mean.psf, layouts[1])
    assert (layouts[1].size > layouts[0].size).all()
    images = [layout.image(plane) for layout, plane in ((layouts[0], band.data), (layouts[1], wide.data))]
    np.testing.assert_array_equal(*images)
    small = {int(row): stamp for b in scene.batches for row, stamp in zip(b.rows, band.model(b), strict=True)}
    for b in wide.batches:
        for row, stamp in zip(b.rows.tolist(), wide.model(b), strict=True):
            side = int(layouts[0].size[row])
            rim = (b.size - side) // 2
            middle = stamp.view(b.size, b.size)[rim : rim + side, rim : rim + side].reshape(-1)
            np.testing.assert_allclose(middle, small[row], atol=2e-3 * float(small[row].max()))


def test_the_network_is_not_asked_about_what_needs_no_answer():
    x, y = np.array([30.0, 120.0, 150.0]), np.array([30.0, 31.0, 31.0])
    clean = gaussians((64, 180), x, y, np.array([4000.0, 3000.0, 2500.0]))
    clean += gaussians((64, 180), np.array([125.0]), np.array([36.0]), np.array([3000.0]))  # in no list, so the second fits no template
    image = known.picture(clean + np.random.default_rng(4).standard_normal(clean.shape))
    ours, plain = run(UNetDeblending, image, x, y, network(30.0)), run(TemplateDeblending, image, x, y)
    fluxes = [made["photometry"].column("flux") for made in (ours, plain)]
    assert fluxes[0][0] == fluxes[1][0], "alone, and like a star"
    assert fluxes[0][1] != fluxes[1][1], "it is two, and looks like nothing in the library"


def simulation() -> tuple:
    tile = Tile("t", 3, 0, Box(0, 0, 256, 256), Box(0, 0, 256, 256))
    config = SimulateField.Config(sky=0.0, pairs=300.0, density=500.0, bands=("g", "r"), depth=4.0)
    made = field(config, tile, np.random.default_rng(7))
    return made, examples(made.image, made.truth, made.fractions, np.random.default_rng(8), 1)


def test_what_is_taught_is_true():
    """With the true fractions, the fluxes are right to within their noise and what templates say of the outskirts."""
    _, bands = simulation()
    assert len(bands) == 2
    seen, truth = batch(bands, 3, seed=1, count=64)
    flux = masks.measured(seen, truth["fraction"], torch.zeros_like(seen.own), truth["whole"])
    bright = truth["flux"] > 50 * truth["flux_err"]
    assert bright.sum() > 10
    assert float((flux / truth["flux"] - 1)[bright].abs().median()) < 0.03


def test_the_same_step_has_the_same_examples_and_another_one_others():
    _, bands = simulation()
    one, again, other = (batch(bands, step, seed=1, count=4) for step in (3, 3, 4))
    assert torch.equal(one[0].data, again[0].data)
    assert torch.equal(one[1]["fraction"], again[1]["fraction"])
    assert not torch.equal(one[0].data, other[0].data)


def test_lists_of_sources_have_what_detectors_get_wrong():
    rng = np.random.default_rng(1)
    n = 4000
    x, y = rng.uniform(0, 4000, (2, n))
    which, at_x, at_y = listed(rng, x, y, np.ones(n), np.full(n, 20.0), np.ones(n), 4.0)
    shreds = which < 0
    assert 0.02 < shreds.mean() < 0.06
    assert 0.01 < 1 - len(np.unique(which[~shreds])) / n < 0.06
    away = np.hypot(at_x - x[which], at_y - y[which])[~shreds]
    assert 0.25 < np.median(away) < 0.6


def test_more_than_1024_children():
    rng = np.random.default_rng(3)
    x, y = (v.ravel() + rng.uniform(-0.3, 0.3, 1156) for v in np.meshgrid(np.arange(34) * 5 + 4.0, np.arange(34) * 5 + 4.0))
    order = np.lexsort((x, y))
    x, y = x[order], y[order]
    image = known.picture(gaussians((176, 176), x, y, np.full(len(x), 500.0)))
    made = run(UNetDeblending, image, x, y, network(0.0), rounds=1)
    assert len(made["fractions"]) == 1156
    assert abs(np.median(made["photometry"].column("flux")) / 500 - 1) < 0.2


@pytest.mark.parametrize("what", ["masked", "constant", "row", "block", "infinite"])
def test_inputs_that_make_no_sense(what):
    x, y = np.array([8.0, 20.0]), np.array([0.0, 0.0])
    if what == "row":
        shape = (1, 40)
    else:
        shape, y = (24, 40), np.array([11.0, 12.0])
    data = gaussians(shape, x, y, np.array([900.0, 500.0]))
    variance = np.ones((1, *shape), np.float32)
    if what == "constant":
        data = np.full(shape, 7.0)
    if what == "block":
        data[:, :16] = np.nan
    if what == "infinite":
        variance[:] = np.inf
    mask = np.full((1, *shape), PIXEL["BAD"], np.int32) if what == "masked" else None
    psf = psf_stamp()[None]
    image = Image(data[None].astype(np.float32), ("r",), variance, mask, psf)
    made = run(UNetDeblending, image, x, y, network())
    flux, flags = made["photometry"].column("flux"), made["photometry"].column("flags")
    assert len(flux) == len(x)
    assert ((flags & SOURCE["NO_FLUX"] > 0) == ~np.isfinite(flux)).all()
    if what in ("masked", "infinite"):
        assert np.isnan(flux).all()


def test_a_model_for_something_else_is_told_apart():
    image, x, y = noisy_pair()
    model = network()
    with pytest.raises(DataError, match="not for deblending"):
        run(UNetDeblending, image, x, y, replace(model, card={**CARD, "task": "detection"}))
    with pytest.raises(DataError, match="trained for the bands u"):
        run(UNetDeblending, image, x, y, replace(model, card={**CARD, "bands": ["u"]}))
