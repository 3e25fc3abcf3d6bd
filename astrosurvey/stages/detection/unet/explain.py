"""Pictures of why the network sees a source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ....core.product import optional
from ....core.stage import Bands, Context, NoWork, Stage, StageConfig
from ....products import Catalog, Export, Image, Model
from ...pictures import CAPTIONS, picture_section


class ExplainDetection(Stage):
    """Show which pixels made the network of `detection.unet` see a source, in pictures for the report.

    For each chosen source there is a stamp of what the network saw and, beside it, what every pixel adds to the
    source's score (integrated gradients): red speaks for a source at the cross, blue against one.

    References: Sundararajan, Taly & Yan (2017), arXiv:1703.01365.
    """

    name = "detection.explain"
    inputs = {"image": Image, "sources": Catalog.of("source"), "model": optional(Model, default="builtin:unet-v1")}
    outputs = {"pictures": Export}

    class Config(StageConfig):
        """Settings of `detection.explain`."""

        near: tuple[tuple[float, float], ...] | None = Field(
            None, min_length=1, description="[x, y] of places; the source nearest to each is explained. Left out, `choose` decides"
        )
        choose: Literal["doubtful", "blended", "bright"] = Field(
            "doubtful", description="the sources whose probability is nearest to one half, blended ones, or the most significant ones"
        )
        count: int = Field(6, ge=1, le=100, description="how many sources are explained")
        bands: Bands | None = Field(None, description="as for detection.unet")
        fwhm: float | None = Field(None, gt=0, description="as for detection.unet")

    def run(self, ctx: Context, *, image: Image, sources: Catalog, model: Model | None) -> Mapping[str, Any]:
        """Return a folder of pictures and their captions."""
        from ....networks.unet import folded
        from ...models.card import bands_of
        from ...models.load import to_unet
        from .features import features
        from .saliency import saliency
        from .stage import NEEDS, TASK

        assert model is not None
        chosen = self._chosen(sources)
        if not len(chosen):
            raise NoWork("there is no source to explain")
        bands = bands_of(model, image, task=TASK, needs=NEEDS)
        seen, _ = features(image, bands or self.config.bands, self.config.fwhm, apart=bands is not None, device=ctx.device)
        network = to_unet(model)
        ready = folded(network)
        captions = {}
        ny, nx = image.data.shape[1:]
        for done, i in enumerate(chosen):
            x, y = float(sources.column("x")[i]), float(sources.column("y")[i])
            one = saliency(ready, seen, min(max(round(y), 0), ny - 1), min(max(round(x), 0), nx - 1))
            name = f"{int(sources.column('source_id')[i])}.png"
            _draw(ctx.scratch / name, one.significance, one.weight)
            captions[name] = (
                f"source {int(sources.column('source_id')[i])} at x {x:.1f}, y {y:.1f}: logit {one.score[0]:.2f}, "
                f"of an empty sky {one.score[1]:.2f}"
            )
            ctx.progress(done + 1, len(chosen))
        (ctx.scratch / CAPTIONS).write_text(json.dumps(captions, indent=1, sort_keys=True) + "\n", encoding="ascii")
        return {"pictures": Export(ctx.scratch)}

    def _chosen(self, sources: Catalog) -> np.ndarray:
        """Return the rows of the sources to explain, in the order of choice."""
        config = self.config
        x, y = np.asarray(sources.column("x"), float), np.asarray(sources.column("y"), float)
        if config.near is not None:
            nearest = [int(np.argmin(np.hypot(x - a, y - b))) for a, b in config.near] if len(x) else []
            return np.array(list(dict.fromkeys(nearest)), np.int64)
        from ....catalog.flags import SOURCE

        probability: np.ndarray = np.ma.filled(np.ma.asarray(sources.column("probability"), float), np.nan)
        blended = (np.asarray(sources.column("flags")) & SOURCE["BLENDED"]) != 0
        significance = np.asarray(sources.column("significance"), float)
        rank = {"doubtful": np.nan_to_num(np.abs(probability - 0.5), nan=2.0), "blended": -significance, "bright": -significance}
        order = np.argsort(rank[config.choose], kind="stable")
        if config.choose == "blended":
            order = order[blended[order]]
        return order[: config.count]


def _draw(path: Path, significance: np.ndarray, weight: np.ndarray) -> None:
    """Write the two stamps of a source side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 2.7), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.imshow(significance, origin="lower", cmap="gray_r", interpolation="nearest")
    left.set_title("asinh S/N", fontsize=9)
    size = max(float(np.abs(weight).max()), 1e-12)
    right.imshow(weight, origin="lower", cmap="RdBu_r", vmin=-size, vmax=size, interpolation="nearest")
    right.set_title("adds to the score", fontsize=9)
    middle = (significance.shape[0] - 1) / 2
    for axes in (left, right):
        axes.plot([middle], [middle], "+", color="#2a7", markersize=8)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.savefig(path, metadata={"Software": None})


def report_section(run: Path, stages: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the report's section with the pictures that stages of this kind have made in a run."""
    intro = "<p>Left what the network saw, right what each pixel adds to the source's score: red speaks for a source, blue against.</p>"
    return picture_section(run, stages, ExplainDetection.name, "Why the network sees a source", intro, 26)
