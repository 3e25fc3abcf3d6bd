"""One answer for each spectrum from the probabilities of its candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....catalog.flags import CLASSIFICATION, Z_WARNING
from ....products import Catalog
from ..classes import COARSE
from .candidates import KINDS, NONE, Candidate, Evidence, same

METHOD = "spectra.combine"
RANKS = 5
SURE, DOUBTFUL = 0.9, 2 / 3
KEPT = Z_WARNING.combine(
    ["SKY_FIBRE", "LITTLE_COVERAGE", "NEGATIVE_MODEL", "Z_FITLIMIT", "BAD_FIBRE", "NOT_SETTLED", "NO_DATA", "MEASURED_ERRORS"]
)
"""Bits of the template fit that are handed on; what the others say is in the probability."""
DIGITS = 6
"""Decimals of probabilities: those behind them depend on the order of sums."""


def class_probabilities(evidence: Sequence[Evidence], probability: np.ndarray) -> np.ndarray:
    """Return (n, class) the probabilities of the coarse classes.

    Args:
        evidence: on each spectrum.
        probability: (n, candidate), in the order of `features.tensor_of`.
    """
    out = np.zeros((len(evidence), len(COARSE)))
    for n, one in enumerate(evidence):
        for kind, p in zip([*NONE, *(candidate.kind for candidate in one.candidates)], probability[n], strict=False):
            out[n, COARSE.index(kind)] += p
        if not one.candidates and not one.classes:
            out[n] = np.eye(len(COARSE))[COARSE.index("unknown")]
    return out


def redshifts(ids: Sequence[int], evidence: Sequence[Evidence], probability: np.ndarray, classes: np.ndarray, scan: Catalog) -> Catalog:
    """Return the `redshift` table: rank 0 is the answer, the rest are the next probable.

    Args:
        ids: of the spectra.
        evidence: on each.
        probability: (n, candidate).
        classes: (n, class).
        scan: the template fit's table, whose chi-squares and templates are handed on.
    """
    held = {name: scan.rows.column(name).to_pylist() for name in ("chi2", "dof", "delta_chi2", "template")}
    names = ("spectrum_id", "rank", "z", "z_err", "spectral_class", "probability", "z_warning", *held)
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for one, known, p, by_class in zip(ids, evidence, probability, classes, strict=True):
        kind = COARSE[int(by_class.argmax())]
        rows = [(candidate, float(share)) for candidate, share in zip(known.candidates, p[len(NONE) :], strict=False)]
        rows.sort(key=lambda row: -row[1])
        first = next((k for k, (candidate, _) in enumerate(rows) if candidate.kind == kind), None)
        if first is None or kind not in KINDS:
            rows.insert(0, (Candidate(kind, np.nan, np.nan, bits=known.bits), float(by_class.max())))
        else:
            rows.insert(0, rows.pop(first))
        for rank, (candidate, share) in enumerate(rows[:RANKS]):
            warning = candidate.bits & KEPT
            if rank == 0:
                warning |= Z_WARNING["DISAGREEMENT"] if disagree(known, candidate) else 0
            if share < SURE:
                warning |= Z_WARNING["DOUBTFUL"]
            values = {"spectrum_id": one, "rank": rank, "z": candidate.z, "z_err": candidate.z_err, "spectral_class": candidate.kind}
            values |= {"probability": round(min(share, 1.0), DIGITS), "z_warning": warning}
            values |= {name: column[candidate.row] if candidate.row >= 0 else None for name, column in held.items()}
            for name, column in columns.items():
                column.append(values[name])
    return Catalog.from_columns("redshift", {**columns, "method": METHOD})


def disagree(evidence: Evidence, answer: Candidate) -> bool:
    """Tell whether network and templates, each by itself, give another class or redshift."""
    best = next((candidate for candidate in evidence.candidates if candidate.behind == 0), None)
    if not evidence.classes:
        return False
    kind = max(evidence.classes, key=lambda name: evidence.classes[name])
    if answer.kind not in KINDS:
        return kind != answer.kind
    if best is None or best.kind != kind:
        return True
    return evidence.spoken is None or evidence.spoken[0] != kind or not same(best.z, evidence.spoken[1])


def classifications(ids: Sequence[int], evidence: Sequence[Evidence], classes: np.ndarray, name: str, digest: str) -> Catalog:
    """Return the `classification` table: a row for each spectrum and coarse class.

    Args:
        ids: of the spectra.
        evidence: on each.
        classes: (n, class) probabilities.
        name: of the classifier.
        digest: of the model's weights.
    """
    n = len(ids)
    nothing = np.array([not one.candidates and not one.classes for one in evidence], bool)
    flags = np.where(nothing, CLASSIFICATION["NO_DATA"], 0)
    flags |= np.where(~nothing & (classes.max(axis=1, initial=0) < DOUBTFUL), CLASSIFICATION["DOUBTFUL"], 0)
    return Catalog.from_columns(
        "classification",
        {
            "object_table": "spectrum",
            "object_id": np.repeat(np.asarray(ids, np.int64), len(COARSE)),
            "classifier": f"{name}/coarse",
            "label": np.tile(np.array(COARSE), n),
            "probability": np.round(np.clip(classes, 0, 1), DIGITS).ravel(),
            "ood_score": np.repeat([one.strangeness for one in evidence], len(COARSE)),
            "model_digest": digest,
            "flags": np.repeat(flags, len(COARSE)),
        },
    )
