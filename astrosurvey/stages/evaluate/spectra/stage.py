"""evaluate.spectra: classes and redshifts against what the spectra are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ....core.product import Tiles, optional
from ....core.stage import Context, DataError, Stage, StageConfig
from ....products import Catalog, Metrics


class EvaluateSpectra(Stage):
    """Measure how well spectra are classed and their redshifts measured.

    Accuracy with binomial errors, confusion matrices, calibration of the probabilities, outliers and errors of redshifts, by
    signal-to-noise ratio, and how much empty sky passes for an object. Spectra without an answer count as wrong.

    References: Wilson (1927), JASA 22, 209; Brier (1950), Monthly Weather Review 78, 1; Guo et al. (2017), arXiv:1706.04599;
    Bolton et al. (2012), arXiv:1207.7326.
    """

    name, version = "evaluate.spectra", 1
    scope = "survey"
    inputs = {
        "truth": Tiles.of(Catalog.of("spectrum_truth")),
        "classes": optional(Tiles.of(Catalog.of("classification"))),
        "redshifts": optional(Tiles.of(Catalog.of("redshift"))),
    }
    outputs = {"metrics": Metrics}

    class Config(StageConfig):
        """Settings of `evaluate.spectra`."""

        classifier: str | None = Field(
            None,
            min_length=1,
            description="which classifier of `classes`, by its name before any `/`; unset: the only one there is",
        )
        confident: float = Field(0.9, gt=0, le=1, description="probability from which an answer counts as confident")
        min_accuracy: float | None = Field(None, ge=0, le=1, description="bar on the accuracy of the coarse class")
        min_mean_diagonal: float | None = Field(
            None, ge=0, le=1, description="bar on the mean over the fine classes of the part classed right"
        )
        max_ece: float | None = Field(None, ge=0, le=1, description="bar on the expected calibration error of the coarse class")
        max_outliers: float | None = Field(
            None, ge=0, le=1, description="bar on the fraction of galaxies and quasars off by more than 0.0033 (1 + z)"
        )

    def run(
        self, ctx: Context, *, truth: Tiles[Catalog], classes: Tiles[Catalog] | None, redshifts: Tiles[Catalog] | None
    ) -> Mapping[str, Any]:
        """Return the metrics, with curves by signal-to-noise ratio, and confusion matrices in `meta`."""
        from ...spectra.classes import COARSE, FINE
        from . import gather, scores

        if classes is None and redshifts is None:
            raise DataError("there is nothing to evaluate: wire `classes`, `redshifts` or both")
        config = self.config
        known = gather.truth_of(truth)
        if not len(known):
            ctx.log.warning("no truth is known of any spectrum")
        found = gather.redshifts_of(redshifts, known) if redshifts is not None else None
        coarse = gather.classes_of(classes, known, COARSE, config.classifier) if classes is not None else None
        if coarse is None and found is not None:
            coarse = scores.from_redshifts(found)
        fine = gather.classes_of(classes, known, FINE, config.classifier) if classes is not None else None
        parts, matrices = [], {}
        bars = {
            "coarse": {"accuracy": config.min_accuracy, "ece": config.max_ece},
            "fine": {"mean_diagonal": config.min_mean_diagonal},
        }
        for name, answers, true in (("coarse", coarse, known.coarse), ("fine", fine, known.fine)):
            if answers is not None and (true != gather.NONE).any():
                # What is unknown to everybody is no class to be right about: it is in the matrix, not in the accuracy.
                counted = true if name == "fine" else scores.taught(true)
                parts.append(scores.class_scores(name, answers, counted, known.snr, bars[name]))
                matrices[name] = scores.confusion(answers, true)
        if found is not None:
            parts.append(scores.redshift_scores(found, known, config.max_outliers))
        values = [metric for part, _ in parts for metric in part] + scores.sky_scores(coarse, found, known, config.confident)
        if coarse is not None:
            values += scores.novelty_scores(coarse, known)
        curves = {name: curve for _, part in parts for name, curve in part.items() if curve["n"]}
        return {"metrics": Metrics(tuple(values), curves, {"spectra": len(known), "confusion": matrices})}
