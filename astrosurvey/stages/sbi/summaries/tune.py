"""Joint tuning: a summary network and the flows that were trained on its summaries, trained on raw data together.

A network that was trained for means and standard deviations need not keep all that the data tell of the parameters. The flows' own loss
asks for just that: the less of it a summary throws away, the less surprising the true parameters are.

References:
    Schosser, Heneka & Plehn (2024), arXiv:2401.04174 (first the summary, then the flow, then both); Radev et al. (2020), arXiv:2003.06281
    (summaries that are learnt with the flow); Izmailov et al. (2018), arXiv:1803.05407 (averaged weights).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....core.stage import Context
from ....networks.conditional_flow import FlowEnsemble
from ....networks.determinism import chance
from ....networks.summaries.joint import JointFlow
from ....networks.summaries.symmetries import moved
from ....networks.train import Recipe, fit
from ..data import Batches, Simulations, Split
from ..scaling import LINEAR, DataScaling
from .model import Summariser

VALIDATION = 2048
"""Simulations, at most, that a validation looks at."""
LOOKS = 20
"""Validations in a tuning."""


@dataclass(frozen=True, eq=False)
class Tuned:
    """What joint tuning has made of a summary network and the flows that hear it.

    Attributes:
        flow, network: the best of all, which may be what they were before.
        curves: of the tuning, which begin with what they were.
        steps: of the tuning.
        before, best: mean surprise of the simulations kept back, before and now.
    """

    flow: FlowEnsemble
    network: Summariser
    curves: Mapping[str, list[float | None]]
    steps: int
    before: float
    best: float


def tune(
    ctx: Context,
    flow: FlowEnsemble,
    network: Summariser,
    simulations: Simulations,
    theta: Tensor,
    split: Split,
    scaling: DataScaling,
    config: Any,
    seed: int,
) -> Tuned:
    """Return flows and summary network as they are best together.

    Args:
        ctx: device, progress, log and checkpoint.
        flow: trained on the summaries.
        network: that makes them.
        simulations: all of them, raw; read as they are needed.
        theta: (parameter, row) what a flow sees of their parameters, on the device.
        split: rows to learn from and to validate on; those of training stand in for none of validation.
        scaling: on which the flow sees the summaries.
        config: how long, how fast, and by how many at a time.
        seed: of the order of simulations and their positions.
    """
    joint = JointFlow(network.network, flow, _scale(scaling, ctx.device), network.symmetry).to(ctx.device)
    batches = Batches(split.training, config.batch, 1, seed)
    held = (split.validation if len(split.validation) else split.training)[:VALIDATION]

    def read(rows: np.ndarray) -> Tensor:
        return torch.from_numpy(network.data(simulations.take(rows))).to(ctx.device)

    def seen(step: int) -> tuple[Tensor, Tensor]:
        rows = batches(step)[0]
        return theta[None, :, rows], moved(read(rows), network.symmetry, chance(seed, step))

    def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        # In single precision throughout: what the summaries lost by rounding would widen narrow posteriors.
        with torch.autocast(ctx.device, enabled=False):
            return {"surprise": -net(*batch).mean()}

    def context(net: JointFlow) -> Tensor:
        return torch.cat([net.context(read(rows)) for rows in np.array_split(held, -(-len(held) // config.batch))], dim=2)

    def validation(net: nn.Module) -> Mapping[str, float]:
        assert isinstance(net, JointFlow)
        members = net.flow(theta[None, :, held], context(net)).double()
        return {"surprise": float(np.log(flow.members) - torch.logsumexp(members, dim=0).mean())}

    steps = config.epochs * batches.epoch
    with torch.no_grad():
        before = validation(joint)["surprise"]
    untuned = deepcopy(joint)
    tuned, history = fit(
        joint,
        seen,
        loss,
        Recipe(steps, config.learning_rate, every=max(1, steps // LOOKS), best=True),
        validation=validation,
        device=ctx.device,
        progress=ctx.progress,
        log=lambda line: ctx.log.info("tuning: %s", line),
        checkpoint=ctx.checkpoint / "tuning" if ctx.checkpoint is not None else None,
    )
    chosen = tuned.to(ctx.device)
    assert isinstance(chosen, JointFlow)
    with torch.no_grad():
        if len(split.validation):
            chosen.flow.widen(theta[None, :, held], context(chosen))
        after = validation(chosen)["surprise"]
    if after < before:
        ctx.log.info("tuning: the surprise of simulations kept back fell from %.4f to %.4f", before, after)
    else:
        chosen, after = untuned, before
        message = "tuning: the surprise of simulations kept back did not fall below %.4f; flow and summaries stay as they were"
        ctx.log.warning(message, before)
    first = {"step": 0.0, "rate": 0.0, "surprise.validation": before}
    curves = {name: [first.get(name), *values] for name, values in history.curves.items()}
    return Tuned(chosen.flow, replace(network, network=chosen.summary.eval()), curves, history.stopped, before, after)


def _scale(scaling: DataScaling, device: str) -> Callable[[Tensor], Tensor]:
    """Return what a flow sees of summaries, as `DataScaling` has it, with a gradient."""
    varies = np.flatnonzero(scaling.varies)
    arrays = (scaling.centre, scaling.width, scaling.mean, scaling.std)
    centre, width, mean, std = (torch.from_numpy(array[varies]).float().to(device) for array in arrays)
    return lambda summary: (LINEAR * torch.arcsinh((summary[:, varies] - centre) / (LINEAR * width)) - mean) / std
