"""Gaussian mixtures: a density made of few Gaussians, and of background."""

from __future__ import annotations

from pydantic import Field

from ....core.stage import Context
from ....products import Catalog
from ..features import FeatureConfig, Points
from ..stage import Clustering, ClusteringStage

POINTS = 10
"""Where the number of Gaussians is chosen, each has so many points for each dimension at least."""


class GaussianMixture(ClusteringStage):
    """Describe the density by a few Gaussians over a uniform background, with each source's probability for each of them.

    The number of Gaussians is given, or chosen by Schwarz's criterion (BIC). A source is a member of every Gaussian for
    which its probability is not small, and is assigned to the likeliest; if that is the background, to none.

    References:
        Dempster, Laird & Rubin (1977), JRSS B 39, 1; Banfield & Raftery (1993), Biometrics 49, 803 (uniform background);
        Schwarz (1978), Ann. Stat. 6, 461.
    """

    name = "clustering.gaussian_mixture"

    class Config(FeatureConfig):
        """Settings of `clustering.gaussian_mixture`."""

        knows_box = False

        n_components: int | None = Field(None, ge=1, description="number of Gaussians; left out: the best by BIC, up to `max_components`")
        max_components: int = Field(10, ge=1, description="the most Gaussians that are tried where their number is not given")
        background: bool = Field(True, description="whether there is a uniform component, for what belongs to no Gaussian")
        starts: int = Field(3, ge=1, description="divisions from which each fit begins, of which the best is kept")
        least_probability: float = Field(0.1, gt=0, le=1, description="of this probability on, a source is listed as a member")

    def cluster(self, ctx: Context, points: Points, catalog: Catalog) -> Clustering:
        """Return the Gaussians, and the density at each point."""
        from dataclasses import replace

        import numpy as np
        from threadpoolctl import threadpool_limits

        from ....kernels import morton
        from ..tables import Group
        from .choose import is_near, mixture
        from .plane import flattened

        settings = self.config
        order = morton.KERNEL.on(ctx.device)(points.values)
        with threadpool_limits(1):  # a sum over threads depends on their number, and a product's last digits on a point's place
            values = flattened(replace(points, values=points.values[order], rows=points.rows[order]), self.name)
        near = is_near(values)
        if not near.all():
            ctx.log.warning(
                "%d sources are farther from the others than anything that can be fitted; they are left to the background", (~near).sum()
            )
        d = values.shape[1]
        most = settings.n_components or min(settings.max_components, max(near.sum() // (POINTS * d), 1))
        with threadpool_limits(1):
            found = mixture(values[near], range(settings.n_components or 1, most + 1), settings.background, settings.starts, ctx.rng)
            probability, log_density = found(values)
        probability[~near] = np.arange(probability.shape[1]) == probability.shape[1] - 1
        likeliest = probability.argmax(axis=1)
        groups: list[Group] = []
        number = np.full(len(found.weight), -1)
        for c in range(len(found.mean)):
            members = np.flatnonzero((probability[:, c] >= settings.least_probability) | (likeliest == c))
            if len(members) >= d + 2:  # fewer have no covariance of their own
                number[c] = len(groups)
                groups.append(Group(order[members], probability[members, c]))
        lost = len(found.mean) - len(groups)
        if lost and settings.n_components:
            ctx.log.warning("%d Gaussians have fewer than %d members and make no cluster; set `n_components` lower", lost, d + 2)
        ctx.log.info("%d Gaussians; the background has %.1f %% of the points", len(found.mean), 100 * found.weight[-1])
        assigned, density = np.empty(len(points), np.int64), np.empty(len(points))
        assigned[order], density[order] = number[likeliest], log_density + np.log(len(points))
        return Clustering(groups, density, assigned=assigned)
