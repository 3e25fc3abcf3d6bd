"""Training the autoencoder, then the density of its latent vectors, then what a strange score is.

References:
    Böhm & Seljak (2020), arXiv:2006.05479 (first the autoencoder, then the flow); Melchior et al. (2023), arXiv:2211.07890; Liang et
    al. (2023), arXiv:2302.02496 (consistency); Charbonnier et al. (1994), ICIP 2, 168 (robust loss).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from ....networks.determinism import seeded
from ....networks.spectral_autoencoder import SpectralAutoencoder
from ....networks.train import History, Recipe, fit
from .calibrate import Calibration, calibrate
from .corpus import Corpus, view
from .decode import channels, decode, legendre, scaled
from .forest import Forest, grow
from .principal import principal
from .rest import PIXELS
from .score import statistics

ERROR, FLOOR = 0.03, 0.02
"""Errors of a reconstruction that count as one in the loss: relative to the flux, and to the spectrum's mean flux."""
TILTED = 1
"""Order of the polynomial in the loss: less than what explains spectra, for the decoder shall know the shape of their continua."""
PULL, WHITE = 2.5, 0.3
"""Weights of the consistency of two views, and of white latent vectors, against the reconstruction."""
VIEWS_TO_CALIBRATE = 8000
"""Half of them calibrate, half judge; the flow learns from twice as many of objects that are not kept back."""
ROWS = 256


@dataclass(frozen=True)
class Trained:
    """A trained network and what is known of it."""

    network: SpectralAutoencoder
    config: dict[str, Any]
    history: History
    calibrations: Mapping[str, Calibration]
    scores: Mapping[str, tuple[float, float]]
    """Name -> value, standard error, on the objects kept back."""


def train(
    corpus: Corpus,
    kept_back: Corpus,
    *,
    latent: int,
    encoder: Sequence[int],
    decoder: Sequence[int],
    recipe: Recipe,
    rows: int,
    seed: int,
    device: Literal["cpu", "cuda"],
    progress: Callable[[int, int], None],
    log: Callable[[str], None],
    checkpoint: Path | None = None,
) -> Trained:
    """Train on known objects, and calibrate and judge on others.

    Args:
        corpus: to learn from, on the device.
        kept_back: to validate, calibrate and judge on, on the device.
        latent: length of the latent vectors.
        encoder, decoder: widths; see `SpectralAutoencoder`.
        recipe: steps and rates of the autoencoder; the flow takes a quarter of the steps.
        rows: objects in a batch, each seen twice.
        seed: of the first weights and of the views.
        device, progress, log, checkpoint: see `networks.train.fit`.
    """
    config: dict[str, Any] = {"pixels": PIXELS, "latent": latent, "encoder": list(encoder), "decoder": list(decoder)}
    with seeded(seed):
        network = SpectralAutoencoder(**config)
        network.decoder.begin_with(*principal(corpus, decoder[-1]))
    total = recipe.steps + recipe.steps // 4
    held = [batch(kept_back, step, rows=rows, seed=seed + 1) for step in range(2)]

    def validation(net: nn.Module) -> Mapping[str, float]:
        with torch.inference_mode():
            rows = [losses(cast(SpectralAutoencoder, net), examples) for examples in held]
        return {name: float(np.mean([float(row[name]) for row in rows])) for name in rows[0]}

    with seeded(seed):
        trained, history = fit(
            network,
            lambda step: batch(corpus, step, rows=rows, seed=seed),
            lambda net, examples: losses(cast(SpectralAutoencoder, net), examples),
            recipe,
            validation=validation,
            device=device,
            progress=lambda done, _: progress(done, total),
            log=log,
            checkpoint=None if checkpoint is None else checkpoint / "autoencoder",
        )
    network = cast(SpectralAutoencoder, trained).to(device)
    learn_residuals(network, kept_back, seed=seed + 2)
    seen = [found for found, _ in explained(network, corpus, min(2 * VIEWS_TO_CALIBRATE, 4 * len(corpus)), seed=seed + 3)]
    latents = torch.cat([found["latent"] for found in seen])
    flow_recipe = Recipe(max(1, recipe.steps // 4), 1e-3, every=max(1, recipe.steps // 8), weight_decay=1e-4)
    _learn_density(network, latents, flow_recipe, seed, device, lambda done: progress(recipe.steps + done, total), log)
    forest = grow(latents.cpu().numpy(), seed)
    network.split_feature.copy_(torch.from_numpy(forest.feature))
    network.split_value.copy_(torch.from_numpy(forest.value))
    return _calibrated(network.eval(), config, history, forest, kept_back, seed)


@torch.no_grad()
def batch(corpus: Corpus, step: int, *, rows: int, seed: int) -> tuple[Tensor, ...]:
    """Return two views of some objects (flux, ivar, flux, ivar), and what is known of the objects (flux, variance)."""
    generator = torch.Generator(corpus.flux.device).manual_seed(seed * 1_000_003 + step)
    chosen = torch.randint(len(corpus), (rows,), generator=generator, device=corpus.flux.device)
    with torch.autocast(corpus.flux.device.type, enabled=False):
        return (*view(corpus, chosen, generator), *view(corpus, chosen, generator), *corpus.take(chosen)[:2])


def losses(network: SpectralAutoencoder, examples: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Return the terms of the loss on a batch."""
    first_flux, first_ivar, second_flux, second_ivar, flux, variance = examples
    rows = len(flux)
    seen = channels(torch.cat([first_flux, second_flux]), torch.cat([first_ivar, second_ivar]))
    latent = network(seen).float()
    with torch.autocast(flux.device.type, enabled=False):
        flux, variance = flux.repeat(2, 1), variance.repeat(2, 1)
        known = torch.isfinite(variance)
        number = known.sum(dim=1, keepdim=True).clamp_min(1)
        level = torch.where(known, flux, 0).sum(dim=1, keepdim=True).abs() / number + 1e-20
        flux, variance = flux / level, variance / level.square()
        weight = torch.where(known, 1.0 / (torch.where(known, variance, 0.0) + (ERROR * flux).square() + FLOOR**2), 0.0)
        terms = legendre(weight, TILTED)
        template = network.decoder(latent)
        model = torch.einsum("rk,rkp->rp", scaled(template, flux, weight, terms), terms) * template
        chi2 = (weight * (flux - model).square()).sum(dim=1) / number[:, 0]
        apart = (latent[:rows] - latent[rows:]).square().mean(dim=0)
        consistency = (apart / (2 * latent.var(dim=0) + 1e-6)).mean()
        # Every number of the latent vector must tell something of its own, or consistency could be had for nothing.
        excess = latent.T @ latent / len(latent) - torch.eye(latent.shape[1], device=latent.device)
        whiteness = excess.square().sum() / latent.shape[1]
    return {"reconstruction": ((1.0 + chi2).sqrt() - 1.0).mean(), "consistency": PULL * consistency, "whiteness": WHITE * whiteness}


def explained(network: SpectralAutoencoder, corpus: Corpus, number: int, *, seed: int) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Yield the statistics of views of objects, a batch of them at a time, and the objects' rows."""
    generator = torch.Generator(corpus.flux.device).manual_seed(seed)
    order = torch.randperm(len(corpus), generator=generator, device=corpus.flux.device)
    for begin in range(0, number, ROWS):
        chosen = order[torch.arange(begin, min(begin + ROWS, number), device=order.device) % len(order)]
        flux, ivar = view(corpus, chosen, generator)
        with torch.no_grad():
            start = network(channels(flux, ivar))
            yield statistics(network, flux, ivar, decode(network, flux, ivar, start), start), chosen


@torch.no_grad()
def learn_residuals(network: SpectralAutoencoder, corpus: Corpus, *, seed: int) -> None:
    """Make the latent space white, and learn the network's error by wavelength there."""
    network.eval()
    rows = min(ROWS, len(corpus))
    count = max(2, min(16, len(corpus) // rows))
    network.whiten(torch.cat([network(channels(*batch(corpus, step, rows=rows, seed=seed)[:2])) for step in range(2 * count)]))
    squares, weights = corpus.flux.new_zeros(2, PIXELS, dtype=torch.float32)
    for step in range(count):
        first_flux, first_ivar, *_, flux, variance = batch(corpus, step, rows=rows, seed=seed)
        latent = network(channels(first_flux, first_ivar))
        known = torch.isfinite(variance)
        weight = torch.where(known, 1.0 / (torch.where(known, variance, 0.0) + (ERROR * flux).square() + 1e-30), 0.0)
        best = decode(network, torch.where(known, flux, 0.0), weight, latent)
        clean = known & (best.model.abs() > 0) & (variance < (0.1 * flux).square())
        relative = ((flux - best.model) / best.model.abs().clamp_min(1e-30)).square()
        squares += torch.where(clean, (relative - torch.where(clean, variance, 0.0) / flux.square().clamp_min(1e-30)).clamp(0, 1), 0).sum(0)
        weights += clean.sum(dim=0)
    smooth = torch.nn.functional.avg_pool1d(torch.stack([squares, weights])[:, None], 33, 1, 16)[:, 0]
    network.scatter.copy_((smooth[0] / smooth[1].clamp_min(1e-3)).sqrt().clamp(0.0, 0.5))


def _learn_density(
    network: SpectralAutoencoder,
    latents: Tensor,
    recipe: Recipe,
    seed: int,
    device: Literal["cpu", "cuda"],
    progress: Callable[[int], None],
    log: Callable[[str], None],
) -> None:
    """Fit the flow to latent vectors."""
    generator = torch.Generator(latents.device).manual_seed(seed)
    number = min(2048, len(latents))

    def take(_: int) -> Tensor:
        return latents[torch.randint(len(latents), (number,), generator=generator, device=latents.device)]

    def loss(net: nn.Module, vectors: Tensor) -> dict[str, Tensor]:
        with torch.autocast(vectors.device.type, enabled=False):
            return {"surprise": -net(vectors).mean()}

    with seeded(seed):
        learnt, _ = fit(network.flow, take, loss, recipe, device=device, progress=lambda done, _: progress(done), log=log)
    network.flow = cast(Any, learnt.to(device))


def _calibrated(
    network: SpectralAutoencoder, config: dict[str, Any], history: History, forest: Forest, kept_back: Corpus, seed: int
) -> Trained:
    """Calibrate on one half of the objects kept back, and judge on the other."""
    found: list[dict[str, np.ndarray]] = []
    rows: list[np.ndarray] = []
    for statistic, chosen in explained(network, kept_back, min(VIEWS_TO_CALIBRATE, 8 * len(kept_back)), seed=seed + 4):
        found.append({name: tensor.cpu().numpy() for name, tensor in statistic.items()})
        rows.append(chosen.cpu().numpy())
    every = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    every["forest"] = forest(every["latent"])
    calibrations, scores = judged(every, np.concatenate(rows) % 2 == 0)
    return Trained(network.cpu(), config, history, calibrations, scores)


def judged(found: Mapping[str, np.ndarray], half: np.ndarray) -> tuple[dict[str, Calibration], dict[str, tuple[float, float]]]:
    """Return calibrations, and scores of them.

    Args:
        found: statistics of known objects, each (n,) or (n, latent).
        half: (n,) on which of them p-values are calibrated; on the others they are judged.
    """
    calibrations, scores = {}, {}
    for density in ("flow", "forest"):
        calibrations[density] = calibrate({name: values[half] for name, values in found.items()}, density)
        p = calibrations[density]({name: values[~half] for name, values in found.items()})
        for part in (0.05, 0.5):
            share = float((p <= part).mean())
            scores[f"{density}_p_below_{part:g}"] = (share, float(np.sqrt(share * (1 - share) / max(1, len(p)))))
    return calibrations, scores
