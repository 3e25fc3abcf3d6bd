"""Posteriors by simulation: stages that train an estimator, and the one that asks it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ...core.product import Tiles, optional
from ...core.stage import Context, DataError, NoWork, Stage, StageConfig
from ...products import Catalog, Metrics, Model, Observations

UNTUNABLE = "`tuning` trains a summary network further, and there is none", "wire the output of sbi.moments to `summary_model`"
"""What is wrong, and what to do."""

if TYPE_CHECKING:
    from .answer import Ready


class KeepBackConfig(StageConfig):
    """What stages that train on simulations do with them."""

    keep_back: float = Field(
        0.1, gt=0, lt=1, description="fraction of the simulations that is kept back: half says which weights are best, half calibrates"
    )
    max_missing: float = Field(0.01, ge=0, lt=1, description="fraction of simulations with missing values beyond which training refuses")


class TrainingConfig(KeepBackConfig):
    """Settings of stages that train an ensemble on simulations."""

    members: int = Field(4, ge=1, le=32, description="networks in the ensemble; a single one is overconfident")
    hidden: tuple[int, ...] = Field((64, 64), min_length=1, description="widths of the hidden layers; of a flow, within each of its layers")
    summary: tuple[int, ...] = Field((), description="widths of a network that condenses the data first; empty for none")
    epochs: int = Field(60, ge=1, description="times that each member sees all simulations")
    batch: int = Field(256, ge=1, description="simulations, at most, that each member sees in a step; fewer where there are few")
    learning_rate: float = Field(2e-2, gt=0, description="highest learning rate")
    weight_decay: float = Field(1e-2, ge=0, description="pull of all weights to zero (AdamW)")


class CalibrationConfig(KeepBackConfig):
    """Settings of stages whose estimator is for `sbi.posterior`."""

    calibration: Literal["on", "off"] = Field("on", description="whether posteriors are tested on simulations that were kept back")
    tests: int = Field(500, ge=1, description="simulations, at most, that calibration rests on")
    draws: int = Field(200, ge=10, description="draws from each posterior in calibration")


class CalibratedConfig(CalibrationConfig, TrainingConfig):
    """Settings of stages that train an ensemble for `sbi.posterior`."""


class FlowConfig(CalibratedConfig):
    """Settings of stages that train a flow."""

    layers: int = Field(5, ge=1, le=32, description="of each flow; more follow more intricate posteriors")
    bins: int = Field(8, ge=2, le=64, description="of each spline")


class EstimatorStage(Stage):
    """A stage that trains what `sbi.posterior` asks: a subclass writes a name, a `Config` and `run`."""

    scope = "survey"
    inputs: ClassVar[Mapping[str, Any]] = {"observations": Tiles.of(Observations)}
    outputs: ClassVar[Mapping[str, Any]] = {"posterior_model": Model, "calibration": Metrics}

    class Config(CalibrationConfig):
        """Settings of every such stage; a subclass adds its own."""


class NeuralStage(EstimatorStage):
    """A stage that trains one of our own networks, on the data or on what a summary network makes of them."""

    inputs: ClassVar[Mapping[str, Any]] = {**EstimatorStage.inputs, "summary_model": optional(Model)}

    def run(self, ctx: Context, *, observations: Tiles[Observations], summary_model: Model | None = None) -> Mapping[str, Any]:
        """Return the model and its calibration."""
        from .infer import infer

        model, metrics = infer(ctx, observations, self.config, self.name, summary_model)
        return {"posterior_model": model, "calibration": metrics}


class TuningConfig(StageConfig):
    """How a summary network and the flows that hear it are trained together."""

    epochs: int = Field(10, ge=1, description="times that all simulations are seen")
    batch: int = Field(64, ge=2, description="simulations in a step")
    learning_rate: float = Field(1e-3, gt=0, description="highest learning rate")


class NeuralPosterior(NeuralStage):
    """Learn the posterior from simulations: a flow over parameters given data (neural posterior estimation).

    The flow is trained once and then answers for any number of observations. Members of the ensemble see the simulations in orders of
    their own, and their mixture answers. A part of the simulations is kept back, and says whether the posteriors mean what they say.

    References: Papamakarios & Murray (2016), arXiv:1605.06376; Greenberg et al. (2019), arXiv:1905.07488; Durkan et al. (2019),
    arXiv:1906.04032; Hermans et al. (2021), arXiv:2110.06581 (why calibration is not optional).
    """

    name, version = "sbi.npe", 2

    class Config(FlowConfig):
        """Settings of `sbi.npe`."""

        tuning: TuningConfig | None = Field(
            None, description="train the network of `summary_model` together with the flow in the end, on the data themselves; unset: not"
        )

    @classmethod
    def check_inputs(cls, config: Any, wired: Mapping[str, tuple[type[Stage], Any]]) -> Iterable[tuple[str, str]]:
        """Yield what is wrong with a tuning that has nothing to tune."""
        if config.tuning is not None and "summary_model" not in wired:
            yield UNTUNABLE

    def run(self, ctx: Context, *, observations: Tiles[Observations], summary_model: Model | None = None) -> Mapping[str, Any]:
        """Return the model and its calibration."""
        if self.config.tuning is not None and summary_model is None:
            raise DataError(": ".join(UNTUNABLE))
        return super().run(ctx, observations=observations, summary_model=summary_model)


class NeuralLikelihood(NeuralStage):
    """Learn the likelihood from simulations: a flow over data given parameters (neural likelihood estimation).

    Populations of walkers then draw from its product with the prior, which also gives the evidence. It needs fewer simulations than
    `sbi.npe` where data are few numbers and the posterior is intricate; each posterior costs far more.

    References: Papamakarios, Sterratt & Murray (2019), arXiv:1805.07226; Del Moral, Doucet & Jasra (2006), JRSS B 68, 411; ter
    Braak (2006), Stat. Comput. 16, 239.
    """

    name, version = "sbi.nle", 2

    class Config(FlowConfig):
        """Settings of `sbi.nle`."""

        max_missing: float = Field(
            0.0, ge=0, lt=1, description="fraction of simulations with missing values beyond which training refuses; they bend likelihoods"
        )
        tests: int = Field(100, ge=1, description="simulations, at most, that calibration rests on; each costs a walk")


class NeuralRatio(NeuralStage):
    """Learn the ratio of likelihood to evidence from simulations, by telling right pairs from wrong ones.

    Ratio and prior together are the posterior, from which populations of walkers draw. The network has no density to get right and can be
    any, so data may be many numbers; where they are few, `sbi.npe` and `sbi.nle` learn more from as many simulations.

    References: Hermans, Begy & Louppe (2020), arXiv:1903.04057; Durkan, Murray & Papamakarios (2020), arXiv:2002.03712; Miller, Weniger &
    Forré (2022), arXiv:2210.06170 (the contrast that is learnt from).
    """

    name, version = "sbi.nre", 2

    class Config(CalibratedConfig):
        """Settings of `sbi.nre`."""

        tests: int = Field(100, ge=1, description="simulations, at most, that calibration rests on; each costs a walk")


class Posterior(Stage):
    """Give the posterior of each observation: quantiles, mean, most probable draw, and draws.

    What cannot be trusted is flagged rather than left out: a missing value, data unlike the simulations, a posterior at the end of
    the prior, an estimator that failed its calibration or was never tested. Every observation has its answer after a bounded
    number of draws. Where the simulator's likelihood has a formula it can have the last word: draws are weighed by it and drawn anew.

    References: Cranmer, Brehmer & Louppe (2020), arXiv:1911.01429; Dax et al. (2023), arXiv:2210.05686 (draws weighed by importance).
    """

    name, version, scope = "sbi.posterior", 2, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {"posterior_model": Model, "observations": Observations}
    outputs: ClassVar[Mapping[str, Any]] = {
        "posterior": Catalog.of("posterior"),
        "posterior_sample": Catalog.of("posterior_sample"),
        "likeness": Metrics,
    }

    class Config(StageConfig):
        """Settings of `sbi.posterior`."""

        draws: int = Field(1000, ge=2, le=1_000_000, description="draws from each posterior")
        keep: int = Field(100, ge=0, description="draws of each that go into the table `posterior_sample`")
        reweight: bool = Field(
            False, description="correct the draws by the simulator's likelihood, which must have a formula; also gives the evidence"
        )

    _ready: Ready | None = None
    """The model of the tile before, ready to answer."""

    def run(self, ctx: Context, *, posterior_model: Model, observations: Observations) -> Mapping[str, Any]:
        """Return the tables, and how far the observations look like simulations."""
        from .answer import answer, ready

        if not len(observations):
            raise NoWork("there are no observations")
        config = self.config
        self._ready = ready(self._ready, posterior_model, ctx.device, reweight=config.reweight)
        posterior, samples, likeness = answer(ctx, self._ready, observations, config.draws, config.keep)
        return {"posterior": posterior, "posterior_sample": samples, "likeness": likeness}
