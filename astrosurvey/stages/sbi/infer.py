"""From simulations to a calibrated estimator: what all stages that train one for `sbi.posterior` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...core.product import Tiles
from ...core.stage import Context, DataError
from ...networks.conditional_flow import FlowEnsemble
from ...networks.determinism import threads
from ...products import Metric, Metrics, Model, Observations
from .calibration.calibrate import calibrate
from .calibration.check import FEWEST, OFF, UNTESTED, Calibration
from .calibration.features import features
from .calibration.misspecification import Detector, Seen, learn
from .calibration.product import to_metrics
from .data import Simulations, Split
from .estimator import Estimator
from .model import METHODS, opened, to_model
from .scaling import DataScaling, ParameterScaling
from .summaries import blocks
from .summaries.model import Summariser
from .summaries.outputs import detector_and_outputs
from .summaries.tune import tune
from .train import FLOW, RATIO, Pairs, Settings, Trained, train

LOSSES = {
    FLOW: ("surprise", "mean of minus the log density, by the mixture of all members, of simulations that were kept back"),
    RATIO: (
        "contrast",
        "cross-entropy of right pairs of parameters and data among wrong ones, mean of all members, of simulations kept back",
    ),
}
"""What the loss of an architecture is called, and what it is."""
STRANGERS = 8000
"""Simulations, at most, of either part, that strange data are known by."""


@dataclass(frozen=True, eq=False)
class Material:
    """Simulations, ready to be learnt from.

    Attributes:
        simulations: of all tiles.
        split: their rows.
        parameters, data: the scales on which a network sees them.
        condensed: raw data, of which these are summaries, and the network that makes them; None where these are the data themselves.
    """

    simulations: Simulations
    split: Split
    parameters: ParameterScaling
    data: DataScaling
    condensed: tuple[Simulations, Summariser] | None = None


def infer(
    ctx: Context, observations: Tiles[Observations], config: Any, method: str, summary_model: Model | None = None
) -> tuple[Model, Metrics]:
    """Return a trained and calibrated estimator, and what is known of it.

    Args:
        ctx: the task's surroundings.
        observations: simulations of all tiles, with their parameters.
        config: the stage's settings.
        method: the stage's name, a key of `model.METHODS`.
        summary_model: condenses the data first, and is then a part of the estimator.
    """
    if summary_model is None:
        material = prepared(ctx, observations, config, of_data=method != "sbi.npe")
    else:
        material = summarised(ctx, observations, config, summary_model, of_data=method != "sbi.npe")
    return fitted(ctx, material, config, method)


def fitted(ctx: Context, material: Material, config: Any, method: str, **network: Any) -> tuple[Model, Metrics]:
    """Return an estimator that is trained and calibrated on simulations that are ready, and what is known of it.

    Args:
        ctx: the task's surroundings.
        material: the simulations.
        config, method: as in `infer`.
        network: what the network is built with beside the stage's settings.
    """
    settings = settings_of(config, METHODS[method][0])
    with threads(1):  # more cost more than they give in networks this small, and round differently
        pairs = Pairs(material.simulations, material.parameters, material.data, ctx.rng, ctx.device)
        trained = train(
            pairs,
            material.split,
            replace(settings, network={**settings.network, **network}),
            of_data=method != "sbi.npe",
            seed=int(ctx.rng.integers(2**31)),
            device=ctx.device,
            progress=ctx.progress,
            log=ctx.log.info,
            checkpoint=ctx.checkpoint,
        )
        if method == "sbi.npe" and config.tuning is not None:
            material, trained = tuned(ctx, material, trained, pairs, config.tuning)
        estimator = METHODS[method][1](trained.network, material.parameters, material.data, ctx.device)
        told = {"learning_rate": config.learning_rate, "batch": config.batch}
        return finished(ctx, material, trained, estimator, config, method, LOSSES[trained.architecture], told)


def prepared(ctx: Context, observations: Tiles[Observations], config: Any, *, of_data: bool) -> Material:
    """Return the simulations as training takes them.

    Args:
        ctx: the task's surroundings.
        observations: simulations of all tiles, with their parameters.
        config: the stage's settings, `keep_back` and `max_missing` among them.
        of_data: they are for a likelihood, or its ratio to the evidence.

    Raises:
        DataError: too many have missing values, there is no likelihood to learn, or no prior density to multiply it by.
    """
    found = Simulations(observations)
    if of_data:
        _require_density(found)
    require(ctx, found, config.max_missing)
    split = found.split(config.keep_back)
    if not len(split.training):
        split = Split(np.flatnonzero(found.usable), *(np.empty(0, np.int64),) * 2)
    if not len(split.validation):
        ctx.log.warning("of %d simulations none is kept back to choose the best weights by: simulate more", len(found))
    parameters, data = ParameterScaling(found.prior), DataScaling.learnt(found.sample(split.training))
    if not data.varies.all():
        ctx.log.warning("%d of %d features are the same in all simulations, and are passed over", (~data.varies).sum(), data.varies.size)
    if of_data and not data.varies.any():
        raise DataError("all simulations are the same: there is no likelihood to learn; simulate more")
    return Material(found, split, parameters, data)


def summarised(ctx: Context, observations: Tiles[Observations], config: Any, summary_model: Model, *, of_data: bool) -> Material:
    """Return summaries of simulations as training takes them; each is computed once, and all are kept in memory.

    Args:
        ctx: the task's surroundings.
        observations: raw simulations of all tiles, with their parameters.
        config: the stage's settings.
        summary_model: that condenses them.
        of_data: as in `prepared`.

    Raises:
        DataError: the model does not summarise, or does other data than these.
    """
    ready = opened(summary_model, ctx.device)
    network = ready.network
    if network is None:
        raise DataError(f"`summary_model` is a model of {ready.method} that summarises nothing: wire the output of sbi.moments")
    raw = Simulations(observations, sets=network.sets)
    if of_data:
        _require_density(raw)
    names = tuple(f"summary_{k}" for k in range(network.features))

    parts: dict[str, Observations] = {}
    for tile, part in observations.items():
        if len(part):
            ready.require(part)
            parts[tile] = blocks.summarised(ctx, part, names, network.summaries, sets=network.sets)
    if ready.estimator.prior.names != raw.prior.names:
        theirs, ours = (", ".join(prior.names) for prior in (ready.estimator.prior, raw.prior))
        ctx.log.warning("the network summarises what tells of %s, and these are simulations of %s", theirs, ours)
    material = prepared(ctx, Tiles(tuple(parts), parts.__getitem__), config, of_data=of_data)
    return replace(material, condensed=(raw, network.bare))


def tuned(ctx: Context, material: Material, trained: Trained, pairs: Pairs, config: Any) -> tuple[Material, Trained]:
    """Return material and flows after summary network and flows have been trained on the raw data together.

    Args:
        ctx: the task's surroundings.
        material: summaries, and the raw data.
        trained: flows, on the summaries.
        pairs: these, by row.
        config: `TuningConfig`.
    """
    assert material.condensed is not None
    assert isinstance(trained.network, FlowEnsemble)
    raw, network = material.condensed
    seed = int(ctx.rng.integers(2**31))
    found = tune(ctx, trained.network, network, raw, pairs.theta, material.split, material.data, config, seed)
    best = (found.best, trained.history.best[1])
    trained = replace(trained, network=found.flow, history=replace(trained.history, best=best), tuning=found)
    return replace(material, condensed=(raw, found.network)), trained


def finished(
    ctx: Context,
    material: Material,
    trained: Trained,
    estimator: Estimator,
    config: Any,
    method: str,
    loss: tuple[str, str],
    told: Mapping[str, Any],
) -> tuple[Model, Metrics]:
    """Return what was trained as a calibrated model that `sbi.posterior` draws from, and what is known of it.

    Args:
        ctx: the task's surroundings.
        material: that it has learnt from.
        trained: the network.
        estimator: of posteriors, by this network.
        config: the stage's settings, those of `CalibrationConfig` among them.
        method: the stage's name.
        loss: what it is called, and what it is.
        told: what the model's card shall say of the training besides.
    """
    found, split = material.simulations, material.split
    tests = split.test[: config.tests]
    if material.condensed is None:
        network, x, detector = None, found.take(tests), _detector(found, split)
    else:
        found, network = material.condensed
        detector, known = detector_and_outputs(network, found, split)
        x = known.of(tests)
    calibration = calibrated(ctx, estimator, found, tests, x, config)
    trained.network.cpu()
    training = {
        "simulations": len(found),
        "missing": int((~found.usable).sum()),
        "kept_back": len(split.validation) + len(split.test),
        "steps": trained.history.stopped,
        loss[0]: round(trained.history.best[0], 5),
        **told,
    }
    values = [
        Metric(loss[0], trained.history.best[0], better="lower", description=loss[1]),
        Metric("simulations", len(found), description="that it was trained and tested on"),
        Metric("missing", int((~found.usable).sum()), better="lower", description="simulations with missing values, left out"),
    ]
    curves: dict[str, Mapping[str, Sequence[float | None]]] = {"training": trained.history.curves}
    if (tuning := trained.tuning) is not None:
        curves["tuning"] = tuning.curves
        training["tuning"] = {"steps": tuning.steps, "before": round(tuning.before, 5)}
        values.append(Metric("tuning_gain", tuning.before - tuning.best, description="by how much joint tuning lowered the surprise"))
    model = to_model(trained, method, found, material.data, calibration, detector, training, network)
    return model, to_metrics(calibration, values, curves)


def settings_of(config: Any, architecture: str) -> Settings:
    """Return what a stage's settings say of the network, of this architecture, and its training."""
    flow = {"layers": config.layers, "bins": config.bins} if architecture == FLOW else {}
    return Settings(
        architecture,
        {"members": config.members, "hidden": list(config.hidden), "summary": list(config.summary), **flow},
        config.epochs,
        config.batch,
        config.learning_rate,
        config.weight_decay,
    )


def _require_density(simulations: Simulations) -> None:
    """Raise `DataError` where there is no density to multiply a likelihood by."""
    if not simulations.prior.has_density:
        raise DataError("likelihoods need the prior's density, which nobody knows of a joint prior; use sbi.npe, or independent priors")


def require(ctx: Context, simulations: Simulations, most: float) -> None:
    """Raise `DataError` when too many simulations have missing values; warn of any."""
    missing = int((~simulations.usable).sum())
    if missing == len(simulations) or missing > most * len(simulations):
        raise DataError(
            f"{missing} of {len(simulations)} simulations have missing values, more than `max_missing` allows; leaving them out "
            "would bend the posterior: mend the simulator, or give what is missing a value"
        )
    if missing:
        ctx.log.warning("%d of %d simulations have missing values and are left out, which bends the posterior", missing, len(simulations))


def calibrated(ctx: Context, estimator: Estimator, simulations: Simulations, rows: np.ndarray, x: np.ndarray, config: Any) -> Calibration:
    """Return whether an estimator's posteriors mean what they say, unless the settings say that nobody shall ask.

    Args:
        ctx: random numbers.
        estimator: of posteriors.
        simulations: all of them.
        rows: those that nothing else has seen.
        x: (row, …) what the estimator takes of them.
        config: the stage's settings.
    """
    if config.calibration == "off":
        return Calibration(OFF)
    names = simulations.prior.names
    ctx.log.info("posteriors are tested on %d simulations that were kept back", len(rows))
    found = calibrate(estimator, simulations.theta[rows], x, names=names, rng=ctx.rng, draws=config.draws)
    if found.failed:
        ctx.log.warning("posteriors are %s by %d tests: %s", found.verdict, found.tests, "; ".join(found.faults) or f"p = {found.p:.3g}")
    if found.verdict == UNTESTED:
        few = "nobody can tell what posteriors are worth: %d of %d simulations were kept back to test them on, and %d are needed"
        ctx.log.warning(few, found.tests, len(simulations), FEWEST)
    return found


def _detector(simulations: Simulations, split: Split) -> Detector | None:
    """Return what tells data unlike the simulations, by some that training has seen and some that it has not."""
    kept = np.sort(np.concatenate([split.validation, split.test]))
    if not len(kept):
        return None
    some, others = (rows[:: max(1, -(-len(rows) // STRANGERS))] for rows in (split.training, kept))
    return learn(_seen(simulations, some), _seen(simulations, others))


def _seen(simulations: Simulations, rows: np.ndarray) -> Seen:
    """Return some simulations as the detector sees them, read block by block."""
    return Seen(np.concatenate([features(simulations.take(some)) for some in simulations.blocks(rows)]))
