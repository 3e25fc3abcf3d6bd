"""The one training loop: warm-up and cosine schedule, moving average of the weights, early stop, checkpoint and resume.

References:
    Loshchilov & Hutter (2019), arXiv:1711.05101 (AdamW); Loshchilov & Hutter (2017), arXiv:1608.03983 (cosine schedule);
    Polyak & Juditsky (1992) and Tarvainen & Valpola (2017), arXiv:1703.01780 (averaged weights).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..core.stage import DataError

Losses = Mapping[str, Tensor]
"""Terms of the loss by name; what is minimised is their sum."""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: updates of the weights.
        learning_rate: at its highest, after the warm-up.
        warmup: fraction of the steps in which the rate rises from zero.
        weight_decay: of AdamW.
        memory: decay per step of AdamW's mean of squared gradients; short trainings want a short one.
        average: decay per step of the moving average of the weights that is returned.
        clip: largest norm of the gradient.
        every: steps between validations (and checkpoints).
        patience: validations without a better loss before training stops; 0 never stops early.
        best: return the averaged weights of the best validation rather than the last.
        fused: update all weights in one go, which counts where they are few; rounded differently.
    """

    steps: int
    learning_rate: float = 2e-3
    warmup: float = 0.05
    weight_decay: float = 1e-4
    memory: float = 0.999
    average: float = 0.995
    clip: float = 5.0
    every: int = 200
    patience: int = 0
    best: bool = False
    fused: bool = False

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warm = max(1, round(self.warmup * self.steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm)))


@dataclass
class History:
    """What training has been through.

    Attributes:
        curves: "step", "rate", and for every term of the loss its mean since the last entry and its value on
            validation data ("<term>.validation"); one entry a validation.
        seconds: time spent, over all resumed parts.
        stopped: the step after which training ended.
        best: the least validation loss so far, and since when.
    """

    curves: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: int = 0
    best: tuple[float, int] = (math.inf, 0)

    def add(self, row: Mapping[str, float]) -> None:
        """Add one entry to every curve."""
        for name, value in row.items():
            self.curves.setdefault(name, []).append(float(value))


def fit(
    network: nn.Module,
    batch: Callable[[int], Any],
    loss: Callable[[nn.Module, Any], Losses],
    recipe: Recipe,
    *,
    validation: Callable[[nn.Module], Mapping[str, float]] | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
    log: Callable[[str], None] = lambda line: None,
    checkpoint: Path | None = None,
) -> tuple[nn.Module, History]:
    """Train a network and return the moving average of its weights, in evaluation mode on the CPU, and what happened.

    Training runs in bfloat16 where the device multiplies it faster, with weights in single precision.

    Args:
        network: changed in place. Seed torch before it is built and before this is called.
        batch: returns the batch of a step (counted from 0) on the device; depends on the step alone, so that a resumed
            training sees what an uninterrupted one would have seen.
        loss: returns the terms of the loss of a network on a batch.
        recipe: how to train.
        validation: returns the terms of the loss of the averaged network on data kept back.
        device: where to train.
        progress: called with (done, total).
        log: called with a line at every validation.
        checkpoint: a folder in which the state is kept, and from which training goes on; also holds metrics.jsonl.

    Raises:
        DataError: the loss is no longer finite, as it would be again at the same step.
    """
    network.to(device).train()
    for weight in network.parameters():
        if weight.dim() == 4:  # of convolutions of images, which are faster with channels last
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    averaged = deepcopy(network).eval()
    optimiser = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, (0.9, recipe.memory), weight_decay=recipe.weight_decay, fused=recipe.fused
    )
    best = deepcopy(averaged)
    history, first = History(), 0
    if checkpoint is not None and (checkpoint / "state.pt").is_file():
        first = _resume(checkpoint, network, averaged, best, optimiser, history)
        log(f"training goes on at step {first}")
    mixed = device == "cuda" or has_fast_bfloat16()
    began, before, sums = time.monotonic(), history.seconds, dict[str, float]()
    for step in range(first, recipe.steps):
        if recipe.patience and step - history.best[1] >= recipe.patience * recipe.every:
            log(f"no gain since step {history.best[1]}: training ends")
            break
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate(step)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=mixed):
            terms = loss(network, batch(step))
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            raise DataError(f"the loss is {float(total.detach())} at step {step}: lower the learning rate")
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimiser.step()
        # Young averages follow quickly, so that the random start is soon forgotten.
        _average(averaged, network, min(recipe.average, (step + 1) / (step + 10)))
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + float(term.detach())
        progress(step + 1, recipe.steps)
        done = step + 1
        if done % recipe.every == 0 or done == recipe.steps:
            history.seconds = before + time.monotonic() - began
            with torch.no_grad():
                kept_back = validation(averaged) if validation else {}
            row = _row(done, recipe, sums, history, kept_back)
            if history.best[1] == done:
                best.load_state_dict(averaged.state_dict())
            sums = {}
            log(_line(row, recipe.steps, history.seconds * (recipe.steps - done) / done))
            if checkpoint is not None:
                _keep(checkpoint, done, network, averaged, best, optimiser, history, row)
    return (best if recipe.best else averaged).cpu().eval(), history


def has_fast_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 in hardware; elsewhere it is slower than single precision."""
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    olds, news = ([*net.parameters(), *net.buffers()] for net in (averaged, network))
    real = [old.dtype.is_floating_point for old in olds]
    torch._foreach_lerp_(list(compress(olds, real)), list(compress(news, real)), 1.0 - decay)
    for old, new, averages in zip(olds, news, real, strict=True):
        if not averages:
            old.copy_(new)


def _row(done: int, recipe: Recipe, sums: Mapping[str, float], history: History, kept_back: Mapping[str, float]) -> dict[str, float]:
    """Add an entry to the history and return it."""
    since = done - (int(history.curves["step"][-1]) if history.curves else 0)
    row = {"step": float(done), "rate": recipe.rate(done - 1), **{name: value / since for name, value in sums.items()}}
    row |= {f"{name}.validation": value for name, value in kept_back.items()}
    history.add(row)
    history.stopped = done
    total = sum(kept_back.values()) if kept_back else sum(value / since for value in sums.values())
    if total < history.best[0]:
        history.best = (total, done)
    return row


def _line(row: Mapping[str, float], steps: int, left: float) -> str:
    terms = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name not in ("step", "rate"))
    return f"step {row['step']:.0f} of {steps}: {terms}; {left / 60:.0f} min left"


def _keep(
    folder: Path,
    step: int,
    network: nn.Module,
    averaged: nn.Module,
    best: nn.Module,
    optimiser: Any,
    history: History,
    row: Mapping[str, float],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "step": step,
        "network": network.state_dict(),
        "averaged": averaged.state_dict(),
        "best_weights": best.state_dict(),
        "optimiser": optimiser.state_dict(),
        "curves": history.curves,
        "seconds": history.seconds,
        "best": list(history.best),
    }
    torch.save(state, folder / "state.tmp")
    (folder / "state.tmp").replace(folder / "state.pt")
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({**row, "seconds": history.seconds}) + "\n")


def _resume(folder: Path, network: nn.Module, averaged: nn.Module, best: nn.Module, optimiser: Any, history: History) -> int:
    state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    averaged.load_state_dict(state["averaged"])
    best.load_state_dict(state["best_weights"])
    optimiser.load_state_dict(state["optimiser"])
    history.curves, history.seconds, history.best = state["curves"], state["seconds"], tuple(state["best"])
    history.stopped = state["step"]
    return int(state["step"])
