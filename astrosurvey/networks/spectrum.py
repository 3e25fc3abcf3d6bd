"""A small network for spectra: what the object is, and the posterior of its redshift.

The input is on a grid even in log(wavelength), where a redshift is a shift. After a strided stem the features are therefore
correlated with learnt templates at every shift at once, by FFT: a template scan whose templates and whose likelihood
are trained. The classes are read off two views: the features where they were observed, and those shifted
to rest at the likeliest redshift, where each line has its own place.

References:
    Fukushima (1980), Biol. Cybernetics 36, 193 (strided convolutions); Tonry & Davis (1979), AJ 84, 1511 (redshifts by
    cross-correlation in log wavelength); Stivaktakis et al. (2018), arXiv:1809.09622 (redshift as classification);
    Jaderberg et al. (2015), arXiv:1506.02025 (features cut out where the network itself points);
    Lee et al. (2018), arXiv:1807.03888 (distances to the classes' centres);
    Lakshminarayanan et al. (2017), arXiv:1612.01474 (ensembles); Gal & Ghahramani (2016), arXiv:1506.02142 (dropout).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .bayes import BayesLinear

STRIDE = 4
"""Pixels of the input in one of the stem's features, and in one bin of the redshift."""
BEFORE = 4
"""Bins below redshift 0; stars have as many above it, and no more."""
CROP = (592, 432)
"""Features of the view at rest below and above the first observed one's wavelength: 1210 to 7980 Å from 3600 Å."""

EXACT = ("template", "star_template", "offset", "centres", "whitening")
"""What half precision would spoil."""
FAR_AWAY = 1e3
"""Latent values that no spectrum has."""


class Answer(NamedTuple):
    """What one network says of a batch of spectra.

    Attributes:
        coarse: (batch, coarse class) logits.
        fine: (batch, fine class) logits; only those of one coarse class are comparable.
        star: (batch, 2 BEFORE + 1) logits of the redshift bins around 0.
        redshift: (batch, 2, bin) logits of the redshift bins, of galaxies and of quasars. With those of stars they are one softmax.
        latent: (batch, latent) what the classes are read off.
    """

    coarse: Tensor
    fine: Tensor
    star: Tensor
    redshift: Tensor
    latent: Tensor


class Layer(nn.Module):
    """A strided convolution along the spectrum, normalised and rectified.

    Shapes: (batch, n_in, 1, pixel) -> (batch, n_out, 1, pixel / stride).
    """

    def __init__(self, n_in: int, n_out: int, size: int, stride: int, pad: int) -> None:
        super().__init__()
        # In two dimensions, for only those convolutions know channels-last memory, which is twice as fast.
        self.conv = nn.Conv2d(n_in, n_out, (1, size), (1, stride), (0, pad), bias=False)
        self.norm: Any = nn.BatchNorm2d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.relu(self.norm(self.conv(x)), inplace=not torch.is_grad_enabled())

    def fold(self) -> None:
        """Melt the normalisation into the convolution; only in evaluation mode."""
        self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()


class SpectrumNet(nn.Module):
    """One network for spectra.

    Args:
        channels: of the input.
        pixels: of the input, a multiple of 64.
        bins: of the redshift; each is STRIDE pixels, the first lies BEFORE of them below 0.
        coarse, fine: numbers of classes.
        width: channels of the stem; deeper layers have twice as many.
        templates: features that are correlated with templates.
        latent: width of the last layer but one.
        groups: number of centres that known spectra's latent values lie around; see `learn_groups`.
        dropout: chance for one of its values to be dropped in training, and in evaluation mode when `sample` is set.
        bayesian: the last layers' weights are distributions; drawn in training, and in evaluation mode when `sample` is set.

    Shapes: (batch, channels, 1, pixels) -> Answer.
    """

    centres: Tensor
    whitening: Tensor

    def __init__(
        self,
        channels: int,
        pixels: int,
        bins: int,
        coarse: int,
        fine: int,
        *,
        width: int = 32,
        templates: int = 8,
        latent: int = 64,
        groups: int = 1,
        dropout: float = 0.1,
        bayesian: bool = False,
    ) -> None:
        super().__init__()
        self.bins, self.dropout, self.sample = bins, dropout, False
        length = pixels // STRIDE
        self.stem = nn.Sequential(Layer(channels, width, 2 * STRIDE, STRIDE, STRIDE // 2), Layer(width, width, 3, 1, 1))
        self.features = nn.Parameter(torch.randn(templates, width) / width**0.5)
        deep = [Layer(width, 2 * width, 9, 4, 4), Layer(2 * width, 2 * width, 5, 2, 2), Layer(2 * width, 2 * width, 5, 2, 2)]
        self.deep = nn.Sequential(*deep)
        self.at_rest = Layer(width, 24, 8, 8, 0)
        self.observed = nn.Linear(2 * width * (length // 16), 48)
        self.rest = nn.Linear(24 * (sum(CROP) // 8), 48)
        self.join = nn.Linear(48 + 48 + 4, latent)
        last = BayesLinear if bayesian else nn.Linear
        self.coarse, self.fine = last(latent, coarse), last(latent, fine)
        self.star_template = nn.Parameter(0.02 * torch.randn(templates, length + 2 * BEFORE))
        self.template = nn.Parameter(0.02 * torch.randn(2, templates, _smooth_length(length + bins)))
        self.offset = nn.Parameter(torch.zeros(3))
        self.register_buffer("centres", torch.zeros(groups, latent))
        self.register_buffer("whitening", torch.zeros(latent, latent))

    def forward(self, x: Tensor) -> Answer:
        """Return the answer."""
        return self.read(self.encode(x))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the latent values before dropout, and the logits of the redshift bins of stars and of the others."""
        x = self.stem(x)
        star, redshift = self.scan(self.features @ x[:, :, 0])
        both = torch.cat([star, redshift.flatten(1)], dim=1).float()
        # Normalised, so that they mean the same at every signal-to-noise ratio.
        total = torch.stack([star.logsumexp(1), *redshift.logsumexp(2).unbind(1)], dim=1).log_softmax(dim=1)
        peak, place = both.log_softmax(dim=1).max(dim=1)
        scores = torch.cat([total, peak[:, None]], dim=1).to(x.dtype)
        observed = self.observed(self.deep(x).flatten(1))
        rest = self.rest(self.at_rest(self.shifted(x, place)).flatten(1))
        joined = torch.cat([functional.relu(observed), functional.relu(rest), scores], dim=1)
        return functional.relu(self.join(joined)), star, redshift

    def read(self, encoded: tuple[Tensor, Tensor, Tensor]) -> Answer:
        """Return the answer; only this is drawn at random, in training or when `sample` is set."""
        latent, star, redshift = encoded
        drawn = functional.dropout(latent, self.dropout, training=self.training or self.sample)
        if isinstance(self.coarse, BayesLinear):
            self.coarse.sample = self.fine.sample = self.training or self.sample
        return Answer(self.coarse(drawn).float(), self.fine(drawn).float(), star, redshift, latent.float())

    def scan(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the redshift bins: features correlated with the templates at each shift.

        Args:
            features: (batch, template, position).

        Returns:
            (batch, 2 BEFORE + 1) of stars, and (batch, 2, bin) of galaxies and quasars.
        """
        with torch.autocast(features.device.type, enabled=False):
            features = features.float().contiguous()
            length, size = features.shape[-1], self.template.shape[-1]
            near = self.star_template.float().unfold(1, length, 1).flip(1)  # (template, bin, position)
            star = features.flatten(1) @ near.permute(0, 2, 1).reshape(-1, near.shape[1]) + self.offset[0].float()
            spectrum = torch.fft.rfft(features, n=size)
            templates = torch.fft.rfft(self.template.float()).conj().resolve_conj()
            rows = [(spectrum * one).sum(dim=1) if torch.is_grad_enabled() else _dot(spectrum, one) for one in templates]
            redshift = torch.fft.irfft(torch.stack(rows, dim=1), n=size)[..., : self.bins] + self.offset[1:, None].float()
        return star, redshift

    def shifted(self, x: Tensor, place: Tensor) -> Tensor:
        """Return the features at rest, 0 where none were observed.

        Args:
            x: (batch, width, 1, position).
            place: (batch,) the likeliest bin of those of stars, galaxies and quasars, in this order.
        """
        stars = 2 * BEFORE + 1
        shift = torch.where(place < stars, place, (place - stars) % self.bins) - BEFORE
        length = x.shape[-1]
        place = torch.arange(sum(CROP), device=x.device, dtype=torch.int32)
        position = place - CROP[0] + shift[:, None].int()
        observed = (position >= 0) & (position < length)
        # What lies outside takes some other place, each its own: on a GPU, gradients that gather at one place queue up.
        rows = torch.where(observed, position, place % length) + length * torch.arange(len(x), device=x.device, dtype=torch.int32)[:, None]
        flat = x[:, :, 0].permute(0, 2, 1).reshape(-1, x.shape[1])
        cut = flat.index_select(0, rows.flatten()).view(len(x), 1, sum(CROP), x.shape[1])
        return (cut * observed.to(x.dtype)[:, None, :, None]).permute(0, 3, 1, 2)

    def learn_groups(self, latent: Tensor, group: Tensor) -> None:
        """Learn where known spectra lie: centres of groups, and the scatter around them that all share.

        Args:
            latent: (n, latent) of known spectra.
            group: (n,) int64, which group each belongs to. A group without any lies out of reach.
        """
        latent = latent.double()
        self.centres.fill_(FAR_AWAY)
        around = torch.empty_like(latent)
        for k in group.unique().tolist():
            mine = group == k
            centre = latent[mine].mean(dim=0)
            self.centres[k], around[mine] = centre.to(self.centres), latent[mine] - centre
        covariance = around.T @ around / len(latent)
        # Latent values that never vary must not turn rounding into evidence.
        covariance += 1e-2 * covariance.diagonal().mean().clamp(min=1e-6) * torch.eye(len(covariance), dtype=latent.dtype).to(latent)
        self.whitening.copy_(torch.linalg.inv(torch.linalg.cholesky(covariance)).T)

    def distance(self, latent: Tensor) -> Tensor:
        """Return (batch,) the Mahalanobis distance to the nearest group, squared, over the number of latent values."""
        scale = self.whitening.float()
        return torch.cdist(latent @ scale, self.centres.float() @ scale).amin(dim=1).square() / latent.shape[1]

    def fold(self) -> None:
        """Melt the normalisations into the convolutions; only in evaluation mode."""
        for layer in self.modules():
            if isinstance(layer, Layer):
                layer.fold()


class SpectrumEnsemble(nn.Module):
    """Networks of one kind, each from its own first weights: their scatter is part of what is not known.

    Args:
        members: how many.
        config: of each, see `SpectrumNet`.
    """

    def __init__(self, members: int, **config: Any) -> None:
        super().__init__()
        self.members = nn.ModuleList(SpectrumNet(**config) for _ in range(members))

    def __iter__(self) -> Iterator[SpectrumNet]:
        """Yield the members."""
        return iter(cast("Iterable[SpectrumNet]", self.members))

    def __len__(self) -> int:
        return len(self.members)

    def forward(self, x: Tensor) -> list[Answer]:
        """Return every member's answer."""
        return [member(x) for member in self]


def folded(network: SpectrumEnsemble, device: str = "cpu", precision: torch.dtype = torch.float32) -> SpectrumEnsemble:
    """Return a copy for prediction, with layers of that precision; templates and distances stay in single precision."""
    copy = deepcopy(network).eval()
    for member in copy:
        member.fold()
    copy.to(device=device, dtype=precision, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for member, own in zip(copy, network, strict=True):
        for name in EXACT:
            getattr(member, name).data = getattr(own, name).detach().to(device, torch.float32, copy=True)
    return copy


def _dot(spectrum: Tensor, template: Tensor) -> Tensor:
    """Return the sum over the features without keeping the products."""
    out = spectrum[:, 0] * template[0]
    for k in range(1, len(template)):
        out.addcmul_(spectrum[:, k], template[k])
    return out


def _smooth_length(least: int) -> int:
    """Return the least number, not below `least`, that FFTs like: of the factors 2, 3, 5 and 7."""
    while _rest(least, (2, 3, 5, 7)) != 1 or least % 2:
        least += 1
    return least


def _rest(number: int, factors: Sequence[int]) -> int:
    for factor in factors:
        while number % factor == 0:
            number //= factor
    return number
