"""Scores that several benchmarks give."""

from __future__ import annotations

import numpy as np


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Return the chance that an unknown spectrum scores higher than a known one; of equal scores each counts half."""
    order = np.sort(known)
    below, upto = (np.searchsorted(order, unknown, side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / len(known))


def auroc_with_error(known: np.ndarray, unknown: np.ndarray, times: int = 400) -> tuple[float, float]:
    """Return it, and its scatter when both are drawn again with repetition."""
    rng = np.random.default_rng(1)
    again = [auroc(rng.choice(known, len(known)), rng.choice(unknown, len(unknown))) for _ in range(times)]
    return auroc(known, unknown), float(np.std(again))
