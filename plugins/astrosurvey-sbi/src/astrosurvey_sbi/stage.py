"""The stages sbi_package.npe, sbi_package.nle and sbi_package.nre, with the ports of astrosurvey's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from astrosurvey import Context, Observations, Tiles
from astrosurvey.stages.sbi.stage import CalibrationConfig, EstimatorStage


class TrainingConfig(CalibrationConfig):
    """Settings of all stages; the defaults are those of sbi."""

    members: int = Field(1, ge=1, le=32, description="networks, each trained alone; one, as sbi has it, is often overconfident")
    hidden: int = Field(50, ge=2, description="width of the hidden layers (hidden_features)")
    epochs: int = Field(1000, ge=1, description="times, at most, that a network sees all simulations (max_num_epochs)")
    patience: int = Field(20, ge=1, description="epochs without gain after which training ends (stop_after_epochs)")
    batch: int = Field(200, ge=2, description="simulations in a step (training_batch_size)")
    learning_rate: float = Field(5e-4, gt=0, description="of Adam (learning_rate)")
    keep_back: float = Field(
        0.2, gt=0, lt=1, description="fraction of the simulations that is not learnt from: half says when to stop, half calibrates"
    )


class FlowConfig(TrainingConfig):
    """Settings of stages that train a flow."""

    flow: Literal["nsf", "maf", "maf_rqs", "zuko_nsf", "zuko_maf"] = Field(
        "nsf", description="neural spline flow or masked autoregressive flow, of nflows or zuko (density_estimator)"
    )
    layers: int = Field(5, ge=1, le=32, description="of each flow (num_transforms)")
    bins: int = Field(10, ge=2, le=64, description="of each spline (num_bins)")


class SbiStage(EstimatorStage):
    """A stage whose network and training are sbi's."""

    version = 2

    def run(self, ctx: Context, *, observations: Tiles[Observations]) -> Mapping[str, Any]:
        """Return the model and its calibration."""
        from .training import infer

        model, metrics = infer(ctx, observations, self.config, self.name)
        return {"posterior_model": model, "calibration": metrics}


class SbiPosterior(SbiStage):
    """Learn the posterior from simulations with the package sbi: a flow over parameters given data.

    Has the ports of `sbi.npe` but `summary_model`, and can stand in its place. Scales of data and parameters, calibration and the test
    for strange data are astrosurvey's; network and training are sbi's.

    References: Boelts et al. (2025), doi:10.21105/joss.07754 (sbi); Papamakarios & Murray (2016), arXiv:1605.06376; Durkan et al. (2019),
    arXiv:1906.04032.
    """

    name = "sbi_package.npe"

    class Config(FlowConfig):
        """Settings of `sbi_package.npe`."""


class SbiLikelihood(SbiStage):
    """Learn the likelihood from simulations with the package sbi: a flow over data given parameters.

    Has the ports of `sbi.nle` but `summary_model`, and can stand in its place. Posteriors are drawn by populations of walkers of ours.

    References: Boelts et al. (2025), doi:10.21105/joss.07754 (sbi); Papamakarios, Sterratt & Murray (2019), arXiv:1805.07226.
    """

    name = "sbi_package.nle"

    class Config(FlowConfig):
        """Settings of `sbi_package.nle`."""

        max_missing: float = Field(
            0.0, ge=0, lt=1, description="fraction of simulations with missing values beyond which training refuses; they bend likelihoods"
        )
        tests: int = Field(100, ge=1, description="simulations, at most, that calibration rests on; each costs a walk")


class SbiRatio(SbiStage):
    """Learn the ratio of likelihood to evidence from simulations with the package sbi, by telling right pairs from wrong ones.

    Has the ports of `sbi.nre` but `summary_model`, and can stand in its place. Posteriors are drawn by populations of walkers of ours.

    References: Boelts et al. (2025), doi:10.21105/joss.07754 (sbi); Miller, Weniger & Forré (2022), arXiv:2210.06170.
    """

    name = "sbi_package.nre"

    class Config(TrainingConfig):
        """Settings of `sbi_package.nre`."""

        classifier: Literal["resnet", "mlp", "linear"] = Field("resnet", description="network (classifier)")
        contrasts: int = Field(5, ge=1, description="pairs of which one may be right (num_classes)")
        tests: int = Field(100, ge=1, description="simulations, at most, that calibration rests on; each costs a walk")
