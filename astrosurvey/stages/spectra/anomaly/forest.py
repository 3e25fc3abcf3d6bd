"""An isolation forest: the baseline for how rare a latent vector is.

A tree splits a random sample of the known at random values of random features until each is alone. What is unlike them is alone
after few splits.

References:
    Liu, Ting & Zhou (2008), ICDM, 413.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TREES, SAMPLE = 200, 256
_EULER = 0.5772156649015329


@dataclass(frozen=True)
class Forest:
    """Trees as arrays: node k has the children 2k + 1 and 2k + 2.

    Attributes:
        feature: (tree, node) int16 that a node splits; -1 in a leaf.
        value: (tree, node) float32 at which it splits; in a leaf, the expected number of splits from the root.
    """

    feature: np.ndarray
    value: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return (n,) the isolation score of vectors (n, features): 0.5 for the usual, towards 1 for the strange."""
        x = np.asarray(x, np.float32)
        depth = np.zeros(len(x))
        rows = np.arange(len(x))
        for feature, value in zip(self.feature, self.value, strict=True):
            node = np.zeros(len(x), np.int64)
            while (inner := feature[node] >= 0).any():
                right = x[rows, feature[node]] >= value[node]
                node = np.where(inner, 2 * node + 1 + right, node)
            depth += value[node]
        return np.exp2(-depth / len(self.feature) / expected(SAMPLE))


def expected(n: int) -> float:
    """Return the expected number of splits until one of n is alone."""
    return 2.0 * (np.log(n - 1) + _EULER) - 2.0 * (n - 1) / n if n > 2 else float(n == 2)


def grow(x: np.ndarray, seed: int) -> Forest:
    """Return a forest grown on vectors (n, features)."""
    rng = np.random.default_rng(seed)
    levels = int(np.log2(SAMPLE))
    feature = np.full((TREES, 2 ** (levels + 1) - 1), -1, np.int16)
    value = np.zeros(feature.shape, np.float32)
    for tree in range(TREES):
        parts = {0: rng.choice(len(x), min(SAMPLE, len(x)), replace=False)}
        for node in range(feature.shape[1]):
            if node not in parts:
                continue
            here = x[parts[node]]
            depth = int(np.log2(node + 1))
            value[tree, node] = depth + expected(len(here))
            if depth == levels or len(here) < 2:
                continue
            low, high = here.min(axis=0), here.max(axis=0)
            split = int(rng.choice(here.shape[1]))
            cut = np.float32(rng.uniform(low[split], high[split]))
            right = here[:, split] >= cut
            if right.all():
                continue
            feature[tree, node], value[tree, node] = split, cut
            parts[2 * node + 1], parts[2 * node + 2] = parts[node][~right], parts[node][right]
    return Forest(feature, value)
