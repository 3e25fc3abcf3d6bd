"""`sbi.powerspectrum`: binned power spectra of lines, images and cubes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ....core.stage import Context, DataError, Stage, StageConfig
from ....products import Observations

Length = Annotated[float, Field(gt=0)]


class PowerSpectrum(Stage):
    """Summarise lines, images and cubes by their mean and the logarithms of their power in bins of wave number.

    Of a Gaussian random field nothing else tells of its parameters; of others it is what a network's summaries should be compared with.
    Power is |DFT|^2 V / N^2, in the data's unit squared times `pixel`'s unit to the power of the number of axes, and wave numbers are in
    radians per unit of `pixel`. Edges wrap around.

    References:
        Peebles (1980), The Large-Scale Structure of the Universe; Feldman, Kaiser & Peacock (1994), ApJ 426, 23; Morales & Wyithe
        (2010), ARA&A 48, 127 (cylindrical bins).
    """

    name, version, scope = "sbi.powerspectrum", 1, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {"observations": Observations}
    outputs: ClassVar[Mapping[str, Any]] = {"observations": Observations}

    class Config(StageConfig):
        """Settings of `sbi.powerspectrum`."""

        bins: int = Field(
            20, ge=1, le=100, description="of |k|; with `along`, of its part across the line of sight; those without a mode are left out"
        )
        along: int | None = Field(
            None, ge=1, le=100, description="bins of k along the line of sight, the first axis; isotropic bins if left out"
        )
        spacing: Literal["log", "linear"] = Field("log", description="of the bins; modes with k = 0 along or across have one of their own")
        limits: tuple[float, float] | None = Field(
            None, description="lowest and highest |k|, in radians per unit of `pixel`; all modes, those in corners too, if left out"
        )
        pixel: tuple[Length, ...] | None = Field(None, description="lengths of a pixel along each axis, in any one unit; 1 if left out")

        @model_validator(mode="after")
        def _check(self) -> Self:
            if self.limits is not None and not 0 <= self.limits[0] < self.limits[1]:
                raise ValueError("limits must rise, from 0 or more")
            return self

    def run(self, ctx: Context, *, observations: Observations) -> Mapping[str, Any]:
        """Return the spectrum of each observation."""
        from .blocks import summarised
        from .power import PowerBins

        config, shape = self.config, observations.data.shape[1:]
        if len(shape) > 3:
            raise DataError(f"sbi.powerspectrum takes lines, images and cubes, not data of {len(shape)} axes")
        if config.pixel is not None and len(config.pixel) != len(shape):
            raise DataError(f"`pixel` has {len(config.pixel)} lengths, and the data have {len(shape)} axes")
        if config.along is not None and len(shape) == 1:
            raise DataError("`along` asks for bins along and across the line of sight, and lines have no across; leave it out")
        bins = PowerBins.of(shape, config.bins, along=config.along, pixel=config.pixel, limits=config.limits, spacing=config.spacing)
        if not len(bins.k):
            raise DataError(f"no mode of data of the shape {shape} is within `limits`, {config.limits}")
        return {"observations": summarised(ctx, observations, bins.names, bins.summaries)}
