"""What each stage trains: the trainer of sbi, the network, and what draws from posteriors with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sbi.inference import NLE, NPE, NRE_C
from sbi.inference.trainers.base import NeuralInference

from astrosurvey.stages.sbi.estimator import PosteriorFlow
from astrosurvey.stages.sbi.likelihood import LikelihoodFlow, LikelihoodRatio

from .networks import Flows, Ratios


@dataclass(frozen=True)
class Method:
    """What a stage trains.

    Attributes:
        trainer: sbi's.
        takes: what the trainer calls its network.
        build: makes all members' networks.
        answers: makes the estimator of posteriors.
        of_data: a network sees data as what is given a density, and parameters as what is given.
        settings: names of the stage's settings that the network is built with, beside the number of members.
        trained_with: what sbi's training calls further settings of the stage, by their name there.
        loss: what is minimised, and what that is.
    """

    trainer: type[NeuralInference]
    takes: str
    build: Callable[..., Any]
    answers: Callable[..., Any]
    of_data: bool
    settings: tuple[str, ...]
    trained_with: Mapping[str, str]
    loss: tuple[str, str]


_FLOW = ("flow", "hidden", "layers", "bins")
_SURPRISE = ("surprise", "mean of minus the log density of simulations that were kept back, mean of all members")
_CONTRAST = (
    "contrast",
    "cross-entropy of right pairs of parameters and data among wrong ones, kept back, mean of all members",
)

METHODS = {
    "sbi_package.npe": Method(NPE, "density_estimator", Flows, PosteriorFlow, False, _FLOW, {}, _SURPRISE),
    "sbi_package.nle": Method(NLE, "density_estimator", Flows, LikelihoodFlow, True, _FLOW, {}, _SURPRISE),
    "sbi_package.nre": Method(
        NRE_C, "classifier", Ratios, LikelihoodRatio, True, ("classifier", "hidden"), {"contrasts": "num_classes"}, _CONTRAST
    ),
}
"""By the stage's name."""
