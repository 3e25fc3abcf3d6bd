"""`sbi.moments` trains a network that summarises data; `sbi.summarise` applies it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ....core.product import Tiles
from ....core.stage import Context, DataError, Stage
from ....products import Metrics, Model, Observations
from ..stage import CalibrationConfig


class TrainMoments(Stage):
    """Train a network that summarises lines, images, cubes or sets, and gives mean and spread of each parameter's posterior.

    Its loss needs neither likelihood nor flow and is hard to upset, so it is what large data begin with: a flow (`sbi.npe`) is then trained
    in minutes on the summaries that `sbi.summarise` makes. `sbi.posterior` takes the network itself, too: as normal posteriors, without
    correlations, which are tested like any others. Data are read as they are needed, so there may be more than memory holds.

    References:
        Jeffrey & Wandelt (2020), arXiv:2011.05991; Villaescusa-Navarro et al. (2022), arXiv:2201.01300 (the loss);
        Schosser, Heneka & Plehn (2024), arXiv:2401.04174 (pre-training of summaries).
    """

    name, version, scope = "sbi.moments", 2, "survey"
    inputs: ClassVar[Mapping[str, Any]] = {"observations": Tiles.of(Observations)}
    outputs: ClassVar[Mapping[str, Any]] = {"summary_model": Model, "metrics": Metrics}

    class Config(CalibrationConfig):
        """Settings of `sbi.moments`."""

        network: Literal["auto", "perceptron", "convolutions", "deep_set"] = Field(
            "auto",
            description="auto: convolutions for images, cubes, and lines of more than 64 values, else a perceptron; deep_set: data are "
            "(row, column), and rows have no order; a row with a missing value is none",
        )
        features: int = Field(16, ge=1, le=256, description="summaries; some more than there are parameters")
        channels: bool = Field(False, description="the first axis of each observation holds bands or other channels")
        stem: tuple[int, ...] | None = Field(
            None, description="strides of the first convolution along each axis; chosen by the shape if left out"
        )
        symmetry: Literal["none", "mirror", "square", "torus"] = Field(
            "none",
            description="under which data mean the same, along the last two axes: mirror images; turns by 90 degrees as well; "
            "shifts around the edges as well",
        )
        epochs: int = Field(30, ge=1, description="times that all simulations are seen")
        batch: int = Field(64, ge=2, description="simulations in a step")
        learning_rate: float = Field(1e-3, gt=0, description="highest learning rate")

    def run(self, ctx: Context, *, observations: Tiles[Observations]) -> Mapping[str, Any]:
        """Return the network, and how well it does on simulations that it has not seen."""
        from ..data import Simulations
        from .fit import fitted

        simulations = Simulations(observations, sets=self.config.network == "deep_set")
        shape = simulations.shape
        kind = self._kind(shape)
        if len(shape) - self.config.channels not in (1, 2, 3) and kind == "convolutions":
            raise DataError(
                f"data of {len(shape)} axes: convolutions run over one to three of them, after one of channels if `channels` is set"
            )
        if self.config.symmetry != "none" and (kind == "deep_set" or len(shape) - self.config.channels < 2):
            raise DataError(f"`symmetry` is {self.config.symmetry!r}, and neither lines nor sets have any of these; take none")
        if self.config.symmetry in ("square", "torus") and shape[-1] != shape[-2]:
            raise DataError(f"`symmetry` is {self.config.symmetry!r}, and {shape[-2]} by {shape[-1]} pixels cannot be turned; take mirror")
        model, metrics = fitted(ctx, simulations, self.config, kind)
        return {"summary_model": model, "metrics": metrics}

    def _kind(self, shape: tuple[int, ...]) -> Literal["perceptron", "convolutions", "deep_set"]:
        if self.config.network != "auto":
            return self.config.network
        large = len(shape) > 1 or shape[0] > 64
        return "convolutions" if large else "perceptron"


class Summarise(Stage):
    """Turn data into the summaries that a network of `sbi.moments` makes of them, averaged over equivalent positions.

    Wire simulations as well as observations through it: a flow is trained on the summaries of the one, and asked about those of the other.
    """

    name, version, scope = "sbi.summarise", 1, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {"summary_model": Model, "observations": Observations}
    outputs: ClassVar[Mapping[str, Any]] = {"observations": Observations}

    def run(self, ctx: Context, *, summary_model: Model, observations: Observations) -> Mapping[str, Any]:
        """Return the summaries of each observation."""
        from ..model import require_alike
        from .blocks import summarised
        from .model import opened

        moments = opened(summary_model, ctx.device)
        names, units = (tuple(summary_model.card.get(key, ())) for key in ("names", "units"))
        require_alike(observations, moments.shape, names, units, sets=moments.sets)
        names = tuple(f"summary_{k}" for k in range(moments.features))
        strange = 0

        def summaries(block: np.ndarray) -> np.ndarray:
            nonlocal strange
            strange += int(np.count_nonzero(moments.data.beyond(block)) if moments.sets else 0)
            return moments.summaries(block)

        found = summarised(ctx, observations, names, summaries, sets=moments.sets)
        if strange:
            message = "%d of %d sets have fewer or more rows than all simulations: what is inferred from them means nothing"
            ctx.log.warning(message, strange, len(observations))
        return {"observations": found}
