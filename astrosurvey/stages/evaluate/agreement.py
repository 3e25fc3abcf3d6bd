"""`evaluate.agreement`: what one catalogue has that another one lacks, where nobody knows the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ...core.product import Tiles
from ...core.stage import Context, Stage, StageConfig
from ...products import Catalog, Metric, Metrics


class EvaluateAgreement(Stage):
    """Compare two catalogues of the same sky, such as those of two detectors on a real image.

    Primary sources are matched one to one within a radius, significant sources of `reference` choosing first. The
    metrics say how much of the reference was found again and how much was added to it; the curves say so
    against significance.

    References: Wilson (1927), JASA 22, 209.
    """

    name = "evaluate.agreement"
    scope = "survey"
    inputs = {"sources": Tiles.of(Catalog.of("source")), "reference": Tiles.of(Catalog.of("source"))}
    outputs = {"metrics": Metrics}

    class Config(StageConfig):
        """Settings of `evaluate.agreement`."""

        radius: float = Field(3.0, gt=0, description="greatest distance of a match")
        unit: Literal["pixel", "arcsec"] = Field("pixel", description="unit of the radius")
        firm: float = Field(10.0, gt=0, description="significance from which a source of the reference must be found again")
        min_found: float | None = Field(
            None, ge=0, le=1, description="bar on the fraction of the reference's firm sources that is found again"
        )

    def run(self, ctx: Context, *, sources: Tiles[Catalog], reference: Tiles[Catalog]) -> Mapping[str, Any]:
        """Return the metrics, with curves in bins of significance."""
        from . import gather, scores
        from .match import one_to_one

        config = self.config
        known, found = gather.sources_of(reference), gather.sources_of(sources)
        space = gather.space_of(known, found, config.radius, config.unit, aside=30.0)
        match = one_to_one(space.truth, space.found, known.rank, space.radius)
        again = match >= 0
        shared = np.zeros(len(found), bool)
        shared[match[again]] = True
        firm = known.rank >= config.firm
        values = [
            Metric("n_reference", float(len(known)), description="sources of the reference"),
            Metric("n_sources", float(len(found)), description="sources"),
            Metric("n_added", float((~shared).sum()), description="sources that the reference does not have"),
            scores.fraction_metric("found_again", again, None, "of the reference's sources found again"),
            scores.fraction_metric(
                "firm_found_again",
                again[firm],
                config.min_found,
                f"of the reference's sources of significance over {config.firm:g} found again",
            ),
        ]
        curves = {
            "found again by significance": scores.fraction_curve("significance", known.rank, again, scores.SNR_EDGES, "found_again"),
            "added by significance": scores.fraction_curve("significance", found.rank, ~shared, scores.SNR_EDGES, "added"),
        }
        meta = {"match_radius": config.radius, "match_unit": config.unit, "tiles": len(sources)}
        return {"metrics": Metrics(tuple(values), {name: curve for name, curve in curves.items() if curve["n"]}, meta)}
