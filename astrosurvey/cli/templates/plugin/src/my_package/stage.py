"""The stage my_family.compactness: its ports, its settings and its flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from astrosurvey import Catalog, Context, DataError, Field, Image, Stage, StageConfig


class Compactness(Stage):
    """Measure how compact each source is: the share of its light in a small circle.

    A star's value is that of the point-spread function, whatever its brightness; a galaxy's is lower.
    """

    name = "my_family.compactness"
    version = 1
    inputs = {"image": Image, "sources": Catalog.of("source")}
    outputs = {"sources": Catalog.of("source", fills=["x_my_family_compactness"], passes="sources")}

    class Config(StageConfig):
        """Settings of `my_family.compactness`."""

        band: str | None = Field(None, description="band to measure in; the image's first when left out")
        inner: float = Field(2.0, gt=0, description="radius of the inner circle in pixels")
        outer: float = Field(6.0, gt=0, le=100, description="radius of the outer circle in pixels")

        @model_validator(mode="after")
        def _ordered(self) -> Compactness.Config:
            if self.inner >= self.outer:
                raise ValueError(f"the inner radius {self.inner:g} must be smaller than the outer radius {self.outer:g}")
            return self

    def run(self, ctx: Context, *, image: Image, sources: Catalog) -> Mapping[str, Any]:
        """Return the sources with the column filled."""
        from .compactness import light_ratio, usable

        band = self.config.band or image.bands[0]
        if band not in image.bands:
            raise DataError(f"the image has no band {band!r}; set `band` to one of {', '.join(image.bands)}")
        plane = image.bands.index(band)
        ratio = light_ratio(
            image.data[plane],
            usable(image)[plane],
            sources.column("x"),
            sources.column("y"),
            inner=self.config.inner,
            outer=self.config.outer,
        )
        return {"sources": sources.replace(x_my_family_compactness=ratio)}
