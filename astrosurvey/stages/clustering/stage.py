"""What all clustering stages have in common: from catalogues to points, and from a method's answer to tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.product import Tiles
from ...core.stage import Context, Stage
from ...products import Catalog
from .features import INPUTS, FeatureConfig, Points, catalog_of, only, points_of
from .tables import OUTPUTS, Group, write_tables

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class Clustering:
    """What a method says of n points; see `write_tables` for what is left out.

    Attributes:
        groups: clusters, in any order.
        log_density: (n,) natural logarithm of the density at each point.
        position: (n,) integer place of each point in the ordered-density plot.
        assigned: (n,) which group a point is put into, -1 for none.
        outlier_score: (n,) of each point.
    """

    groups: Sequence[Group] = ()
    log_density: np.ndarray | None = None
    position: np.ndarray | None = None
    assigned: np.ndarray | None = None
    outlier_score: np.ndarray | None = None


class ClusteringStage(Stage):
    """A method that divides points into clusters: a subclass writes a name, a `Config` and `cluster`."""

    scope = "survey"
    inputs = INPUTS
    outputs = OUTPUTS

    class Config(FeatureConfig):
        """Settings of every clustering stage; a subclass adds its own."""

    def run(
        self, ctx: Context, *, sources: Tiles[Catalog], photometry: Tiles[Catalog] | None, redshifts: Tiles[Catalog] | None
    ) -> Mapping[str, Any]:
        """Return clusters, their members, and every source as a point."""
        import pyarrow as pa

        catalog = catalog_of(sources, photometry, redshifts)
        points = self.points(ctx, catalog)
        catalog = only(catalog, self.beside())
        pa.default_memory_pool().release_unused()
        found = Clustering()
        if len(points):
            found = self.cluster(ctx, points, catalog)
        else:
            ctx.log.warning("there is nothing to cluster: no source has a value in each of %s", ", ".join(self.config.columns))
        return write_tables(
            catalog,
            points,
            found.groups,
            self.name,
            log_density=found.log_density,
            position=found.position,
            assigned=found.assigned,
            outlier_score=found.outlier_score,
        )

    def points(self, ctx: Context, catalog: Catalog) -> Points:
        """Return what is clustered: sources in the metric that the settings ask for, unless a method has one of its own."""
        return points_of(catalog, self.config, ctx.log)

    def beside(self) -> Sequence[str]:
        """Return the columns, besides those that points are made of, which `cluster` looks at."""
        return ()

    def cluster(self, ctx: Context, points: Points, catalog: Catalog) -> Clustering:
        """Return the clusters of one point or more; `catalog` is what they are rows of, with the columns `beside`."""
        raise NotImplementedError
