"""The flow is a density: it integrates to one, and follows what it is shown."""

from __future__ import annotations

import math

import pytest
import torch

from astrosurvey.networks.determinism import seeded
from astrosurvey.networks.flow import SplineFlow
from astrosurvey.networks.train import Recipe, fit


@pytest.fixture
def bent():
    """A flow with arbitrary knots."""
    with seeded(1):
        flow = SplineFlow(2, layers=4, bins=5, hidden=8).double()
        for parameter in flow.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return flow.eval()


def test_untrained_is_the_standard_normal():
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(dim=1)
    assert torch.allclose(SplineFlow(3)(x), expected, atol=1e-5)


def test_integrates_to_one(bent):
    line = torch.linspace(-8, 8, 201, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    with torch.no_grad():
        mass = bent(grid).exp().sum() * (line[1] - line[0]) ** 2
    assert float(mass) == pytest.approx(1.0, abs=2e-3)


def test_learns_two_clumps_better_than_a_gaussian():
    generator = torch.Generator().manual_seed(3)
    clump = (torch.rand(800, 1, generator=generator) < 0.5).float() * 2 - 1
    x = clump * torch.tensor([1.0, -1.0]) + 0.15 * torch.randn(800, 2, generator=generator)
    with seeded(3):
        flow, _ = fit(
            SplineFlow(2, layers=2, hidden=24),
            lambda step: x,
            lambda net, batch: {"surprise": -net(batch).mean()},
            Recipe(100, 1e-2, average=0.9),
        )
        surprise = float(-flow(x).mean().detach())
    covariance = torch.cov(x.T)
    gaussian = 0.5 * float(torch.logdet(2 * math.pi * math.e * covariance))
    truth = 0.5 * 2 * math.log(2 * math.pi * math.e * 0.15**2) + math.log(2)
    assert truth - 0.05 < surprise < truth + 0.4 < gaussian - 0.3
