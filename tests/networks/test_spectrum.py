"""The network for spectra: a redshift is a shift, the view at rest is one, and preparing it for prediction changes nothing."""

from __future__ import annotations

import math

import pytest
import torch

from astrosurvey.networks.bayes import BayesLinear
from astrosurvey.networks.spectrum import BEFORE, CROP, STRIDE, SpectrumEnsemble, SpectrumNet, folded

PIXELS, BINS, STARS = 512, 150, 2 * BEFORE + 1
CONFIG = {"channels": 3, "pixels": PIXELS, "bins": BINS, "coarse": 5, "fine": 4, "width": 8, "templates": 3, "latent": 6, "groups": 3}


def trained_statistics(network):
    """Give the normalisations statistics and scales as a training leaves them, not the neutral ones of a new network."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


@pytest.fixture
def ensemble():
    torch.manual_seed(2)
    return trained_statistics(SpectrumEnsemble(2, **CONFIG))


def test_shapes_and_members_that_differ(ensemble):
    with torch.inference_mode():
        one, other = ensemble(torch.randn(7, 3, 1, PIXELS))
    shapes = [tuple(plane.shape) for plane in one]
    assert shapes == [(7, 5), (7, 4), (7, STARS), (7, 2, BINS), (7, 6)]
    assert not torch.allclose(one.coarse, other.coarse)


@pytest.mark.parametrize("shift", [1, 17, -9])
def test_a_redshift_is_a_shift_of_the_posterior(ensemble, shift):
    """A feature away from the edges, moved by some bins, moves the logits by as many."""
    member = next(iter(ensemble))
    x = torch.zeros(1, 3, 1, PIXELS)
    bump = torch.randn(3, 40)
    moved = x.clone()
    x[0, :, 0, 200:240] = bump
    moved[0, :, 0, 200 + STRIDE * shift : 240 + STRIDE * shift] = bump
    with torch.inference_mode():
        nothing, before, after = (member(one).redshift - member.offset[1:, None] for one in (torch.zeros_like(x), x, moved))
    signal, expected = after - nothing, before - nothing
    inner = slice(max(shift, 0), BINS + min(shift, 0))
    rolled = expected[..., max(-shift, 0) : BINS - max(shift, 0)]
    torch.testing.assert_close(signal[..., inner], rolled, rtol=1e-3, atol=1e-4)


def test_templates_are_correlated_at_every_shift(ensemble):
    member = next(iter(ensemble))
    length = PIXELS // STRIDE
    features = torch.randn(2, 3, length)
    with torch.inference_mode():
        star, redshift = member.scan(features)
    for j in (0, 3, STARS - 1):
        direct = torch.einsum("bcx,cx->b", features, member.star_template[:, 2 * BEFORE - j : 2 * BEFORE - j + length])
        torch.testing.assert_close(star[:, j], direct, rtol=1e-4, atol=1e-4)
    size = member.template.shape[-1]
    for j in (0, 40, BINS - 1):
        own = member.template[1][:, (torch.arange(length) - j) % size]
        torch.testing.assert_close(redshift[:, 1, j], torch.einsum("bcx,cx->b", features, own), rtol=1e-4, atol=1e-4)


def test_the_view_at_rest_is_cut_out_at_the_redshift(ensemble):
    member = next(iter(ensemble))
    length = PIXELS // STRIDE
    x = torch.arange(1.0, length + 1).expand(1, 8, 1, length).contiguous(memory_format=torch.channels_last)
    for place, shift in ((BEFORE, 0), (0, -BEFORE), (STARS + 30, 30 - BEFORE), (STARS + BINS + 30, 30 - BEFORE)):
        row = member.shifted(x, torch.tensor([place]))[0, 0, 0]
        assert row.shape == (sum(CROP),)
        position = torch.arange(-CROP[0], CROP[1]) + shift
        inside = (position >= 0) & (position < length)
        torch.testing.assert_close(row[inside], position[inside] + 1.0)
        assert not row[~inside].any()


def test_folding_changes_nothing_but_rounding(ensemble):
    x = torch.randn(3, 3, 1, PIXELS)
    with torch.inference_mode():
        before, after = ensemble(x), folded(ensemble)(x)
    for one, other in zip(before, after, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded(ensemble).modules())
    half = next(iter(folded(ensemble, precision=torch.bfloat16)))
    assert half.template.dtype == torch.float32
    assert half.join.weight.dtype == torch.bfloat16


def test_distances_are_those_of_mahalanobis():
    torch.manual_seed(0)
    member = SpectrumNet(**CONFIG)
    scatter = torch.tensor([0.5, 1.0, 2.0, 1.0, 3.0, 0.7])
    group = torch.arange(4000) % 2
    latent = torch.randn(4000, 6) * scatter + 20.0 * group[:, None]
    member.learn_groups(latent, group)
    fresh = torch.randn(2000, 6) * scatter
    assert member.distance(fresh).mean() == pytest.approx(1.0, abs=0.05)
    assert member.distance(fresh + 20).mean() == pytest.approx(1.0, abs=0.05)  # the third group has no members and is near to nothing
    assert member.distance(fresh + 5 * scatter).min() > member.distance(fresh).median()


def test_dropout_is_drawn_in_evaluation_only_when_asked(ensemble):
    member = next(iter(ensemble))
    with torch.inference_mode():
        encoded = member.encode(torch.randn(50, 3, 1, PIXELS))
        assert torch.equal(member.read(encoded).coarse, member.read(encoded).coarse)
        member.sample = True
        assert not torch.equal(member.read(encoded).coarse, member.read(encoded).coarse)


def test_bayesian_weights_scatter_as_they_say():
    torch.manual_seed(4)
    layer = BayesLinear(3, 2)
    torch.nn.init.constant_(layer.spread, math.log(math.expm1(0.3)))  # softplus of this is 0.3
    x = torch.tensor([[1.0, -2.0, 2.0]]).expand(20000, 3)
    with torch.inference_mode():
        plain = layer(x)
        layer.sample = True
        drawn = layer(x)
    assert torch.equal(plain[0], plain[-1])
    torch.testing.assert_close(drawn.mean(dim=0), plain[0], atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.std(dim=0), torch.full((2,), 0.9), atol=0.02, rtol=0)


def test_the_divergence_is_that_of_gaussians():
    layer = BayesLinear(2, 2)
    torch.nn.init.zeros_(layer.mean)
    torch.nn.init.constant_(layer.spread, math.log(math.expm1(1.0)))
    assert layer.divergence().item() == pytest.approx(0.0, abs=1e-6)
    torch.nn.init.constant_(layer.mean, 2.0)
    assert layer.divergence().item() == pytest.approx(4 * 2.0, abs=1e-5)
