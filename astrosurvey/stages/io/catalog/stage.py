"""io.catalog: a published catalogue, in whatever format, as sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from ....catalog.schema import suggestion
from ....core.stage import Context, FilePath, Stage, StageConfig
from ....products import Catalog

MAPPED = ("ra", "dec", "l", "b", "x", "y", "significance", "probability", "star_probability")
"""Columns of the table `source` that a file may fill; galactic `l` and `b` become `ra` and `dec`."""


class ReadCatalog(Stage):
    """Read a catalogue of any format as sources: CSV and other text, ECSV, FITS, VOTable or Parquet.

    Positions become `ra` and `dec`; every other column of numbers is kept beside them as `x_catalog_<name>`, in lower case and with
    its unit. Ids are made of the tile and the row of the file.

    References: Ochsenbein et al. (2019), VOTable 1.4, IVOA Recommendation; Pence et al. (2010), A&A 524, A42;
    Astropy Collaboration (2022), ApJ 935, 167 (ECSV).
    """

    name, version, scope = "io.catalog", 2, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, Any]] = {"sources": Catalog.of("source")}

    class Config(StageConfig):
        """Settings of `io.catalog`."""

        path: FilePath = Field("{path}", description="template of the file's path")
        columns: dict[str, str] = Field(
            {},
            description=f"from a column of the table source ({', '.join(MAPPED)}) to what the file calls it; `l` and `b`, galactic, "
            "stand for `ra` and `dec`; unset: `ra` and `dec` by their usual names, if they are there",
        )
        extra: list[str] | None = Field(
            None, description="further columns to keep, texts too; unset: all that hold one number in each row and are not taken yet"
        )
        units: dict[str, str] = Field(
            {},
            description="by column of the file, its unit where the file says none or a wrong one; `h:m:s` and `d:m:s` are sexagesimal",
        )
        missing: list[float | str] = Field([], description="numbers and texts that stand for no value, such as -99")
        id: str | None = Field(None, description="column that tells the file's objects apart; it is kept, and looked at for duplicates")
        duplicates: Literal["error", "first"] = Field(
            "error", description="what to do when `id` is there twice: refuse the file, or keep the first row of each"
        )
        hdu: int | str | None = Field(None, description="number or EXTNAME of the table in a FITS file; unset: the first one")

        @field_validator("columns")
        @classmethod
        def _known(cls, value: dict[str, str]) -> dict[str, str]:
            for name in value:
                if name == "source_id":
                    raise ValueError("ids are made here, of the tile and the row; name the file's own in the setting `id`")
                if name not in MAPPED:
                    raise ValueError(f"a file cannot fill the column {name!r}{suggestion(name, MAPPED)}; keep it through `extra`")
            for one, other in (("ra", "dec"), ("l", "b"), ("x", "y")):
                if (one in value) != (other in value):
                    raise ValueError(f"`{one}` and `{other}` come together; name both in `columns`")
            if "ra" in value and "l" in value:
                raise ValueError("`l` and `b` stand for `ra` and `dec`; name one pair in `columns`")
            return value

    @classmethod
    def count_rows(cls, config: Any, path: str) -> int | None:
        """Return how many rows a FITS or Parquet file has; None for others, which are read as a whole."""
        from .formats import count

        return count(path, config.hdu)

    def run(self, ctx: Context) -> Mapping[str, Any]:
        """Return the tile's sources."""
        from .read import read_catalog

        assert ctx.tile is not None
        return {"sources": read_catalog(self.config, ctx.tile, ctx.log)}
