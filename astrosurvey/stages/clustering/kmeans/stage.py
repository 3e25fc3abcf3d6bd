"""k-means: a division of everything into cells."""

from __future__ import annotations

from pydantic import Field

from ....core.stage import Context
from ....products import Catalog
from ..features import FeatureConfig, Points
from ..stage import Clustering, ClusteringStage

MANY = 200_000
"""From so many points on, centres move after batches of points rather than after all of them."""


class KMeans(ClusteringStage):
    """Divide all sources into a given number of compact cells, each around its mean.

    Every source is in exactly one cell, so field stars are, too: for structure in a background take another method.
    A cell's outlier score is the distance from its centre over the root mean square of it. From 200 000 points on,
    the centres are found from batches.

    References:
        Lloyd (1982), IEEE Trans. Inf. Theory 28, 129; Arthur & Vassilvitskii (2007), SODA 1027 (k-means++);
        Sculley (2010), WWW 1177 (batches).
    """

    name = "clustering.kmeans"

    class Config(FeatureConfig):
        """Settings of `clustering.kmeans`."""

        knows_box = False

        n_clusters: int = Field(ge=1, description="number of cells; fewer are made of fewer distinct points")
        starts: int = Field(3, ge=1, description="choices of first centres, of which the best is kept")

    def cluster(self, ctx: Context, points: Points, catalog: Catalog) -> Clustering:
        """Return the cells that have points."""
        import numpy as np
        from sklearn import cluster
        from threadpoolctl import threadpool_limits

        from ....kernels import morton
        from ..tables import Group

        order = morton.KERNEL.on(ctx.device)(points.values)
        values = points.values[order]
        distinct = 1 + int((values[1:] != values[:-1]).any(axis=1).sum())  # equal points stand side by side
        k = min(self.config.n_clusters, distinct)
        if k < self.config.n_clusters:
            ctx.log.warning("%d distinct points make as many cells, and not the %d that `n_clusters` asks for", k, self.config.n_clusters)
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
        return Clustering(groups)
