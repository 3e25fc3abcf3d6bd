"""`io.observations`: observed vectors, images or cubes, from which parameters are to be inferred."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ....core.stage import Context, FilePath, Stage, StageConfig
from ....products import Observations


class ReadObservations(Stage):
    """Read observed data for inference: rows of a table, an array of NumPy's, or a FITS image or cube.

    A table (CSV and other text, ECSV, FITS, VOTable, Parquet) gives an observation for each row, made of its columns of numbers; a
    `.npy` file one for each entry of its first axis; a FITS image is one observation. What is missing is NaN.
    """

    name, version, scope = "io.observations", 1, "tile"
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
        missing: list[float] = Field([], description="numbers that stand for no value, such as -99")
        hdu: int | str | None = Field(None, description="number or EXTNAME in a FITS file; unset: the only image, or the first table")

        @model_validator(mode="after")
        def _says_what_ids_are(self) -> Self:
            if self.id is not None and self.about not in ("source", "spectrum"):
                given = "that one observation has the tile's number" if self.about == "tile" else "nothing"
                raise ValueError(f"`id` is what `about` names, and that says {given}: set `about: source` or `about: spectrum`")
            return self

    def run(self, ctx: Context) -> Mapping[str, Any]:
        """Return the tile's observations."""
        from .read import read_observations

        assert ctx.tile is not None
        return {"observations": read_observations(self.config, ctx.tile)}
