"""What answers for posteriors: draws and log densities for many observations at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch

from ...networks.conditional_flow import FlowEnsemble
from ...networks.perceptron import TOGETHER
from .data import whole
from .priors import Prior
from .rows import RandomOfRows
from .scaling import DataScaling, ParameterScaling

BLOCK = 1 << 12
"""Draws, of all members, that are made or weighed at a time: what they leave between layers fits a processor's cache."""
LEVELS = (0.05, 0.16, 0.5, 0.84, 0.95)
"""Of the quantiles that posteriors are told by."""
ROUNDS = 8
"""Times that draws beyond the prior are drawn again before they are given up."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Posteriors of single parameters in a few numbers, of m observations.

    Attributes:
        quantiles: (m, p, level) at `LEVELS`.
        mean, std: (m, p).
    """

    quantiles: np.ndarray
    mean: np.ndarray
    std: np.ndarray


@dataclass(frozen=True, eq=False)
class Importance:
    """What weights by importance say of the draws of m posteriors, which were drawn anew by them.

    Attributes:
        effective: (m,) effective number of independent draws; 0 where no draw explains the data.
        tail: (m,) Pareto's k of the largest weights; beyond `pareto.LIMIT` they are too heavy for the other numbers to be trusted.
        log_likelihood: (m, draw) of the draws.
    """

    effective: np.ndarray
    tail: np.ndarray
    log_likelihood: np.ndarray


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws from the posteriors of m observations.

    Attributes:
        theta: (m, draw, p); NaN where the prior left fewer, which come last, and for an observation with a missing value.
        log_density: (m, draw) of these, roughly and up to a constant for each observation: it tells which draws are probable.
        acceptance: (m,) fraction of the draws that the prior allowed, or of the moves that were accepted.
        log_evidence: (m,) log of the probability of the data; NaN where the method does not know it.
        log_scale: (m,) log of what the densities that `Estimator.log_prob` gives integrate to.
        moments: of the posteriors themselves, by methods that know them without draws.
        importance: of draws that a likelihood has corrected.
    """

    theta: np.ndarray
    log_density: np.ndarray
    acceptance: np.ndarray
    log_evidence: np.ndarray
    log_scale: np.ndarray
    moments: Moments | None = None
    importance: Importance | None = None


class Estimator(Protocol):
    """A trained estimator of posteriors."""

    prior: Prior

    def posterior(self, x: np.ndarray, draws: int, rng: np.random.Generator, first: int = 0) -> Drawn:
        """Return draws given (m, …) observations.

        Observations are asked about in blocks, with a generator of the same state for each. `first` is the number of a block's first
        observation: random numbers are told apart by the observation's number (`RowRandom`), so that no answer depends on the blocks.
        """
        ...

    def sample(self, x: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        """Return (m, draws, p) draws alone."""
        ...

    def log_prob(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return (m, k) log densities of (m, k, p) parameters given (m, …) observations, up to a constant for each."""
        ...


class PosteriorFlow:
    """Posteriors by a flow over parameters given data.

    Args:
        network: of parameters, given data.
        parameters, data: scales on which it sees them.
        device: where it runs.
    """

    def __init__(self, network: FlowEnsemble, parameters: ParameterScaling, data: DataScaling, device: Literal["cpu", "cuda"]) -> None:
        self._network, self._parameters, self._data, self._device = network.to(device).eval(), parameters, data, device
        self.prior = parameters.prior

    def posterior(self, x: np.ndarray, draws: int, rng: np.random.Generator, first: int = 0) -> Drawn:
        """Return draws given (m, …) observations; none depends on how many observations there are.

        Draws beyond the prior are drawn again, `ROUNDS` times at most.
        """
        seed = int(rng.integers(2**62))
        theta, log_density = np.full((len(x), draws, len(self.prior)), np.nan), np.full((len(x), draws), np.nan)
        accepted, asked = np.zeros(len(x)), np.zeros(len(x))
        rows = np.flatnonzero(whole(x, sets=False))
        number = np.full(len(rows), draws)
        for again in range(ROUNDS):
            for count in np.unique(number):
                alike = rows[number == count]
                step = max(1, BLOCK // int(count))
                step -= step % TOGETHER if step > TOGETHER else 0  # whole blocks need no filling up
                for start in range(0, len(alike), step):
                    some = alike[start : start + step]
                    found, log = self._draw(x[some], some + first, int(count), seed + again)
                    inside = self.prior.inside(found)
                    accepted[some] += inside.sum(axis=1)
                    asked[some] += count
                    theta[some], log_density[some] = _filled(theta[some], log_density[some], found, log, inside)
            missing = np.isnan(log_density[rows]).sum(axis=1)
            rows, missing = rows[missing > 0], missing[missing > 0]
            # Somewhat more than a row's acceptance says are needed; in powers of two, so that many rows are drawn together.
            needed = np.log2(1.5 * missing / np.maximum(accepted[rows] / asked[rows], 1e-3))
            number = np.minimum(2 ** np.ceil(np.clip(needed, 3, 40)).astype(np.int64), draws)
        with np.errstate(invalid="ignore", divide="ignore"):
            acceptance = accepted / asked
            return Drawn(theta, log_density, acceptance, np.full(len(x), np.nan), np.log(acceptance))

    def sample(self, x: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        """Return (m, draws, p) draws alone."""
        return self.posterior(x, draws, rng).theta

    @torch.no_grad()
    def log_prob(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return (m, k) log densities of the mixture of all members at (m, k, p) parameters given (m, …) observations."""
        m, k, p = theta.shape
        z = torch.from_numpy(self._parameters.to_flow(theta).astype(np.float32)).to(self._device)
        context = self._context(x)
        log = np.empty((m, k))
        step = max(1, BLOCK // (k * self._network.members))
        for first in range(0, m, step):
            here = slice(first, first + step)
            members = self._network(z[here].permute(2, 0, 1).reshape(1, p, -1), context[..., here])
            mixture = torch.logsumexp(members.double(), dim=0) - np.log(len(members))
            log[here] = mixture.reshape(-1, k).cpu().numpy()
        return np.where(self.prior.inside(theta), log + self._parameters.log_slope(theta), -np.inf)

    def _draw(self, x: np.ndarray, rows: np.ndarray, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (n, draws, p) draws, in turn by each member, and (n, draws) their log densities by that member."""
        members, p, n = self._network.members, len(self.prior), len(rows)
        each = -(-draws // members)
        noise = RandomOfRows(seed, rows).normal(each, members, p).transpose(2, 3, 0, 1)
        seen = torch.from_numpy(np.ascontiguousarray(noise, np.float32).reshape(members, p, n * each)).to(self._device)
        z, log = self._network.sample(seen, self._context(x))
        found = z.cpu().numpy().reshape(members, p, n, each).transpose(2, 3, 0, 1).reshape(n, each * members, p)
        density = log.cpu().numpy().reshape(members, n, each).transpose(1, 2, 0).reshape(n, each * members)
        # The first draws are another member's for each observation, so that few draws too are the mixture's.
        turn = (np.arange(members)[None] + rows[:, None]) % members
        place = (np.arange(each)[None, :, None] * members + turn[:, None]).reshape(n, -1)[:, :draws]
        theta = self._parameters.from_flow(np.take_along_axis(found, place[..., None], 1))
        return theta, np.take_along_axis(density, place, 1) + self._parameters.log_slope(theta)

    def _context(self, x: np.ndarray) -> torch.Tensor:
        scaled = self._data(x.reshape(len(x), -1))
        return torch.from_numpy(np.ascontiguousarray(scaled.T)[None]).to(self._device)


def _filled(
    theta: np.ndarray, log: np.ndarray, found: np.ndarray, found_log: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (m, draw, p) draws and (m, draw) logs with what is missing of them filled by new ones that are inside, in their order."""
    if inside.all() and np.isnan(log).all() and found.shape == theta.shape:
        return found, found_log
    order = np.argsort(~inside, axis=1, kind="stable")
    missing = np.isnan(log)
    nth = np.cumsum(missing, axis=1) - 1
    filled = missing & (nth < inside.sum(axis=1, keepdims=True))
    chosen = np.take_along_axis(order, np.clip(nth, 0, order.shape[1] - 1), axis=1)
    fresh, fresh_log = np.take_along_axis(found, chosen[..., None], axis=1), np.take_along_axis(found_log, chosen, axis=1)
    return np.where(filled[..., None], fresh, theta), np.where(filled, fresh_log, log)
