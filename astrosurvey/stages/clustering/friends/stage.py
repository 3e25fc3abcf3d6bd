"""Friends of friends: what a chain of short links connects is a group."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ....core.stage import Context
from ....products import Catalog
from ..features import FeatureConfig, Points
from ..stage import Clustering, ClusteringStage


class FriendsOfFriends(ClusteringStage):
    """Find groups of galaxies or haloes: sources that a chain of links shorter than a linking length connects.

    A linking length of b mean separations outlines regions about 0.65 / b**3 times as dense as the mean. In a survey of redshifts, links
    across and along the line of sight have lengths of their own, for motions within a group stretch it; the mean separation
    is then that at each distance. Groups do not depend on the order of rows, and have no significance.

    References:
        Huchra & Geller (1982), ApJ 257, 423; Davis et al. (1985), ApJ 292, 371; Eke et al. (2004), MNRAS 348, 866
        (lengths for surveys); More et al. (2011), ApJS 195, 4 (what b means).
    """

    name = "clustering.friends_of_friends"

    class Config(FeatureConfig):
        """Settings of `clustering.friends_of_friends`."""

        metric: Literal["scaled", "whitened", "plain"] = Field(
            "plain",
            description="plain: columns as they are; scaled: each over its robust spread; whitened: correlations are taken out as well",
        )
        linking_length: float = Field(0.2, gt=0, description="longest link between friends; across the line of sight with `line_of_sight`")
        line_of_sight: float | None = Field(
            None,
            gt=0,
            description="longest link along the line of sight, for a survey of redshifts: `columns` are then `ra`, `dec` and a redshift, "
            "or a column in km/s that stands for c z, and lengths are comoving",
        )
        unit: Literal["separations", "distance"] = Field(
            "separations",
            description="what links are measured in: mean separations of sources, or distances: comoving Mpc with `line_of_sight`, or "
            "else units of the metric",
        )
        area: float | None = Field(
            None, gt=0, description="deg**2 that a survey of redshifts covers, for its mean separation; left out: where its sources are"
        )
        cosmology: str = Field("Planck18", description="cosmology that makes redshifts comoving distances, by astropy's name for it")
        min_members: int = Field(10, ge=2, description="members that a group has at least; below some 10, many are there by chance")

        @model_validator(mode="after")
        def _survey(self) -> FriendsOfFriends.Config:
            if self.line_of_sight is not None:
                if len(self.columns) != 3 or not {"ra", "dec"} < set(self.columns):
                    raise ValueError("`line_of_sight` needs the columns `ra`, `dec` and one with the redshift")
                if self.scales or self.box or self.metric != "plain":
                    raise ValueError("`line_of_sight` makes comoving positions; leave out `metric`, `scales` and `box`")
            elif self.area is not None:
                raise ValueError("`area` is for surveys of redshifts; set `line_of_sight`, too, or leave it out")
            return self

    def points(self, ctx: Context, catalog: Catalog) -> Points:
        """Return comoving positions for a survey of redshifts, or else points in the metric that the settings ask for."""
        from ..features import columns_of
        from .lengths import comoving

        if self.config.line_of_sight is None:
            return super().points(ctx, catalog)
        return comoving(columns_of(catalog, self.config), self.config.cosmology, ctx.log)

    def cluster(self, ctx: Context, points: Points, catalog: Catalog) -> Clustering:
        """Return what links hold together, if it has enough members."""
        import numpy as np

        from ....kernels import friends, morton
        from ..tables import Group
        from .lengths import separation_by_distance, separation_in_volume

        settings = self.config
        if settings.unit == "distance":
            scale = np.ones(len(points))
        elif settings.line_of_sight is not None:
            scale = separation_by_distance(points, settings.area, ctx.log)
        else:
            scale = separation_in_volume(points)
        order = morton.KERNEL.on(ctx.device)(points.values)
        label = friends.KERNEL.on(ctx.device)(
            points.values[order], settings.linking_length, settings.line_of_sight or 0.0, scale[order], points.box
        )
        enough = np.flatnonzero(np.bincount(label)[label] >= settings.min_members)  # most sources are alone
        by_label = enough[np.argsort(label[enough], kind="stable")]
        parts = np.split(by_label, np.flatnonzero(np.diff(label[by_label])) + 1) if len(by_label) else []
        groups = [Group(order[part], np.ones(len(part))) for part in parts]
        if (largest := max((len(group.members) for group in groups), default=0)) > len(points) / 2:
            ctx.log.warning("one group holds %d of %d sources: `linking_length` is longer than the gaps are", largest, len(points))
        elif not groups:
            ctx.log.warning("no group has %d members; set `linking_length` longer, or `min_members` lower", settings.min_members)
        ctx.log.info(
            "%d groups of at least %d; %d of %d points are in one",
            len(groups), settings.min_members, sum(len(group.members) for group in groups), len(points),
        )  # fmt: skip
        return Clustering(groups)
