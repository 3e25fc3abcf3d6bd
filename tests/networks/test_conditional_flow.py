"""Conditional flows: densities that integrate to one, draws that follow them, members on their own."""

from __future__ import annotations

import pytest
import torch

from astrosurvey.networks.conditional_flow import FlowEnsemble
from astrosurvey.networks.determinism import seeded


def flow(features, **settings):
    """A flow with arbitrary weights."""
    with seeded(1):
        made = FlowEnsemble(features, 2, members=2, layers=3, bins=5, hidden=(8,), **settings).double()
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
    return made.eval()


CONTEXT = torch.tensor([[[0.3, -1.0], [1.2, 0.4]]], dtype=torch.float64)
"""(1, context, row)."""


@pytest.mark.parametrize("summary", [(), (6, 3)])
def test_draws_have_the_density_that_is_said(summary):
    made = flow(3, summary=summary)
    noise = torch.randn(2, 3, 2 * 40, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    draws, log = made.sample(noise, CONTEXT)
    assert torch.allclose(made(draws, CONTEXT), log, atol=1e-5)
    assert not torch.allclose(log[0], log[1])


def test_integrates_to_one():
    made = flow(2)
    line = torch.linspace(-9, 9, 401, dtype=torch.float64)
    with torch.no_grad():
        mass = made(torch.cartesian_prod(line, line).T[None], CONTEXT[..., :1]).exp().sum(dim=1) * (line[1] - line[0]) ** 2
    assert torch.allclose(mass, torch.ones(2, dtype=torch.float64), atol=5e-3)


def test_one_feature_is_bent_by_the_context_alone():
    made = flow(1)
    log = made(torch.zeros(1, 1, 2, dtype=torch.float64), CONTEXT)
    assert log.shape == (2, 2)
    assert not torch.allclose(log[:, 0], log[:, 1])


def test_the_width_of_what_is_bent_follows_what_was_kept_back():
    torch.manual_seed(3)
    flow = FlowEnsemble(2, 1, members=2, layers=2, hidden=(8,))
    context = torch.zeros(1, 1, 4000)
    before = flow(1.3 * torch.randn(1, 2, 4000), context).mean()
    flow.widen(1.3 * torch.randn(1, 2, 4000), context)
    assert flow(1.3 * torch.randn(1, 2, 4000), context).mean() > before + 0.05
    x, log_density = flow.sample(torch.randn(2, 2, 4000), context)
    assert x.std() == pytest.approx(1.3, abs=0.05)
    assert torch.allclose(log_density, flow(x, context), atol=1e-4)
