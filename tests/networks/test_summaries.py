"""Networks that summarise: shapes, symmetries, and what the moments' loss is least at."""

from __future__ import annotations

import pytest
import torch

from astrosurvey.networks.summaries.convolutions import Convolutions, strides
from astrosurvey.networks.summaries.deep_set import DeepSet
from astrosurvey.networks.summaries.moments import MomentNetwork, moment_loss
from astrosurvey.networks.summaries.scattering import coefficient_names, scatter, wavelets
from astrosurvey.networks.summaries.symmetries import moved, orbit


@pytest.mark.parametrize("shape", [(1,), (100,), (1000,), (1, 1), (17, 30), (5, 6, 7), (40, 3, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_take_any_shape(shape, channels):
    network = Convolutions(shape, 5, channels=channels, widths=(4, 8))
    assert network(torch.randn(2, channels, *shape)).shape == (2, 5)


def test_large_cubes_are_taken_in_large_strides():
    assert strides((1300, 140, 140)) == (7, 3, 3)
    assert strides((64, 32, 32)) == (1, 1, 1)


def test_convolutions_hear_the_amplitude():
    torch.manual_seed(1)
    network, x = Convolutions((32, 32), 4), torch.randn(1, 1, 32, 32)
    assert not torch.allclose(network(x), network(2 * x), rtol=0.05)


def test_convolutions_keep_the_mean_apart():
    torch.manual_seed(1)
    network, x = Convolutions((16, 16), 4), torch.randn(1, 1, 16, 16)
    seen = []
    network.levels[0].register_forward_hook(lambda layer, given, made: seen.append(made))
    assert not torch.allclose(network(x), network(x + 3))
    assert torch.allclose(*seen, atol=1e-5)


def test_a_set_has_no_order_and_no_missing_rows():
    torch.manual_seed(2)
    network, x = DeepSet(3, 5), torch.randn(2, 7, 3)
    x[0, 4, 1] = torch.nan
    said = network(x)
    assert said.isfinite().all()
    assert torch.allclose(said, network(x[:, torch.randperm(7)]), atol=1e-6)
    assert torch.allclose(said[:1], network(x[:1, [0, 1, 2, 3, 5, 6]]), atol=1e-6)
    assert network(torch.full((1, 4, 3), torch.nan)).isfinite().all()


def test_the_moments_loss_is_least_at_mean_and_spread():
    generator = torch.Generator().manual_seed(3)
    truth = 0.3 + 0.2 * torch.randn(4_000, 2, generator=generator)
    mean, spread = torch.full((2,), 0.0, requires_grad=True), torch.full((2,), 1.0, requires_grad=True)
    optimiser = torch.optim.Adam([mean, spread], lr=0.02)
    for _ in range(300):
        optimiser.zero_grad()
        sum(moment_loss(truth, mean.expand_as(truth), spread.expand_as(truth)).values()).backward()
        optimiser.step()
    # The standard errors of both are below 0.0035; the optimiser's steps jitter as much.
    assert torch.allclose(mean, torch.tensor(0.3), atol=0.01)
    assert torch.allclose(spread, torch.tensor(0.2), atol=0.01)


def test_a_moment_network_gives_positive_spreads():
    network = MomentNetwork(DeepSet(2, 6), 6, 3)
    mean, spread = network(100 * torch.randn(4, 5, 2))
    assert mean.shape == spread.shape == (4, 3)
    assert (spread > 0).all()


def test_scattering_knows_no_place_and_if_isotropic_no_direction():
    generator = torch.Generator().manual_seed(4)
    filters, x = wavelets((32, 32), 3, 4), torch.randn(3, 32, 32, generator=generator)
    x[:, :16] *= 2  # something that has a direction
    said = scatter(x, filters)
    assert said.shape == (3, 2 + 3 + 3 * 4)
    assert torch.allclose(said, scatter(x.roll((5, 9), (1, 2)), filters), atol=1e-5)
    assert torch.allclose(said, scatter(x.rot90(1, (1, 2)), filters), atol=1e-5)
    turned, still = (scatter(field, filters, isotropic=False) for field in (x.rot90(1, (1, 2)), x))
    assert not torch.allclose(turned, still, atol=1e-2)


def test_strength_moves_only_the_first_two_coefficients():
    generator = torch.Generator().manual_seed(5)
    filters, x = wavelets((64,), 4, 1), torch.randn(2, 64, generator=generator)
    said, louder = scatter(x, filters), scatter(3 * x + 1, filters)
    assert torch.allclose(said[:, 2:], louder[:, 2:], atol=1e-4)
    assert torch.allclose(louder[:, 1] - said[:, 1], torch.log(torch.tensor(3.0)), atol=1e-4)


def test_second_order_sees_what_the_power_spectrum_does_not():
    generator = torch.Generator().manual_seed(6)
    lumpy = torch.randn(40, 256, generator=generator) * torch.randn(40, 256, generator=generator).exp()
    phases = torch.exp(2j * torch.pi * torch.rand(40, 129, generator=generator))
    phases[:, [0, -1]] = 1
    even = torch.fft.irfft(torch.fft.rfft(lumpy).abs() * phases, 256)
    filters = wavelets((256,), 5, 1)
    first, second = scatter(lumpy, filters), scatter(even, filters)
    apart = (first.mean(dim=0) - second.mean(dim=0)).abs() / ((first.var(dim=0) + second.var(dim=0)) / 40).sqrt().clamp(min=1e-6)
    assert apart[7:].max() > 6


def test_an_even_field_has_finite_coefficients():
    assert scatter(torch.ones(2, 16, 16), wavelets((16, 16), 2, 4)).isfinite().all()


@pytest.mark.parametrize(("symmetry", "positions"), [("none", 1), ("mirror", 4), ("square", 8), ("torus", 8)])
def test_an_orbit_holds_each_position_once(symmetry, positions):
    x = torch.arange(2 * 9.0).reshape(2, 3, 3)
    found = {tuple(place[0].flatten().tolist()) for place in orbit(x, symmetry)}
    assert len(found) == positions
    generator = torch.Generator().manual_seed(7)
    seen = {tuple(moved(x, symmetry, generator)[0].flatten().tolist()) for _ in range(200)}
    assert found <= seen if symmetry != "torus" else len(seen) > positions


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize(("shape", "angles"), [((32,), 1), ((16, 24), 3)])
def test_every_coefficient_has_a_name(shape, angles, isotropic):
    names = coefficient_names(3, angles, isotropic)
    assert len(set(names)) == len(names) == scatter(torch.randn(1, *shape), wavelets(shape, 3, angles), isotropic=isotropic).shape[1]
