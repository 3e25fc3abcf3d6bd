"""evaluate.clustering: clusters against what is known of their sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ....core.product import Tiles, optional
from ....core.stage import Context, DataError, Stage, StageConfig
from ....products import Catalog, Metrics
from ....products.metrics import Metric

if TYPE_CHECKING:
    from .gather import Found, Known

MOST_LABELS = 38
"""Structures up to which the confusion matrix can be looked at."""


class EvaluateClustering(Stage):
    """Measure how well clusters agree with the structures that are known to be there.

    Adjusted Rand index, structures recovered, purity and completeness of each one's best cluster, false clusters, and whether
    membership probabilities mean what they say. The truth is a simulation's, a column of the sources that names each one's structure, or
    the clusters of another method, taken for it.

    References: Hubert & Arabie (1985), J. Classification 2, 193; Jaccard (1912), New Phytologist 11, 37;
    Naeini, Cooper & Hauskrecht (2015), AAAI, 2901.
    """

    name, version, scope = "evaluate.clustering", 1, "survey"
    inputs = {
        "points": Tiles.of(Catalog.of("cluster_point")),
        "members": Tiles.of(Catalog.of("cluster_member")),
        "truth": optional(Tiles.of(Catalog.of("cluster_truth"))),
        "sources": optional(Tiles.of(Catalog.of("source"))),
        "reference": optional(Tiles.of(Catalog.of("cluster_point"))),
    }
    outputs = {"metrics": Metrics}

    class Config(StageConfig):
        """Settings of `evaluate.clustering`."""

        label: str | None = Field(
            None, description="column of `sources` that names the true structure of each; empty, field or background is none"
        )
        min_ari: float | None = Field(None, ge=-1, le=1, description="bar on the adjusted Rand index over all sources")
        min_recovered: float | None = Field(None, ge=0, le=1, description="bar on the fraction of structures recovered")
        max_false: int | None = Field(None, ge=0, description="bar on the number of clusters that are mostly background")
        max_ece: float | None = Field(None, ge=0, le=1, description="bar on the expected calibration error of membership")

    def run(
        self,
        ctx: Context,
        *,
        points: Tiles[Catalog],
        members: Tiles[Catalog],
        truth: Tiles[Catalog] | None,
        sources: Tiles[Catalog] | None,
        reference: Tiles[Catalog] | None,
    ) -> Mapping[str, Any]:
        """Return the metrics, what was found of each structure as a curve, and a confusion matrix in `meta`."""
        from . import gather

        if truth is not None and self.config.label is None:
            known = gather.simulated(truth)
        elif sources is not None and self.config.label is not None:
            known = gather.labelled(sources, self.config.label)
        elif reference is not None and self.config.label is None:
            known = gather.clustered(reference)
        else:
            raise DataError(
                "there is no truth: wire `truth`, or wire `sources` and name a column of theirs in `label`, or wire the `points` of "
                "another method to `reference`"
            )
        if not known.names:
            ctx.log.warning("no source is known to belong to a structure: every cluster is a false one")
        return {"metrics": self._metrics(known, gather.found(points, members, known))}

    def _metrics(self, known: Known, found: Found) -> Metrics:
        from . import scores

        config = self.config
        matches = scores.match(known.labels, found.groups)
        everything, of_members = scores.adjusted_rand(known.labels, found.labels)
        clusters = [group for group in found.groups if len(group)]
        values = [
            Metric("n_structures", len(known.names), description="true structures"),
            Metric("n_clusters", len(clusters), description="clusters with a source of which the truth is known"),
            Metric("ari", everything, bar=config.min_ari, description="adjusted Rand index over all sources, the background being a class"),
            Metric("ari.members", of_members, description="the same over members of structures alone"),
            *self._recovered(known, matches),
            Metric("jaccard", _mean(matches.jaccard), description="mean over structures of the Jaccard index with the best cluster"),
            Metric("purity", _mean(matches.purity), description="mean over structures of the part of the best cluster that is theirs"),
            Metric("completeness", _mean(matches.completeness), description="mean over structures of their part in the best cluster"),
            Metric(
                "false_clusters",
                int(matches.false[[len(group) > 0 for group in found.groups]].sum()),
                bar=config.max_false,
                better="lower",
                description="clusters with more background than members of structures",
            ),
        ]
        curves = {"agreement by structure": _by_structure(matches)} if known.names else {}
        if any(np.isfinite(stated).any() for stated in found.probability):
            reliable = scores.reliability(known.labels, found.groups, found.probability, matches)
            values += [
                Metric(
                    "membership_ece",
                    reliable.ece,
                    bar=config.max_ece,
                    better="lower",
                    description="expected calibration error of membership, in clusters whose structure is recovered",
                ),
                Metric(
                    "membership_worst",
                    reliable.worst,
                    better="lower",
                    description=f"greatest error in a bin of membership with {scores.FEW} members or more",
                ),
            ]
            if reliable.curve["n"]:
                curves["membership by probability"] = reliable.curve
        meta: dict[str, Any] = {"sources": len(known.ids), "structures": list(known.names)}
        if 0 < len(known.names) <= MOST_LABELS:
            meta["confusion"] = {"structures": scores.confusion(known.names, known.labels, found.labels, matches)}
        return Metrics(tuple(values), curves, meta)

    def _recovered(self, known: Known, matches: Any) -> list[Metric]:
        from ..scores import fraction_metric

        values = [
            fraction_metric("recovered", matches.recovered, self.config.min_recovered, "structures with a Jaccard index above a half")
        ]
        for kind in sorted({kind for kind in known.kinds if kind}):
            here = np.array([other == kind for other in known.kinds])
            values.append(fraction_metric(f"recovered.{kind}", matches.recovered[here], None, f"of the structures that are a {kind}"))
        return values


def _mean(values: np.ndarray) -> float:
    """Return the mean of those that are numbers; NaN of none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _by_structure(matches: Any) -> dict[str, list[float | None]]:
    """Return a column of numbers for each measure, a row for each structure."""
    columns = {
        "structure": np.arange(1, len(matches.size) + 1),
        "jaccard": matches.jaccard,
        "purity": matches.purity,
        "completeness": matches.completeness,
        "n": matches.size,
    }
    return {name: [float(v) if np.isfinite(v) else None for v in values] for name, values in columns.items()}
