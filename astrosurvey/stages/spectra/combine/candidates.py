"""What a spectrum may be: every solution of the template fit and of the network, and that it is none of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ....catalog.flags import CLASSIFICATION, Z_WARNING
from ....products import Catalog
from ..classes import COARSE

SAME = 0.0033
"""|dz| / (1 + z) up to which two redshifts are the same: 1000 km/s."""
KINDS = COARSE[:3]
MEANT = {"star": SAME, "galaxy": SAME, "quasar": 0.015}
"""The same, up to which a network may mean a solution of the templates: of real quasars, whose broad lines are of many shapes and displaced
against each other, it tells the redshift no better, and the templates must."""
NONE = ("sky", "unknown", "galaxy", "quasar")
"""Candidates without a redshift: empty sky, a thing that is none of the classes, a galaxy or a quasar at none of the redshifts."""


@dataclass
class Candidate:
    """One thing that a spectrum may be.

    Attributes:
        kind: coarse class.
        z, z_err: redshift and its error; NaN if it has none.
        behind: by how much the template fit is worse than the best one, in chi-square, scaled by that of the best one per degree of
            freedom; NaN if the templates do not know of it.
        lead: by how much the next one is worse, in the same measure.
        mass: the network's probability of this class and of redshifts by which it may mean this one.
        row: of the template fit's table; -1 for none.
        bits: Z_WARNING bits of the template fit.
    """

    kind: str
    z: float
    z_err: float
    behind: float = np.nan
    lead: float = 0.0
    mass: float = 0.0
    row: int = -1
    bits: int = 0


@dataclass
class Evidence:
    """What is known of one spectrum.

    Attributes:
        candidates: those with a redshift; what is in `NONE` is understood.
        classes: the network's probability by coarse class; empty if it has not spoken.
        strangeness: the network's out-of-distribution score; NaN if it gives none.
        worst: chi-square per degree of freedom of the best fit; 1 if there is none.
        bits: Z_WARNING bits of the best fit.
        spoken: class and redshift that the network holds for the best.
    """

    candidates: list[Candidate] = field(default_factory=list)
    classes: dict[str, float] = field(default_factory=dict)
    strangeness: float = np.nan
    worst: float = 1.0
    bits: int = 0
    spoken: tuple[str, float] | None = None


def gather(ids: Sequence[int], scan: Catalog, classes: Catalog | None, network: Catalog | None) -> list[Evidence]:
    """Return the evidence on each spectrum.

    Args:
        ids: of the spectra.
        scan: `redshift` rows of the template fit.
        classes: `classification` rows of the network; those of other objects or of finer classes are passed over.
        network: `redshift` rows of the network.
    """
    held = {one: Evidence() for one in ids}
    _take_scan(held, scan)
    if classes is not None:
        _take_classes(held, classes)
    if network is not None:
        _take_network(held, network)
    return [held[one] for one in ids]


def _take_scan(held: dict[int, Evidence], scan: Catalog) -> None:
    names = ("spectrum_id", "rank", "z", "z_err", "chi2", "delta_chi2", "spectral_class")
    columns = {name: scan.column(name) for name in names}
    dof, warning = scan.rows.column("dof").to_pylist(), scan.column("z_warning")
    order = np.lexsort((columns["rank"], columns["spectrum_id"]))
    behind: dict[int, float] = {}
    for k in order.tolist():
        one = int(columns["spectrum_id"][k])
        if one not in held:
            continue
        evidence, bits = held[one], int(warning[k])
        if columns["rank"][k] == 0:
            evidence.bits = bits
        if bits & Z_WARNING["NO_DATA"] or not np.isfinite(columns["z"][k]):
            continue
        if one not in behind:
            evidence.worst, behind[one] = max(1.0, float(columns["chi2"][k]) / max(int(dof[k] or 1), 1)), 0.0
        lead = float(np.nan_to_num(columns["delta_chi2"][k])) / evidence.worst
        z, z_err = float(columns["z"][k]), float(columns["z_err"][k])
        evidence.candidates.append(Candidate(str(columns["spectral_class"][k]), z, z_err, behind[one], lead, row=k, bits=bits))
        behind[one] += lead


def _take_classes(held: dict[int, Evidence], classes: Catalog) -> None:
    names = ("object_table", "object_id", "label", "probability", "ood_score", "flags")
    columns = (classes.column(name).tolist() for name in names)
    for table, one, label, probability, score, flags in zip(*columns, strict=True):
        # Of a spectrum that it saw nothing of, the network has nothing to say.
        if table == "spectrum" and one in held and label in COARSE and not flags & CLASSIFICATION["NO_DATA"]:
            held[one].classes[label] = float(probability)
            held[one].strangeness = float(score)


def _take_network(held: dict[int, Evidence], network: Catalog) -> None:
    columns = (network.column(name).tolist() for name in ("spectrum_id", "rank", "z", "z_err", "spectral_class", "probability"))
    heard: dict[int, list[tuple[str, float, float]]] = defaultdict(list)
    for one, rank, z, z_err, kind, probability in zip(*columns, strict=True):
        if one not in held or kind not in KINDS or not np.isfinite(z):
            continue
        evidence = held[one]
        if rank == 0:
            evidence.spoken = kind, float(z)
        if not any(candidate.kind == kind and same(candidate.z, z) for candidate in evidence.candidates):
            evidence.candidates.append(Candidate(kind, float(z), float(z_err)))
        heard[one].append((kind, float(z), float(np.nan_to_num(probability))))
    for one, said in heard.items():
        for candidate in held[one].candidates:
            candidate.mass = sum(p for kind, z, p in said if candidate.kind == kind and same(candidate.z, z, MEANT[kind]))


def same(one: float, other: float, apart: float = SAME) -> bool:
    """Tell whether two redshifts are the same."""
    return abs(one - other) < apart * (1 + other)
