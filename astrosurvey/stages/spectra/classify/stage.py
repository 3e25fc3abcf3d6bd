"""Classes and redshifts of spectra by networks, and their training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from ....core.product import Tiles, optional
from ....core.stage import Context, DataError, NoWork, Stage, StageConfig
from ....products import Catalog, Metrics, Model, Spectra
from ..classes import named_beside

if TYPE_CHECKING:
    from ....networks.spectrum import SpectrumEnsemble
    from .augment import Batch

BUILTIN = "spectra-v1"


class ClassifySpectra(Stage):
    """Say what each spectrum is and at what redshift, with probabilities, by an ensemble of small networks.

    Spectra of any grid are brought to the networks' own, 3600 to 9805 Å, and their flux freed of units. Each network correlates
    what it makes of a spectrum with templates that it has learnt, at every redshift at once, and reads the class off the spectrum as it
    was observed and as it is at rest. Probabilities are the members' mean, calibrated by a temperature for
    each head on spectra that training did not see. `samples` asks each member again under dropout, or with weights drawn
    anew if they are distributions; the scatter of all answers is `probability_err`.

    References: Tonry & Davis (1979), AJ 84, 1511; Stivaktakis et al. (2018), arXiv:1809.09622; Lakshminarayanan et al. (2017),
    arXiv:1612.01474; Guo et al. (2017), arXiv:1706.04599; Gal & Ghahramani (2016), arXiv:1506.02142.
    """

    name = "spectra.classify"
    version = 1
    inputs = {"spectra": Spectra, "model": optional(Model, default=f"builtin:{BUILTIN}")}
    outputs = {
        "classes": Catalog.of("classification", fills=("probability_err", "ood_score", "model_digest")),
        "redshifts": Catalog.of("redshift", fills=("z", "z_err", "spectral_class", "probability")),
    }

    class Config(StageConfig):
        """Settings of `spectra.classify`."""

        classifier: str = Field(
            BUILTIN,
            min_length=1,
            max_length=100,
            description="what the answers are called in `classes`, before `/coarse` and `/fine`; the port `model` chooses the networks",
        )
        samples: int = Field(
            0, ge=0, le=64, description="further answers of each member under dropout, or with weights drawn anew; 0 for one without"
        )
        unknown: float = Field(
            0.001, gt=0, lt=1, description="share of spectra to expect that are of nothing the networks know; in training they were more"
        )
        precision: Literal["auto", "float32", "bfloat16"] = Field(
            "auto", description="of the networks' arithmetic; auto takes bfloat16 where the device multiplies it faster"
        )

        _named = field_validator("classifier")(named_beside(BUILTIN))

    _ready: tuple[Model, Any, SpectrumEnsemble] | None = None
    """The model of the tile before, the precision, and the networks made of it."""

    def run(self, ctx: Context, *, spectra: Spectra, model: Model | None) -> Mapping[str, Any]:
        """Return the classes and the redshifts."""
        import numpy as np

        from ....networks.spectrum import folded
        from ...models.load import digest, precision_on, same
        from .card import read, to_ensemble
        from .predict import predict
        from .tables import classes, redshifts

        assert model is not None
        calibration, distances = read(model, self.config.unknown)
        precision = precision_on(ctx.device, self.config.precision)
        if self._ready is None or self._ready[1] != precision or not same(self._ready[0], model):
            self._ready = model, precision, folded(to_ensemble(model), ctx.device, precision)
        ids = spectra.ids
        if ids.dtype.kind != "i":
            raise DataError("the spectra have names for ids, and tables need numbers: read them with io.spectra")
        found = predict(
            self._ready[2],
            spectra,
            calibration,
            samples=self.config.samples,
            seed=int(ctx.rng.integers(2**31)),
            device=ctx.device,
            precision=precision,
            batch=ctx.batch,
            progress=ctx.progress,
        )
        nothing = int(np.sum(found.coverage == 0))
        if nothing:
            ctx.log.warning("%d of %d spectra have no usable pixel within 3600 to 9805 Å: they are unknown", nothing, len(ids))
        return {
            "classes": classes(found, ids, self.config.classifier, distances, digest(model)),
            "redshifts": redshifts(found, ids),
        }


class TrainSpectra(Stage):
    """Train the networks of `spectra.classify` on simulated spectra.

    Simulate many tiles of all kinds of spectra (`simulate.spectra`), of the signal-to-noise ratios and the instrument of your
    survey, and wire spectra and truth here. The last tiles are kept back: on them training is watched, temperatures and
    errors of redshifts are calibrated, and the networks judged; what they are worth stands on the model's card. With a
    `model` wired in, training starts from its weights.

    References: Guo et al. (2017), arXiv:1706.04599; Lakshminarayanan et al. (2017), arXiv:1612.01474; Blundell et al. (2015),
    arXiv:1505.05424.
    """

    name = "spectra.train"
    version = 1
    scope = "survey"
    inputs = {
        "spectra": Tiles.of(Spectra),
        "truth": Tiles.of(Catalog.of("spectrum_truth")),
        "model": optional(Model),
    }
    outputs = {"model": Model, "metrics": Metrics}

    class Config(StageConfig):
        """Settings of `spectra.train`."""

        steps: int = Field(4000, ge=1, description="updates of the weights")
        batch: int = Field(128, ge=2, le=8192, description="spectra that each member sees in a step")
        members: int = Field(4, ge=1, le=16, description="networks in the ensemble; those of `model` where one is wired")
        width: int = Field(32, ge=4, description="channels of each network's first layers; deeper ones have twice as many")
        learning_rate: float = Field(2e-3, gt=0, description="highest learning rate")
        dropout: float = Field(0.1, ge=0, lt=1, description="chance for a value of the last layer but one to be dropped")
        bayesian: bool = Field(False, description="last layers whose weights are distributions (Bayes by Backprop)")
        keep_back: float = Field(0.15, gt=0, lt=1, description="fraction of the tiles that is kept back to validate and calibrate")
        threads: int = Field(
            1, ge=1, description="threads on a CPU; part of the recipe, since gradients are rounded differently for each number"
        )
        patience: int = Field(0, ge=0, description="validations (every 200 steps) without progress after which training stops; 0 for never")

    def run(
        self,
        ctx: Context,
        *,
        spectra: Tiles[Spectra],
        truth: Tiles[Catalog],
        model: Model | None,
    ) -> Mapping[str, Any]:
        """Return the model and its metrics, with the learning curves."""
        from ....networks.determinism import threads
        from ....networks.train import Recipe
        from ...models.load import to_model
        from .card import ARCHITECTURE, as_metrics, card, read, to_ensemble
        from .examples import Noisy, examples, joined
        from .train import build, train

        config = self.config
        n = len(spectra)
        kept = max(1, round(config.keep_back * n)) if n > 1 else 0
        if not kept:
            ctx.log.warning("there is one tile: the networks are judged on what they were trained on; simulate more tiles")
        tiles = [examples(some, its, ctx.device) for some, its in zip(spectra, truth, strict=True)]
        learn, keep = joined(tiles[: n - kept]), joined(tiles[n - kept :] or tiles)
        _require(learn, keep)
        seed = int(ctx.rng.integers(2**31))
        if model is not None:
            read(model)
        start = (
            build(config.members, width=config.width, bayesian=config.bayesian, dropout=config.dropout, seed=seed)
            if model is None
            else (to_ensemble(model), dict(model.config))
        )
        with threads(config.threads):
            trained = train(
                Noisy(learn),
                keep,
                start=start,
                recipe=Recipe(config.steps, config.learning_rate, patience=config.patience),
                batch=config.batch,
                seed=seed,
                device=ctx.device,
                progress=ctx.progress,
                log=ctx.log.info,
                checkpoint=ctx.checkpoint,
            )
        about = {"data": "simulated", "spectra": len(learn), "kept_back": len(keep)}
        how = {
            "learning_rate": config.learning_rate,
            "batch": config.batch,
            "members": len(trained.network),
            "started_from": None if model is None else {"title": model.card.get("title"), **model.card.get("training", {})},
        }
        curves: dict[str, dict[str, list[float | None]]] = {
            "training": {name: list(values) for name, values in trained.history.curves.items()}
        }
        return {
            "model": to_model(trained.network, ARCHITECTURE, trained.config, card(trained, about, how)),
            "metrics": Metrics(as_metrics(trained.scores), curves),
        }


def _require(learn: Batch, keep: Batch) -> None:
    """Raise `NoWork` unless there is something to learn and to judge on."""
    if len(learn) < 2 or len(keep) < 2:
        raise NoWork(f"only {len(learn)} spectra to learn from and {len(keep)} kept back have a truth")
