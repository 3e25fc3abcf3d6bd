"""One pass over memory does what many small operations do: the same bends, slopes and gradients."""

from __future__ import annotations

import pytest
import torch

from astrosurvey.networks.spline import BOUND, spline


@pytest.mark.parametrize("bins", [2, 8])
def test_both_splines_agree(bins):
    generator = torch.Generator().manual_seed(bins)
    x = 2.5 * torch.randn(3, 2, 600, generator=generator)
    x[0, 0, :4] = torch.tensor([-BOUND, BOUND, torch.nan, torch.inf])
    knots = torch.randn(3, 3 * bins - 1, 2, 600, generator=generator)
    weights = torch.randn(2, *x.shape, generator=generator)
    answers = []
    for kind in (torch.float64, torch.float32):
        parts = x.to(kind).requires_grad_(), knots.to(kind).requires_grad_()
        bent, log_slope = spline(*parts, bins, steep=True)
        total = (torch.stack([bent, log_slope]) * weights)[:, torch.isfinite(bent)].sum()
        with torch.no_grad():
            back = spline(bent.detach(), parts[1], bins, steep=True, inverse=True)
        answers.append([bent, log_slope, *torch.autograd.grad(total, parts), *back])
    for exact, one_pass in zip(*answers, strict=True):
        assert one_pass.dtype == torch.float32
        assert torch.allclose(one_pass.double(), exact, rtol=2e-3, atol=1e-3, equal_nan=True)
        error = (one_pass - exact).abs() / (1e-3 + exact.abs())
        assert error.nanmedian() < 1e-5


def test_one_spline_bends_many_members_alike():
    knots = torch.randn(4, 23, 3, 50, generator=torch.Generator().manual_seed(1))
    x = torch.linspace(-4, 4, 150).reshape(3, 50)
    bent, _ = spline(x, knots, 8, steep=True)
    assert torch.equal(bent[2], spline(x, knots[2], 8, steep=True)[0])
