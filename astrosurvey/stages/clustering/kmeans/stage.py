"""k-means: a division of everything into cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ....core.product import Tiles
from ....core.stage import Context, DataError, Stage
from ....products import Catalog
from ..features import INPUTS, FeatureConfig
from ..tables import OUTPUTS

MANY = 200_000
"""From so many points on, centres move after batches of points rather than after all of them."""


class KMeans(Stage):
    """Divide all sources into a given number of compact cells, each around its mean.

    Every source is in exactly one cell, so field stars are, too: for structure in a background take another method.
    A cell's outlier score is the distance from its centre over the root mean square of it. From 200 000 points on,
    the centres are found from batches.

    References:
        Lloyd (1982), IEEE Trans. Inf. Theory 28, 129; Arthur & Vassilvitskii (2007), SODA 1027 (k-means++);
        Sculley (2010), WWW 1177 (batches).
    """

    name = "clustering.kmeans"
    scope = "survey"
    inputs = INPUTS
    outputs = OUTPUTS

    class Config(FeatureConfig):
        """Settings of `clustering.kmeans`."""

        n_clusters: int = Field(ge=1, description="number of cells; fewer are made of fewer distinct points")
        starts: int = Field(3, ge=1, description="choices of first centres, of which the best is kept")

    def run(
        self, ctx: Context, *, sources: Tiles[Catalog], photometry: Tiles[Catalog] | None, redshifts: Tiles[Catalog] | None
    ) -> Mapping[str, Any]:
        """Return clusters, their members, and every source as a point."""
        import numpy as np
        from sklearn import cluster
        from threadpoolctl import threadpool_limits

        from ....kernels import morton
        from ..features import catalog_and_points
        from ..tables import Group, write_tables

        catalog, points = catalog_and_points(sources, photometry, redshifts, self.config, ctx.log)
        if points.box.any():
            raise DataError(f"{self.name} knows no periodic box; leave `box` out, or take clustering.hdbscan")
        if not len(points):
            return write_tables(catalog, points, [], self.name)
        order = morton.KERNEL.on(ctx.device)(points.values)
        values = points.values[order]
        distinct = 1 + int((values[1:] != values[:-1]).any(axis=1).sum())  # equal points stand side by side
        k = min(self.config.n_clusters, distinct)
        method = cluster.MiniBatchKMeans if len(values) >= MANY else cluster.KMeans
        with threadpool_limits(1):  # a sum over threads depends on their number
            found = method(k, n_init=self.config.starts, random_state=int(ctx.rng.integers(2**31))).fit(values)
        groups = []
        for c in range(k):
            members = np.flatnonzero(found.labels_ == c)
            if len(members):
                apart = np.sqrt(((values[members] - found.cluster_centers_[c]) ** 2).sum(axis=1))
                typical = np.sqrt((apart**2).mean())
                groups.append(Group(order[members], np.ones(len(members)), outlier_score=apart / (typical if typical > 0 else 1.0)))
        return write_tables(catalog, points, groups, self.name)
