"""Clusters that hold under measurement errors, last in time, or are found by many clusterings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from ....core.product import Tiles, optional
from ....core.stage import Context, DataError, Stage
from ....products import Catalog
from ..features import INPUTS, FeatureConfig
from ..tables import OUTPUTS

if TYPE_CHECKING:
    from .flow import Fuzzy


class FuzzyClustering(Stage):
    """Find the clusters on which many clusterings agree, and how surely each source belongs to them.

    The clusterings are of one of three kinds. Without more settings, the catalogue is clustered again and again with other
    errors added to its values. With `time` and `tracer`, its rows are snapshots of the same objects, each of which is
    clustered; the clusters are then followed through time. With catalogues of members wired, each of these is a clustering.

    References:
        Oliver & Elahi (2024), arXiv:2411.03229 (FuzzyCat); Oliver, Elahi & Lewis (2024), arXiv:2312.14632 (AstroLink);
        Srisawat et al. (2013), MNRAS 436, 150 (merger trees).
    """

    name = "clustering.fuzzy"
    scope = "survey"
    inputs: Mapping[str, Any] = {
        **INPUTS,
        "clusters": optional(Tiles.of(Catalog.of("cluster"))),
        "members": optional(Tiles.of(Catalog.of("cluster_member"))),
    }
    outputs: Mapping[str, Any] = {**OUTPUTS, "events": Catalog.of("cluster_event")}

    class Config(FeatureConfig):
        """Settings of `clustering.fuzzy`."""

        method: Literal["astrolink", "hdbscan"] = Field("astrolink", description="how each draw, or each snapshot, is clustered")
        neighbours: int = Field(20, ge=3, description="nearest neighbours, the point itself included, from which densities follow")
        min_cluster_size: int | None = Field(
            None, ge=2, description="points that a cluster of hdbscan has at least; left out: a 500th of all, and not below 20"
        )
        draws: int = Field(50, ge=1, description="how often values are drawn within their errors and clustered")
        errors: float | str | dict[str, float | str] = Field(
            "{column}_error",
            description="standard errors: a number or a column's name, in which {column} stands for each of `columns`, or these by "
            "column; in the unit of what they are the errors of, unless the catalogue says otherwise, for `ra` times cos dec",
        )
        correlations: str | None = Field(
            "{a}_{b}_corr",
            description="names of columns with correlation coefficients of the errors of two columns; pairs without are not correlated",
        )
        time: str | None = Field(None, description="column with the time of the snapshot that a row is of, or a number that rises with it")
        tracer: str | None = Field(None, description="column with the number of the object that a row is of, the same in every snapshot")
        window: int = Field(
            3, ge=2, description="snapshots less than this far apart are compared, and memberships are means over as many"
        )
        min_lifetime: int = Field(3, ge=1, description="snapshots in which a cluster must be found")
        min_jaccard: float = Field(
            0.5, gt=0, le=1, description="from which Jaccard index on clusters of two clusterings are taken for the same"
        )
        min_stability: float = Field(
            0.5, ge=0, le=1, description="part of the clusterings that must have a cluster; of snapshots, those between its first and last"
        )

        @model_validator(mode="after")
        def _together(self) -> FuzzyClustering.Config:
            if (self.time is None) != (self.tracer is None):
                raise ValueError("snapshots need both `time` and `tracer`")
            return self

    def run(
        self,
        ctx: Context,
        *,
        sources: Tiles[Catalog],
        photometry: Tiles[Catalog] | None,
        redshifts: Tiles[Catalog] | None,
        clusters: Tiles[Catalog] | None,
        members: Tiles[Catalog] | None,
    ) -> Mapping[str, Any]:
        """Return clusters, their members, every source as a point, and what happened in time (no rows without `time`)."""
        from ..features import catalog_of
        from . import flow

        if clusters is not None and members is None:
            raise DataError("`clusters` are wired without their `members`; wire both")
        if members is not None and self.config.time is not None:
            raise DataError("leave out `time` and `tracer`, or the `members` wired: clusterings are made of snapshots, or are given")
        catalog = catalog_of(sources, photometry, redshifts)
        if members is not None:
            fuzzy: Fuzzy = flow.of_given(ctx, self.config, catalog, clusters, members)
        elif self.config.time is not None:
            fuzzy = flow.of_snapshots(ctx, self.config, catalog)
        else:
            fuzzy = flow.of_draws(ctx, self.config, catalog)
        return fuzzy.tables(catalog, self.name)
