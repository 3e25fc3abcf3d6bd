"""Put spectra on one wavelength grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ....core.stage import Context, Stage, StageConfig
from ....products import Spectra


class ResampleSpectra(Stage):
    """Put spectra on one wavelength grid: exact integrals over its pixels, with variances and masks.

    The flux density is taken as constant within a pixel, and the flux in each new pixel is conserved.
    Unusable pixels are left out; a new pixel that lacks too much of its width is marked, and has no weight.

    References: Carnall (2017), arXiv:1705.05165.
    """

    name = "spectra.resample"
    version = 1
    inputs = {"spectra": Spectra}
    outputs = {"spectra": Spectra}

    class Config(StageConfig):
        """Settings of `spectra.resample`."""

        start: float | None = Field(None, gt=0, description="Å in vacuum; the centre of the first pixel")
        stop: float | None = Field(None, gt=0, description="Å in vacuum; the centre of the last pixel is not beyond this")
        step: float | None = Field(None, gt=0, description="Å from pixel to pixel")
        log_step: float | None = Field(None, gt=0, description="instead of `step`: the step of log10(wavelength), such as SDSS's 1e-4")
        like: Literal["first"] | None = Field(None, description="instead of all these: the grid of the first spectrum that has data")
        threshold: float = Field(
            0.5,
            ge=0,
            le=1,
            description="a pixel of which a larger part is unusable or missing is PARTIAL; mask bits that cover a larger part are kept",
        )

        @model_validator(mode="after")
        def _one_grid(self) -> Self:
            given = [name for name in ("start", "stop", "step", "log_step") if getattr(self, name) is not None]
            if self.like is not None:
                if given:
                    raise ValueError(f"`like` stands for the whole grid, so leave out {', '.join(given)}")
            elif self.start is None or self.stop is None or (self.step is None) == (self.log_step is None):
                raise ValueError("a grid needs `start`, `stop` and one of `step` and `log_step`; or else `like: first`")
            elif self.stop <= self.start:
                raise ValueError("`stop` must be beyond `start`")
            return self

    def run(self, ctx: Context, *, spectra: Spectra) -> Mapping[str, Any]:
        """Return the spectra on the grid."""
        from .grid import first_grid, made_grid
        from .rows import resampled

        config = self.config
        grid = first_grid(spectra) if config.like else made_grid(config.start, config.stop, config.step, config.log_step)
        return {"spectra": resampled(ctx, spectra, grid, config.threshold)}
