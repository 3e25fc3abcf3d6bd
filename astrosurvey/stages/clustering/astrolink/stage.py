"""AstroLink: clusters nested in each other, found where density peaks stand out from a featureless field's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field, model_validator

from ....core.stage import Context, DataError
from ....products import Catalog
from ..features import FeatureConfig, Points
from ..stage import Clustering, ClusteringStage

FULL = 0.7
"""Part of its dimensions that a field fills at least: galaxies, clustered as they are, 0.73 of three; the surface of a sphere 0.67."""


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
    version = 2

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
        dimension: int | None = Field(
            None,
            ge=1,
            description="of the space that the points fill, where columns depend on each other, as the three coordinates on a sphere do; "
            "left out: the number of columns, less those that are sums of others",
        )
        weights: str | None = Field(None, description="column with a positive weight for each source, such as a mass")

        @model_validator(mode="after")
        def _fits(self) -> AstroLink.Config:
            if self.dimension is not None and self.dimension > len(self.columns):
                raise ValueError(f"{len(self.columns)} columns fill no space of {self.dimension} dimensions; set `dimension` lower")
            return self

    def points(self, ctx: Context, catalog: Catalog) -> Points:
        """Return points of the dimension that the settings give them, if they do."""
        found = super().points(ctx, catalog)
        return found if self.config.dimension is None else replace(found, dimension=self.config.dimension)

    def beside(self) -> Sequence[str]:
        """Return the column of weights, if there is one."""
        return [] if self.config.weights is None else [self.config.weights]

    def cluster(self, ctx: Context, points: Points, catalog: Catalog) -> Clustering:
        """Return the groups that stand out, and the density and the place in the ordered-density plot of each point."""
        import numpy as np

        from ..features import numbers, resolved
        from ..graph import build
        from ..intrinsic import intrinsic_dimension
        from .groups import significant
        from .joins import joins_of
        from .membership import memberships
        from .null import covers, simulated, tabulated

        settings = self.config
        weights = None
        if settings.weights is not None:
            weights = numbers(catalog.rows, resolved(settings.weights, catalog.rows.column_names))[points.rows]
            if wrong := int((~(np.isfinite(weights) & (weights > 0))).sum()):
                raise DataError(f"weights must be positive: {settings.weights!r} is not, for {wrong} of {len(points)} sources; correct it")
        k = settings.neighbours
        graph = build(points, k, weights=weights, device=ctx.device)
        if len(graph) <= k:
            ctx.log.warning("%d distinct points are too few for %d neighbours; set `neighbours` lower", len(graph), k)
            return Clustering()
        filled = intrinsic_dimension(graph.inverse_dimension, k)
        if settings.dimension is None and filled < FULL * points.dimension:
            ctx.log.warning(
                "the points fill some %.1f of %d dimensions: if columns determine each other, groups of noise will be found; "
                "leave columns out, or set `dimension`", filled, points.dimension,
            )  # fmt: skip
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
