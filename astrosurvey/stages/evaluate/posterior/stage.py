"""evaluate.posterior: posteriors against parameters that are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, field_validator

from ....catalog.flags import SBI
from ....core.product import Tiles, optional
from ....core.stage import Context, DataError, Stage, StageConfig
from ....products import Catalog, Metrics, Model, Observations


class EvaluatePosterior(Stage):
    """Measure whether posteriors hold the true parameters as often as they say, how narrow they are, and how far off.

    The truth is that of simulated observations, or a catalogue of true objects, matched to sources, that has columns of the
    parameters' names. Regions of highest density are those of the model that is wired, which also gives the log score; without one
    they are ellipsoids of the draws.

    References: Gneiting, Balabdaoui & Raftery (2007), JRSS B 69, 243 (calibration and sharpness); Gneiting & Raftery (2007), JASA 102,
    359 (log score and CRPS); Talts et al. (2018), arXiv:1804.06788; Lemos et al. (2023), arXiv:2302.03026.
    """

    name, version = "evaluate.posterior", 2
    scope = "survey"
    inputs = {
        "posterior": Tiles.of(Catalog.of("posterior")),
        "posterior_sample": Tiles.of(Catalog.of("posterior_sample")),
        "observations": optional(Tiles.of(Observations)),
        "posterior_model": optional(Model),
        "sources": optional(Tiles.of(Catalog.of("source"))),
        "truth": optional(Tiles.of(Catalog.of("truth"))),
    }
    outputs = {"metrics": Metrics}

    class Config(StageConfig):
        """Settings of `evaluate.posterior`."""

        tests: int = Field(
            5000, ge=1, description="posteriors, at most, that are looked at, evenly chosen among those whose truth is known"
        )
        leave_out: tuple[str, ...] = Field((), description="posteriors with one of these flags are passed over, as is INVALID_INPUT")
        radius: float = Field(1.0, gt=0, description="greatest distance of source and true object, where the truth is a catalogue")
        unit: Literal["pixel", "arcsec"] = Field("pixel", description="unit of the radius")

        @field_validator("leave_out")
        @classmethod
        def _are_flags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
            if unknown := [name for name in value if name not in SBI]:
                raise ValueError(f"{unknown[0]!r} is no flag of posteriors; there are {', '.join(flag.name for flag in SBI.flags)}")
            return value

    def run(
        self,
        ctx: Context,
        *,
        posterior: Tiles[Catalog],
        posterior_sample: Tiles[Catalog],
        observations: Tiles[Observations] | None,
        posterior_model: Model | None,
        sources: Tiles[Catalog] | None,
        truth: Tiles[Catalog] | None,
    ) -> Mapping[str, Any]:
        """Return the metrics, with curves of coverage and ranks."""
        from ...sbi.calibration.check import check
        from ...sbi.calibration.product import to_metrics
        from . import gather, scores
        from .density import of_draws, of_model

        answers = gather.posteriors(posterior)
        if truth is not None and sources is not None:
            answers, known = gather.true_by_place(answers, sources, truth, self.config.radius, self.config.unit)
        elif observations is not None:
            known = gather.true_by_simulation(answers, observations)
        else:
            raise DataError("there is no truth: wire `observations` that a simulator made, or `sources` and `truth`")
        # Of data with a missing value there is no posterior, which is not the estimator's fault.
        trusted = (answers.flags & SBI.combine((*self.config.leave_out, "INVALID_INPUT"))) == 0
        chosen = gather.chosen(known, trusted, self.config.tests)
        if not len(chosen):
            ctx.log.warning("no truth is known of any of the %d posteriors", len(answers))
        tested, known = answers.take(chosen), known[chosen]
        draws = gather.draws_of(tested, posterior_sample)
        if posterior_model is None:
            log = of_draws(known, draws)
        elif observations is None or truth is not None:
            raise DataError("the model's density needs the data: wire the simulated `observations`, or leave `posterior_model` out")
        else:
            log = of_model(ctx, posterior_model, tested, known, draws, observations)
        calibration = check(known, draws, log.truth, log.draws, names=tested.names, rng=ctx.rng, part=log.part)
        values, curves = scores.of_parameters(tested, known, draws, ctx.rng)
        metrics = to_metrics(calibration, [*values, *scores.of_density(log)], curves)
        meta = {"posteriors": len(answers), "left_out": int((~trusted).sum()), "tested": len(chosen), "regions": log.regions}
        return {"metrics": replace(metrics, meta={**metrics.meta, **meta})}
