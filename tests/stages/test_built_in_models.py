"""The models that ship with astrosurvey: small, described, and as good on fresh skies as their cards say."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from astrosurvey import Box, Model, Tile, load, plugins
from astrosurvey.stages.background.stage import MeshBackground
from astrosurvey.stages.deblending.unet.examples import Examples, batch, examples
from astrosurvey.stages.deblending.unet.stage import ROUNDS
from astrosurvey.stages.deblending.unet.train import COUNT
from astrosurvey.stages.deblending.unet.train import judge as judge_deblender
from astrosurvey.stages.detection.unet.assess import detect, judge, real_ones, sure
from astrosurvey.stages.detection.unet.calibrate import Calibration
from astrosurvey.stages.detection.unet.decode import Peaks
from astrosurvey.stages.detection.unet.examples import Scene, scene
from astrosurvey.stages.models.load import to_network
from astrosurvey.stages.simulate.field import SimulateField
from astrosurvey.stages.simulate.field_image import field
from astrosurvey.stages.simulate.real import read_templates
from astrosurvey.stages.simulate.spectra.draw import Drawer
from astrosurvey.stages.simulate.spectra.grid import LogGrid
from astrosurvey.stages.spectra.anomaly.corpus import BLUE, WIDTH, noiseless, view
from astrosurvey.stages.spectra.anomaly.decode import channels, decode
from astrosurvey.stages.spectra.anomaly.model import opened
from astrosurvey.stages.spectra.anomaly.rest import STEP
from astrosurvey.stages.spectra.anomaly.score import statistics

from .running import context

EXAMPLES = Path(__file__).parents[2] / "examples"
TILES, SIZE = 10, 384
BLEND_TILES = 8
SPECTRA = 100


def built_in() -> dict[str, Path]:
    return dict(plugins.load().models)


@pytest.mark.parametrize("name", sorted(built_in()))
def test_the_card_says_what_a_user_must_know(name):
    model = Model.read(built_in()[name])
    to_network(model)
    card = model.card
    for key in ("task", "title", "inputs", "trained_on", "training", "metrics", "limits", "licence"):
        assert card[key], key
    assert card["training"]["hours"] > 0
    assert (EXAMPLES.parent / card["training"]["pipeline"]).is_file()
    for metric in card["metrics"].values():
        assert set(metric) == {"value", "error"}


def test_all_of_them_stay_within_ten_megabytes():
    size = sum(path.stat().st_size for folder in built_in().values() for path in folder.iterdir())
    assert size < 10e6


@cache
def fresh_skies() -> list[Scene]:
    """Return skies as training draws them, of a seed it never saw."""
    settings = load(EXAMPLES / "train-unet.yaml").nodes["field"].config
    skies = []
    for number in range(TILES):
        tile = Tile(f"fresh{number}", number=number, index=number, window=Box(0, 0, SIZE, SIZE), core=Box(0, 0, SIZE, SIZE))
        here = context(tile)
        object.__setattr__(here, "rng", np.random.default_rng((71, number)))
        made = dict(SimulateField(settings).run(here))
        flat = MeshBackground(MeshBackground.Config()).run(here, image=made["image"])["image"]
        skies.append(scene(flat, made["truth"], made["segmentation"], None))
    return skies


@cache
def answers() -> tuple[Calibration, list[Peaks]]:
    """Return the built-in detector's calibration, and what it finds on the fresh skies."""
    model = Model.read(built_in()["unet-v1"])
    return Calibration.from_card(model.card["calibration"]), list(detect(to_network(model), fresh_skies()))


def test_the_detector_is_as_good_as_its_card_says():
    skies, (calibration, found) = fresh_skies(), answers()
    chosen = [sure(sky, every, calibration) for sky, every in zip(skies, found, strict=True)]
    all_of_them = judge(skies, chosen)
    # Skies differ, and few are drawn: the scatter comes from leaving out one at a time.
    left_out: dict[str, list[float]] = {}
    for k in range(TILES):
        for name, (value, _) in judge(skies[:k] + skies[k + 1 :], chosen[:k] + chosen[k + 1 :]).items():
            left_out.setdefault(name, []).append(value)
    for name, metric in Model.read(built_in()["unet-v1"]).card["metrics"].items():
        scatter = math.sqrt((TILES - 1) * np.var(left_out[name]))
        margin = 4.0 * math.hypot(scatter, metric["error"])
        assert margin < 0.15, f"{name}: too few skies to tell"
        assert abs(all_of_them[name][0] - metric["value"]) < margin, name


def test_its_probabilities_are_those_of_being_real():
    skies, (calibration, found) = fresh_skies(), answers()
    probability = np.concatenate([calibration(f.score, sky.seen.mean_conditions) for sky, f in zip(skies, found, strict=True)])
    real = np.concatenate([real_ones(sky, f) for sky, f in zip(skies, found, strict=True)])
    for low, high in ((0.1, 0.4), (0.4, 0.7), (0.7, 0.95), (0.95, 1.01)):
        here = (probability >= low) & (probability < high)
        n, said = int(here.sum()), float(probability[here].mean())
        assert n > 50
        # Four standard errors of the fraction, and what skies differ by.
        assert abs(float(real[here].mean()) - said) < 4.0 * math.sqrt(said * (1 - said) / n) + 0.03


def fresh_blends(stamps: Path) -> list[list[Examples]]:
    """Return the blends of tiles as training draws them, real galaxies among them, of a seed it never saw."""
    settings = load(EXAMPLES / "train-deblender.yaml").nodes["field"].config.model_copy(update={"real_galaxies": str(stamps)})
    templates = read_templates(str(stamps), settings.real_keep)
    tiles = []
    for number in range(BLEND_TILES):
        tile = Tile(f"fresh{number}", number=number, index=number, window=Box(0, 0, SIZE, SIZE), core=Box(0, 0, SIZE, SIZE))
        rng = np.random.default_rng((73, number))
        made = field(settings, tile, rng, templates=templates)
        tiles.append(examples(made.image, made.truth, made.fractions, rng, ROUNDS))
    return tiles


def test_the_deblender_is_as_good_as_its_card_says(real_data):
    model = Model.read(built_in()["deblend-v1"])
    network = to_network(model).eval()
    tiles = fresh_blends(real_data / "images" / "cosmos_real_galaxy_images_extension.fits")
    # Skies differ by more than their sources scatter: each is judged by itself, and the card tells of as few as were kept back.
    skies = 1 / BLEND_TILES + 1 / model.card["trained_on"]["kept_back"]
    each = [judge_deblender(network, [batch(tile, step, seed=1, count=COUNT) for step in range(3)]) for tile in tiles]
    for name, metric in model.card["metrics"].items():
        values = np.array([scores[name][0] for scores in each])
        margin = 4.0 * math.hypot(values.std(ddof=1) * math.sqrt(skies), metric["error"])
        assert margin < 0.25, f"{name}: too few skies to tell"
        assert abs(values.mean() - metric["value"]) < margin, name
    gained = np.array([scores["flux_error_of_templates"][0] - scores["flux_error"][0] for scores in each])
    assert gained.mean() > gained.std(ddof=1) / math.sqrt(BLEND_TILES), "the network makes templates no better"


def test_known_spectra_are_as_strange_as_the_card_says(real_data):
    known = opened(Model.read(built_in()["anomaly-v1"]), "cpu")
    margin = 200
    grid = LogGrid(BLUE * 10 ** (-STEP * margin), WIDTH + 2 * margin, 2)
    drawn = Drawer(grid, real_data / "templates").draw(np.random.default_rng(75), SPECTRA, {"star": 1, "galaxy": 1, "quasar": 1})
    corpus = noiseless(torch.from_numpy(drawn.flux), torch.from_numpy(drawn.z.astype(np.float32)), math.log10(grid.start))
    with torch.inference_mode():
        flux, ivar = view(corpus, torch.arange(SPECTRA), torch.Generator().manual_seed(75))
        start = known.network(channels(flux, ivar))
        found = statistics(known.network, flux, ivar, decode(known.network, flux, ivar, start), start)
    numbers = {name: value.numpy() for name, value in found.items()}
    p = known.calibrations["flow"](numbers)
    metrics = Model.read(built_in()["anomaly-v1"]).card["metrics"]
    for part in (0.05, 0.5):
        said = metrics[f"flow_p_below_{part:g}_alone"]
        # Four standard errors of the fraction; and a mix of objects and of errors that is not quite that of training.
        assert abs((p <= part).mean() - said["value"]) < 4.0 * math.hypot(math.sqrt(part * (1 - part) / SPECTRA), said["error"]) + 0.03
