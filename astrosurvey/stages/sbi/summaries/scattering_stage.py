"""`sbi.scattering`: wavelet scattering coefficients of lines and images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from ....core.stage import Context, DataError, Stage, StageConfig
from ....products import Observations

LEAST_SIDE = 8
"""Pixels along each axis, at least."""


class Scattering(Stage):
    """Summarise lines and images by wavelet scattering: how strong they are at each scale, and how that strength varies.

    Nothing has to be trained, so a few simulations are enough, and the summaries are the same for every simulator. Edges wrap around.

    References:
        Mallat (2012), arXiv:1101.2286; Cheng et al. (2020), arXiv:2006.08561.
    """

    name, version, scope = "sbi.scattering", 1, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {"observations": Observations}
    outputs: ClassVar[Mapping[str, Any]] = {"observations": Observations}

    class Config(StageConfig):
        """Settings of `sbi.scattering`."""

        scales: int | None = Field(
            None, ge=1, le=12, description="octaves from the smallest scale up; as many as the shorter axis holds if left out"
        )
        angles: int = Field(4, ge=2, le=16, description="directions of images between 0 and 180 degrees")
        isotropic: bool = Field(True, description="average over directions; set to false where they mean something")

    def run(self, ctx: Context, *, observations: Observations) -> Mapping[str, Any]:
        """Return the coefficients of each observation."""
        import numpy as np
        import torch

        from ....networks.summaries.scattering import coefficient_names, scatter, wavelets
        from .blocks import summarised

        shape = observations.data.shape[1:]
        if len(shape) > 2:
            raise DataError(f"sbi.scattering takes lines and images, not data of {len(shape)} axes; summarise cubes with sbi.moments")
        if min(shape) < LEAST_SIDE:
            raise DataError(f"an axis of {min(shape)} pixels is too short for wavelets; at least {LEAST_SIDE} are needed")
        most = int(np.log2(min(shape))) - 1
        scales, angles = self.config.scales or most, self.config.angles if len(shape) == 2 else 1
        if scales > most:
            raise DataError(f"`scales` is {scales}, but an axis of {min(shape)} pixels holds {most}")
        filters = wavelets(shape, scales, angles).to(ctx.device)
        isotropic = self.config.isotropic

        def summarise(block: np.ndarray) -> np.ndarray:
            # One at a time: their transforms for every scale and angle are many times as large.
            rows = [scatter(torch.from_numpy(row[None]).to(ctx.device), filters, isotropic=isotropic) for row in block]
            return np.asarray(torch.cat(rows).cpu().numpy())

        return {"observations": summarised(ctx, observations, coefficient_names(scales, angles, isotropic), summarise)}
