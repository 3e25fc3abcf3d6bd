"""From simulations to a calibrated moment network with its card, and how well it does on simulations that it has not seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ....core.stage import Context, DataError
from ....networks.summaries.build import Kind
from ....products import Metric, Metrics, Model
from ...models.load import to_weights
from ..calibration.misspecification import among_weights
from ..calibration.product import to_metrics
from ..data import Simulations
from ..infer import calibrated, require
from ..scaling import ParameterScaling
from .model import ARCHITECTURE, TASK, opened
from .normal import NormalPosterior
from .outputs import detector_and_outputs
from .scale import FieldScaling
from .train import train

FEWEST = 20
"""Simulations to learn from, at least."""


def fitted(ctx: Context, simulations: Simulations, config: Any, kind: Kind) -> tuple[Model, Metrics]:
    """Return a trained moment network and its scores.

    Args:
        ctx: the task's surroundings.
        simulations: all of them.
        config: of `sbi.moments`.
        kind: of network.

    Raises:
        DataError: there are too few simulations, or too many have missing values.
    """
    require(ctx, simulations, config.max_missing)
    split = simulations.split(config.keep_back)
    if len(split.training) < FEWEST:
        raise DataError(f"{len(split.training)} simulations without missing values are too few to learn from; at least {FEWEST} are needed")
    axis = 0 if config.channels else len(simulations.shape) - 1 if kind == "deep_set" or len(simulations.shape) == 1 else None
    some = split.training[: simulations.at_once]
    scaling = FieldScaling.learnt(simulations.take(some), axis, sets=kind == "deep_set")
    shape = list(simulations.shape)
    network = {"kind": kind, "shape": shape, "features": config.features, "parameters": len(simulations.prior)}
    network |= {"channels": config.channels, "stem": list(config.stem) if config.stem is not None else None}
    trained, history = train(
        ctx,
        simulations,
        split,
        scaling,
        network,
        symmetry=config.symmetry,
        epochs=config.epochs,
        batch=config.batch,
        learning_rate=config.learning_rate,
        seed=int(ctx.rng.integers(2**31)),
    )
    weights = to_weights(trained)
    card = {
        "task": TASK,
        "title": "Moment network: summaries of data, and mean and standard deviation of each parameter's posterior",
        "prior": simulations.prior.to_json(),
        "data": scaling.to_card(),
        "shape": shape,
        "names": list(simulations.names),
        "units": list(simulations.units),
        "symmetry": config.symmetry,
        "simulator": simulations.simulator,
        "training": {"simulations": len(split.training), "steps": history.stopped, "learning_rate": config.learning_rate},
        "limits": "trained on simulations: data unlike them have summaries that mean nothing",
    }
    model = Model(ARCHITECTURE, network, weights, card)
    moments = opened(model, ctx.device)
    detector, known = detector_and_outputs(moments, simulations, split)
    weights |= among_weights(detector)
    parameters = ParameterScaling(simulations.prior)
    tests = split.test[: config.tests]
    calibration = calibrated(ctx, NormalPosterior(parameters), simulations, tests, known.of(tests), config)
    scored = split.test if len(split.test) else known.rows
    truth = parameters.to_flow(simulations.theta[scored])
    curves: dict[str, dict[str, list[float | None]]] = {"training": {name: list(values) for name, values in history.curves.items()}}
    metrics = to_metrics(calibration, _scores(simulations.prior.names, truth, known.of(scored)), curves)
    return replace(model, weights=weights, card={**card, "calibration": calibration.to_card()}), metrics


def _scores(names: tuple[str, ...], truth: np.ndarray, moments: np.ndarray) -> list[Metric]:
    """Return, for each parameter, how much of its variance is explained, and how often the truth is within one standard deviation."""
    mean, spread = np.split(moments, 2, axis=1)
    variance = truth.var(axis=0)
    explained = 1 - ((truth - mean) ** 2).mean(axis=0) / np.where(variance > 0, variance, np.nan)
    within = (np.abs(truth - mean) < spread).mean(axis=0)
    scatter = np.sqrt(within * (1 - within) / len(truth))
    found: list[Metric] = []
    for k, name in enumerate(names):
        found.append(Metric(f"explained_{name}", float(explained[k]), description=f"part of the variance of {name} that the mean explains"))
        about = f"how often {name} is within one standard deviation; .68 for normal posteriors"
        found.append(Metric(f"within_{name}", float(within[k]), error=float(scatter[k]), description=about))
    return found
