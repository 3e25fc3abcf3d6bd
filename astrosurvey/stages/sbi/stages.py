"""The stages of simulation-based inference, for the built-in plugin to register."""

from __future__ import annotations

from .prior_stage import DrawPrior
from .simulators.gaussian_linear import GaussianLinear
from .simulators.gaussian_mixture import SpikeAndSlab
from .simulators.lotka_volterra import LotkaVolterra
from .simulators.sir import Sir
from .simulators.slcp import Slcp
from .simulators.two_moons import TwoMoons
from .stage import NeuralLikelihood, NeuralPosterior, Posterior

STAGES = (DrawPrior, TwoMoons, Slcp, GaussianLinear, SpikeAndSlab, Sir, LotkaVolterra, NeuralPosterior, NeuralLikelihood, Posterior)
