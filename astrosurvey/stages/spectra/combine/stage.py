"""Network and templates together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from ....core.product import optional
from ....core.stage import Context, DataError, Stage, StageConfig
from ....products import Catalog, Model
from ..classes import COARSE, named_beside

BUILTIN = "combine-v1"
TASK = "combination"
"""What the card of a model for this stage says under `task`."""


class CombineSpectra(Stage):
    """Bring a network's classes and redshifts and those of templates together: one answer with one probability.

    Each solution of the templates and of the network is a candidate, and so is that the spectrum is empty sky or unknown. A
    candidate's probability follows from how well its template fits beside the others, from what the network thinks of its class and its
    redshift, and from the warnings; the weights were learnt on spectra of known truth. Where the two disagree, a flag says so. Without a
    network the templates speak alone, with weights of their own.

    References: McFadden (1974), in Frontiers in Econometrics, 105; Bolton et al. (2012), AJ 144, 144.
    """

    name = "spectra.combine"
    version = 2
    inputs = {
        "scan": Catalog.of("redshift", needs=("z", "z_err", "spectral_class", "chi2", "delta_chi2")),
        "network_classes": optional(Catalog.of("classification")),
        "network": optional(Catalog.of("redshift", needs=("z", "z_err", "spectral_class", "probability"))),
        "model": optional(Model, default=f"builtin:{BUILTIN}"),
    }
    outputs = {
        "redshifts": Catalog.of("redshift", fills=("z", "z_err", "spectral_class", "probability")),
        "classes": Catalog.of("classification", fills=("model_digest",)),
    }

    class Config(StageConfig):
        """Settings of `spectra.combine`."""

        unknown: float = Field(
            0.01, gt=0, lt=1, description="share of spectra that are of no known class, to be expected; the training set's was larger"
        )
        classifier: str = Field(BUILTIN, min_length=1, max_length=100, description="name of the classifier in `classes`, before `/coarse`")

        _named = field_validator("classifier")(named_beside(BUILTIN))

    def run(
        self, ctx: Context, *, scan: Catalog, network_classes: Catalog | None, network: Catalog | None, model: Model | None
    ) -> Mapping[str, Any]:
        """Return the redshifts and the classes."""
        import numpy as np

        from ...models.load import digest
        from .answer import class_probabilities, classifications, redshifts
        from .candidates import gather
        from .score import probabilities

        assert model is not None
        if model.card.get("task") != TASK:
            raise DataError(f"the model is for {model.card.get('task')!r}, and this stage needs one for {TASK!r}")
        ids = np.unique(scan.column("spectrum_id")).tolist()
        evidence = gather(ids, scan, network_classes, network)
        found = probabilities(model, evidence, self.config.unknown)
        by_class = class_probabilities(evidence, found)
        assert by_class.shape[1] == len(COARSE)
        return {
            "redshifts": redshifts(ids, evidence, found, by_class, scan),
            "classes": classifications(ids, evidence, by_class, self.config.classifier, digest(model)),
        }
