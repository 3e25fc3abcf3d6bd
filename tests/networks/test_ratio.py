"""Ratio networks: their loss is the one that is published, and they find ratios that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from astrosurvey.networks.determinism import seeded
from astrosurvey.networks.ratio import RatioNetwork
from astrosurvey.networks.train import Recipe, fit


class Known(RatioNetwork):
    """Judges by a table: the log ratio is the product of parameter and datum."""

    def forward(self, data, theta):
        return (data * theta)[:, 0]

    def _heard(self, data):
        return data

    def _judged(self, heard, theta):
        return (heard * theta)[:, 0]


@pytest.mark.parametrize(("rows", "count"), [(1, 1), (2, 1), (3, 1), (7, 3), (40, 8)])
def test_the_loss_is_that_of_the_paper(rows, count):
    """Equation 8 of arXiv:2210.06170 with gamma = 1: K pairs of which one is right, and K of which none is."""
    theta, data = np.random.default_rng(rows).normal(size=(2, rows))
    loss = Known(1, 1, members=1).contrast(torch.tensor(data)[None, None], torch.tensor(theta)[None, None])
    ratio = np.exp(theta[(np.arange(rows)[:, None] - np.arange(2 * count)) % rows] * data[:, None])
    among, none = ratio[:, :count], ratio[:, count:]
    among = np.log(among[:, 0] / (count + among.sum(axis=1)))
    none = np.log(count / (count + none.sum(axis=1)))
    assert float(loss) == pytest.approx(-(among + none).mean() / 2)


def test_ratios_of_gaussians_are_found_of_all_parameters_and_of_each():
    """Two parameters, of one of which nothing is seen."""
    noise, rng = 0.5, np.random.default_rng(1)
    theta = rng.normal(size=(2, 4000)).astype(np.float32)
    data = (theta[:1] + noise * rng.normal(size=(1, 4000))).astype(np.float32)
    subsets = [[0, 1], [0], [1]]
    with seeded(1):
        network = RatioNetwork(1, 2, subsets=subsets, members=2, hidden=(24, 24))

    def batch(step):
        rows = np.random.default_rng((1, step)).choice(4000, (2, 128))
        return torch.from_numpy(data[:, rows]).transpose(0, 1), torch.from_numpy(theta[:, rows]).transpose(0, 1)

    trained, history = fit(network, batch, lambda net, pair: {"contrast": net.contrast(*pair)}, Recipe(300, 2e-2, every=150, average=0.98))
    assert history.curves["contrast"][1] < history.curves["contrast"][0]
    asked = torch.tensor([[0.0, 0.5, 1.0, -0.5, 1.5], [0.0, 1.0, -1.0, 0.5, 0.0]])
    seen = torch.tensor([[0.3, 0.3, 1.2, -1.0, 0.5]])
    with torch.no_grad():
        found = trained(seen[None], asked[None]).unflatten(0, (3, 2)).mean(dim=1).numpy()
    width = np.sqrt(1 + noise**2)
    exact = -0.5 * ((seen - asked[:1]) / noise) ** 2 - np.log(noise) + 0.5 * (seen / width) ** 2 + np.log(width)
    assert np.allclose(found[:2], exact, atol=0.3)
    assert np.allclose(found[2], 0, atol=0.2)


def test_data_may_be_condensed_first():
    network = RatioNetwork(5, 2, members=3, hidden=(8,), summary=(6, 4))
    assert network(torch.zeros(1, 5, 7), torch.zeros(1, 2, 7)).shape == (3, 7)


@pytest.mark.parametrize("summary", [(), (5,)])
def test_some_subsets_alone_give_the_same_ratios(summary):
    with seeded(1):
        network = RatioNetwork(3, 2, subsets=[[0], [1], [0, 1]], members=2, hidden=(8,), summary=summary)
    data, theta = torch.randn(2, 3, 7), torch.randn(2, 2, 7)
    whole, part = network(data, theta), network.only([2, 0])(data, theta)
    assert torch.allclose(part, torch.cat([whole[4:], whole[:2]]))
    # One row of data with many of parameters.
    assert torch.allclose(network(data[:1, :, :1], theta), network(data[:1, :, :1].expand(2, -1, 7).contiguous(), theta), atol=1e-6)
