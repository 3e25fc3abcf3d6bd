"""From simulations to a moment network with its card, and how well it does on simulations that it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....core.stage import Context, DataError
from ....networks.summaries.build import Kind
from ....products import Metric, Metrics, Model
from ..data import Simulations
from ..scaling import ParameterScaling
from .model import ARCHITECTURE, TASK, opened
from .scale import FieldScaling
from .train import train

SCALED = 1 << 24
"""Values, at most, that scales are learnt from."""
TESTED = 2000
"""Simulations, at most, that scores are of."""
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
        DataError: there are too few simulations.
    """
    split = simulations.split(config.keep_back)
    if len(split.training) < FEWEST:
        raise DataError(f"{len(split.training)} simulations without missing values are too few to learn from; at least {FEWEST} are needed")
    axis = 0 if config.channels else len(simulations.shape) - 1 if kind == "deep_set" or len(simulations.shape) == 1 else None
    some = split.training[: max(1, SCALED // int(np.prod(simulations.shape)))]
    scaling = FieldScaling.learnt(simulations.take(some), axis)
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
    weights = {name: tensor.cpu().numpy() for name, tensor in trained.state_dict().items()}
    card = {
        "task": TASK,
        "title": "Moment network: summaries of data, and mean and standard deviation of each parameter's posterior",
        "prior": simulations.prior.to_json(),
        "data": scaling.to_card(),
        "shape": shape,
        "names": list(simulations.names),
        "symmetry": config.symmetry,
        "simulator": simulations.simulator,
        "training": {"simulations": len(split.training), "steps": history.stopped, "learning_rate": config.learning_rate},
        "limits": "trained on simulations: data unlike them have summaries that mean nothing",
    }
    model = Model(ARCHITECTURE, network, weights, card)
    scores = _scores(ctx, simulations, (split.test if len(split.test) else split.training)[:TESTED], model)
    curves: dict[str, dict[str, list[float | None]]] = {"training": {name: list(values) for name, values in history.curves.items()}}
    return model, Metrics(scores, curves)


def _scores(ctx: Context, simulations: Simulations, rows: np.ndarray, model: Model) -> tuple[Metric, ...]:
    """Return, for each parameter, how much of its variance is explained, and how often the truth is within one standard deviation."""
    moments = opened(model, ctx.device)
    truth = ParameterScaling(simulations.prior).to_flow(simulations.theta[rows])
    step = max(1, SCALED // int(np.prod(simulations.shape)))
    said = [moments.moments(simulations.take(rows[start : start + step])) for start in range(0, len(rows), step)]
    mean, spread = (np.concatenate(parts) for parts in zip(*said, strict=True))
    variance = truth.var(axis=0)
    explained = 1 - ((truth - mean) ** 2).mean(axis=0) / np.where(variance > 0, variance, np.nan)
    within = (np.abs(truth - mean) < spread).mean(axis=0)
    scatter = np.sqrt(within * (1 - within) / len(rows))
    found: list[Metric] = []
    for k, name in enumerate(simulations.prior.names):
        found.append(Metric(f"explained_{name}", float(explained[k]), description=f"part of the variance of {name} that the mean explains"))
        about = f"how often {name} is within one standard deviation; .68 for normal posteriors"
        found.append(Metric(f"within_{name}", float(within[k]), error=float(scatter[k]), description=about))
    return tuple(found)
