"""Splines rise, their slope is the derivative, and they bend back to where they began."""

from __future__ import annotations

import pytest
import torch

from astrosurvey.networks.spline import BOUND, spline

BINS = 6


@pytest.mark.parametrize("steep", [False, True])
def test_splines_rise_and_their_slope_is_the_derivative(steep):
    generator = torch.Generator().manual_seed(2)
    knots = torch.randn(3 * BINS - 1, 4, 1, generator=generator, dtype=torch.float64).expand(-1, -1, 401)
    x = torch.linspace(-1.2 * BOUND, 1.2 * BOUND, 401, dtype=torch.float64).expand(4, -1)
    x = (x + 1e-3).requires_grad_()
    y, log_slope = spline(x, knots, BINS, steep=steep)
    assert (y.diff(dim=1) > 0).all()
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(slope.log(), log_slope, atol=1e-9)
    outside = x.abs() >= BOUND
    assert torch.equal(y[outside], x[outside])
    back, log_back = spline(y.detach(), knots, BINS, steep=steep, inverse=True)
    assert torch.allclose(back, x, atol=1e-9)
    assert torch.allclose(log_back, -log_slope, atol=1e-7)


@pytest.mark.parametrize("steep", [False, True])
def test_zeros_are_the_identity(steep):
    x = torch.linspace(-6, 6, 50, dtype=torch.float64)[None]
    y, log_slope = spline(x, torch.zeros(3 * BINS - 1, 1, 50, dtype=torch.float64), BINS, steep=steep)
    assert torch.allclose(y, x)
    assert torch.allclose(log_slope, torch.zeros(1, 50, dtype=torch.float64), atol=1e-12)
