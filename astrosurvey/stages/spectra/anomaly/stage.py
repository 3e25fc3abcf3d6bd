"""Spectra unlike everything known, and the training of what knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ....core.product import Tiles, optional
from ....core.stage import Context, DataError, NoWork, Stage, StageConfig
from ....products import Catalog, Metric, Metrics, Model, Spectra

TASK = "spectral anomalies"
"""What the card of a model for these stages says under `task`."""
CLASSIFIER = {"flow": "spectra.anomaly", "forest": "spectra.anomaly/isolation forest"}


class SpectralAnomaly(Stage):
    """Say how unlike everything known a spectrum is, as a p-value, and fill in what is missing.

    An autoencoder that has learnt what stars, galaxies and quasars look like at rest explains each spectrum by a short latent
    vector, at the redshift it is given. Strange is what it explains badly, or by a latent vector that is rare among the known. The
    p-value is the part of the known objects of the same signal-to-noise ratio that look at least as strange. With `fits` and
    `network_classes` wired, what the best template leaves of a spectrum and what a classifier thinks of it count as well.
    `spectra` is the explanation, on the pixels of the input, where those are missing too.

    References: Böhm & Seljak (2020), arXiv:2006.05479; Melchior et al. (2023), arXiv:2211.07890; Liang et al. (2023),
    arXiv:2302.02496; Liu, Ting & Zhou (2008), ICDM, 413 (the baseline).
    """

    name = "spectra.anomaly"
    version = 2
    inputs = {
        "spectra": Spectra,
        "redshifts": Catalog.of("redshift"),
        "fits": optional(Spectra),
        "network_classes": optional(Catalog.of("classification")),
        "model": optional(Model, default="builtin:anomaly-v1"),
    }
    outputs = {
        "embeddings": Catalog.of("embedding", fills=("ood_score",)),
        "classes": Catalog.of("classification"),
        "spectra": Spectra,
    }

    class Config(StageConfig):
        """Settings of `spectra.anomaly`."""

        density: Literal["flow", "forest"] = Field(
            "flow", description="what tells how rare a latent vector is: a normalizing flow, or an isolation forest, which is the baseline"
        )

    def run(
        self,
        ctx: Context,
        *,
        spectra: Spectra,
        redshifts: Catalog,
        fits: Spectra | None,
        network_classes: Catalog | None,
        model: Model | None,
    ) -> Mapping[str, Any]:
        """Return latent vectors, p-values and reconstructions."""
        from .model import opened
        from .rows import answers, redshifts_of

        assert model is not None
        if not len(spectra):
            raise NoWork("there are no spectra")
        if spectra.wave.shape[-1] < 2:
            raise NoWork("spectra of a single pixel are like nothing and unlike nothing")
        if spectra.ids.dtype.kind != "i":
            raise DataError("spectra.ids are text, and tables link by number: read the spectra with io.spectra, which numbers them")
        known = opened(model, ctx.device)
        found = answers(ctx, known, self.config.density, spectra, redshifts_of(redshifts, spectra.ids), fits, network_classes)
        told = np.isfinite(found.latent).all(axis=1)
        common = {"object_table": "spectrum"}
        embeddings = Catalog.from_columns(
            "embedding",
            {
                **common,
                "object_id": spectra.ids[told],
                "model": TASK,
                "vector": found.latent[told],
                "ood_score": found.score[told],
            },
        )
        said = Catalog.from_columns(
            "classification",
            {
                **common,
                "object_id": spectra.ids,
                "classifier": CLASSIFIER[self.config.density],
                "label": "unknown",
                "probability": 1.0 - found.p,
                "ood_score": found.score,
                "flags": found.flags,
            },
        )
        return {"embeddings": embeddings, "classes": said, "spectra": found.spectra}


class TrainAnomaly(Stage):
    """Train what `spectra.anomaly` knows, on spectra of known objects.

    Simulate stars, galaxies and quasars (`simulate.spectra`), or take spectra whose redshifts are sure, and wire spectra and truth
    here. Sky fibres and unknown objects among them are left out. Each object is seen again and again, at other redshifts and
    fainter, and its latent vector must stay the same. The last tiles are kept back: on them the p-values are calibrated, at the redshifts
    that are wired, or else the true ones. What is to be wired to `fits` and `network_classes` of `spectra.anomaly`
    must be wired here as well.

    References: Böhm & Seljak (2020), arXiv:2006.05479; Melchior et al. (2023), arXiv:2211.07890; Liang et al. (2023),
    arXiv:2302.02496.
    """

    name = "spectra.train_anomaly"
    scope = "survey"
    version = 2
    inputs = {
        "spectra": Tiles.of(Spectra),
        "truth": Tiles.of(Catalog.of("spectrum_truth")),
        "redshifts": optional(Tiles.of(Catalog.of("redshift"))),
        "fits": optional(Tiles.of(Spectra)),
        "network_classes": optional(Tiles.of(Catalog.of("classification"))),
    }
    outputs = {"model": Model, "metrics": Metrics}

    class Config(StageConfig):
        """Settings of `spectra.train_anomaly`."""

        steps: int = Field(6000, ge=1, description="updates of the autoencoder's weights; the flow takes a quarter as many")
        rows: int = Field(128, ge=4, description="objects in a step, each seen twice")
        learning_rate: float = Field(2e-3, gt=0, description="highest learning rate")
        latent: int = Field(8, ge=2, le=64, description="length of the latent vectors")
        encoder: tuple[int, int, int, int] = Field((32, 64, 128, 128), description="channels of the encoder's convolutions")
        decoder: tuple[int, ...] = Field(
            (128, 256, 64), min_length=1, description="widths of the decoder; the last is the number of spectra that it adds up"
        )
        keep_back: float = Field(0.2, gt=0, lt=1, description="fraction of the tiles that is kept back to validate and calibrate")
        threads: int = Field(
            1, ge=1, description="threads on a CPU; part of the recipe, since gradients are rounded differently for each number"
        )

    def run(
        self,
        ctx: Context,
        *,
        spectra: Tiles[Spectra],
        truth: Tiles[Catalog],
        redshifts: Tiles[Catalog] | None,
        fits: Tiles[Spectra] | None,
        network_classes: Tiles[Catalog] | None,
    ) -> Mapping[str, Any]:
        """Return the model, its metrics and the learning curves."""
        from ....networks.determinism import threads
        from ....networks.train import Recipe
        from .corpus import Corpus
        from .gather import gathered
        from .hear import Tile, recalibrated
        from .model import to_model
        from .train import train

        config = self.config
        kept = max(1, round(config.keep_back * len(spectra))) if len(spectra) > 1 else 0
        if not kept:
            ctx.log.warning("there is one tile: p-values are calibrated on what the network was trained on; simulate more tiles")
        with threads(config.threads):
            parts = [gathered(one, known, ctx.device) for one, known in zip(spectra, truth, strict=True)]
            learning, judging = parts[: len(parts) - kept], parts[len(parts) - kept :] or parts
            corpora = [Corpus.concatenate(part) for part in (learning, judging)]
            for corpus in corpora:
                if not len(corpus):
                    raise NoWork("no known object among the spectra has usable pixels at rest between 851 and 10 423 Å")
            trained = train(
                corpora[0].to(ctx.device),
                corpora[1].to(ctx.device),
                latent=config.latent,
                encoder=config.encoder,
                decoder=config.decoder,
                recipe=Recipe(config.steps, config.learning_rate),
                rows=config.rows,
                seed=int(ctx.rng.integers(2**31)),
                device=ctx.device,
                progress=ctx.progress,
                log=ctx.log.info,
                checkpoint=ctx.checkpoint,
            )
            others = [list(port) if port is not None else [None] * len(parts) for port in (redshifts, fits, network_classes)]
            if any(port is not None for port in (redshifts, fits, network_classes)):
                tiles = [Tile(*one) for one in zip(spectra, truth, *others, strict=True)]
                trained = recalibrated(ctx, trained, tiles[len(tiles) - kept :] or tiles)
        about = {"spectra": len(corpora[0]), "kept_back": len(corpora[1]), "data": "simulated or labelled spectra of known objects"}
        curves: dict[str, dict[str, list[float | None]]] = {
            "training": {name: list(values) for name, values in trained.history.curves.items()}
        }
        metrics = tuple(Metric(name, value, error=error, unit="") for name, (value, error) in trained.scores.items())
        return {"model": to_model(trained, about, config.learning_rate), "metrics": Metrics(metrics, curves)}
