"""Candidates in numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....catalog.flags import Z_WARNING
from .candidates import KINDS, NONE, Candidate, Evidence

LEAST = 0.02
"""Probability below which one is as good as another: about so often a network is wrong on spectra unlike those it was trained on."""
FAR, STRANGE = 100.0, 3.0
OWN, COMMON = ("NEGATIVE_MODEL", "Z_FITLIMIT"), ("NO_FEATURES", "MANY_OUTLIERS")
"""Warnings that say something of one fit; and of the spectrum, which the best fit's speak of: a worse one has no merit if it lacks them."""
NAMES = (
    *(f"is a {kind} with a redshift" for kind in KINDS),
    *(f"is {kind} without one" for kind in NONE),
    "log of what the fit is behind by",
    "what the fit is behind by, to 100",
    "not a fit, only the network's",
    *(f"the fit has {bit}" for bit in OWN),
    *(f"with a redshift: the best fit has {bit}" for bit in COMMON),
    "log of the class's probability",
    "log of the redshift's probability",
    "the network's best class and redshift",
    *(f"{kind} without a redshift: {what}" for kind in NONE for what in ("the best fit has NO_FEATURES", "log of what it is ahead by")),
    "unknown: strangeness",
    "unknown: log of chi-square per degree of freedom",
)
"""What each feature is; those of a kind other than a candidate's are 0."""
AGAINST = (
    "log of what the fit is behind by",
    "what the fit is behind by, to 100",
    "not a fit, only the network's",
    *(f"the fit has {bit}" for bit in OWN),
)
"""Features that may count against a candidate, and never for it: of two that the network likes as much, the better fit is more probable."""


def tensor_of(evidence: Sequence[Evidence]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features (n, candidate, feature) float64, and bool which candidates there are (n, candidate), and whom the network heard (n,).

    The first candidates of each are those of `NONE`.
    """
    most = len(NONE) + max((len(one.candidates) for one in evidence), default=0)
    out, there = np.zeros((len(evidence), most, len(NAMES))), np.zeros((len(evidence), most), bool)
    for n, one in enumerate(evidence):
        rows = [_none(one, kind) for kind in NONE] + [_candidate(one, candidate) for candidate in one.candidates]
        out[n, : len(rows)], there[n, : len(rows)] = rows, True
    return out, there, np.array([bool(one.classes) for one in evidence], bool)


def _log(probability: float) -> float:
    return float(np.log(max(probability, LEAST)))


def _candidate(evidence: Evidence, candidate: Candidate) -> list[float]:
    row = dict.fromkeys(NAMES, 0.0)
    row[f"is a {candidate.kind} with a redshift"] = 1
    if np.isnan(candidate.behind):
        row["not a fit, only the network's"] = 1
    else:
        row["log of what the fit is behind by"] = float(np.log1p(candidate.behind))
        row["what the fit is behind by, to 100"] = min(candidate.behind, FAR) / FAR
    for bit in OWN:
        row[f"the fit has {bit}"] = float(bool(candidate.bits & Z_WARNING[bit]))
    for bit in COMMON:
        row[f"with a redshift: the best fit has {bit}"] = float(bool(evidence.bits & Z_WARNING[bit]))
    if evidence.classes:
        row["log of the class's probability"] = _log(evidence.classes.get(candidate.kind, 0.0))
        row["log of the redshift's probability"] = _log(candidate.mass)
        top = max((other.mass for other in evidence.candidates), default=0.0)
        row["the network's best class and redshift"] = float(candidate.mass == top > 0)
    return list(row.values())


def _none(evidence: Evidence, kind: str) -> list[float]:
    row = dict.fromkeys(NAMES, 0.0)
    row[f"is {kind} without one"] = 1
    best = next((candidate for candidate in evidence.candidates if candidate.behind == 0), None)
    row[f"{kind} without a redshift: the best fit has NO_FEATURES"] = float(bool(evidence.bits & Z_WARNING["NO_FEATURES"]))
    row[f"{kind} without a redshift: log of what it is ahead by"] = float(np.log1p(best.lead)) if best else 0.0
    if evidence.classes:
        row["log of the class's probability"] = _log(evidence.classes.get(kind, 0.0))
    if kind == "unknown":
        row["unknown: strangeness"] = min(float(np.nan_to_num(evidence.strangeness)), STRANGE)
        row["unknown: log of chi-square per degree of freedom"] = float(np.log(evidence.worst))
    return list(row.values())
