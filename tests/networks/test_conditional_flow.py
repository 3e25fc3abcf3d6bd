"""Conditional flows: densities that integrate to one, draws that follow them, nothing beyond a bound, members on their own."""

from __future__ import annotations

import pytest
import torch

from astrosurvey.networks.conditional_flow import EDGE, FlowEnsemble
from astrosurvey.networks.determinism import seeded


def flow(features, bounded, **settings):
    """A flow with arbitrary weights."""
    with seeded(1):
        made = FlowEnsemble(features, 2, bounded, members=2, layers=3, bins=5, hidden=(8,), **settings).double()
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
    return made.eval()


CONTEXT = torch.tensor([[[0.3, -1.0], [1.2, 0.4]]], dtype=torch.float64)
"""(1, context, row)."""


@pytest.mark.parametrize("summary", [(), (6, 3)])
def test_draws_have_the_density_that_is_said(summary):
    made = flow(3, [True, False, False], summary=summary)
    noise = torch.randn(2, 3, 2 * 40, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    draws, log = made.sample(noise, CONTEXT)
    assert (draws[:, 0].abs() <= EDGE).all()
    assert torch.allclose(made(draws, CONTEXT), log, atol=1e-5)
    assert not torch.allclose(log[0], log[1])


@pytest.mark.parametrize(("bounded", "reach"), [([True, True], EDGE), ([True, False], 9.0)])
def test_integrates_to_one(bounded, reach):
    made = flow(2, bounded)
    n = 400
    first, second = (torch.linspace(-r, r, n + 1, dtype=torch.float64)[:-1] + r / n for r in (EDGE, reach))
    grid = torch.cartesian_prod(first, second).T[None]
    with torch.no_grad():
        mass = made(grid, CONTEXT[..., :1]).exp().sum(dim=1) * (2 * EDGE / n) * (2 * reach / n)
    assert torch.allclose(mass, torch.ones(2, dtype=torch.float64), atol=5e-3)


def test_untrained_is_even_within_bounds_and_normal_without():
    with seeded(1):
        made = FlowEnsemble(2, 1, [True, False], members=1)
    x = torch.tensor([[[0.5, 1.0, 1.8], [0.0, 1.0, 0.0]]])
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(x[0, 1]) - torch.tensor(2 * EDGE).log()
    found = made(x, torch.zeros(1, 1, 3))[0]
    assert torch.allclose(found[:2], expected[:2], atol=1e-5)
    assert found[2] == -torch.inf


def test_one_feature_is_bent_by_the_context_alone():
    made = flow(1, [False])
    log = made(torch.zeros(1, 1, 2, dtype=torch.float64), CONTEXT)
    assert log.shape == (2, 2)
    assert not torch.allclose(log[:, 0], log[:, 1])
