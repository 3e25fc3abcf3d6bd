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
    errors added to its values. With `tracer`, its rows are snapshots of the same objects, each of which is clustered; the
    clusters are then followed through time. With `given_members` wired, each catalogue of members is a clustering.

    References:
        Oliver & Elahi (2024), arXiv:2411.03229 (FuzzyCat); Oliver, Elahi & Lewis (2024), arXiv:2312.14632 (AstroLink);
        Srisawat et al. (2013), MNRAS 436, 150 (merger trees).
    """

    name = "clustering.fuzzy"
    version = 2
    scope = "survey"
    inputs = {
        **INPUTS,
        "given_clusters": optional(Tiles.of(Catalog.of("cluster"))),
        "given_members": optional(Tiles.of(Catalog.of("cluster_member"))),
        "given_points": optional(Tiles.of(Catalog.of("cluster_point"))),
    }
    outputs = {**OUTPUTS, "events": Catalog.of("cluster_event")}

    class Config(FeatureConfig):
        """Settings of `clustering.fuzzy`."""

        method: Literal["astrolink", "hdbscan"] = Field("astrolink", description="how each draw, or each snapshot, is clustered")
        neighbours: int = Field(20, ge=7, le=60, description="nearest neighbours, the point itself included, from which densities follow")
        min_cluster_size: int | None = Field(
            None,
            ge=2,
            description="points that a cluster of hdbscan has at least; left out: as `clustering.hdbscan` has it",
        )
        false_positive_rate: float = Field(
            0.05, gt=0, lt=1, description="probability that astrolink finds any cluster in a draw, or a snapshot, without structure"
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
        tracer: str | None = Field(
            None, description="for snapshots: column with the number of the object that a row is of, the same in every snapshot"
        )
        time: str | None = Field(
            None,
            description="for snapshots: column with their time, or a number that rises with it; unset: the number that ends a tile's name",
        )
        window: int = Field(
            10, ge=2, description="snapshots less than this far apart are compared, so that a cluster may be missed for a time"
        )
        average: int = Field(3, ge=1, description="snapshots over which an object's memberships are averaged")
        min_lifetime: int = Field(3, ge=1, description="snapshots in which a cluster must be found")
        min_jaccard: float = Field(
            0.5, gt=0, le=1, description="from which Jaccard index on clusters of two clusterings are taken for the same"
        )
        min_stability: float = Field(
            0.5, ge=0, le=1, description="part of the clusterings that must have a cluster; of snapshots, those between its first and last"
        )

        @model_validator(mode="after")
        def _together(self) -> FuzzyClustering.Config:
            if self.time is not None and self.tracer is None:
                raise ValueError("`time` is that of snapshots, and these need `tracer` as well")
            return self

    def run(
        self,
        ctx: Context,
        *,
        sources: Tiles[Catalog],
        photometry: Tiles[Catalog] | None,
        redshifts: Tiles[Catalog] | None,
        given_clusters: Tiles[Catalog] | None,
        given_members: Tiles[Catalog] | None,
        given_points: Tiles[Catalog] | None,
    ) -> Mapping[str, Any]:
        """Return clusters, their members, every source as a point, and what happened in time (no rows but of snapshots)."""
        from ..features import catalog_of
        from . import flow
        from .given import Given

        if given_members is None and (given_clusters is not None or given_points is not None):
            raise DataError("`given_clusters` or `given_points` are wired without `given_members`, whose clusterings they tell of")
        if given_members is not None and self.config.tracer is not None:
            raise DataError("leave out `tracer`, or the `given_members`: clusterings are made of snapshots, or are given")
        catalog = catalog_of(sources, photometry, redshifts)
        if given_members is not None:
            fuzzy: Fuzzy = flow.of_given(ctx, self.config, catalog, Given(given_members, given_clusters, given_points))
        elif self.config.tracer is not None:
            fuzzy = flow.of_snapshots(ctx, self.config, catalog, sources)
        else:
            fuzzy = flow.of_draws(ctx, self.config, catalog)
        return fuzzy.tables(catalog, self.name)
