"""Catalogues as files of other programs: FITS, VOTable, DS9 regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from ...core.product import Tiles, optional
from ...core.stage import Context, NoWork, Stage, StageConfig
from ...products import Catalog, Export

if TYPE_CHECKING:
    from .tables import OutTable

TABLES = {
    "sources": "source",
    "photometry": "photometry",
    "catalog": "spectrum",
    "redshifts": "redshift",
    "classes": "classification",
    "anomalies": "classification",
    "lines": "spectral_line",
    "indices": "spectral_index",
    "clusters": "cluster",
    "members": "cluster_member",
    "points": "cluster_point",
    "events": "cluster_event",
    "matches": "crossmatch",
    "posterior": "posterior",
}
"""What can be written: port and table. What comes to two ports of one table is written into one."""
CATALOGS = {port: optional(Tiles.of(Catalog.of(table))) for port, table in TABLES.items()}
Gathered = Tiles[Catalog] | None


class TablesConfig(StageConfig):
    """Settings of the stages that write catalogues as tables."""

    layout: Literal["tables", "wide"] = Field(
        "tables",
        description="tables: a table for each catalogue; wide: photometry and posteriors beside the source, a column for each measure",
    )


class _TablesExport(Stage):
    """What is common to the stages that write catalogues as tables of one file."""

    scope = "survey"
    inputs = CATALOGS
    outputs = {"files": Export}

    def run(
        self,
        ctx: Context,
        *,
        sources: Gathered,
        photometry: Gathered,
        catalog: Gathered,
        redshifts: Gathered,
        classes: Gathered,
        anomalies: Gathered,
        lines: Gathered,
        indices: Gathered,
        clusters: Gathered,
        members: Gathered,
        points: Gathered,
        events: Gathered,
        matches: Gathered,
        posterior: Gathered,
    ) -> Mapping[str, Any]:
        """Return the folder with the file."""
        from .tables import out_tables

        of_spectra = [catalog, redshifts, classes, anomalies, lines, indices]
        gathered = [sources, photometry, *of_spectra, clusters, members, points, events, matches, posterior]
        self.write(ctx.scratch, out_tables(gathered, wide=self.config.layout == "wide"))
        return {"files": Export(ctx.scratch)}

    def write(self, folder: Path, tables: list[OutTable]) -> None:
        """Write the tables as one file into a folder."""
        raise NotImplementedError


class ExportFits(_TablesExport):
    """Write the catalogue as a FITS file of binary tables, with units and UCDs in the headers.

    References: Pence et al. (2010), A&A 524, A42.
    """

    name = "export.fits"

    class Config(TablesConfig):
        """Settings of `export.fits`."""

    def write(self, folder: Path, tables: list[OutTable]) -> None:
        """Write `catalog.fits`."""
        from .fits import write_fits

        write_fits(folder / "catalog.fits", tables)


class ExportVOTable(_TablesExport):
    """Write the catalogue as a VOTable, with units and UCDs, for Virtual Observatory tools.

    References: Ochsenbein et al. (2019), VOTable 1.4, IVOA Recommendation.
    """

    name = "export.votable"

    class Config(TablesConfig):
        """Settings of `export.votable`."""

    def write(self, folder: Path, tables: list[OutTable]) -> None:
        """Write `catalog.vot`."""
        from .votable import write_votable

        write_votable(folder / "catalog.vot", tables)


class ExportRegions(Stage):
    """Write the sources as DS9 regions: circles on the sky, or on each tile's pixels where there is no sky.

    Sources with a place on the sky go into `sources.reg`; the others into a file for each tile, in the
    tile's own pixels.
    """

    name = "export.regions"
    scope = "survey"
    inputs = {"sources": Tiles.of(Catalog.of("source"))}
    outputs = {"files": Export}

    class Config(StageConfig):
        """Settings of `export.regions`."""

        radius: float | None = Field(
            None, gt=0, description="radius of the circles: arcsec on the sky, pixels on tiles; that of the footprint's area when left out"
        )
        sky_radius: float = Field(
            1.0, gt=0, description="arcsec, for sources on the sky whose tile's pixel scale is not known, as after a merge"
        )
        labels: bool = Field(False, description="write each source's id beside it")
        colour: str = Field("green", pattern=r"^[a-z]{1,20}$", description="name of the circles' colour")

    def run(self, ctx: Context, *, sources: Tiles[Catalog]) -> Mapping[str, Any]:
        """Return the folder with the region files."""
        from .regions import region_text

        if len(sources) == 0:
            raise NoWork("no tile has a catalogue")
        on_sky: list[tuple[np.ndarray, ...]] = []
        for name, catalog in sources.items():
            ids, x, y, ra, dec = (catalog.column(c) for c in ("source_id", "x", "y", "ra", "dec"))
            pixels = np.sqrt(catalog.column("n_pixels") / np.pi) if self.config.radius is None else np.full(len(ids), self.config.radius)
            known = np.isfinite(ra) & np.isfinite(dec)
            on_sky.append((ra[known], dec[known], self._on_sky(catalog, pixels)[known], ids[known]))
            tile = catalog.column("tile_id")
            for number in np.unique(tile[~known]).tolist():
                here = ~known & (tile == number)
                file = f"{name}.reg" if len(np.unique(tile)) == 1 else f"{name}_{number}.reg"
                labels = ids[here] if self.config.labels else None
                self._write(ctx, file, region_text("image", x[here], y[here], pixels[here], labels, self.config.colour))
        ra, dec, radius, ids = (np.concatenate(parts) for parts in zip(*on_sky, strict=True))
        if len(ids) or not any(ctx.scratch.iterdir()):
            self._write(ctx, "sources.reg", region_text("icrs", ra, dec, radius, ids if self.config.labels else None, self.config.colour))
        return {"files": Export(ctx.scratch)}

    def _on_sky(self, catalog: Catalog, pixels: np.ndarray) -> np.ndarray:
        """Return the radii in arcsec."""
        scale = (catalog.meta.get("tile") or {}).get("pixel_scale")
        if self.config.radius is not None:
            return pixels
        return pixels * scale if scale else np.full(len(pixels), self.config.sky_radius)

    @staticmethod
    def _write(ctx: Context, name: str, text: str) -> None:
        with open(ctx.scratch / name, "x", encoding="ascii", newline="\n") as file:
            file.write(text)
