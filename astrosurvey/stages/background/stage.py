"""The sky background on a mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from ...core.stage import Context, Stage, StageConfig
from ...products import Image


class MeshBackground(Stage):
    """Subtract the sky, estimated by clipped statistics on a mesh, and measure its noise.

    Each band is treated by itself. A second pass leaves out the sources of the first, so that their
    faint outskirts do not pass for sky. The noise found becomes the variance of an image that has none.

    References: Bertin & Arnouts (1996), A&AS 117, 393.
    """

    name = "background.mesh"
    version = 2
    inputs = {"image": Image}
    outputs = {"image": Image, "background": Image}

    class Config(StageConfig):
        """Settings of `background.mesh`."""

        box: int = Field(64, ge=4, description="side of a mesh box in pixels; several times the size of the largest source to be kept")
        filter_size: int = Field(3, ge=1, description="odd side, in boxes, of the median filter over the mesh; 1 filters nothing")
        clip: float = Field(3.0, ge=1.5, description="values beyond so many standard deviations from the median are clipped")
        min_good: float = Field(0.5, gt=0, le=1, description="fraction of good pixels a box needs; others take over from their neighbours")
        mask_sources: bool = Field(True, description="mask the sources found over the first sky and estimate it again")
        source_threshold: float = Field(2.0, gt=0, description="standard deviations above the first sky from which pixels are masked")
        dilation: int = Field(4, ge=0, description="pixels by which masked sources are grown on every side")
        variance: Literal["keep", "rescale", "measure"] = Field(
            "keep",
            description="keep the image's variance if it has one; rescale it to the measured noise of the sky; or measure it afresh",
        )
        gain: float | None = Field(None, gt=0, description="electrons per nJy: adds the sources' photon noise to a measured variance")

        @field_validator("filter_size")
        @classmethod
        def _odd(cls, value: int) -> int:
            if value % 2 == 0:
                raise ValueError(f"must be odd, such as {value + 1}")
            return value

    def run(self, ctx: Context, *, image: Image) -> Mapping[str, Any]:
        """Return the sky-subtracted image and the background: its level, with the squared noise as variance."""
        from .mesh import measure, subtracted

        config = self.config
        good = image.usable()
        window = ctx.tile.window if ctx.tile else None
        origin = (window.y0, window.x0) if window else (0, 0)
        skies = []
        for b, band in enumerate(image.bands):
            sky = measure(
                image.data[b],
                good[b],
                box=config.box,
                filter_size=config.filter_size,
                clip=config.clip,
                min_good=config.min_good,
                mask_sources=config.mask_sources,
                threshold=config.source_threshold,
                dilation=config.dilation,
                origin=origin,
                device=ctx.device,
            )
            if sky is None:
                ctx.log.warning("band %s has no usable pixel, so it has no sky", band)
            elif not sky.rms.any():
                ctx.log.warning("band %s has no noise at all: is the image constant?", band)
            skies.append(sky)
            ctx.progress(b + 1, len(image.bands))
        data, level, measured = subtracted(image.data, skies, ctx.device)
        background = Image(data=level, bands=image.bands, variance=measured, wcs=image.wcs, unit=image.unit, meta=image.meta)
        return {"image": replace(image, data=data, variance=self._variance(image, data, measured, good)), "background": background}

    def _variance(self, image: Image, data: np.ndarray, measured: np.ndarray, good: np.ndarray) -> np.ndarray:
        """Return the variance of the sky-subtracted image, inf where it has no data."""
        variance = image.variance
        if variance is None or self.config.variance == "measure":
            variance = measured
            if self.config.gain:
                variance = variance + np.maximum(np.nan_to_num(data, posinf=0.0), 0) / np.float32(self.config.gain)
        elif self.config.variance == "rescale":
            variance = variance.copy()
            for b, ok in enumerate(good):
                if ok.any():
                    variance[b] *= np.float32(np.median(measured[b][ok] / variance[b][ok]))
        if good.all():
            return variance
        known = np.isfinite(data)
        return variance if known.all() else np.where(known, variance, np.float32(np.inf))
