"""spectra.labels: the truth of spectra from a table that somebody has made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ....core.stage import Context, FilePath, Stage, StageConfig
from ....products import Catalog


class LabelSpectra(Stage):
    """Take the known classes and redshifts of spectra from a table.

    The table is FITS or CSV, such as the catalogue a survey publishes with its spectra; its rows are those of the spectra, in their
    order, or found by name. What it makes is what `evaluate.spectra` judges by and `spectra.train` learns from.
    """

    name, version = "spectra.labels", 1
    inputs = {"catalog": Catalog.of("spectrum")}
    outputs = {"truth": Catalog.of("spectrum_truth")}

    class Config(StageConfig):
        """Settings of `spectra.labels`."""

        path: FilePath = Field("{path}", description="template of the table's path")
        spectral_class: str = Field("CLASS", description="column of the class: STAR, GALAXY, QSO or quasar, SKY; all else is unknown")
        subclass: str | None = Field(None, description="column of the fine class or spectral type, such as SUBCLASS")
        z: str | None = Field("Z", description="column of the redshift")
        name: str | None = Field(None, description="column by which rows are found; unset: they are in the order of the spectra")
        split: FilePath | None = Field(
            None, description="CSV with columns `row` (of the table, from 0) and `side`: only spectra of one side get a label"
        )
        side: str = Field("test", description="the side that gets labels, if `split` is given")

    def run(self, ctx: Context, *, catalog: Catalog) -> Mapping[str, Any]:
        """Return the truth."""
        from .read import labelled

        return {"truth": labelled(ctx, catalog, self.config)}
