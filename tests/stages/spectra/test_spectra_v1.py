"""The built-in networks for spectra: as good on fresh spectra as their card says, and of use on spectra of formulas they never saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from astrosurvey import Model, plugins
from astrosurvey.networks.spectrum import folded
from astrosurvey.stages.simulate.spectra.draw import Drawer
from astrosurvey.stages.simulate.spectra.grid import LogGrid
from astrosurvey.stages.simulate.spectra.instrument import Instrument
from astrosurvey.stages.spectra.classify.assess import judge, verdicts
from astrosurvey.stages.spectra.classify.card import read, to_ensemble
from astrosurvey.stages.spectra.classify.examples import Fresh
from astrosurvey.stages.spectra.classify.grid import PIXELS, WAVE

SEED, NUMBER = 71, 500


@pytest.fixture(scope="module")
def model():
    return Model.read(plugins.load().models["spectra-v1"])


def scores(model, templates=None):
    """Return what the networks score on fresh spectra, in the mixture that they were trained on."""
    drawer = Drawer(LogGrid(float(WAVE[0]), PIXELS, 2), templates)
    drawn = drawer.draw(np.random.default_rng(SEED), NUMBER, model.card["trained_on"]["shares"])
    fresh = Fresh(drawn, Instrument()).observed(torch.arange(NUMBER), torch.Generator().manual_seed(SEED))
    return judge(verdicts(folded(to_ensemble(model)), fresh), read(model)[0])


def test_spectra_of_formulas_it_never_saw_are_mostly_understood(model):
    found = scores(model)
    assert found["coarse_accuracy"][0] > 0.88
    assert found["redshift_right"][0] > 0.88
    assert found["coarse_ece"][0] < 0.06


@pytest.mark.real
def test_the_card_holds_on_fresh_spectra(model, real_data):
    found = scores(model, real_data / "templates")
    for name in ("coarse_accuracy", "redshift_right", "redshift_within_1_sigma"):
        value, error = model.card["metrics"][name]["value"], max(found[name][1], model.card["metrics"][name]["error"])
        assert found[name][0] > value - 4 * error, name
