"""The built-in weights of spectra.combine: made for the shipped network, and as good on fresh spectra as their card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from astrosurvey import Model, plugins
from astrosurvey.stages.models.load import digest
from astrosurvey.stages.simulate.spectra.stage import SimulateSpectra
from astrosurvey.stages.spectra.classify.stage import ClassifySpectra
from astrosurvey.stages.spectra.combine.candidates import same
from astrosurvey.stages.spectra.combine.features import NAMES
from astrosurvey.stages.spectra.combine.stage import CombineSpectra
from astrosurvey.stages.spectra.redshift.stage import MeasureRedshift

from ..running import a_tile, context, run

SPLIT = Path(__file__).parents[3] / "examples" / "sdss-split.csv"
NUMBER = 60


@pytest.fixture(scope="module")
def models():
    held = plugins.load().models
    return {name: Model.read(held[name]) for name in ("spectra-v1", "combine-v1")}


def test_the_weights_were_fitted_to_the_shipped_network_and_these_features(models):
    card = models["combine-v1"].card
    assert card["training"]["network"] == digest(models["spectra-v1"])
    assert tuple(card["features"]) == NAMES
    assert card["training"]["command"].startswith("python tools/fit_combine.py")


@pytest.mark.real
def test_the_card_holds_on_fresh_spectra(models, real_data):
    folder, labelled = str(real_data / "templates"), str(real_data / "spectra" / "sdss_labelled.fits.gz")
    stage = SimulateSpectra(SimulateSpectra.Config(number=NUMBER, templates=folder, noise_from=labelled, split=str(SPLIT)))
    stage.setup(context(a_tile()))
    made = stage.run(context(a_tile()))
    spectra, truth = made["spectra"], made["truth"]
    net = run(ClassifySpectra, spectra=spectra, model=models["spectra-v1"])
    scan = run(MeasureRedshift, {"templates": folder}, spectra=spectra, catalog=None, seeds=net["redshifts"])
    found = run(
        CombineSpectra,
        scan=scan["redshifts"],
        network_classes=net["classes"],
        network=net["redshifts"],
        model=models["combine-v1"],
    )["redshifts"]
    best = found.column("rank") == 0
    assert np.array_equal(found.column("spectrum_id")[best], truth.column("spectrum_id"))
    kinds, told = truth.column("spectral_class"), found.column("spectral_class")[best]
    far = np.isin(kinds, ["galaxy", "quasar"])
    near = [same(one, other) for one, other in zip(found.column("z")[best][far], truth.column("z")[far], strict=True)]
    for name, hits in (("coarse_accuracy", told == kinds), ("redshift_within_0.0033", near)):
        value = models["combine-v1"].card["metrics"][f"simulated: {name}, combined"]["value"]
        assert np.mean(hits) > value - 3.5 * np.sqrt(value * (1 - value) / len(hits)), name
