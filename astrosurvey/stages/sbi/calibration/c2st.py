"""Whether samples can be told apart by a classifier, for many pairs of samples at once (classifier two-sample test).

The classifier and its training are those of the benchmark of simulation-based inference: two hidden layers of 10 d rectified units, Adam,
minibatches of 200, until the loss has not fallen for ten epochs; accuracy over five folds. There each fold is a network of its own in
scikit-learn; here all folds of all pairs are one stack of small networks, trained by batched matrix products.

References:
    Lopez-Paz & Oquab (2017), arXiv:1610.06545 (C2ST); Lueckmann et al. (2021), arXiv:2101.04653 (in benchmarks of inference);
    Kingma & Ba (2015), arXiv:1412.6980 (Adam); Glorot & Bengio (2010), AISTATS 9, 249 (first weights).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

FOLDS, BATCH = 5, 200
RATE, DECAY, FIRST, SECOND, TINY = 1e-3, 1e-4, 0.9, 0.999, 1e-8
"""Adam's learning rate, the penalty of squared weights, the memory of both moments, and what keeps it from dividing by zero."""
GAIN, PATIENCE, MOST_EPOCHS = 1e-4, 10, 1000
"""Training ends when the loss has not fallen by `GAIN` for more than `PATIENCE` epochs."""


def c2st(reference: np.ndarray, samples: np.ndarray, rng: np.random.Generator, device: Literal["cpu", "cuda"] = "cpu") -> np.ndarray:
    """Return (m,) accuracies with which samples are told from reference samples: 0.5 is not at all, 1 always.

    Args:
        reference: (m, n, d) draws of m posteriors that are right; they set the scale.
        samples: (m, k, d) draws of the posteriors that are to be judged.
        rng: of folds, first weights and minibatches.
        device: where to train.

    Raises:
        ValueError: there are fewer than ten draws of both together.
    """
    pairs, n, _ = reference.shape
    total = n + samples.shape[1]
    if total < 2 * FOLDS:
        raise ValueError(f"{total} draws are too few for {FOLDS} folds: draw more")
    middle, scale = reference.mean(axis=1, keepdims=True), reference.std(axis=1, keepdims=True)
    both = (np.concatenate([reference, samples], axis=1) - middle) / np.where(scale > 0, scale, 1.0)
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    x = torch.from_numpy(both.astype(np.float32)).to(device)
    label = (torch.arange(total, device=device) >= n).float()
    fold = total // FOLDS
    # Equal parts, so that all networks see as many: the few that are left over are never tested on.
    shuffled = torch.rand(pairs, total, generator=generator, device=device).argsort(dim=1)
    rows = [shuffled.roll(-k * fold, dims=1) for k in range(FOLDS)]
    order = torch.stack(rows, dim=1).reshape(pairs * FOLDS, total)
    owner = torch.arange(pairs, device=device).repeat_interleave(FOLDS)
    return _accuracy(x, label, order[:, fold:], order[:, :fold], owner, generator).reshape(pairs, FOLDS).mean(dim=1).double().cpu().numpy()


@torch.no_grad()
def _accuracy(x: Tensor, label: Tensor, train: Tensor, test: Tensor, owner: Tensor, generator: torch.Generator) -> Tensor:
    """Return (g,) accuracies of g networks, each trained on some rows of a pair and tested on others.

    Args:
        x: (pair, row, d).
        label: (row,) 0 or 1.
        train, test: (g, …) rows.
        owner: (g,) pair of each network.
        generator: of weights and minibatches.
    """
    found = torch.empty(len(owner), device=x.device)
    alive = torch.arange(len(owner), device=x.device)
    weights = _first_weights(len(owner), x.shape[-1], generator)
    moments = [[torch.zeros_like(w) for w in weights] for _ in range(2)]
    best, waited = torch.full((len(owner),), torch.inf, device=x.device), torch.zeros(len(owner), device=x.device)
    steps, n = 0, train.shape[1]
    for epoch in range(MOST_EPOCHS):
        order = train.gather(1, torch.rand(train.shape, generator=generator, device=x.device).argsort(dim=1))
        loss = torch.zeros(len(alive), device=x.device)
        for rows in order.split(BATCH, dim=1):
            steps += 1
            gradients, lost = _gradients(weights, x[owner[:, None], rows], label[rows])
            loss += lost * rows.shape[1] / n
            rate = RATE * (1 - SECOND**steps) ** 0.5 / (1 - FIRST**steps)
            torch._foreach_lerp_(moments[0], gradients, 1 - FIRST)
            torch._foreach_mul_(moments[1], SECOND)
            torch._foreach_addcmul_(moments[1], gradients, gradients, 1 - SECOND)
            size = torch._foreach_sqrt(moments[1])
            torch._foreach_add_(size, TINY)
            torch._foreach_addcdiv_(weights, moments[0], size, -rate)
        waited = torch.where(loss > best - GAIN, waited + 1, 0.0)
        best = torch.minimum(best, loss)
        ended = (waited > PATIENCE) | (epoch == MOST_EPOCHS - 1)
        if ended.any():
            said = _forward([w[ended] for w in weights], x[owner[ended][:, None], test[ended]])[-1] > 0
            found[alive[ended]] = (said == (label[test[ended]] > 0)).float().mean(dim=1)
            on = ~ended
            weights, moments = [w[on] for w in weights], [[m[on] for m in part] for part in moments]
            alive, owner, train, test, best, waited = (part[on] for part in (alive, owner, train, test, best, waited))
            if not len(alive):
                break
    return found


def _first_weights(g: int, d: int, generator: torch.Generator) -> list[Tensor]:
    """Return weights and offsets of three layers of g networks, uniform within Glorot's bounds."""
    made = []
    widths = (d, 10 * d, 10 * d, 1)
    for into, out in pairwise(widths):
        bound = ((6.0 if out > 1 else 2.0) / (into + out)) ** 0.5  # of rectified, and of logistic units
        for shape in ((g, into, out), (g, 1, out)):
            made.append((2 * torch.rand(shape, generator=generator, device=generator.device) - 1) * bound)
    return made


def _forward(weights: list[Tensor], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return both hidden layers, (g, row, 10 d), and the log odds, (g, row), of (g, row, d)."""
    first = torch.baddbmm(weights[1], x, weights[0]).relu_()
    second = torch.baddbmm(weights[3], first, weights[2]).relu_()
    return first, second, torch.baddbmm(weights[5], second, weights[4])[..., 0]


def _gradients(weights: list[Tensor], x: Tensor, label: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return the gradients of the penalised loss, and (g,) the loss."""
    rows = x.shape[1]
    first, second, odds = _forward(weights, x)
    lost = torch.nn.functional.binary_cross_entropy_with_logits(odds, label, reduction="none").mean(dim=1)
    penalty = sum((w**2).sum(dim=(1, 2)) for w in weights[::2])
    back = ((odds.sigmoid() - label) / rows)[..., None]
    found = []
    for below, weight, is_hidden in ((second, weights[4], True), (first, weights[2], True), (x, weights[0], False)):
        found += [back.sum(dim=1, keepdim=True), torch.baddbmm(weight, below.transpose(1, 2), back, beta=DECAY / rows)]
        if is_hidden:
            back = torch.bmm(back, weight.transpose(1, 2)) * (below > 0)
    return found[::-1], lost + 0.5 * DECAY / rows * penalty
