"""The autoencoder of spectra: shapes, slopes, and changes of the latent space that change nothing else."""

from __future__ import annotations

import pytest
import torch

from astrosurvey.networks.determinism import seeded
from astrosurvey.networks.spectral_autoencoder import CHANNELS, SpectralAutoencoder

PIXELS = 640


@pytest.fixture
def network():
    with seeded(1):
        made = SpectralAutoencoder(PIXELS, latent=4, encoder=(4, 6, 8, 8), decoder=(8, 6), flow={"layers": 2, "hidden": 8})
        for parameter in made.decoder.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        torch.nn.init.normal_(made.encoder.place, std=3.0)
    return made.requires_grad_(False).eval()


def some(rows, seed=2):
    x = torch.randn(rows, CHANNELS, PIXELS, generator=torch.Generator().manual_seed(seed))
    x[:, 2] = 1
    return x


def test_pixels_without_data_are_not_looked_at(network):
    x = some(2)
    x[:, :, 256:] = 0
    changed = x.clone()
    changed[:, 0, 400:] = 5.0  # far from any data
    assert torch.allclose(network(x), network(changed), atol=1e-5)


def test_an_empty_spectrum_has_a_latent_vector(network):
    assert torch.isfinite(network(torch.zeros(1, CHANNELS, PIXELS))).all()


def test_where_a_feature_lies_matters(network):
    x = some(1)
    assert not torch.allclose(network(x), network(x.roll(64, dims=2)), atol=1e-4)


def test_slopes_are_the_decoders_derivative(network):
    latent = torch.randn(3, 4, generator=torch.Generator().manual_seed(3))
    spectra, slopes = network.decoder.with_slopes(latent)
    step = torch.zeros(4)
    step[2] = 1e-2
    numeric = (network.decoder(latent + step) - network.decoder(latent - step)) / 2e-2
    assert torch.allclose(spectra, network.decoder(latent))
    assert torch.allclose(slopes[:, :, 2], numeric, atol=2e-3)


def test_whitening_changes_the_latent_space_alone(network):
    x = some(200)
    before, decoded = network(x), network.decoder(network(x))
    network.whiten(before)
    latent = network(x)
    assert torch.allclose(latent.mean(dim=0), torch.zeros(4), atol=1e-3)
    assert torch.allclose(torch.cov(latent.T), torch.eye(4), atol=0.02)
    assert torch.allclose(network.decoder(latent), decoded, atol=1e-3)


def test_begins_with_a_given_basis():
    with seeded(1):
        made = SpectralAutoencoder(PIXELS, latent=2, encoder=(4, 4, 4, 4), decoder=(4, 3)).eval()
    for parameter in made.decoder.bend.parameters():
        torch.nn.init.zeros_(parameter)
    mean, components = torch.ones(PIXELS), torch.eye(3, PIXELS)
    made.decoder.begin_with(mean, components)
    assert torch.allclose(made.decoder(torch.tensor([[2.0, -1.0]])), mean + 2 * components[0] - components[1])
