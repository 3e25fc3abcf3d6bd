"""Posteriors by ratios of single parameters and of pairs of them, without any of all parameters together.

Everything happens in probabilities of the prior: cells of a grid hold equal parts of it, so the weight of a cell is the ratio there. A
pair's posterior is seen in probabilities of its two parameters' own posteriors, where nothing is left of it but how they hang together (its
copula), however narrow it is. Draws of all parameters hang together along a tree: the pairs that tell most of each other are as they
were learnt, and others follow from them.

References:
    Miller et al. (2021), arXiv:2107.01214; Sklar (1959), Publ. Inst. Stat. Univ. Paris 8, 229 (copulas); Chow & Liu (1968), IEEE Trans.
    Inf. Theory 14, 462 (trees); Sinkhorn (1964), Ann. Math. Stat. 35, 876 (margins).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.special import logsumexp

from ....networks.ratio import RatioNetwork
from ..data import whole
from ..estimator import LEVELS, Drawn, Moments
from ..rows import RowRandom
from ..scaling import DataScaling, ParameterScaling

CELLS = 1024
"""Of equal prior probability, of each parameter."""
PLACES = 32
"""Cells of equal posterior probability of either parameter of a pair."""
BALANCED = 30
"""Times that a copula's rows and columns are brought to equal sums."""
LEAST = 1e-12
"""Of the weights on a copula's grid, beside the largest."""
BLOCK = 256
"""Observations at a time."""
Edge = tuple[int, int, int]
"""Of a tree: parent and child, and the pair's number."""


@dataclass(frozen=True, eq=False)
class Marginals:
    """The posteriors of m observations, all marginals of one and some of two parameters.

    Attributes:
        weights: (m, p, cell) probabilities of the grid's cells.
        below: (m, p, cell + 1) probabilities below the cells' edges.
        copulas: (m, pair, place, place) densities in the probabilities of either parameter.
        trees: of each observation, the edges along which parameters hang together, parents first.
    """

    weights: np.ndarray
    below: np.ndarray
    copulas: np.ndarray
    trees: tuple[tuple[Edge, ...], ...]


class MarginalRatio:
    """Posteriors by a network that gives the ratios of each parameter's, and of some pairs', likelihood to the evidence.

    Args:
        network: whose subsets are all single parameters and pairs.
        parameters, data: scales on which it sees them.
        device: where it runs.
    """

    def __init__(self, network: RatioNetwork, parameters: ParameterScaling, data: DataScaling, device: Literal["cpu", "cuda"]) -> None:
        network = network.to(device).eval()
        self._parameters, self._data, self._device = parameters, data, device
        self.prior = parameters.prior
        chosen = [k for k, subset in enumerate(network.subsets) if len(subset) == 2]
        self.pairs = [(network.subsets[k][0], network.subsets[k][1]) for k in chosen]
        self._single = network.only([network.subsets.index([k]) for k in range(len(self.prior))])
        self._paired = network.only(chosen) if chosen else None
        self._edges = np.linspace(0.0, 1.0, CELLS + 1)
        middles = (self._edges[1:] + self._edges[:-1]) / 2
        self._grid = self.prior.quantile(np.repeat(middles[:, None], len(self.prior), axis=1))

    def posterior(self, x: np.ndarray, draws: int, rng: np.random.Generator, first: int = 0) -> Drawn:
        """Return draws given (m, …) observations, and what the grid says itself; none depends on how many observations there are."""
        seed, (m, p) = int(rng.integers(2**62)), (len(x), len(self.prior))
        theta, log = np.full((m, draws, p), np.nan), np.full((m, draws), np.nan)
        moments = Moments(np.full((m, p, len(LEVELS)), np.nan), np.full((m, p), np.nan), np.full((m, p), np.nan))
        known, everything = np.flatnonzero(whole(x, sets=False)), np.ones(p, bool)
        for start in range(0, len(known), BLOCK):
            some = known[start : start + BLOCK]
            found = self.marginals(x[some])
            moments.quantiles[some], moments.mean[some], moments.std[some] = self._moments(found)
            for row, k in enumerate(some):
                even = RowRandom(seed, first + int(k), first + int(k) + 1).uniform(draws, p)[0]
                places = _hanging_together(even, found.trees[row], found.copulas[row])
                cells = np.stack([np.interp(places[:, q], found.below[row, q], self._edges) for q in range(p)], axis=1)
                theta[k] = self.prior.quantile(cells)
                log[k] = self._log_density(found, row, self.prior.probability(theta[k]), everything) + self.prior.log_density(theta[k])
        accepted = np.where(np.isfinite(moments.mean).all(axis=1), 1.0, np.nan)
        return Drawn(theta, log, accepted, np.full(m, np.nan), np.zeros(m), moments)

    def sample(self, x: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        """Return (m, draws, p) draws alone."""
        return self.posterior(x, draws, rng).theta

    def log_prob(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return (m, k) log densities of (m, k, p) parameters given (m, …) observations."""
        return self.log_prob_of(np.ones((len(x), len(self.prior)), bool), theta, x)

    def log_prob_of(self, part: np.ndarray, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return (m, k) log densities of those parameters that are in (m, p) parts."""
        log, cells = np.empty(theta.shape[:2]), self.prior.probability(theta)
        prior = np.stack([one.log_density(theta[..., q]) for q, one in enumerate(self.prior.marginals)], axis=-1)
        for first in range(0, len(x), BLOCK):
            found = self.marginals(x[first : first + BLOCK])
            for row, k in enumerate(range(first, min(first + BLOCK, len(x)))):
                log[k] = self._log_density(found, row, cells[k], part[k])
        return np.asarray(log + np.where(part[:, None], prior, 0.0).sum(axis=2))

    def parts(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return (m, p) bool: for each of (m, …) observations a pair of its tree, at random; a single parameter where there is none."""
        found, chance = np.zeros((len(x), len(self.prior)), bool), rng.random(len(x))
        trees = [tree for first in range(0, len(x), BLOCK) for tree in self.marginals(x[first : first + BLOCK]).trees]
        for k, edges in enumerate(trees):
            sets: list[tuple[int, ...]] = [(parent, child) for parent, child, _ in edges] or [(q,) for q in range(len(self.prior))]
            found[k, list(sets[int(chance[k] * len(sets))])] = True
        return found

    def log_ratios(self, x: np.ndarray) -> np.ndarray:
        """Return (m, p, cell) log ratios of the mixture of all members, of each parameter in the middle of each cell."""
        return self._log_ratios(self._single, x, [self._seen(self._grid)[None]] * len(x))

    def marginals(self, x: np.ndarray) -> Marginals:
        """Return the posteriors of (m, …) observations without missing values."""
        log = self.log_ratios(x)
        weights = np.exp(log - logsumexp(log, axis=2, keepdims=True))
        below = np.concatenate([np.zeros((*weights.shape[:2], 1)), np.cumsum(weights, axis=2)], axis=2)
        below /= below[..., -1:]
        copulas = self._copulas(x, below)
        information = (copulas * np.log(np.maximum(copulas, LEAST))).mean(axis=(2, 3))
        trees = tuple(tree(self.pairs, told, len(self.prior)) for told in information)
        return Marginals(weights, below, copulas, trees)

    def _copulas(self, x: np.ndarray, below: np.ndarray) -> np.ndarray:
        """Return (m, pair, place, place) copulas, by ratios on a grid that has equal parts of either parameter's posterior."""
        if self._paired is None:
            return np.empty((len(x), 0, PLACES, PLACES))
        middles = (np.arange(PLACES) + 0.5) / PLACES
        first, second = np.divmod(np.arange(PLACES**2), PLACES)
        asked = []
        for row in range(len(x)):
            cells = np.stack([np.interp(middles, one, self._edges) for one in below[row]], axis=1)
            seen = self._seen(self.prior.quantile(cells))
            # Of each pair, every place of the one parameter with every place of the other; what it does not see may be anything.
            each = torch.zeros(len(self.pairs), len(self.prior), PLACES**2, device=self._device)
            for k, (i, j) in enumerate(self.pairs):
                each[k, i], each[k, j] = seen[i, first], seen[j, second]
            asked.append(each.repeat_interleave(self._paired.members, dim=0))
        log = self._log_ratios(self._paired, x, asked)
        weights = np.exp(np.maximum(log - log.max(axis=2, keepdims=True), np.log(LEAST)))
        return balanced(weights.reshape(*weights.shape[:2], PLACES, PLACES))

    @torch.no_grad()
    def _log_ratios(self, network: RatioNetwork, x: np.ndarray, theta: Sequence[torch.Tensor]) -> np.ndarray:
        """Return (m, subset, row) log ratios, each the mean of all members' ratios, of an observation and its own rows of parameters."""
        data = torch.from_numpy(np.ascontiguousarray(self._data(x.reshape(len(x), -1)).T))[None].to(self._device)
        subsets = len(network.subsets)
        found = np.empty((len(x), subsets, CELLS if network is self._single else PLACES**2))
        for row, asked in enumerate(theta):
            members = network(data[..., row : row + 1], asked).double().unflatten(0, (subsets, -1))
            found[row] = (torch.logsumexp(members, dim=1) - np.log(members.shape[1])).cpu().numpy()
        return found

    def _seen(self, theta: np.ndarray) -> torch.Tensor:
        """Return (p, row) of (row, p) parameters as the network sees them."""
        return torch.from_numpy(np.ascontiguousarray(self._parameters.to_flow(theta).T, np.float32)).to(self._device)

    def _moments(self, found: Marginals) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (m, p, level) quantiles, (m, p) means and standard deviations."""
        cells = np.array([[np.interp(LEVELS, below, self._edges) for below in one] for one in found.below])
        mean = (found.weights * self._grid.T).sum(axis=2)
        std = np.sqrt((found.weights * (self._grid.T - mean[..., None]) ** 2).sum(axis=2))
        return self.prior.quantile(cells.swapaxes(1, 2)).swapaxes(1, 2), mean, std

    def _log_density(self, found: Marginals, row: int, cells: np.ndarray, part: np.ndarray) -> np.ndarray:
        """Return (k,) log densities, beside the prior's, of the parameters in a (p,) part at (k, p) probabilities of the prior."""
        p = cells.shape[1]
        at = np.minimum((cells * CELLS).astype(np.int64), CELLS - 1)
        with np.errstate(divide="ignore"):
            log = np.log(CELLS * found.weights[row][np.arange(p), at])[:, part].sum(axis=1)
        places = np.stack([np.interp(cells[:, q], self._edges, found.below[row, q]) for q in range(p)], axis=1)
        place = np.minimum((places * PLACES).astype(np.int64), PLACES - 1)
        for parent, child, pair in found.trees[row]:
            if part[parent] and part[child]:
                log += np.log(_turned(found.copulas[row, pair], parent > child)[place[:, parent], place[:, child]])
        return np.asarray(log)


def balanced(weights: np.ndarray) -> np.ndarray:
    """Return (…, n, n) positive weights as densities whose rows and columns all have the mean one."""
    for _ in range(BALANCED):
        weights = weights / weights.mean(axis=-1, keepdims=True)
        weights = weights / weights.mean(axis=-2, keepdims=True)
    return np.asarray(weights)


def tree(pairs: Sequence[tuple[int, int]], information: np.ndarray, parameters: int) -> tuple[Edge, ...]:
    """Return the edges of the tree, or trees, whose pairs tell most of each other.

    Args:
        pairs: that there are, the lower number first.
        information: (pair,) mutual information.
        parameters: how many there are.
    """
    joined, edges = {0}, list[Edge]()
    while len(joined) < parameters:
        crossing = [(information[k], -k) for k, (i, j) in enumerate(pairs) if (i in joined) != (j in joined)]
        if not crossing:
            joined.add(min(set(range(parameters)) - joined))
            continue
        number = -max(crossing)[1]
        i, j = pairs[number]
        edges.append((i, j, number) if i in joined else (j, i, number))
        joined |= {i, j}
    return tuple(edges)


def _turned(copula: np.ndarray, back: bool) -> np.ndarray:
    return copula.T if back else copula


def _hanging_together(even: np.ndarray, edges: Sequence[Edge], copulas: np.ndarray) -> np.ndarray:
    """Return (draw, p) even numbers that hang together along a tree, made of independent ones."""
    places = even.copy()
    for parent, child, pair in edges:
        row = np.minimum((places[:, parent] * PLACES).astype(np.int64), PLACES - 1)
        below = np.cumsum(_turned(copulas[pair], parent > child), axis=1) / PLACES
        below /= below[:, -1:]
        # In which cell of its row a number falls, and how far into it.
        cell = np.minimum((below[row] <= even[:, child, None]).sum(axis=1), PLACES - 1)
        high = below[row, cell]
        low = np.where(cell > 0, below[row, np.maximum(cell - 1, 0)], 0.0)
        places[:, child] = np.clip((cell + (even[:, child] - low) / (high - low)) / PLACES, 0.0, np.nextafter(1.0, 0.0))
    return places
