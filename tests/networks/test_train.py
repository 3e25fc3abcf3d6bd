"""The training loop: it learns, goes on where it stopped, stops when told, and says when it diverges."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from astrosurvey import DataError
from astrosurvey.networks.train import Recipe, fit


def batch(step):
    rng = np.random.default_rng((3, step))
    x = torch.from_numpy(rng.normal(size=(8, 1, 8, 8)).astype(np.float32))
    return x, 2.0 * x + 1.0


def loss(net, examples):
    x, y = examples
    return {"error": (net(x).float() - y).square().mean()}


def network():
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))


def weights(net):
    return torch.cat([p.detach().ravel() for p in net.parameters()])


def test_the_loss_falls_and_the_curves_say_so():
    trained, history = fit(
        network(), batch, loss, Recipe(300, 2e-2, every=50), validation=lambda net: {"error": float(loss(net, batch(999))["error"])}
    )
    assert history.curves["step"] == [50, 100, 150, 200, 250, 300]
    assert history.curves["error"][-1] < 0.1 * history.curves["error"][0]
    assert len(history.curves["error.validation"]) == 6
    assert history.best[0] == min(history.curves["error.validation"])
    assert not trained.training


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(tmp_path):
    whole, _ = fit(network(), batch, loss, Recipe(60, 1e-2, every=20))

    def interrupted(step):
        if step == 45:
            raise KeyboardInterrupt
        return batch(step)

    with pytest.raises(KeyboardInterrupt):
        fit(network(), interrupted, loss, Recipe(60, 1e-2, every=20), checkpoint=tmp_path / "kept")
    said = []
    resumed, history = fit(network(), batch, loss, Recipe(60, 1e-2, every=20), checkpoint=tmp_path / "kept", log=said.append)
    assert torch.equal(weights(resumed), weights(whole))
    assert said[0] == "training goes on at step 40"
    assert history.curves["step"] == [20, 40, 60]
    lines = [json.loads(line) for line in (tmp_path / "kept" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40, 60]


def test_it_stops_early_when_nothing_gets_better_and_does_not_go_on_when_resumed(tmp_path):
    said = []
    for _ in range(2):
        _, history = fit(
            network(),
            batch,
            loss,
            Recipe(500, 1e-3, every=10, patience=3),
            validation=lambda net: {"error": 1.0},
            checkpoint=tmp_path,
            log=said.append,
        )
        assert history.stopped == 40
        assert history.best == (1.0, 10)
    assert said[-2:] == ["training goes on at step 40", "no gain since step 10: training ends"]


def test_a_diverging_loss_is_an_error():
    def broken(net, examples):
        return {"error": loss(net, examples)["error"] * float("nan")}

    with pytest.raises(DataError, match="lower the learning rate"):
        fit(network(), batch, broken, Recipe(10))


def test_the_rate_rises_then_falls_like_a_cosine():
    recipe = Recipe(100, 1.0, warmup=0.1)
    rates = [recipe.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5, abs=0.02)
    assert all(a >= b for a, b in pairwise(rates[10:]))
