"""`sbi.prior`: draws of parameters from a prior that the pipeline declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from ...core.stage import Context, Stage, StageConfig
from ...products import Samples
from .priors import ParameterPrior, Prior


class DrawPrior(Stage):
    """Draw parameters from a prior; the simulators downstream make data of each draw.

    Parameters are in the order of their names. The draws carry the prior with them, so that whatever is trained on the simulations
    knows it. A prior under which parameters depend on one another is a stage of one's own that gives `Samples` with `meta["prior"]`.
    """

    name, version, scope = "sbi.prior", 1, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, Any]] = {"parameters": Samples}

    class Config(StageConfig):
        """The prior."""

        parameters: dict[str, ParameterPrior] = Field(
            min_length=1, description="by parameter, its prior: {uniform: [low, high], unit: km.s**-1}, normal, log_uniform and so on"
        )
        number: int = Field(1000, ge=1, le=10_000_000, description="draws in each tile; take more tiles for more")

    def run(self, ctx: Context) -> Mapping[str, Any]:
        """Return the tile's draws."""
        prior = Prior.declared(dict(sorted(self.config.parameters.items())))  # settings come sorted out of a run's record, too
        return {"parameters": prior.samples(prior.draw(ctx.rng, self.config.number))}
