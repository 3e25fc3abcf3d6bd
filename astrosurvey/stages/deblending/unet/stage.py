"""Deblending by a U-Net, and its training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from ....core.product import Tiles, optional
from ....core.stage import Bands, Context, DataError, NoWork, Stage, StageConfig
from ....products import Catalog, Fractions, Image, Metric, Metrics, Model, Segmentation

if TYPE_CHECKING:
    from ....networks.unet import UNet
    from ..bands import Band
    from ..members import Planes
    from ..scene import Scene

TASK = "deblending"
"""What the card of a model for these stages says under `task`."""
METHOD = "deblender"
"""What rows of photometry say under `method`."""
ROUNDS = 2
"""Of fitting the templates, in training."""


class UNetDeblending(Stage):
    """Share the flux of every pixel among its sources by templates that a network, taught on many blends, corrects.

    Templates are fitted as in `deblending.templates`. A U-Net then looks at the stamp of each source that has others' light among its
    own, or is unlike its template: at the data, its template, those of its neighbours, and what they leave over; it multiplies the
    template by a factor in every pixel before pixels are shared, and says by what factor the flux is off. Where sources claim more
    than the whole of a pixel, all give way. Other sources keep their templates.

    References: Boucaud et al. (2020), MNRAS 491, 2481, arXiv:1905.01324; Ronneberger, Fischer & Brox (2015), arXiv:1505.04597.
    """

    name, version = "deblending.unet", 4
    inputs = {
        "image": Image,
        "segmentation": Segmentation,
        "sources": Catalog.of("source"),
        "photometry": optional(Catalog.of("photometry")),
        "model": optional(Model, default="builtin:deblend-v1"),
    }
    outputs = {
        "sources": Catalog.of("source", passes="sources", fills=("blendedness",)),
        "photometry": Catalog.of("photometry", fills=("flux", "flux_err", "masked_fraction"), passes="photometry"),
        "fractions": Fractions,
        "residual": Image,
    }

    class Config(StageConfig):
        """Settings of `deblending.unet`."""

        bands: Bands | None = Field(
            None, description="bands that the templates and the network look at, combined; all of the image's when left out"
        )
        rounds: int = Field(2, ge=1, le=50, description="how often each template is fitted to what its neighbours leave over")
        precision: Literal["auto", "float32", "bfloat16"] = Field(
            "auto", description="of the network's arithmetic; auto takes bfloat16 where the device multiplies it faster"
        )

    _ready: tuple[Model, UNet] | None = None
    """The model of the tile before and the network made of it."""

    def run(
        self, ctx: Context, *, image: Image, segmentation: Segmentation, sources: Catalog, photometry: Catalog | None, model: Model | None
    ) -> Mapping[str, Any]:
        """Return sources with their blendedness, fluxes in every band, fractions, and what belongs to no source."""
        from ....networks.determinism import threads
        from ...detection.linked import check_linked
        from ...models.card import bands_of
        from ...models.load import precision_on, ready
        from ..bands import Band
        from ..members import layout, psfs
        from ..templates import deblend
        from .masks import REACH
        from .refine import RefinedBand, Wide, predict

        assert model is not None
        check_linked(image, segmentation, sources)
        bands = bands_of(model, image, task=TASK, needs=("trained_on",)) or self.config.bands
        self._warn_of(ctx, model, psfs(image))
        precision = precision_on(ctx.device, self.config.precision)
        self._ready = ready(self._ready, model, ctx.device, precision)
        network = self._ready[1]

        def refine(scene: Scene, planes: Planes) -> list[Band]:
            """Return the bands, shared as the network says after a look at their mean."""
            mean = Band(scene, planes.mean, True)
            wide = Wide(mean, planes.mean.psf, layout(planes, sources, REACH, ctx.device))
            changes = predict(network, mean, wide, precision, ctx.progress)
            return [RefinedBand(mean if planes.single else Band(scene, plane, False), changes) for plane in planes.bands]

        with threads(1):
            return deblend(ctx, image, segmentation, sources, photometry, bands, self.config.rounds, METHOD, refine)

    def _warn_of(self, ctx: Context, model: Model, stamps: np.ndarray) -> None:
        """Warn where the image is outside what the model was trained on."""
        from ...detection.filter import effective_fwhm

        low, high = model.card["trained_on"]["fwhm"]
        for fwhm in map(effective_fwhm, stamps):
            if not low <= fwhm <= high:
                ctx.log.warning("the PSF is %.1f px wide, and the model knows %.1f to %.1f px: rebin the image", fwhm, low, high)


class TrainDeblender(Stage):
    """Train the network of `deblending.unet` on simulated tiles.

    Simulate many tiles without sky, of different seeing and depth and with many pairs (`simulate.field`), and wire
    image, truth and fractions here; each band is an example of its own. The last tiles are kept back: on them
    training is watched and the network judged. What the model is worth stands on its card.

    References: Boucaud et al. (2020), MNRAS 491, 2481, arXiv:1905.01324; Ronneberger, Fischer & Brox (2015), arXiv:1505.04597.
    """

    name, version = "deblending.train", 2
    scope = "survey"
    inputs = {
        "image": Tiles.of(Image),
        "truth": Tiles.of(Catalog.of("truth", needs=("flux", "half_light_radius", "snr"))),
        "fractions": Tiles.of(Fractions),
    }
    outputs = {"model": Model, "metrics": Metrics}

    class Config(StageConfig):
        """Settings of `deblending.train`."""

        steps: int = Field(3500, ge=1, description="updates of the weights, each from 32 stamps of 64 pixels")
        learning_rate: float = Field(2e-3, gt=0, description="highest learning rate")
        widths: tuple[int, ...] = Field(
            (24, 40, 64, 96), min_length=2, max_length=5, description="channels of the network's levels, from half resolution down"
        )
        keep_back: float = Field(0.15, gt=0, lt=1, description="fraction of the tiles that is kept back to validate and judge")
        threads: int = Field(
            1, ge=1, description="threads on a CPU; part of the recipe, since gradients are rounded differently for each number"
        )
        patience: int = Field(0, ge=0, description="validations (every 200 steps) without progress after which training stops; 0 for never")

    def run(self, ctx: Context, *, image: Tiles[Image], truth: Tiles[Catalog], fractions: Tiles[Fractions]) -> Mapping[str, Any]:
        """Return the model and its metrics, with the learning curves."""
        from ....networks.determinism import threads
        from ....networks.train import Recipe
        from ...detection.filter import effective_fwhm
        from ...models.load import to_model
        from ..members import psfs
        from .examples import examples
        from .train import train

        config = self.config
        n = len(image)
        kept = max(1, round(config.keep_back * n)) if n > 1 else 0
        if not kept:
            ctx.log.warning("there is one tile: the network is judged on what it was trained on; simulate more tiles")
        tiles, widths, galaxies, real, pixels = [], list[float](), 0, 0, 0
        for number, (one, objects, parts) in enumerate(zip(image, truth, fractions, strict=True)):
            if one.variance is None:
                raise DataError(f"tile {image.names[number]} has no variance, by which light is weighed; simulate.field gives it")
            if len(objects) and len(parts) * len(one.bands) != len(objects):
                raise DataError(
                    f"tile {image.names[number]} has fractions of {len(parts)} objects in {len(one.bands)} bands, "
                    f"but {len(objects)} rows of truth: wire both from the same stage"
                )
            with threads(1):  # sums are rounded differently for each number
                tiles.append(examples(one, objects, parts, ctx.rng, ROUNDS))
            widths += [effective_fwhm(psf) for psf in psfs(one)]
            ctx.progress(number + 1, n)
            is_galaxy = np.asarray(objects.column("object_type") == "galaxy")
            galaxies += int(is_galaxy.sum())
            real += int((is_galaxy & np.isnan(np.asarray(objects.column("n_sersic"), float))).sum())
            pixels += one.data[0].size * (number < n - kept)
        learnt, judged = ([band for tile in some for band in tile] for some in (tiles[: n - kept], tiles[n - kept :]))
        if not learnt:
            raise NoWork("no tile holds an object brighter than five times its noise: simulate more, or deeper (`depth`)")
        with threads(config.threads):
            trained = train(
                learnt,
                judged or learnt,
                recipe=Recipe(config.steps, config.learning_rate, patience=config.patience),
                widths=config.widths,
                seed=int(ctx.rng.integers(2**31)),
                device=ctx.device,
                progress=ctx.progress,
                log=ctx.log.info,
                checkpoint=ctx.checkpoint,
            )
        card = {
            "task": TASK,
            "title": "U-Net for the deblending of sources in survey images",
            "inputs": "sky-subtracted images with variance and PSF, all bands combined; asinh of data, residual, own and other templates "
            "of deblending.templates, in units of the noise; log odds of the template's share",
            "bands": None,
            "trained_on": {
                "tiles": n - kept,
                "kept_back": kept,
                "megapixels": round(pixels / 1e6, 1),
                "fwhm": [round(min(widths) * 0.95, 2), round(max(widths) * 1.05, 2)],
                "data": f"simulated; {real / max(galaxies, 1):.0%} of the galaxies have the looks of real ones",
            },
            "training": {"steps": trained.history.stopped, "learning_rate": config.learning_rate},
            "metrics": {name: {"value": round(v, 4), "error": round(e, 4)} for name, (v, e) in trained.scores.items() if np.isfinite(v)},
            "limits": "trained on simulated blends of stars and galaxies; sources larger than a stamp of 64 pixels are looked at binned; "
            "a source that is not in the table is part of the sky or of its neighbours",
            "licence": "BSD-3-Clause",
        }
        metrics = tuple(
            Metric(name, value, error=error if np.isfinite(error) else None, unit="") for name, (value, error) in trained.scores.items()
        )
        curves: dict[str, dict[str, list[float | None]]] = {
            "training": {name: list(values) for name, values in trained.history.curves.items()}
        }
        return {"model": to_model(trained.network, "unet", trained.config, card), "metrics": Metrics(metrics, curves)}
