"""Inference in rounds: the stage that narrows a prior, the one that draws from what is left, and the one that keeps simulations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from ....core.product import Tiles
from ....core.stage import Context, NoWork, Stage, StageConfig
from ....products import Catalog, Metrics, Model, Observations, Samples
from ..stage import CalibratedConfig


class TruncatedMarginals(Stage):
    """Learn marginal posteriors by ratios, and cut the prior to what the observations leave possible (truncated marginals).

    Ratios of single parameters and of pairs are far simpler functions than that of all parameters, so few simulations teach them. The
    next round simulates only where the observations still allow it: `sbi.truncate` draws from the prior that is left, and all
    simulations of the next `sbi.tmnre` tell of these observations. The box holds every observation of `target`, so rounds pay where
    one is observed, or a few that are alike.

    References: Miller et al. (2021), arXiv:2107.01214; Miller, Weniger & Forré (2022), arXiv:2210.06170 (the contrast that is learnt
    from); Alvey, Gerdes & Weniger (2023), arXiv:2304.02032 (stellar streams).
    """

    name, version, scope = "sbi.tmnre", 2, "survey"
    inputs: ClassVar[Mapping[str, Any]] = {"observations": Tiles.of(Observations), "target": Tiles.of(Observations)}
    outputs: ClassVar[Mapping[str, Any]] = {
        "posterior_model": Model,
        "posterior": Catalog.of("posterior"),
        "posterior_sample": Catalog.of("posterior_sample"),
        "calibration": Metrics,
    }

    class Config(CalibratedConfig):
        """Settings of `sbi.tmnre`."""

        # Ratios of single parameters are learnt soon, and then the noise of the simulations is; what tells of one tells of others.
        summary: tuple[int, ...] = Field((64, 16), description="widths of a network that condenses the data for all ratios; empty for none")
        epochs: int = Field(20, ge=1, description="times that each member sees all simulations; many of them learn noise by heart")
        tests: int = Field(200, ge=1, description="simulations, at most, that calibration rests on; each is a grid of ratios")
        pairs: list[tuple[str, str]] | None = Field(
            None,
            description="pairs of parameters that are learnt beside the single ones, such as [[age, dispersion]]; unset: all of up to six "
            "parameters, none of more",
        )
        threshold: float = Field(1e-4, gt=0, lt=1, description="part of a parameter's highest ratio below which it is cut off")
        keep: int = Field(1000, ge=0, le=1_000_000, description="draws of each observation that go into the table `posterior_sample`")

    def run(self, ctx: Context, *, observations: Tiles[Observations], target: Tiles[Observations]) -> Mapping[str, Any]:
        """Return the model with the prior that is left, the posteriors, and the calibration."""
        from .train import learnt

        return learnt(ctx, observations, target, self.config)


class Restrict(Stage):
    """Cut the prior to the box in which the posteriors of what has been observed lie (truncated sequential estimation).

    Any estimator can so be trained in rounds: posteriors of the `target` are drawn by its model, the least dense draws are left out, and
    the prior that is left goes onto the model's card. `sbi.truncate` draws from it, and whatever learns from the next round's simulations
    learns posteriors under it. Within the box the prior keeps its shape, so nothing has to be corrected, and calibration means in each
    round what it always means.

    References: Deistler, Gonçalves & Macke (2022), arXiv:2210.04815.
    """

    name, version, scope = "sbi.restrict", 1, "survey"
    inputs: ClassVar[Mapping[str, Any]] = {"posterior_model": Model, "target": Tiles.of(Observations)}
    outputs: ClassVar[Mapping[str, Any]] = {"posterior_model": Model}

    class Config(StageConfig):
        """Settings of `sbi.restrict`."""

        draws: int = Field(10_000, ge=1000, le=1_000_000, description="draws from the posterior of each observation of `target`")
        left_out: float = Field(0.01, ge=0, lt=0.5, description="part of the draws, the least dense, that the box need not hold")
        margin: float = Field(0.1, ge=0, description="part of the box that is added on either side of each parameter")

    def run(self, ctx: Context, *, posterior_model: Model, target: Tiles[Observations]) -> Mapping[str, Any]:
        """Return the model with the prior that is left."""
        from .restrict import restricted

        return {"posterior_model": restricted(ctx, posterior_model, target, self.config)}


class Truncate(Stage):
    """Draw parameters from what a round of `sbi.tmnre` or `sbi.restrict` left of the prior.

    The simulators downstream make the data of the next round of them.
    """

    name, version, scope = "sbi.truncate", 1, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {"posterior_model": Model}
    outputs: ClassVar[Mapping[str, Any]] = {"parameters": Samples}

    class Config(StageConfig):
        """Settings of `sbi.truncate`."""

        number: int = Field(1000, ge=1, le=10_000_000, description="draws in each tile")

    def run(self, ctx: Context, *, posterior_model: Model) -> Mapping[str, Any]:
        """Return the tile's draws."""
        from .box import of_card

        prior = of_card(posterior_model.card)
        return {"parameters": prior.samples(prior.draw(ctx.rng, self.config.number))}


class PoolSimulations(Stage):
    """Put simulations of an earlier round, as far as they lie within this round's prior, beside those of this round.

    Within the box they are draws of the same prior, since its parameters are independent. Simulations that failed are kept as well.
    """

    name, version, scope = "sbi.pool", 1, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {"observations": Observations, "earlier": Observations}
    outputs: ClassVar[Mapping[str, Any]] = {"observations": Observations}

    def run(self, ctx: Context, *, observations: Observations, earlier: Observations) -> Mapping[str, Any]:
        """Return all simulations of a tile from this round's prior."""
        from .pool import pooled

        if not len(observations):
            raise NoWork("there are no simulations")
        return {"observations": pooled(ctx, observations, earlier)}
