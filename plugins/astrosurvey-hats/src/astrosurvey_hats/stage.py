"""The stage hats.export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from astrosurvey import Catalog, Context, Export, Stage, StageConfig, Tiles, optional


class HatsExport(Stage):
    """Write the sources as a HATS catalogue: Parquet files of HEALPix cells, with a margin catalogue, as LSDB reads them.

    Photometry, if it is wired, stands beside the sources, a column for each measure. Primary sources with a place on the sky are written;
    the same catalogue gives the same bytes. Catalogues may be larger than memory.

    References: Caplar et al. (2025), arXiv:2501.02103 (HATS and LSDB); Górski et al. (2005), ApJ 622, 759 (HEALPix).
    """

    name = "hats.export"
    scope = "survey"
    inputs = {"sources": Tiles.of(Catalog.of("source")), "photometry": optional(Tiles.of(Catalog.of("photometry")))}
    outputs = {"files": Export}

    class Config(StageConfig):
        """Settings of `hats.export`."""

        name: str = Field("astrosurvey", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", description="name of the catalogue")
        rows: int = Field(1_000_000, ge=1, description="most rows of a partition, and in memory at once")
        margin: float = Field(
            5.0,
            ge=0,
            le=3600,
            description="width of the margin around each partition, in arcsec: the radius to which LSDB can match; 0 for none",
        )

    def run(self, ctx: Context, *, sources: Tiles[Catalog], photometry: Tiles[Catalog] | None) -> Mapping[str, Any]:
        """Return the folder with the catalogue."""
        from .write import export

        return {"files": Export(export(ctx, sources, photometry, self.config))}
