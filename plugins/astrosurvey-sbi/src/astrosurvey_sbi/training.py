"""Training by the package sbi, between astrosurvey's preparation of simulations and its calibration."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from astrosurvey import Context, DataError, Metrics, Model, Observations, Tiles
from astrosurvey.networks.determinism import seeded, threads
from astrosurvey.networks.train import History
from astrosurvey.stages.sbi.infer import finished, prepared
from astrosurvey.stages.sbi.train import Pairs, Trained

from .methods import METHODS, Method
from .networks import quiet

FEWEST = 20
"""Simulations to train on."""


class Untold:
    """Hears the figures of a training and keeps none; sbi would write them into the folder that a run is started in."""

    log_dir = None

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def infer(ctx: Context, observations: Tiles[Observations], config: Any, name: str) -> tuple[Model, Metrics]:
    """Return an estimator trained by sbi and calibrated by astrosurvey, and what is known of it.

    Args:
        ctx: the task's surroundings.
        observations: simulations of all tiles, with their parameters.
        config: the stage's settings.
        name: of the stage, a key of `METHODS`.
    """
    method = METHODS[name]
    material = prepared(ctx, observations, config, of_data=method.of_data)
    rows = np.sort(np.concatenate([material.split.training, material.split.validation]))
    if len(rows) < FEWEST or not len(material.split.validation) or not material.data.varies.any():
        raise DataError(f"sbi needs {FEWEST} simulations that differ, some of them kept back, and there are {len(rows)}; simulate more")
    pairs = Pairs(material.simulations, material.parameters, material.data, ctx.rng, "cpu")
    theta, data = (part[0].T.contiguous() for part in pairs(rows[None]))
    features, context = (data, theta) if method.of_data else (theta, data)
    built = {setting: getattr(config, setting) for setting in method.settings}
    settings = {"features": features.shape[1], "context": context.shape[1], "members": config.members, **built}
    fraction = len(material.split.validation) / len(rows)
    with threads(1):
        seeds = [int(seed) for seed in ctx.rng.integers(2**31, size=1 + config.members)]
        with seeded(seeds[0]):
            network = method.build(**settings)
        curves = []
        for k, seed in enumerate(seeds[1:]):
            with seeded(seed), quiet():
                network.nets[k], curve = _member(network.nets[k], theta, data, method, config, fraction, ctx.device)
            curves.append(curve)
            if len(curve[0]) > config.epochs:
                ctx.log.warning("network %d was still learning after %d epochs; raise `epochs`", k + 1, config.epochs)
            ctx.progress(k + 1, config.members)
        history = _history(curves, method.loss[0], max(1, int((1 - fraction) * len(rows)) // config.batch))
        trained = Trained(name, network.eval(), settings, history)
        told = {"learning_rate": config.learning_rate, "batch": config.batch, "sbi": version("sbi")}
        estimator = method.answers(network, material.parameters, material.data, ctx.device)
        return finished(ctx, material, trained, estimator, config, name, method.loss, told)


def _member(
    net: nn.Module, theta: Tensor, data: Tensor, method: Method, config: Any, fraction: float, device: Literal["cpu", "cuda"]
) -> tuple[nn.Module, tuple[list[float], list[float]]]:
    """Return a network as sbi trains it, and its losses in training and on what was kept back, by epoch."""
    more = {theirs: getattr(config, ours) for ours, theirs in method.trained_with.items()}
    trainer = method.trainer(**{method.takes: lambda *batch: net}, device=device, tracker=Untold(), show_progress_bars=False)
    trainer.append_simulations(theta, data, data_device="cpu")
    with redirect_stdout(io.StringIO()):
        trained = trainer.train(
            training_batch_size=config.batch,
            learning_rate=config.learning_rate,
            validation_fraction=fraction,
            stop_after_epochs=config.patience,
            max_num_epochs=config.epochs,
            **more,
        )
    found = trainer.summary
    return trained.cpu(), ([float(v) for v in found["training_loss"]], [float(v) for v in found["validation_loss"]])


def _history(curves: list[tuple[list[float], list[float]]], loss: str, steps: int) -> History:
    """Return what the training was, mean of all members as long as each was learning.

    Args:
        curves: each member's losses by epoch.
        loss: what it is called.
        steps: in an epoch.
    """
    epochs = min(len(curve) for curve, _ in curves)
    learnt, kept = (np.mean([one[part][:epochs] for one in curves], axis=0).tolist() for part in (0, 1))
    best = float(np.mean([min(curve) for _, curve in curves]))
    told = {"step": [float(steps * (k + 1)) for k in range(epochs)], loss: learnt, f"{loss}.validation": kept}
    return History(told, stopped=steps * max(len(curve) for curve, _ in curves), best=(best, steps * (1 + int(np.argmin(kept)))))
