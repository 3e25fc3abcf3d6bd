"""Measuring a catalogue against the truth of a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ...core.product import Tiles, optional
from ...core.stage import Context, DataError, Stage, StageConfig
from ...products import Catalog, Metrics


class EvaluateDetection(Stage):
    """Measure completeness, purity, flux and position errors against the truth.

    Primary sources and primary true objects are matched one to one within a radius, bright true objects
    choosing first. Works on the catalogues of the tiles and on a merged one alike: an object counts
    once. Where the truth knows the signal-to-noise ratio of its objects, completeness, positions and fluxes are
    told by it too, for objects without a neighbour within 12 pixels, and at a purity of choice. Where true
    objects are dense some matches are chance; `chance_match_fraction` tells how many, from sources moved aside.

    References: Wilson (1927), JASA 22, 209.
    """

    name, version = "evaluate.detection", 2
    scope = "survey"
    inputs = {
        "sources": Tiles.of(Catalog.of("source")),
        "truth": Tiles.of(Catalog.of("truth", needs=("flux",))),
        "photometry": optional(Tiles.of(Catalog.of("photometry", needs=("flux",)))),
    }
    outputs = {"metrics": Metrics}

    class Config(StageConfig):
        """Settings of `evaluate.detection`."""

        radius: float = Field(3.0, gt=0, description="greatest distance of a match")
        unit: Literal["pixel", "arcsec"] = Field("pixel", description="unit of the radius")
        magnitude_bin: float = Field(0.5, gt=0, description="width of the magnitude bins")
        band: str | None = Field(None, description="band of `magnitude_limit`; the mean flux of all bands when left out")
        magnitude_limit: float | None = Field(None, description="only true objects brighter than this count in the overall completeness")
        bright_snr: float = Field(20.0, gt=0, description="signal-to-noise ratio from which fluxes count in the overall bias and scatter")
        at_purity: float | None = Field(
            None, gt=0, le=1, description="tell the completeness also of the surest sources alone, as many as are this pure"
        )
        rank: Literal["significance", "probability"] = Field(
            "significance", description="how sure a source is, for `at_purity`; sources without a value are the surest"
        )
        min_completeness: float | None = Field(None, ge=0, le=1, description="bar on the overall completeness")
        min_purity: float | None = Field(None, ge=0, le=1, description="bar on the purity")
        max_flux_bias: float | None = Field(
            None, ge=0, description="bar on the size of the overall relative flux bias, per method and band"
        )

    def run(self, ctx: Context, *, sources: Tiles[Catalog], truth: Tiles[Catalog], photometry: Tiles[Catalog] | None) -> Mapping[str, Any]:
        """Return the metrics, with curves in bins of magnitude and of signal-to-noise ratio."""
        from . import gather, scores, signal
        from .match import one_to_one

        config = self.config
        known, true_flux = gather.truth_of(truth)
        if config.band is not None and config.band not in true_flux:
            raise DataError(
                f"the truth has no band {config.band!r}: it has {', '.join(true_flux) or 'no band'}; name one of these in `band`"
            )
        found = gather.sources_of(sources)
        measured = gather.photometry_of(photometry, found) if photometry is not None else {}
        space = gather.space_of(known, found, config.radius, config.unit, aside=30.0)
        match = one_to_one(space.truth, space.found, known.rank, space.radius)
        sample = scores.Sample(known, found, true_flux, measured, match, space)
        if len(known) == 0:
            ctx.log.warning("there is no true object to find")
        values, curves = scores.detection_scores(
            sample,
            reference=config.band,
            width=config.magnitude_bin,
            limit=config.magnitude_limit,
            min_completeness=config.min_completeness,
            min_purity=config.min_purity,
        )
        values += scores.position_scores(sample)
        more, flux_curves = scores.flux_scores(
            sample, width=config.magnitude_bin, bright=config.bright_snr, max_flux_bias=config.max_flux_bias
        )
        values += more
        curves.update(flux_curves)
        details = gather.details_of(truth, known, config.band)
        if np.isfinite(details.snr).any() and np.isfinite(space.pixel):
            matched = signal.matched_in(space, known, details, found.rank)
            parts = [signal.completeness_scores(matched), ([], signal.quality_curves(matched, true_flux, measured))]
            if config.at_purity is not None:
                rank = gather.certainty_of(sources, found, config.rank, ctx.log.warning)
                ranked = signal.matched_in(space, known, details, rank)
                parts.append(signal.purest(ranked, space.radius / space.pixel, config.at_purity))
            for more, signal_curves in parts:
                values += more
                curves.update({name: curve for name, curve in signal_curves.items() if curve["n"]})
        elif config.at_purity is not None and len(known):
            raise DataError("the truth has no signal-to-noise ratios (`snr`), which `at_purity` needs: leave it out, or use simulate.field")
        meta = {"match_radius": config.radius, "match_unit": config.unit, "tiles": len(sources)}
        return {"metrics": Metrics(tuple(values), curves, meta)}
