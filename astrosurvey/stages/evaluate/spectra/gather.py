"""Truth, classes and redshifts of all tiles' spectra as arrays, a row a spectrum whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....core.product import Tiles
from ....core.stage import DataError
from ....products import Catalog
from ...spectra.classes import COARSE, FINE

NONE = -1
"""The class of what has none."""


@dataclass(frozen=True)
class Truth:
    """What n spectra are; arrays (n,).

    Attributes:
        ids: spectrum_id, ascending.
        coarse, fine: indices into `COARSE` and `FINE`; NONE for a subclass that is none of these.
        z: redshifts; NaN where there is none.
        snr: median signal-to-noise ratio per pixel; NaN where unknown.
    """

    ids: np.ndarray
    coarse: np.ndarray
    fine: np.ndarray
    z: np.ndarray
    snr: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Classes:
    """What a classifier says of the n spectra.

    Attributes:
        labels: names of its classes.
        probability: (n, label); NaN for a spectrum that it was not shown.
        novelty: (n,) out-of-distribution score; NaN where there is none.
    """

    labels: tuple[str, ...]
    probability: np.ndarray
    novelty: np.ndarray

    @property
    def classed(self) -> np.ndarray:
        """(n,) whether there is an answer."""
        return np.isfinite(self.probability).all(axis=1)

    @property
    def best(self) -> np.ndarray:
        """(n,) index of the most probable class; NONE where there is no answer."""
        return np.where(self.classed, np.nan_to_num(self.probability, nan=-1).argmax(axis=1), NONE)

    @property
    def confidence(self) -> np.ndarray:
        """(n,) probability of that class."""
        return np.asarray(np.where(self.classed, np.nan_to_num(self.probability).max(axis=1), np.nan))


@dataclass(frozen=True)
class Redshifts:
    """The redshifts of rank 0 of the n spectra; arrays (n,), NaN where there is none.

    Attributes:
        z, error: redshift and standard error.
        coarse: index of the template's class; NONE where it is none of these.
        safe: whether there is one without a warning.
        probability: that it is right; NaN where nothing says so.
    """

    z: np.ndarray
    error: np.ndarray
    coarse: np.ndarray
    safe: np.ndarray
    probability: np.ndarray


def truth_of(tiles: Tiles[Catalog]) -> Truth:
    """Return the truth of all tiles' spectra."""
    parts = [catalog for _, catalog in tiles.items()]
    ids = _joined(parts, "spectrum_id")
    _require_once(ids, "the truth")
    order = np.argsort(ids)
    coarse = _indices(_joined(parts, "spectral_class"), COARSE)
    fine = _indices(_joined(parts, "subclass"), FINE)
    z, snr = _joined(parts, "z").astype(np.float64), _joined(parts, "snr").astype(np.float64)
    return Truth(ids[order], coarse[order], fine[order], z[order], snr[order])


def classes_of(tiles: Tiles[Catalog], truth: Truth, labels: Sequence[str], named: str | None = None) -> Classes | None:
    """Return the probabilities of a set of labels; None when no classifier gives them.

    Args:
        tiles: `classification` rows. A classifier of a single label, as `spectra.anomaly` is one, tells no classes.
        truth: of the spectra.
        labels: what it tells apart.
        named: the classifier, without what stands behind a `/`; the only one there is when None.

    Raises:
        DataError: more than one classifier does, or `named` is none of those in the table.
    """
    parts = [catalog for _, catalog in tiles.items()]
    if not parts:
        return None
    label, classifier = _joined(parts, "label").astype("U64"), _joined(parts, "classifier").astype("U128")
    every = np.unique(classifier).tolist()
    if named is not None and every and named not in {name.partition("/")[0] for name in every}:
        raise DataError(f"there is no classifier {named!r} in `classes`; there are {', '.join(every)}")
    held = {name: set(label[classifier == name].tolist()) for name in every if named in (None, name.partition("/")[0])}
    names = [name for name, found in held.items() if len(found) > 1 and found <= set(labels)]
    if not names:
        return None
    if len(names) > 1:
        raise DataError(
            f"more than one classifier gives the classes {', '.join(labels[:3])}, …: {', '.join(names)}; name one in `classifier`"
        )
    here = (classifier == names[0]) & (_joined(parts, "object_table") == "spectrum")
    row, known = _rows(_joined(parts, "object_id")[here], truth)
    column = _indices(label[here], labels)
    probability = np.full((len(truth), len(labels)), np.nan)
    probability[row[known], :] = 0.0
    probability[row[known], column[known]] = _joined(parts, "probability")[here][known]
    novelty = np.full(len(truth), np.nan)
    novelty[row[known]] = _joined(parts, "ood_score")[here][known]
    return Classes(tuple(labels), probability, novelty)


def redshifts_of(tiles: Tiles[Catalog], truth: Truth) -> Redshifts:
    """Return the redshifts of rank 0."""
    parts = [catalog for _, catalog in tiles.items()]
    best = _joined(parts, "rank") == 0
    row, known = _rows(_joined(parts, "spectrum_id")[best], truth)
    if len(np.unique(row[known])) < known.sum():
        raise DataError("a spectrum has more than one redshift of rank 0; evaluate the redshifts of one stage at a time")

    def placed(name: str) -> np.ndarray:
        values = np.full(len(truth), np.nan)
        values[row[known]] = _joined(parts, name)[best][known]
        return values

    coarse = np.full(len(truth), NONE)
    coarse[row[known]] = _indices(np.char.lower(_joined(parts, "spectral_class")[best].astype("U32")), COARSE)[known]
    z = placed("z")
    probability = placed("probability") if all("probability" in part.rows.column_names for part in parts) else np.full(len(truth), np.nan)
    return Redshifts(z, placed("z_err"), coarse, np.isfinite(z) & (placed("z_warning") == 0), probability)


def _joined(parts: Sequence[Catalog], name: str) -> np.ndarray:
    return np.concatenate([part.column(name) for part in parts]) if parts else np.zeros(0)


def _require_once(ids: np.ndarray, what: str) -> None:
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"{what} has spectrum {values[counts > 1][0]} {counts.max()} times; each may be there once")


def _indices(values: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return the place of each of the values among names; NONE for others."""
    found = np.full(len(values), NONE)
    for place, name in enumerate(names):
        found[values == name] = place
    return found


def _rows(ids: np.ndarray, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Return where ids are in the truth, and whether they are there at all."""
    if not len(truth):
        return np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
    row = np.minimum(np.searchsorted(truth.ids, ids), len(truth) - 1)
    return row, truth.ids[row] == ids
