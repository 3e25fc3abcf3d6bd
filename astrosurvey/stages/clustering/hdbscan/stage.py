"""HDBSCAN*: clusters of any density and shape, and points that belong to none."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ....core.stage import Context
from ....products import Catalog
from ..features import FeatureConfig, Points
from ..stage import Clustering, ClusteringStage


class Hdbscan(ClusteringStage):
    """Find clusters that stay together over a range of densities, of any shape; the rest is noise.

    The spanning tree is exact, and what joins at the same distance joins at once, as the authors of the method demand,
    so nothing depends on the order of rows or the number of threads. Clusters do not overlap.

    References:
        Campello, Moulavi & Sander (2013), PAKDD 160; Campello, Moulavi, Zimek & Sander (2015), ACM TKDD 10, 5 (excess of
        mass, outlier scores); McInnes & Healy (2017), arXiv:1705.07321; Malzer & Baum (2020), IEEE MFI 223 (epsilon).
    """

    name = "clustering.hdbscan"
    version = 2

    class Config(FeatureConfig):
        """Settings of `clustering.hdbscan`."""

        min_cluster_size: int | None = Field(
            None,
            ge=2,
            description="points that a cluster has at least; left out: of n points in d dimensions the smaller of n / (250 d) and "
            "2 sqrt(n) / (d (d - 1)), and not below 20",
        )
        min_samples: int = Field(
            20, ge=1, description="density is measured by the distance to the nearest point of this rank, itself counted; more is smoother"
        )
        select: Literal["eom", "leaf"] = Field(
            "eom", description="eom: the clusters that together stand out most (excess of mass); leaf: the smallest ones of the hierarchy"
        )
        epsilon: float = Field(0.0, ge=0, description="clusters that split at a smaller distance than this stay together; 0 for none")
        single: bool = Field(False, description="whether one cluster that holds everything may be the answer")
        soft: bool = Field(
            False, description="put every point into the cluster it most probably belongs to, with that probability, however small it is"
        )

    def cluster(self, ctx: Context, points: Points, catalog: Catalog) -> Clustering:
        """Return the clusters that last, and the outlier score of each point."""
        import numpy as np

        from ..tables import Group
        from .select import outlier_scores, select
        from .soft import best_memberships
        from .tree import grow, smallest_cluster

        settings = self.config
        least = settings.min_cluster_size or smallest_cluster(len(points), points.dimension)
        hierarchy = grow(points, settings.min_samples, least, ctx.device)
        if hierarchy.tree is None:
            needed, setting = max((least, "min_cluster_size"), (settings.min_samples, "min_samples"))
            ctx.log.warning("no cluster: %d points are fewer than `%s`, which is %d; set it lower", len(points), setting, needed)
            return Clustering()
        found = select(hierarchy.tree, settings.select, settings.epsilon, settings.single)
        label, probability = found.label, found.probability
        if settings.soft and len(found.clusters):
            label, probability = best_memberships(hierarchy, found, points.box)
        score = outlier_scores(hierarchy.tree)
        groups = []
        for c, stability in enumerate(found.stability):
            members = np.flatnonzero(label == c)
            groups.append(Group(hierarchy.order[members], probability[members], stability=float(stability), outlier_score=score[members]))
        ctx.log.info("%d clusters of at least %d; %d of %d points are in one", len(groups), least, (label >= 0).sum(), len(points))
        scores = np.empty(len(points))
        scores[hierarchy.order] = score
        return Clustering(groups, outlier_score=scores)
