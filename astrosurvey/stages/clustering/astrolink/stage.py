"""AstroLink: clusters nested in each other, found where density peaks stand out from a featureless field's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ....core.stage import Context, DataError
from ....products import Catalog
from ..features import FeatureConfig, Points
from ..stage import Clustering, ClusteringStage


class AstroLink(ClusteringStage):
    """Find clusters, streams and groups as peaks of the density, nested in each other, each with its significance.

    Points join by descending density, and what a group's peak rises above the place where it joins another says
    how much it stands out. How much noise does is known from simulated featureless fields, so the rate of
    false clusters is what is asked for. Members have a probability, from the densities at them and around the group.

    References:
        Oliver, Elahi & Lewis (2024), arXiv:2312.14632 (the hierarchy; its null, boundary and memberships are our own);
        Edelsbrunner, Letscher & Zomorodian (2002), Discrete Comput. Geom. 28, 511 (prominence).
    """

    name = "clustering.astrolink"

    class Config(FeatureConfig):
        """Settings of `clustering.astrolink`."""

        neighbours: int = Field(
            20, ge=7, le=60, description="points, itself included, from which the density at a point is estimated; more is smoother"
        )
        false_positive_rate: float = Field(
            0.05, gt=0, lt=1, description="probability that a field without structure gives any cluster at all"
        )
        null: Literal["table", "simulation"] = Field(
            "table",
            description="what noise does: from the table that comes with the package; or simulated for the number of points at hand, "
            "as is always done with weights and above 12 dimensions",
        )
        weights: str | None = Field(None, description="column with a positive weight for each source, such as a mass")

    def cluster(self, ctx: Context, points: Points, catalog: Catalog) -> Clustering:
        """Return the groups that stand out, and the density and the place in the ordered-density plot of each point."""
        import numpy as np

        from ..features import numbers, resolved
        from ..graph import build
        from .groups import significant
        from .joins import joins_of
        from .membership import memberships
        from .null import covers, simulated, tabulated

        settings = self.config
        weights = None
        if settings.weights is not None:
            weights = numbers(catalog.rows, resolved(settings.weights, catalog.rows.column_names))[points.rows]
            if not (np.isfinite(weights) & (weights > 0)).all():
                raise DataError(f"weights must be positive: column {settings.weights!r} is not everywhere; leave these sources out")
        k = settings.neighbours
        graph = build(points, k, weights=weights, device=ctx.device)
        if len(graph) <= k:
            ctx.log.warning("%d distinct points are too few for %d neighbours; set `neighbours` lower", len(graph), k)
            return Clustering()
        joins = joins_of(graph)
        if settings.null == "table" and weights is None and covers(points.dimension):
            null = tabulated(points.dimension, k)
        else:
            null = simulated(ctx.rng, len(points), points.dimension, k, weights, progress=ctx.progress)
        groups, assigned, position = memberships(graph, joins, null, significant(joins, null, settings.false_positive_rate))
        if groups:
            ctx.log.info("%d clusters; %d of %d points are put into one", len(groups), (assigned >= 0).sum(), len(points))
        else:
            ctx.log.warning(
                "no group stands out from another; a single one in an even field is taken for the field itself: "
                "clustering.hdbscan or clustering.gaussian_mixture finds it"
            )
        return Clustering(groups, graph.log_density[graph.node], position, assigned)
