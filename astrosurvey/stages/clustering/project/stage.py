"""Many columns on a page: coordinates to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ....core.product import Tiles
from ....core.stage import Context, DataError, Stage
from ....products import Catalog
from ..features import INPUTS, FeatureConfig

if TYPE_CHECKING:
    import numpy as np


class Project(Stage):
    """Project sources from many columns to two or three coordinates, for looking at them.

    Never decide on clusters by such a picture: distances in it are not those between the sources, and UMAP shows islands
    in pure noise, too. UMAP comes with the extra `umap`; principal components need nothing.

    References:
        Hotelling (1933), J. Educ. Psych. 24, 417 (principal components); McInnes, Healy & Melville (2018),
        arXiv:1802.03426 (UMAP); Chari & Pachter (2023), PLoS Comput. Biol. 19, e1011288 (what is lost).
    """

    name = "clustering.project"
    scope = "survey"
    inputs = INPUTS
    outputs = {"embeddings": Catalog.of("embedding")}

    class Config(FeatureConfig):
        """Settings of `clustering.project`."""

        knows_box = False

        method: Literal["pca", "umap"] = Field("pca", description="pca: the directions of largest variance; umap: neighbours stay near")
        components: int = Field(2, ge=2, le=3, description="coordinates to project to")
        neighbours: int = Field(15, ge=2, description="neighbours that UMAP keeps near: few for detail, many for the whole")
        least_distance: float = Field(0.1, ge=0, lt=1, description="how near to each other UMAP may put points")

    def run(
        self, ctx: Context, *, sources: Tiles[Catalog], photometry: Tiles[Catalog] | None, redshifts: Tiles[Catalog] | None
    ) -> Mapping[str, Any]:
        """Return one row for each source that no chosen column misses; its `vector` holds the coordinates."""
        import numpy as np

        from ....kernels import morton
        from ..features import catalog_of, points_of

        catalog = catalog_of(sources, photometry, redshifts)
        points = points_of(catalog, self.config, ctx.log)
        if not len(points):
            return {"embeddings": Catalog.empty("embedding")}
        order = morton.KERNEL.on(ctx.device)(points.values)
        coordinates = np.empty((len(points), self.config.components), np.float32)
        project = self._principal if self.config.method == "pca" else self._umap
        coordinates[order] = project(ctx, points.values[order])
        ids = catalog.column("source_id")[points.rows]
        columns = {
            "object_table": "source",
            "object_id": ids,
            "model": f"{self.name}:{self.config.method}",
            "source_id": ids,
            "vector": coordinates,
        }
        return {"embeddings": Catalog.from_columns("embedding", columns)}

    def _principal(self, ctx: Context, values: np.ndarray) -> np.ndarray:
        import numpy as np
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):  # a sum over threads depends on their number
            centred = values - values.mean(axis=0)
            variance, axes = np.linalg.eigh(centred.T @ centred)
            axes = axes[:, ::-1][:, : self.config.components]
            axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
            found = np.zeros((len(values), self.config.components))
            found[:, : axes.shape[1]] = centred @ axes
        if (total := variance.sum()) > 0:
            ctx.log.info("the coordinates hold %.1f %% of the variance", 100 * variance[::-1][: self.config.components].sum() / total)
        return found

    def _umap(self, ctx: Context, values: np.ndarray) -> np.ndarray:
        import warnings

        import numpy as np

        try:
            with warnings.catch_warnings():  # it tells everybody what else could be installed
                warnings.simplefilter("ignore", ImportWarning)
                from umap import UMAP
        except ImportError as error:
            raise DataError("UMAP is not installed; pip install 'astrosurvey[umap]', or set `method: pca`") from error
        if len(values) < self.config.components + 3:
            raise DataError(f"UMAP cannot place {len(values)} points; set `method: pca`")
        reducer = UMAP(
            n_components=self.config.components,
            n_neighbors=min(self.config.neighbours, len(values) - 1),
            min_dist=self.config.least_distance,
            random_state=int(ctx.rng.integers(2**31)),
            n_jobs=1,  # results would depend on the number of threads
        )
        return np.asarray(reducer.fit_transform(values))
