"""From true parameters and draws to a verdict: ranks, regions of highest density, TARP, and one test of all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import ndtri

from . import curves, uniform
from .places import places

ALPHA = 0.01
"""Part of right estimators that the verdict finds fault with."""
FEWEST = 50
"""Tests, at least, for a verdict."""
MOST_EMPTY = 0.05
"""Part of the tests, at most, for which an estimator that is right may have no draw: those that have one are then a choice."""
NOMINAL = 0.9
"""Probability of the region whose coverage stands for all."""

OFF, UNTESTED, CALIBRATED = "off", "untested", "calibrated"
OVERCONFIDENT, UNDERCONFIDENT, BIASED, MISCALIBRATED = "overconfident", "underconfident", "biased", "miscalibrated"


@dataclass(frozen=True)
class Marginal:
    """What the tests say of one parameter.

    Attributes:
        name: of the parameter.
        ks_p: how often the ranks of right posteriors are as far from uniform (Kolmogorov & Smirnov); of this parameter alone.
        bias: mean of the truth less the posterior, in widths of the posterior.
        spread: scatter of the truth around the posterior, in widths of the posterior: 1 is right, more is a posterior too narrow.
    """

    name: str
    ks_p: float
    bias: float
    spread: float


@dataclass(frozen=True)
class Calibration:
    """Whether posteriors mean what they say.

    Attributes:
        verdict: "calibrated"; what is wrong: "overconfident", "underconfident", "biased" or "miscalibrated"; "untested" with too
            few tests, which would say nothing, so that there are no numbers; "off" where the pipeline says so.
        tests: simulations that it rests on.
        draws: of each posterior.
        empty: further simulations for which the estimator gave no draw.
        p: how often right posteriors look at least as wrong, by all tests together; `ALPHA` divides.
        marginals: by parameter.
        covered: part of the regions of highest density of nominal probability `NOMINAL` that hold the truth.
        signed: mean over nominal probabilities of coverage less nominal: negative is overconfident, positive underconfident.
        error: greatest distance of coverage and nominal probability, by regions of highest density.
        tarp: the same by balls around random points.
        tarp_p: how often right posteriors have as great a one.
        faults: what is wrong, in words.
        curves: for the report, by name.
    """

    verdict: str
    tests: int = 0
    draws: int = 0
    empty: int = 0
    p: float = float("nan")
    marginals: tuple[Marginal, ...] = ()
    covered: float = float("nan")
    signed: float = float("nan")
    error: float = float("nan")
    tarp: float = float("nan")
    tarp_p: float = float("nan")
    faults: tuple[str, ...] = ()
    curves: Mapping[str, curves.Curve] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether posteriors do not mean what they say, as far as is known."""
        return self.verdict not in (CALIBRATED, UNTESTED, OFF)

    def to_card(self) -> dict[str, Any]:
        """Return it as JSON values, without the curves; what could not be measured is left out."""
        numbers = {name: getattr(self, name) for name in ("p", "covered", "signed", "error", "tarp", "tarp_p")}
        card: dict[str, Any] = {"verdict": self.verdict, "tests": self.tests, "draws": self.draws, "empty": self.empty}
        card |= {name: float(f"{value:.5g}") for name, value in numbers.items() if np.isfinite(value)}
        marginals = {
            m.name: {"ks_p": float(f"{m.ks_p:.5g}"), "bias": round(m.bias, 4), "spread": round(m.spread, 4)} for m in self.marginals
        }
        return card | {"marginals": marginals, "faults": list(self.faults)}

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Calibration:
        """Return the calibration that a card holds."""
        marginals = tuple(Marginal(name, **values) for name, values in card.get("marginals", {}).items())
        known = {
            name: card[name] for name in ("tests", "draws", "empty", "p", "covered", "signed", "error", "tarp", "tarp_p") if name in card
        }
        return cls(str(card["verdict"]), marginals=marginals, faults=tuple(card.get("faults", ())), **known)


def check(
    truth: np.ndarray,
    draws: np.ndarray,
    log_prob_truth: np.ndarray,
    log_prob_draws: np.ndarray,
    *,
    names: Sequence[str],
    rng: np.random.Generator,
    part: np.ndarray | None = None,
) -> Calibration:
    """Return whether posteriors mean what they say, by true parameters and draws.

    Args:
        truth: (n, p) parameters that the data were simulated with, drawn from the prior.
        draws: (n, s, p) of the posteriors of these data; a draw with a NaN is missing.
        log_prob_truth, log_prob_draws: (n,) and (n, s) the posteriors' log densities there, up to a constant for each test.
        names: of the p parameters.
        rng: of ties and exchanges.
        part: (n, p) bool, the parameters that the densities are of in each test, and TARP's distances; None for all.
    """
    some = np.isfinite(draws).all(axis=2).any(axis=1)
    n, empty = int(some.sum()), int((~some).sum())
    lacking = (f"for {empty} of {n + empty} simulations there was no draw within the prior",) if empty > MOST_EMPTY * (n + empty) else ()
    if n < FEWEST:
        verdict, faults = (MISCALIBRATED, lacking) if lacking and n + empty >= FEWEST else (UNTESTED, ())
        return Calibration(verdict, tests=n, draws=draws.shape[1], empty=empty, faults=faults)
    found = places(truth[some], draws[some], log_prob_truth[some], log_prob_draws[some], rng, None if part is None else part[some])
    tested = uniform.uniformity(found, rng)
    p = len(names)
    by = found.truth
    normal = ndtri(np.clip(by[:, :p], 1e-6, 1 - 1e-6))
    marginals = [
        Marginal(name, float(tested.alone[k, 2]), float(normal[:, k].mean()), float(normal[:, k].std())) for k, name in enumerate(names)
    ]
    density, ball = by[:, p], by[:, p + 1]
    drawn = {f"tests by rank, {name}": curves.rank_histogram(by[:, k]) for k, name in enumerate(names)}
    drawn |= {f"difference by place, {name}": curves.place_differences(by[:, k]) for k, name in enumerate(names)}
    drawn |= {"coverage by level, highest density": curves.expected_coverage(density), "coverage by level, TARP": curves.tarp(ball, rng)}
    calibration = Calibration(
        verdict=MISCALIBRATED if lacking else CALIBRATED,
        tests=n,
        draws=draws.shape[1],
        empty=empty,
        p=tested.p,
        marginals=tuple(marginals),
        covered=float((density <= NOMINAL).mean()),
        signed=float(0.5 - density.mean()),
        error=float(tested.statistic[p, 2]),
        tarp=float(tested.statistic[p + 1, 2]),
        tarp_p=float(tested.alone[p + 1, 2]),
        faults=lacking,
        curves=drawn,
    )
    if tested.p > ALPHA:
        return calibration
    return replace(calibration, verdict=_verdict(tested, p), faults=(*_faults(tested, calibration), *lacking))


def _verdict(tested: uniform.Uniformity, p: int) -> str:
    """Return what is wrong in one word: the clearest of what has a name, if that is certain."""
    named = np.where(tested.adjusted <= ALPHA, tested.alone, np.inf)
    named[:p, 2] = named[p + 1] = np.inf
    if tested.alone[p, 0] > ALPHA:  # the density is off, but neither too small nor too large on the whole
        named[p] = np.inf
    if not np.isfinite(named).any():
        return MISCALIBRATED
    quantity, question = np.unravel_index(np.argmin(named), named.shape)
    if quantity < p and uniform.QUESTIONS[question] == "mean":
        return BIASED
    # Truths at the ends of a parameter's ranks, or where the density is low: the posterior is too narrow for them.
    return OVERCONFIDENT if tested.statistic[quantity, 0 if quantity == p else question] > 0 else UNDERCONFIDENT


def _faults(tested: uniform.Uniformity, calibration: Calibration) -> tuple[str, ...]:
    """Return in words all that is wrong for certain."""
    wrong = tested.adjusted <= ALPHA
    said = []
    for marginal, (mean, spread, shape) in zip(calibration.marginals, wrong, strict=False):
        if mean:
            said.append(f"{marginal.name}: the truth lies {marginal.bias:+.2f} widths of the posterior beside it, on average")
        if spread:
            said.append(f"{marginal.name}: the truth scatters by {marginal.spread:.2f} widths of the posterior around it")
        if shape and not (mean or spread):
            said.append(f"{marginal.name}: its ranks are not uniform")
    p = len(calibration.marginals)
    if wrong[p].any():
        said.append(f"regions of highest density of {100 * NOMINAL:.0f} % hold {100 * calibration.covered:.1f} % of the truths")
    if wrong[p + 1].any():
        said.append(f"TARP: coverage is off by up to {calibration.tarp:.3f}")
    return tuple(said)
