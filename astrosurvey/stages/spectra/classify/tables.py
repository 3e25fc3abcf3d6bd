"""What the networks say, as rows of the tables `classification` and `redshift`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from ....catalog.flags import CLASSIFICATION
from ....products import Catalog
from ..classes import COARSE, FINE
from .posterior import KINDS, PEAKS
from .predict import Predictions

METHOD = "spectra.classify"
LEAST = 1e-4
"""Peaks with less of the posterior are left out, unless they are the highest."""
DOUBTFUL = 2 / 3
FEW = 0.5
COMMON = 0.99
"""Part of the known spectra kept back whose out-of-distribution score is below 1."""


def classes(found: Predictions, ids: np.ndarray, name: str, distances: Sequence[float], digest: str) -> Catalog:
    """Return rows of `classification`: of each spectrum, first those of the coarse classes, then those of the fine ones.

    Args:
        found: of the spectra.
        ids: (n,) of the spectra.
        name: of the classifier; `/coarse` and `/fine` are added.
        distances: quantiles, evenly from 0 to 1, of the distances of known spectra.
        digest: of the model's weights.
    """
    n, size = len(ids), len(COARSE) + len(FINE)
    nothing = found.coverage == 0
    probability = np.concatenate([found.coarse, found.fine], axis=1)
    probability[nothing] = 0
    probability[nothing, COARSE.index("unknown")] = 1
    error = np.concatenate([found.coarse_err, found.fine_err], axis=1)
    error[nothing] = np.nan
    score = np.where(nothing, np.nan, strangeness(found.distance, distances))
    label = pa.array([*COARSE, *FINE]).take(pa.array(np.tile(np.arange(size), n)))
    classifier = pa.array([f"{name}/coarse", f"{name}/fine"]).take(pa.array(np.tile(np.arange(size) >= len(COARSE), n).astype(np.int64)))
    return Catalog.from_columns(
        "classification",
        {
            "object_table": "spectrum",
            "object_id": np.repeat(ids, size),
            "classifier": classifier,
            "label": label,
            "probability": np.clip(probability, 0, 1).ravel(),
            "probability_err": error.ravel(),
            "ood_score": np.repeat(score, size),
            "model_digest": digest,
            "flags": np.repeat(flags(found, score), size),
        },
    )


def strangeness(distance: np.ndarray, distances: Sequence[float]) -> np.ndarray:
    """Return the out-of-distribution score: distances in units of that which one in a hundred known spectra exceeds."""
    unit = float(np.interp(COMMON, np.linspace(0, 1, len(distances)), distances))
    return np.asarray(distance, float) / max(unit, 1e-12)


def flags(found: Predictions, score: np.ndarray) -> np.ndarray:
    """Return (n,) CLASSIFICATION bits."""
    bits = np.zeros(len(score), np.int64)
    bits |= np.where(found.coverage == 0, CLASSIFICATION["NO_DATA"], 0)
    bits |= np.where((found.coverage > 0) & (found.coverage < FEW), CLASSIFICATION["FEW_DATA"], 0)
    bits |= np.where(score > 1, CLASSIFICATION["OUTSIDE_TRAINING"], 0)
    bits |= np.where((found.coverage > 0) & (found.coarse.max(axis=1, initial=0) < DOUBTFUL), CLASSIFICATION["DOUBTFUL"], 0)
    return bits


def redshifts(found: Predictions, ids: np.ndarray) -> Catalog:
    """Return rows of `redshift`: up to five of each spectrum, those of one without data left out."""
    rank = np.broadcast_to(np.arange(PEAKS), found.z.shape)
    kept = (found.coverage > 0)[:, None] & ((found.z_probability >= LEAST) | (rank == 0))
    columns: Mapping[str, object] = {
        "spectrum_id": np.broadcast_to(ids[:, None], kept.shape)[kept],
        "rank": rank[kept],
        "z": found.z[kept],
        "z_err": found.z_err[kept],
        "probability": found.z_probability[kept],
        "spectral_class": pa.array(KINDS).take(pa.array(found.z_class[kept])),
        "method": METHOD,
        "z_warning": 0,
    }
    return Catalog.from_columns("redshift", columns)
