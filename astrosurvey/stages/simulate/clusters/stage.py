"""`simulate.clusters`: catalogues with clusters and streams in them, with the truth about who belongs to what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ....core.stage import Context, Stage, StageConfig
from ....products import Catalog

Noise = Annotated[float, Field(ge=0)]
MOST_DIMENSIONS = 20


class SimulateClusters(Stage):
    """Draw a catalogue of clumps, streams and background, and say what belongs to what.

    Rotated Gaussian clumps of different sizes, curved streams, and a background of which half is uniform and half is broad; or a
    box without structure, to count false clusters. With `snapshots`, every tile is a moment of one system of objects, in which
    clumps are born, merge and dissolve.

    References: Oliver et al. (2024), arXiv:2312.14632; Oliver et al. (2024), arXiv:2411.03229.
    """

    name, version, scope = "simulate.clusters", 1, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, Any]] = {"sources": Catalog.of("source"), "truth": Catalog.of("cluster_truth")}

    class Config(StageConfig):
        """What is drawn, and how it is observed. Lengths are in sides of the box, from 0 to 1."""

        kind: Literal["mock", "uniform", "gaussian"] = Field(
            "mock", description="mock: clumps, streams and background; uniform, gaussian: nothing to find"
        )
        number: int = Field(10_000, ge=1, le=10_000_000, description="sources in each tile")
        dimensions: int = Field(3, ge=2, le=MOST_DIMENSIONS, description="columns p1, p2, …")
        clumps: int = Field(9, ge=0, le=1000, description="Gaussian clumps")
        streams: int = Field(3, ge=0, le=1000, description="curved streams")
        background: float = Field(0.5, ge=0, le=1, description="share of the sources in no structure")
        noise: Noise | list[Noise] = Field(0.0, description="typical standard error of every column, or one for each")
        noise_scatter: float = Field(0.0, ge=0, le=3, description="scatter of the errors' natural logarithm between sources")
        center: tuple[float, float] | None = Field(
            None, description="right ascension and declination (deg) of the box's middle; unset: the sources have no place on the sky"
        )
        size: float = Field(10.0, gt=0, le=120, description="side of the box on the sky, deg")
        snapshots: int = Field(1, ge=1, le=10_000, description="moments of one system; the number that ends a tile's name says which it is")
        seed: int = Field(1, ge=0, description="which system, with `snapshots`: the same in every tile")
        births: int = Field(1, ge=0, description="with `snapshots`, clumps that are not there at first")
        dissolutions: int = Field(1, ge=0, description="with `snapshots`, clumps that are gone in the end")
        mergers: int = Field(1, ge=0, description="with `snapshots`, clumps that become part of another")

        @model_validator(mode="after")
        def _makes_sense(self) -> Self:
            if isinstance(self.noise, list) and len(self.noise) != self.dimensions:
                raise ValueError(
                    f"`noise` has {len(self.noise)} values for {self.dimensions} `dimensions`; give one for each, or one number"
                )
            if self.center is not None and not (0 <= self.center[0] < 360 and -90 <= self.center[1] <= 90):
                raise ValueError("`center` must be [ra, dec] with 0 <= ra < 360 and -90 <= dec <= 90")
            if self.snapshots > 1:
                if self.kind != "mock":
                    raise ValueError("`snapshots` are those of a mock: a box without structure has nothing that could change")
                changing = self.births + self.dissolutions + 2 * self.mergers
                if changing > self.clumps:
                    raise ValueError(
                        f"`births`, `dissolutions` and twice the `mergers` need {changing} `clumps`, and there are {self.clumps}"
                    )
            return self

    def run(self, ctx: Context) -> Mapping[str, Any]:
        """Return the tile's sources and the truth about them."""
        from .rows import simulate

        return simulate(self.config, ctx)
