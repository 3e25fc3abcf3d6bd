"""AstroLink: clusters nested in each other, found where density peaks stand out from a featureless field's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from ....core.product import Tiles
from ....core.stage import Context, DataError, Stage
from ....products import Catalog
from ..features import INPUTS, FeatureConfig
from ..tables import OUTPUTS


class AstroLink(Stage):
    """Find clusters, streams and groups as peaks of the density, nested in each other, each with its significance.

    Points join by descending density, and what a group's peak rises above the place where it joins another says
    how much it stands out. How much noise does is known from simulated featureless fields, so the rate of
    false clusters is what is asked for. Members have a probability, from the densities at them and around the group.

    References:
        Oliver, Elahi & Lewis (2024), arXiv:2312.14632 (the hierarchy; its null, boundary and memberships are our own);
        Edelsbrunner, Letscher & Zomorodian (2002), Discrete Comput. Geom. 28, 511 (prominence).
    """

    name = "clustering.astrolink"
    scope = "survey"
    inputs = INPUTS
    outputs = OUTPUTS

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

    def run(
        self, ctx: Context, *, sources: Tiles[Catalog], photometry: Tiles[Catalog] | None, redshifts: Tiles[Catalog] | None
    ) -> Mapping[str, Any]:
        """Return clusters, their members, and every source as a point with its density and its place in the ordered-density plot."""
        import numpy as np

        from ..features import catalog_and_points, numbers, resolved
        from ..graph import build
        from ..tables import write_tables
        from .groups import significant
        from .joins import joins_of
        from .membership import memberships
        from .null import covers, simulated, tabulated

        settings = self.config
        also = [] if settings.weights is None else [settings.weights]
        catalog, points = catalog_and_points(sources, photometry, redshifts, settings, ctx.log, also)
        weights = None
        if settings.weights is not None:
            weights = numbers(catalog.rows, resolved(settings.weights, catalog.rows.column_names))[points.rows]
            if not (np.isfinite(weights) & (weights > 0)).all():
                raise DataError(f"weights must be positive: column {settings.weights!r} is not everywhere; leave these sources out")
        if len(points) == 0:
            ctx.log.warning("there is nothing to cluster: no source has a value in each of %s", ", ".join(settings.columns))
            return write_tables(catalog, points, [], self.name)
        k = settings.neighbours
        graph = build(points, k, weights=weights, device=ctx.device)
        if len(graph) <= k:
            ctx.log.warning("%d distinct points are too few for %d neighbours; set `neighbours` lower", len(graph), k)
            return write_tables(catalog, points, [], self.name)
        joins = joins_of(graph)
        if settings.null == "table" and weights is None and covers(points.dimension):
            null = tabulated(points.dimension, k)
        else:
            null = simulated(ctx.rng, len(points), points.dimension, k, weights, progress=ctx.progress)
        groups, assigned, position = memberships(graph, joins, null, significant(joins, null, settings.false_positive_rate))
        log_density = graph.log_density[graph.node]
        del graph, joins  # so that the tables have room
        if groups:
            ctx.log.info("%d clusters; %d of %d points are put into one", len(groups), (assigned >= 0).sum(), len(points))
        else:
            ctx.log.warning(
                "no group stands out from another; a single one in an even field is taken for the field itself: "
                "clustering.hdbscan or clustering.gaussian_mixture finds it"
            )
        return write_tables(
            catalog,
            points,
            groups,
            self.name,
            log_density=log_density,
            position=position,
            assigned=assigned,
        )
