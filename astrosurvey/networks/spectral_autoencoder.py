"""An autoencoder of spectra in their rest frame, with a normalizing flow over its latent space: a probabilistic autoencoder.

The encoder is a stack of strided convolutions over the rest-frame grid, of which one spectrum covers a part; where in the rest
frame a feature lies is added as a learnt vector, and attention gathers the features that are there, so that a
spectrum seen through another window, at another redshift, may have the same latent vector. The decoder gives the whole
grid from the latent vector: a basis of spectra whose coefficients are a small network's.

References:
    Böhm & Seljak (2020), arXiv:2006.05479 (probabilistic autoencoder); Melchior et al. (2023), arXiv:2211.07890 (spender).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .flow import SplineFlow

CHANNELS = 3
"""Of the input: flux, signal-to-noise ratio, and 1 where there are data."""


class Encoder(nn.Module):
    """Strided convolutions, then attention over the rest frame.

    Shapes: (batch, CHANNELS, pixels) -> (batch, latent).
    """

    def __init__(self, pixels: int, latent: int, widths: Sequence[int]) -> None:
        super().__init__()
        kernels, strides = (11, 9, 7, 5), (4, 4, 2, 1)
        self.layers = nn.ModuleList()
        length, before = pixels, CHANNELS
        for width, kernel, stride in zip(widths, kernels, strides, strict=True):
            self.layers.append(nn.Conv1d(before, width, kernel, stride, padding=kernel // 2))
            length, before = (length - 1) // stride + 1, width
        self.place = nn.Parameter(torch.zeros(before, length))
        self.attention = nn.Conv1d(before, before, 1)
        # What differs from spectrum to spectrum is a small part of what is gathered, until it is normalised.
        self.dense = nn.Sequential(nn.BatchNorm1d(before), nn.Linear(before, before), nn.SiLU(), nn.Linear(before, latent))
        # In training every number of the latent vector has unit variance, so that consistency cannot be had by making it small.
        self.unit = nn.BatchNorm1d(latent, affine=False)
        self.turn = nn.Linear(latent, latent)
        nn.init.eye_(self.turn.weight)
        nn.init.zeros_(self.turn.bias)
        self.turn.requires_grad_(False)
        self.stride = 4 * 4 * 2

    def forward(self, x: Tensor) -> Tensor:
        """Return the latent vectors."""
        covered = functional.max_pool1d(x[:, -1:], self.stride, ceil_mode=True)
        for layer in self.layers[:-1]:
            x = functional.silu(layer(x))
        x = functional.silu(self.layers[-1](x) + self.place)
        # Where a spectrum has no data nothing is gathered; an empty one attends to everything alike.
        attention = self.attention(x).float().masked_fill(covered == 0, -1e4).softmax(dim=-1)
        return cast(Tensor, self.turn(self.unit(self.dense((x * attention).sum(dim=-1)))))


class Decoder(nn.Module):
    """A basis of spectra with coefficients that are a network's function of the latent vector.

    Shapes: (batch, latent) -> (batch, pixels).
    """

    def __init__(self, pixels: int, latent: int, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip([latent, *widths], widths, strict=False):
            layers += [nn.Linear(before, width), nn.SiLU()]
        self.bend = nn.Sequential(*layers[:-1])
        self.linear = nn.Linear(latent, widths[-1])
        self.basis = nn.Linear(widths[-1], pixels)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        nn.init.ones_(self.basis.bias)

    @torch.no_grad()
    def begin_with(self, mean: Tensor, components: Tensor) -> None:
        """Take a mean spectrum (pixels,) and components (width, pixels), each of unit variance among the known, as the first basis."""
        self.basis.bias.copy_(mean)
        self.basis.weight.copy_(components.T)

    def forward(self, latent: Tensor) -> Tensor:
        """Return the spectra."""
        return cast(Tensor, self.basis(self.coefficients(latent)))

    def coefficients(self, latent: Tensor) -> Tensor:
        """Return how much of each spectrum of the basis to add; in the beginning, as much as the latent vector says."""
        return cast(Tensor, self.linear(latent) + self.bend(latent))

    def with_slopes(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spectra (batch, pixels) and their derivatives (batch, pixels, latent)."""
        slopes = self.linear.weight.expand(len(latent), -1, -1)
        x, bent = latent, torch.eye(latent.shape[1], device=latent.device).expand(len(latent), -1, -1)
        for layer in self.bend:
            if isinstance(layer, nn.Linear):
                x, bent = layer(x), layer.weight @ bent
            else:
                gate = torch.sigmoid(x)
                x, bent = x * gate, (gate * (1 + x * (1 - gate)))[..., None] * bent
        return self.basis(self.linear(latent) + x), self.basis.weight @ (slopes + bent)


class SpectralAutoencoder(nn.Module):
    """Encoder, decoder, and the density of the latent vectors of what is known; one model's state, in one place.

    Args:
        pixels: of the rest-frame grid.
        latent: length of the latent vectors.
        encoder: channels of the encoder's four convolutions.
        decoder: widths of the decoder's hidden layers; the last is the number of spectra in its basis.
        flow: settings of `SplineFlow`.
        forest: trees of the isolation forest and nodes of each.

    Shapes: (batch, CHANNELS, pixels) -> (batch, latent).
    """

    scatter: Tensor
    split_feature: Tensor
    split_value: Tensor

    def __init__(
        self,
        pixels: int,
        latent: int = 8,
        encoder: Sequence[int] = (32, 64, 128, 128),
        decoder: Sequence[int] = (128, 256, 64),
        flow: dict[str, Any] | None = None,
        forest: Sequence[int] = (200, 511),
    ) -> None:
        super().__init__()
        self.encoder = Encoder(pixels, latent, encoder)
        self.decoder = Decoder(pixels, latent, decoder)
        self.flow = SplineFlow(latent, **(flow or {}))
        # The decoder's relative error by wavelength.
        self.register_buffer("scatter", torch.zeros(pixels))
        # An isolation forest over the latent vectors, the baseline; the network itself does not use it.
        self.register_buffer("split_feature", torch.full(tuple(forest), -1, dtype=torch.int16))
        self.register_buffer("split_value", torch.zeros(tuple(forest)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the latent vectors."""
        return cast(Tensor, self.encoder(x))

    @torch.no_grad()
    def whiten(self, latent: Tensor) -> None:
        """Change the latent space so that vectors (n, latent), which the encoder gave of what is known, have mean 0 and covariance 1.

        Nothing that is decoded changes.
        """
        mean = latent.double().mean(dim=0)
        covariance = torch.cov(latent.double().T)
        floor = 1e-4 * covariance.diagonal().mean() * torch.eye(len(mean), dtype=torch.float64, device=latent.device)
        root = torch.linalg.cholesky(covariance + floor)
        turn = self.encoder.turn
        turn.weight.copy_(torch.linalg.solve_triangular(root, turn.weight.double(), upper=False))
        turn.bias.copy_(torch.linalg.solve_triangular(root, (turn.bias.double() - mean)[:, None], upper=False)[:, 0])
        for layer in (self.decoder.linear, cast(nn.Linear, self.decoder.bend[0])):
            layer.bias.add_((layer.weight.double() @ mean).float())
            layer.weight.copy_(layer.weight.double() @ root)
