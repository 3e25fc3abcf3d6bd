"""Model: a network's weights with everything needed to use it: architecture, configuration, card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core.product import ProductError
from ._stored import check_folder, check_meta, frozen, read_card, write_card

WEIGHTS = "model.safetensors"
CARD = "card.json"
_DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model, as data: nothing in it is executed when it is read.

    Attributes:
        architecture: the name under which `astrosurvey.networks` builds it.
        config: JSON values that the architecture is built with.
        weights: name -> array.
        card: JSON values: input units and scaling, training pipeline, data, metrics, limits, licence.
    """

    architecture: str
    config: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]
    card: Mapping[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "model"
    suffix: ClassVar[str] = ""

    def check(self) -> None:
        """Raise `ProductError` for a nameless architecture, weights of other types, or a card that is no JSON."""
        if not isinstance(self.architecture, str) or not self.architecture:
            raise ProductError(f"Model.architecture must be a name, not {self.architecture!r}")
        if not self.weights:
            raise ProductError("Model.weights is empty")
        for name, array in self.weights.items():
            if not isinstance(array, np.ndarray) or array.dtype.name not in _DTYPES or not array.dtype.isnative:
                raise ProductError(f"Model.weights[{name!r}] must be a native NumPy array of {', '.join(_DTYPES)}")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ProductError(f"Model.weights[{name!r}] holds NaN or inf: the training diverged")
        check_meta("Model.config", self.config)
        check_meta("Model.card", self.card)

    def write(self, path: Path) -> None:
        """Write the folder `path` with model.safetensors and card.json."""
        from safetensors.numpy import save

        path.mkdir()
        weights = {name: np.ascontiguousarray(self.weights[name]).reshape(self.weights[name].shape) for name in sorted(self.weights)}
        (path / WEIGHTS).write_bytes(save(weights))
        content = {"kind": self.kind, "architecture": self.architecture, "config": dict(self.config), "card": dict(self.card)}
        write_card(path / CARD, content)

    @classmethod
    def read(cls, path: Path) -> Model:
        """Return the model in the folder `path`, which must hold its two files and nothing else.

        Raises:
            ProductError: a file is missing, too many or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        check_folder(path, CARD, WEIGHTS)
        content = read_card(path / CARD, cls.kind, "architecture", "config", "card")
        try:
            weights = load((path / WEIGHTS).read_bytes())
        except (SafetensorError, TypeError, ValueError, KeyError) as error:
            raise ProductError(f"{path} is damaged or no stored model: {error}") from error
        arrays = {name: frozen(np.array(array)) for name, array in sorted(weights.items())}
        model = cls(content["architecture"], content["config"], arrays, content["card"])
        model.check()
        return model

    def summary(self) -> dict[str, Any]:
        """Return the architecture and the number of parameters."""
        return {"architecture": self.architecture, "parameters": int(sum(array.size for array in self.weights.values()))}
