"""The stages of simulation-based inference, for the built-in plugin to register."""

from __future__ import annotations

from .observe import ObserveSources
from .prior_stage import DrawPrior
from .rounds.stage import PoolSimulations, Restrict, Truncate, TruncatedMarginals
from .simulators.enrichment import Enrichment
from .simulators.gaussian_linear import GaussianLinear
from .simulators.gaussian_mixture import SpikeAndSlab
from .simulators.lightcone import LightCone
from .simulators.lotka_volterra import LotkaVolterra
from .simulators.sed import SimulateSed
from .simulators.sir import Sir
from .simulators.slcp import Slcp
from .simulators.stream import Stream
from .simulators.two_moons import TwoMoons
from .stage import NeuralLikelihood, NeuralPosterior, NeuralRatio, Posterior
from .summaries.moments_stage import Summarise, TrainMoments
from .summaries.power_stage import PowerSpectrum
from .summaries.scattering_stage import Scattering

STAGES = (
    DrawPrior,
    ObserveSources,
    TwoMoons,
    Slcp,
    GaussianLinear,
    SpikeAndSlab,
    Sir,
    LotkaVolterra,
    Stream,
    Enrichment,
    LightCone,
    SimulateSed,
    Scattering,
    PowerSpectrum,
    TrainMoments,
    Summarise,
    NeuralPosterior,
    NeuralLikelihood,
    NeuralRatio,
    TruncatedMarginals,
    Restrict,
    Truncate,
    PoolSimulations,
    Posterior,
)
