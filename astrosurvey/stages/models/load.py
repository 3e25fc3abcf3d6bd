"""From a Model product to a network and back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ...core.stage import DataError
from ...networks.candidates import CandidateScorer
from ...networks.conditional_flow import FlowEnsemble
from ...networks.determinism import seeded
from ...networks.ratio import RatioNetwork
from ...networks.spectral_autoencoder import SpectralAutoencoder
from ...networks.spectrum import SpectrumEnsemble
from ...networks.summaries.build import moment_network
from ...networks.train import has_fast_bfloat16
from ...networks.unet import UNet, folded
from ...products import Model

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "unet": UNet,
    "spectrum": SpectrumEnsemble,
    "spectral autoencoder": SpectralAutoencoder,
    "candidates": CandidateScorer,
    "conditional flow": FlowEnsemble,
    "moment network": moment_network,
    "ratio": RatioNetwork,
}
"""What a model's `architecture` may name: functions that build a network from the model's config."""


def to_network(model: Model, build: Callable[..., nn.Module] | None = None) -> nn.Module:
    """Return the network a model describes, with its weights, in single precision and evaluation mode.

    Args:
        model: holds the weights.
        build: makes the network of the model's config; left out, the architecture is one of `ARCHITECTURES`.

    Raises:
        DataError: no such architecture, or weights that do not fit it.
    """
    build = build or ARCHITECTURES.get(model.architecture)
    if build is None:
        known = ", ".join(ARCHITECTURES)
        raise DataError(f"the model's architecture {model.architecture!r} is not known here ({known}); is a plugin missing?")
    try:
        with seeded(0):  # the weights it is made with are thrown away, and must not use up anybody's random numbers
            network = build(**model.config)
        network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in model.weights.items()})
    except (RuntimeError, TypeError) as error:
        raise DataError(f"the model's weights do not fit its architecture {model.architecture!r}: {str(error).splitlines()[0]}") from error
    return network.float().eval()


def precision_on(device: Literal["cpu", "cuda"], wish: Literal["auto", "float32", "bfloat16"]) -> torch.dtype:
    """Return the precision of a network's arithmetic: bfloat16 where it is wished, or, if that is left open, where it is faster."""
    fast = device == "cuda" or has_fast_bfloat16()
    return torch.bfloat16 if wish == "bfloat16" or (wish == "auto" and fast) else torch.float32


def to_unet(model: Model) -> UNet:
    """Return the network a model describes as `to_network` does, if it is a U-Net.

    Raises:
        DataError: it is none, or the weights do not fit it.
    """
    network = to_network(model)
    if not isinstance(network, UNet):
        raise DataError(f"the model is of the architecture {model.architecture!r}, and this stage needs a U-Net")
    return network


def ready(kept: tuple[Model, UNet] | None, model: Model, device: str, precision: torch.dtype) -> tuple[Model, UNet]:
    """Return a model and its U-Net, ready to predict: what was kept from the tile before if that was the same model.

    Raises:
        DataError: no U-Net, or weights that do not fit it.
    """
    if kept is not None and same(kept[0], model):
        return kept
    return model, folded(to_unet(model)).to(device=device, dtype=precision)


def same(one: Model, other: Model) -> bool:
    """Tell whether two models are one, so that what was made of it can be kept from tile to tile."""
    return one is other or (
        one.architecture == other.architecture
        and one.config == other.config
        and one.weights.keys() == other.weights.keys()
        and all(np.array_equal(array, other.weights[name]) for name, array in one.weights.items())
    )


def digest(model: Model) -> str:
    """Return the sha256 of a model's weights."""
    whole = hashlib.sha256()
    for name in sorted(model.weights):
        array = np.ascontiguousarray(model.weights[name])
        whole.update(f"{name} {array.dtype} {array.shape}".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


def to_model(network: nn.Module, architecture: str, config: Mapping[str, Any], card: Mapping[str, Any]) -> Model:
    """Return a network as a Model; weights are stored in half precision.

    Args:
        network: on any device.
        architecture: a key of `ARCHITECTURES`.
        config: what the network was built with.
        card: see `astrosurvey.products.Model`.
    """
    arrays = to_weights(network)
    weights = {name: array.astype(np.float16) if array.dtype == np.float32 else array for name, array in arrays.items()}
    return Model(architecture, config, weights, card)


def to_weights(network: nn.Module) -> dict[str, np.ndarray]:
    """Return copies of a network's weights and buffers, by name, as precise as they are."""
    return {name: np.array(tensor.detach().cpu().numpy()) for name, tensor in network.state_dict().items()}
