"""The U-Net: shapes, what a pixel may depend on, and that preparing it for prediction changes nothing."""

from __future__ import annotations

import pytest
import torch

from astrosurvey.networks.unet import UNet, folded

HEADS = (("centre", 1), ("offset", 2))


@pytest.fixture
def network():
    torch.manual_seed(1)
    net = UNet(3, HEADS, widths=(8, 12, 16))
    # Statistics and scales as a training leaves them, not the neutral ones of a new network.
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return net.eval()


@pytest.mark.parametrize("shape", [(16, 16), (32, 48), (8, 64)])
def test_every_head_has_the_shape_of_the_image(network, shape):
    with torch.inference_mode():
        maps = network(torch.randn(2, 3, *shape))
    assert {name: tuple(m.shape) for name, m in maps.items()} == {"centre": (2, 1, *shape), "offset": (2, 2, *shape)}


def test_folding_changes_nothing_but_rounding(network):
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before, after = network(x), folded(network)(x)
    for name, _ in HEADS:
        torch.testing.assert_close(after[name], before[name], rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded(network).modules())
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_nothing_beyond_its_reach_matters(network):
    size = 2 * network.reach + 64
    x = torch.randn(1, 3, size, size)
    other = x.clone()
    other[:, :, :, : size - network.reach - 16] = 7.0
    with torch.inference_mode():
        a, b = network(x)["centre"], network(other)["centre"]
    assert torch.equal(a[..., -8:], b[..., -8:])
    assert not torch.equal(a, b)


def test_a_shift_of_the_image_shifts_the_maps(network):
    step, size = network.multiple, 2 * network.reach + 80
    x = torch.randn(1, 3, size + step, size)
    with torch.inference_mode():
        a, b = network(x[:, :, step:])["offset"], network(x[:, :, :-step])["offset"]
    middle = slice(network.reach, size - network.reach)
    torch.testing.assert_close(a[:, :, middle, middle], b[:, :, middle.start + step : middle.stop + step, middle], rtol=1e-5, atol=1e-6)


def test_dropout_is_sampled_only_when_asked_for(network):
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(network(x)["centre"], network(x)["centre"])
        network.sample_dropout = True
        assert not torch.equal(network(x)["centre"], network(x)["centre"])
