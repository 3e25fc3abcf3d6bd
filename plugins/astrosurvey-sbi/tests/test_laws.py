"""The stages keep the laws of stages, and their ports are those of astrosurvey's own."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from astrosurvey_sbi.stage import SbiLikelihood, SbiPosterior, SbiRatio

from astrosurvey import Observations, plugins
from astrosurvey.core.stage import ports
from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.testing import Example, StageLaws

pytest.importorskip("sbi")


def simulations(number, values=3):
    """Simulations of a tile: two parameters and noise, and a value that is always the same."""
    rng = np.random.default_rng(number)
    prior = Prior.declared({"a": {"uniform": [-1, 1]}, "b": {"normal": [0, 1]}})
    theta = prior.draw(rng, number)
    data = np.concatenate([theta + 0.3 * rng.standard_normal(theta.shape), np.full((number, values - 2), 4.0)], axis=1)
    return Observations(data.astype(np.float32), np.arange(number, dtype=np.int64), "", (), prior.samples(theta))


class _Infers:
    """Every law, on the simulations of two tiles."""

    SMALL: ClassVar = {"hidden": 6, "epochs": 2, "keep_back": 0.5, "tests": 4, "draws": 10}

    def example(self):
        return Example({"observations": [simulations(60), simulations(61)]}, self.SMALL)

    def wrong_few(self):
        return Example({"observations": [simulations(1)]}, self.SMALL)

    def wrong_all_the_same(self):
        alike = simulations(60)
        same = Observations(np.full_like(alike.data, 1.0), alike.ids, "", (), alike.parameters)
        return Example({"observations": [same]}, self.SMALL)


class TestPosterior(_Infers, StageLaws):
    """The flow over parameters."""

    stage = SbiPosterior
    SMALL: ClassVar = {**_Infers.SMALL, "layers": 2}


class TestLikelihood(_Infers, StageLaws):
    """The flow over data."""

    stage = SbiLikelihood
    SMALL: ClassVar = {**_Infers.SMALL, "layers": 2, "flow": "maf"}


class TestRatio(_Infers, StageLaws):
    """The classifier."""

    stage = SbiRatio


@pytest.mark.parametrize(("ours", "theirs"), [(SbiPosterior, "sbi.npe"), (SbiLikelihood, "sbi.nle"), (SbiRatio, "sbi.nre")])
def test_the_ports_are_those_of_the_built_in_stage(ours, theirs):
    other = plugins.load().stages[theirs]
    for direction in ("inputs", "outputs"):
        # What may be left out, such as the summary network that sbi.npe tunes, is no part of what one word exchanges.
        mine, its = ports(ours, direction), {name: port for name, port in ports(other, direction).items() if not port.optional}
        assert mine.keys() == its.keys()
        for name, port in its.items():
            assert not mine[name].contract.refuses(port.contract)
            assert not port.contract.refuses(mine[name].contract)
            assert (mine[name].optional, mine[name].gather) == (port.optional, port.gather)
