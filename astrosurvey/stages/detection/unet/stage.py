"""Detection by a U-Net, and its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from ....core.product import Tiles, optional
from ....core.stage import Bands, Context, DataError, Stage, StageConfig
from ....products import Catalog, Image, Metric, Metrics, Model, Segmentation
from ..stage import SOURCE_COLUMNS

if TYPE_CHECKING:
    from ....networks.unet import UNet
    from .features import Features

TASK = "detection"
"""What the card of a model for these stages says under `task`."""
NEEDS = ("calibration", "trained_on")
"""What else it says."""


class UNetDetection(Stage):
    """Find sources with a neural network that also sees close pairs, and say how probable each one is.

    A U-Net looks at the significance of the pixels, raw and matched-filtered, and at the width of the PSF and the
    correlation of the noise, which are given or measured. It marks centres, the pixels of sources, and stars. Label i
    of the segmentation is row i - 1 of the sources, as with the other detectors, so they are
    interchangeable; the sources can also be wired to `detection.matched` as seeds. `probability` is calibrated on
    simulated tiles that training did not see; with `samples` the network is asked again under dropout,
    and the scatter of its answers is `probability_err`.

    References: Ronneberger, Fischer & Brox (2015), arXiv:1505.04597; Zhou, Wang & Krähenbühl (2019), arXiv:1904.07850;
    Gal & Ghahramani (2016), arXiv:1506.02142.
    """

    name = "detection.unet"
    version = 2
    inputs = {"image": Image, "model": optional(Model, default="builtin:unet-v1")}
    outputs = {
        "segmentation": Segmentation,
        "sources": Catalog.of("source", fills=(*SOURCE_COLUMNS, "probability", "star_probability")),
    }

    class Config(StageConfig):
        """Settings of `detection.unet`."""

        threshold: float | None = Field(
            None, gt=0, lt=1, description="least probability of a source; the model card's, which gives the purity it names, when left out"
        )
        bands: Bands | None = Field(
            None, description="bands to combine; all of the image's when left out. A model for given bands uses those"
        )
        fwhm: float | None = Field(None, gt=0, description="FWHM of the PSF in pixels; from the image's PSF or seeing when left out")
        footprint: float = Field(1.5, gt=0, description="filtered significance to which footprints reach beyond the network's own mask")
        certain: float = Field(
            10.0,
            gt=0,
            description="filtered significance from which a clear peak is a source although the network is blind for it",
        )
        samples: int = Field(0, ge=0, le=64, description="predictions under dropout for `probability_err`; 0 leaves it empty")
        precision: Literal["auto", "float32", "bfloat16"] = Field(
            "auto", description="of the network's arithmetic; auto takes bfloat16 where the device multiplies it faster"
        )
        window: int = Field(
            1536,
            ge=128,
            description="greatest side in pixels of the windows the network works in; memory is about 200 bytes a pixel of one",
        )

    _ready: tuple[Model, UNet] | None = None
    """The model of the tile before and the network made of it."""

    def run(self, ctx: Context, *, image: Image, model: Model | None) -> Mapping[str, Any]:
        """Return the segmentation and the sources."""
        from ...models.card import bands_of
        from ...models.load import precision_on, ready
        from ..filter import warn_if_unknown
        from . import catalogue
        from .calibrate import Calibration
        from .features import features
        from .predict import predict

        assert ctx.tile is not None
        assert model is not None
        config = self.config
        bands = bands_of(model, image, task=TASK, needs=NEEDS)
        seen, origin = features(image, bands or config.bands, config.fwhm, apart=bands is not None, device=ctx.device)
        warn_if_unknown(origin, ctx.log.warning)
        self._warn_of(ctx, seen, model)
        if len(seen.window(slice(1), slice(1))) != model.config.get("in_channels"):
            raise DataError(f"the model's card names {len(bands or ()) or 'no'} bands, and its network looks at others: its card is wrong")
        calibration = Calibration.from_card(model.card["calibration"])
        precision = precision_on(ctx.device, config.precision)
        self._ready = ready(self._ready, model, ctx.device, precision)
        maps = predict(
            self._ready[1],
            seen,
            window=max(int(config.window * ctx.batch), 128),
            samples=config.samples,
            seed=int(ctx.rng.integers(2**31)),
            device=ctx.device,
            precision=precision,
            progress=ctx.progress,
        )
        threshold = calibration.threshold if config.threshold is None else config.threshold
        labels, sources = catalogue.build(
            ctx.tile,
            image,
            seen,
            maps,
            calibration,
            threshold=threshold,
            footprint=config.footprint,
            certain=config.certain,
            device=ctx.device,
        )
        return {"segmentation": Segmentation(labels), "sources": sources}

    def _warn_of(self, ctx: Context, seen: Features, model: Model) -> None:
        """Warn where the image is outside what the model was trained on."""
        low, high = model.card["trained_on"]["fwhm"]
        if not low <= seen.fwhm <= high:
            ctx.log.warning("the PSF is %.1f px wide, and the model knows %.1f to %.1f px: rebin the image", seen.fwhm, low, high)


class TrainUNet(Stage):
    """Train the network of `detection.unet` on simulated tiles.

    Simulate many tiles of different seeing, depth, density and noise (`simulate.field`), take the sky off,
    and wire image, truth and segmentation here. The last tiles are kept back: on them training is
    watched, and the probabilities are calibrated. What the model is worth stands on its card. With a `model` wired in,
    training starts from its weights: so a network is adapted to a survey in a fraction of the time.

    References: Ronneberger, Fischer & Brox (2015), arXiv:1505.04597; Zhou, Wang & Krähenbühl (2019), arXiv:1904.07850.
    """

    name = "detection.train"
    scope = "survey"
    inputs = {
        "image": Tiles.of(Image),
        "truth": Tiles.of(Catalog.of("truth", needs=("flux",))),
        "segmentation": Tiles.of(Segmentation),
        "model": optional(Model),
    }
    outputs = {"model": Model, "metrics": Metrics}

    class Config(StageConfig):
        """Settings of `detection.train`."""

        steps: int = Field(6000, ge=1, description="updates of the weights, each from eight squares of 192 pixels")
        learning_rate: float = Field(2e-3, gt=0, description="highest learning rate")
        widths: tuple[int, ...] = Field(
            (48, 64, 96, 128),
            min_length=2,
            description="channels of the network's levels, from half resolution down; those of `model` where one is wired",
        )
        bands: Bands | None = Field(
            None, description="bands to look at side by side; when left out, bands are combined, and the model serves any"
        )
        keep_back: float = Field(0.15, gt=0, lt=1, description="fraction of the tiles that is kept back to validate and calibrate")
        purity: float = Field(0.97, gt=0, lt=1, description="purity on the tiles kept back at which the model's threshold is set")
        threads: int = Field(
            1, ge=1, description="threads on a CPU; part of the recipe, since gradients are rounded differently for each number"
        )
        patience: int = Field(0, ge=0, description="validations (every 200 steps) without progress after which training stops; 0 for never")

    def run(
        self, ctx: Context, *, image: Tiles[Image], truth: Tiles[Catalog], segmentation: Tiles[Segmentation], model: Model | None
    ) -> Mapping[str, Any]:
        """Return the model and its metrics, with the learning curves."""
        from ....networks.determinism import threads
        from ....networks.train import Recipe
        from ...models.card import bands_of
        from ...models.load import to_model
        from .examples import scene
        from .train import SIZE, train

        config = self.config
        bands = config.bands
        if model is not None and bands_of(model, image[0], task=TASK, needs=()) != bands:
            raise DataError(f"the model to start from is for bands {model.card.get('bands')}, training is for {bands}: set `bands` alike")
        n = len(image)
        kept = max(1, round(config.keep_back * n)) if n > 1 else 0
        if not kept:
            ctx.log.warning("there is one tile: the network is judged on what it was trained on; simulate more tiles")
        scenes = []
        for number, (one, objects, labels) in enumerate(zip(image, truth, segmentation, strict=True)):
            if min(one.data.shape[1:]) < SIZE:
                raise DataError(
                    f"tile {image.names[number]} is {one.data.shape[1:]} pixels, training needs {SIZE} a side: simulate larger ones"
                )
            scenes.append(scene(one, objects, labels, bands))
        with threads(config.threads):
            trained = train(
                scenes[: n - kept],
                scenes[n - kept :] or scenes,
                start=model,
                recipe=Recipe(config.steps, config.learning_rate, patience=config.patience),
                widths=config.widths,
                purity=config.purity,
                seed=int(ctx.rng.integers(2**31)),
                device=ctx.device,
                progress=ctx.progress,
                log=ctx.log.info,
                checkpoint=ctx.checkpoint,
            )
        widths = [one.seen.fwhm for one in scenes]
        card = {
            "task": TASK,
            "title": "U-Net for the detection of sources in survey images",
            "inputs": "sky-subtracted images with variance; significance per pixel, raw and matched-filtered, both as asinh; "
            "log2 of the PSF's FWHM over 4 px; log of the noise correlation",
            "bands": list(bands) if bands else None,
            "calibration": trained.calibration.to_card(),
            "trained_on": {
                "tiles": n - kept,
                "kept_back": kept,
                "megapixels": round(sum(one.mask.size for one in scenes[: n - kept]) / 1e6, 1),
                "fwhm": [round(min(widths) * 0.95, 2), round(max(widths) * 1.05, 2)],
                "data": "simulated",
            },
            "training": {
                "steps": trained.history.stopped,
                "learning_rate": config.learning_rate,
                "started_from": None if model is None else {"title": model.card.get("title"), **model.card.get("training", {})},
            },
            "metrics": on_card(trained.scores),
            "limits": "trained on simulated stars and galaxies alone; artefacts that the mask does not name may be taken for sources; "
            "positions scatter by a tenth of a pixel and more, photometry.total refines them",
            "licence": "BSD-3-Clause",
        }
        curves: dict[str, dict[str, list[float | None]]] = {
            "training": {name: list(values) for name, values in trained.history.curves.items()}
        }
        return {"model": to_model(trained.network, "unet", trained.config, card), "metrics": Metrics(as_metrics(trained.scores), curves)}


class CalibrateUNet(Stage):
    """Calibrate the probabilities of `detection.unet` to the conditions of a survey, without training.

    Simulate tiles as your survey takes them, or take tiles whose sources are known from deeper images, and wire image and
    truth here. The network stays as it is; how its scores become probabilities, and the threshold at which catalogues
    have the wanted purity, are learnt anew. What stands on the card's metrics then holds for these conditions.

    References: Zadrozny & Elkan (2002), KDD '02, 694; Platt (1999), Advances in Large Margin Classifiers, 61.
    """

    name = "detection.calibrate"
    scope = "survey"
    inputs = {
        "image": Tiles.of(Image),
        "truth": Tiles.of(Catalog.of("truth", needs=("flux",))),
        "model": optional(Model, default="builtin:unet-v1"),
    }
    outputs = {"model": Model, "metrics": Metrics}

    class Config(StageConfig):
        """Settings of `detection.calibrate`."""

        purity: float = Field(0.97, gt=0, lt=1, description="purity on these tiles at which the model's threshold is set")

    def run(self, ctx: Context, *, image: Tiles[Image], truth: Tiles[Catalog], model: Model | None) -> Mapping[str, Any]:
        """Return the model with a new calibration on its card, and its metrics on these tiles."""
        from ...models.card import bands_of
        from ...models.load import to_unet
        from .assess import assess
        from .examples import scene

        assert model is not None
        network = to_unet(model)
        scenes = [
            scene(one, objects, None, bands_of(model, one, task=TASK, needs=NEEDS)) for one, objects in zip(image, truth, strict=True)
        ]
        calibration, scores = assess(network, scenes, self.config.purity)
        about = {"tiles": len(scenes), "megapixels": round(sum(one.mask.size for one in scenes) / 1e6, 1)}
        card = {**model.card, "calibration": calibration.to_card(), "calibrated_on": about, "metrics": on_card(scores)}
        return {"model": replace(model, card=card), "metrics": Metrics(as_metrics(scores))}


def on_card(scores: Mapping[str, tuple[float, float]]) -> dict[str, dict[str, float]]:
    """Return scores as a card holds them; what could not be measured is left out."""
    return {name: {"value": round(v, 4), "error": round(e, 4)} for name, (v, e) in scores.items() if np.isfinite(v)}


def as_metrics(scores: Mapping[str, tuple[float, float]]) -> tuple[Metric, ...]:
    """Return scores as metrics."""
    units = {"position_error": "pix"}
    return tuple(Metric(name, v, error=e if np.isfinite(e) else None, unit=units.get(name, "")) for name, (v, e) in scores.items())
