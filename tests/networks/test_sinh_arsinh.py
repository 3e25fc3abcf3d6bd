import numpy as np
import pytest
import torch
from scipy.stats import norm, t
from torch.distributions import Normal

from astrosurvey.networks.sinh_arsinh import PRIOR, SinhArsinh


def test_at_first_it_is_the_standard_normal_density():
    z = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    density = SinhArsinh().double()
    assert torch.allclose(density(z), Normal(0, 1).log_prob(z).sum(dim=1))
    assert torch.allclose(density.bend(z)[0], z)


@pytest.mark.parametrize("shape", [(1.3, 1.0), (1.1, 1.4)])
def test_its_draws_are_of_its_density(shape):
    density = SinhArsinh().double()
    density.shape.copy_(torch.tensor(shape))
    z = torch.linspace(-80, 80, 40_001, dtype=torch.float64)
    log = density(z[None, None])[0]
    assert torch.trapezoid(log.exp(), z) == pytest.approx(1, abs=1e-6)
    upto = torch.cumulative_trapezoid(log.exp(), z).numpy()
    draws, log_draws = density.bend(torch.tensor(norm.ppf([0.02, 0.3, 0.9, 0.99]))[None, None])
    assert np.interp(draws[0, 0].numpy(), z[1:].numpy(), upto) == pytest.approx([0.02, 0.3, 0.9, 0.99], abs=1e-4)
    assert log_draws[0].numpy() == pytest.approx(np.interp(draws[0, 0].numpy(), z.numpy(), log.numpy()), abs=1e-4)


def test_a_fit_finds_heavy_tails_by_many_numbers_and_hardly_moves_for_one():
    z = torch.from_numpy(t.rvs(4, size=(1, 2, 3000), random_state=2))
    many, one = SinhArsinh(), SinhArsinh()
    many.fit(z)
    one.fit(z[..., :1])
    assert many.shape[1] > 1.2
    assert many(z).mean() > SinhArsinh()(z).mean() + 0.05
    assert (one.shape.log().abs() < PRIOR).all()


def test_nothing_becomes_narrower_by_a_fit():
    density = SinhArsinh()
    density.fit(0.5 * torch.randn(1, 2, 500, generator=torch.Generator().manual_seed(1)))
    assert density.shape.tolist() == [1, 1]
