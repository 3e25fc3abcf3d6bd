"""`evaluate.deblending` and `evaluate.segmentation`: measuring how blends are taken apart and which pixels sources own."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from ...core.product import Tiles, optional
from ...core.stage import Context, DataError, Stage, StageConfig
from ...products import Catalog, Metrics, Segmentation


class EvaluateDeblending(Stage):
    """Measure how many pairs of true objects are found as two, and how good their fluxes are.

    Primary sources and true objects are matched one to one, as `evaluate.detection` does it. Pairs are those that the
    simulation placed (`pair_id`); where it placed none, they are true objects that are each other's nearest, with
    no third one within twice their distance.

    References: Wilson (1927), JASA 22, 209; Boucaud et al. (2020), MNRAS 491, 2481.
    """

    name = "evaluate.deblending"
    scope = "survey"
    inputs = {
        "sources": Tiles.of(Catalog.of("source")),
        "truth": Tiles.of(Catalog.of("truth", needs=("flux",))),
        "photometry": optional(Tiles.of(Catalog.of("photometry", needs=("flux",)))),
    }
    outputs = {"metrics": Metrics}

    class Config(StageConfig):
        """Settings of `evaluate.deblending`."""

        radius: float = Field(3.0, gt=0, description="greatest distance of a match (pixel)")
        band: str | None = Field(None, description="band of the signal-to-noise ratio and the seeing; all bands when left out")
        unit: Literal["pixel", "seeing"] = Field("pixel", description="unit of separations: pixels or widths of the PSF")
        edges: tuple[float, ...] | None = Field(
            None, min_length=2, description="edges of the bins of separation; 2 to 16 pixels, or 0.5 to 4 widths, when left out"
        )
        flux_range: tuple[float, float] | None = Field(
            None, description="separations over which flux ratios and fluxes are judged; 6 to 12 pixels, or 1.5 to 3 widths, when left out"
        )
        max_scatter: float | None = Field(None, ge=0, description="bar on the scatter of the members' relative flux errors")
        max_outliers: float | None = Field(None, ge=0, le=1, description="bar on the fraction of members whose flux is 50 % off")

        @field_validator("edges", "flux_range")
        @classmethod
        def _rising(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
            if value is not None and (value[0] < 0 or any(b <= a for a, b in pairwise(value))):
                raise ValueError("must be separations that rise")
            return value

    def run(self, ctx: Context, *, sources: Tiles[Catalog], truth: Tiles[Catalog], photometry: Tiles[Catalog] | None) -> Mapping[str, Any]:
        """Return the metrics, with curves against separation and flux ratio."""
        from . import gather, scorer
        from .pairs import member_scores, pair_scores

        config = self.config
        known, true_flux = gather.truth_of(truth)
        if config.band is not None and config.band not in true_flux:
            raise DataError(
                f"the truth has no band {config.band!r}: it has {', '.join(true_flux) or 'no band'}; name one of these in `band`"
            )
        found = gather.sources_of(sources)
        space = gather.space_of(known, found, config.radius, "pixel", aside=30.0)
        details = gather.details_of(truth, known, config.band)
        # Without a signal-to-noise ratio every object counts as real.
        snr = np.where(np.isfinite(details.snr), details.snr, np.inf)
        pair = details.pair
        edges = config.edges or (scorer.SEPARATION_BINS if config.unit == "pixel" else scorer.SEEING_BINS)
        middle = config.flux_range or ((6.0, 12.0) if config.unit == "pixel" else (1.5, 3.0))
        if config.unit == "seeing" and len(known) and not np.isfinite(details.seeing).all():
            raise DataError("the truth does not say how wide the PSF is, so separations have no such unit: set `unit: pixel`")
        if not (pair >= 0).any():
            width = np.where(np.isfinite(details.seeing), details.seeing, 1.0) if config.unit == "seeing" else np.ones(len(known))
            reach = edges[-1] * float(np.max(width, initial=0.0)) * space.pixel
            pair = scorer.close_pairs(space.truth, known.rank, snr > scorer.REAL, reach)
        matched = scorer.match(
            scorer.Known(space.truth, known.rank, snr, pair), scorer.Detected(space.found, found.rank), config.radius, space.pixel
        )
        pairs = scorer.pairs(matched)
        if len(pairs) == 0:
            ctx.log.warning("there is no pair of true objects to find")
        separation = pairs.separation
        if config.unit == "seeing":
            separation = separation / details.seeing[pairs.members[:, 0]]
        measured = gather.photometry_of(photometry, found) if photometry is not None else {}
        values, curves = pair_scores(pairs, separation, config.unit, edges, middle)
        more, flux_curves = member_scores(
            matched, pairs, separation, edges, middle, true_flux, measured,
            max_scatter=config.max_scatter, max_outliers=config.max_outliers,
        )  # fmt: skip
        meta = {"match_radius": config.radius, "unit": config.unit, "tiles": len(sources)}
        return {"metrics": Metrics((*values, *more), {**curves, **flux_curves}, meta)}


class EvaluateSegmentation(Stage):
    """Measure how well the pixels that sources own agree with those of the true objects.

    Each true object is compared with the label that shares most of its pixels: intersection over union. The panoptic quality
    multiplies the fraction of objects that agree by more than a half with how well these do.

    References: Jaccard (1912); Kirillov et al. (2019), arXiv:1801.00868.
    """

    name = "evaluate.segmentation"
    scope = "survey"
    inputs = {"segmentation": Tiles.of(Segmentation), "true_segmentation": Tiles.of(Segmentation)}
    outputs = {"metrics": Metrics}

    class Config(StageConfig):
        """Settings of `evaluate.segmentation`."""

        min_pixels: int = Field(5, ge=1, description="true objects that own fewer pixels are left out of the numbers")
        min_iou: float | None = Field(None, ge=0, le=1, description="bar on the median intersection over union")

    def run(self, ctx: Context, *, segmentation: Tiles[Segmentation], true_segmentation: Tiles[Segmentation]) -> Mapping[str, Any]:
        """Return the metrics, with curves against the area of the true objects."""
        from .overlap import overlaps
        from .overlap_scores import overlap_scores

        if segmentation.names != true_segmentation.names:
            raise DataError(
                f"{len(segmentation)} tiles have a segmentation and {len(true_segmentation)} a true one, but they must be the same tiles"
            )
        parts = []
        for (name, found), (_, true) in zip(segmentation.items(), true_segmentation.items(), strict=True):
            if found.labels.shape != true.labels.shape:
                raise DataError(
                    f"tile {name}: the segmentations have the shapes {found.labels.shape} and {true.labels.shape}; wire one image"
                )
            parts.append(overlaps(true.labels, found.labels))
        values, curves = overlap_scores(parts, self.config.min_pixels, self.config.min_iou)
        if not any(metric.name == "n_true" and metric.value for metric in values):
            ctx.log.warning("there is no true object of enough pixels")
        return {"metrics": Metrics(tuple(values), curves, {"tiles": len(segmentation)})}
