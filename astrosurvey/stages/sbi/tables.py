"""Posteriors as rows of the tables `posterior` and `posterior_sample`."""

from __future__ import annotations

import numpy as np

from ...catalog.ids import object_ids
from ...products import Catalog, Observations
from .estimator import LEVELS, Drawn
from .model import Opened
from .summary import Summary

KEYS = {"source": "source_id", "spectrum": "spectrum_id", "tile": "tile_id"}
"""By what an observation is about, the column that names it."""


def rows(
    opened: Opened, digest: str, observations: Observations, summary: Summary, ood: np.ndarray, ood_p: np.ndarray, tile: int
) -> Catalog:
    """Return a row for each observation.

    Args:
        opened: the model.
        digest: of its weights.
        observations: what the posteriors are about.
        summary: the posteriors.
        ood, ood_p: (m,) score and p-value of the data among the simulations; NaN where nobody has asked.
        tile: number of the tile.
    """
    m, prior = len(observations), opened.estimator.prior
    about = {KEYS[observations.about]: observations.ids} if observations.about else {}
    error, weighed = opened.calibration.error, {}
    if summary.effective is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            # Draws that the prior rejected had no weight, and count as proposals.
            scatter = np.sqrt(1 / summary.effective - summary.acceptance / summary.number)
        weighed = {
            "n_effective": summary.effective,
            "pareto_k": summary.tail,
            "log_evidence_err": np.where(np.isfinite(summary.log_evidence), scatter, np.nan),
        }
    return Catalog.from_columns(
        "posterior",
        {
            "posterior_id": object_ids(tile, m),
            **about,
            "model": opened.simulator or "simulations",
            "method": opened.method,
            "parameter_names": ",".join(prior.names),
            "parameter_units": ",".join(prior.units),
            "quantile_levels": np.tile(np.array(LEVELS, np.float32), (m, 1)),
            "quantiles": summary.quantiles.reshape(m, -1),
            "mean": summary.mean,
            "std": summary.std,
            "map": summary.best,
            "log_density": summary.log_density,
            "n_draw": summary.number,
            "acceptance": summary.acceptance,
            **({"log_evidence": summary.log_evidence} if np.isfinite(summary.log_evidence).any() else {}),
            **weighed,
            **({"calibration_error": error} if np.isfinite(error) else {}),
            **({"ood_score": ood, "ood_p": ood_p} if np.isfinite(ood).any() else {}),
            "model_digest": digest,
            "flags": summary.flags,
        },
    )


def sample_rows(drawn: Drawn, tile: int, first: int, kept: int) -> Catalog:
    """Return a row for each of the first `kept` draws of each posterior, of those that there are; `first` is the first one's number."""
    m, _, p = drawn.theta.shape
    theta = drawn.theta[:, :kept]
    there = np.isfinite(theta).all(axis=2)
    weighed = {} if drawn.importance is None else {"log_likelihood": drawn.importance.log_likelihood[:, :kept][there]}
    return Catalog.from_columns(
        "posterior_sample",
        {
            "posterior_id": np.repeat(object_ids(tile, first + m)[first:], there.sum(axis=1)),
            "draw": np.broadcast_to(np.arange(theta.shape[1], dtype=np.int32), there.shape)[there],
            "parameters": theta[there].reshape(-1, p),
            **weighed,
        },
    )
