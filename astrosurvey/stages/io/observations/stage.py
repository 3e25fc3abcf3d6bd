"""`io.observations`: observed vectors, images or cubes, from which parameters are to be inferred."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ....core.stage import Context, FilePath, Stage, StageConfig
from ....products import Observations
from ...sbi.priors import ParameterPrior


class ReadObservations(Stage):
    """Read observed data for inference: rows of a table, an array of NumPy's, or a FITS image or cube.

    A table (CSV and other text, ECSV, FITS, VOTable, Parquet) gives an observation for each row, made of its columns of numbers; a
    `.npy` file one for each entry of its first axis; a FITS image is one observation. What is missing is NaN. Simulations that exist
    already are read as well: with the parameters that made them and their prior they are what estimators are trained on.
    """

    name, version, scope = "io.observations", 2, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, Any]] = {"observations": Observations}

    class Config(StageConfig):
        """Settings of `io.observations`."""

        path: FilePath = Field("{path}", description="template of the file's path")
        columns: list[str] = Field(
            [], description="columns of a table, in the order of the simulator's features; unset: all that hold one number in each row"
        )
        id: str | None = Field(
            None, description="column of whole numbers, the ids of the sources or spectra that `about` names; unset: made of tile and row"
        )
        about: Literal["", "source", "spectrum", "tile"] = Field(
            "", description="what an observation is about; tile: the file is one observation, and its id is the tile's number"
        )
        parameters: dict[str, ParameterPrior] = Field(
            {}, description="of simulations that exist already: by column, the parameter's prior as `sbi.prior` declares it"
        )
        parameter_file: FilePath | None = Field(
            None,
            description="template of the path of the table that has these columns, a row for each observation or each so many in a row; "
            "unset: the file itself",
        )
        missing: list[float] = Field([], description="numbers that stand for no value, such as -99")
        hdu: int | str | None = Field(None, description="number or EXTNAME in a FITS file; unset: the only image, or the first table")

        @model_validator(mode="after")
        def _says_what_ids_are(self) -> Self:
            if self.id is not None and self.about not in ("source", "spectrum"):
                given = "that one observation has the tile's number" if self.about == "tile" else "nothing"
                raise ValueError(f"`id` is what `about` names, and that says {given}: set `about: source` or `about: spectrum`")
            if self.parameters and self.about:
                raise ValueError("`parameters` says that these are simulations, which are about nothing: leave out `about`")
            if self.parameter_file is not None and not self.parameters:
                raise ValueError("`parameter_file` needs `parameters`: which of its columns are meant, and their prior")
            return self

    def run(self, ctx: Context) -> Mapping[str, Any]:
        """Return the tile's observations."""
        from .read import read_observations

        assert ctx.tile is not None
        return {"observations": read_observations(self.config, ctx.tile, ctx.log)}
