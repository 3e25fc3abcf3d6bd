"""From fitted candidates to the five best distinct solutions of each spectrum, with what must be said about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....catalog.flags import Z_WARNING
from ....products import Catalog
from .block import Block
from .peaks import APART, APART_STARS
from .refine import Orders
from .scan import Candidates
from .sets import LIGHT

RANKS = 5
SMALL = 15.0
"""A difference in chi-square to the next distinct solution up to this is small."""
FEATURELESS = 80.0
"""A template must be better than a smooth curve by more than this: the greatest of thousands of independent redshifts in pure noise
is better by 30 once in a hundred spectra, and what is left of the sky is not pure noise."""
ERROR: Mapping[str, tuple[float, float]] = {"star": (1.0, 15.0), "galaxy": (2.2, 5.0), "quasar": (4.2, 12.0), "broad": (4.0, 300.0)}
"""By what the errors of the fit are multiplied, and what is added to them in quadrature, km/s: the templates' own zero points and
shapes, which no fit knows of. From simulated spectra, whose templates are others than those that are fitted, by
`tools/redshift_errors.py`. `broad` are quasars without narrow lines within reach."""
NARROW = 0.95
"""Redshift of quasars behind which [O III] is redder than most spectra reach, and only broad lines, which are displaced, are left."""
NEGATIVE = 0.1
OUTLIERS = 0.05
COVERED = 0.5
FEW = 1000
"""Pixels: a tenth of a dex."""
DECIMALS = 10
"""Of redshifts that are kept. What is behind them depends on the order of sums."""
DIGITS = 6
"""Of a chi-square that are kept, for the same reason, and as many decimals of a difference as of the greater of the two."""
METHOD = "spectra.redshift"


@dataclass(frozen=True, eq=False)
class Seeds:
    """Redshifts near which solutions are looked for as well.

    Attributes:
        z: (row, seed); NaN for none.
        kind: (row, seed) text, coarse class; empty for none.
    """

    z: np.ndarray
    kind: np.ndarray

    def take(self, rows: np.ndarray) -> Seeds:
        """Return those of some rows."""
        return Seeds(self.z[rows], self.kind[rows])


@dataclass
class Rows:
    """Columns of the redshift table as they grow."""

    columns: dict[str, list[Any]] = field(
        default_factory=lambda: {
            name: [] for name in ("row", "rank", "z", "z_err", "chi2", "dof", "delta_chi2", "spectral_class", "template", "z_warning")
        }
    )

    def add(self, **values: Any) -> None:
        """Append a row."""
        for name, column in self.columns.items():
            column.append(values[name])

    def add_nothing(self, row: int, flags: int) -> None:
        """Append the row of a spectrum that was not fitted."""
        empty = dict.fromkeys(("z", "z_err", "chi2", "delta_chi2"), np.nan)
        warning = flags | Z_WARNING["NO_DATA"]
        self.add(row=row, rank=0, **empty, dof=None, spectral_class="unknown", template="", z_warning=warning)

    def catalog(self, ids: np.ndarray) -> Catalog:
        """Return the table, ordered by spectrum and rank."""
        order = sorted(range(len(self.columns["row"])), key=lambda k: (self.columns["row"][k], self.columns["rank"][k]))
        held = {name: [column[k] for k in order] for name, column in self.columns.items() if name != "row"}
        spectrum_id = [int(ids[self.columns["row"][k]]) for k in order]
        return Catalog.from_columns("redshift", {"spectrum_id": spectrum_id, **held, "method": METHOD})


def answers(
    block: Block,
    numbers: np.ndarray,
    found: Sequence[Candidates],
    smooth: np.ndarray,
    flags: np.ndarray,
    orders: Orders,
    seeds: Seeds,
    rows: Rows,
) -> np.ndarray:
    """Add the block's solutions to the table, and return the best models, (row, pixel) float32, NaN where there is none.

    Args:
        block: the spectra.
        numbers: (row,) their places in the table.
        found: candidates of every set.
        smooth: (row,) chi-square of a smooth curve.
        flags: (row,) Z_WARNING bits known beforehand.
        orders: of the polynomials.
        seeds: the best fit of a seed's class near it is in the table, too, whatever its rank.
        rows: the table.
    """
    owner = np.concatenate([np.full(len(c.rows), k) for k, c in enumerate(found)]) if found else np.empty(0, int)
    place = np.concatenate([np.arange(len(c.rows)) for c in found]) if found else owner
    flat = {name: np.concatenate([getattr(c, name) for c in found]) for name in ("rows", "chi2", "penalty", "velocity")} if found else {}
    model = np.full((len(block), block.pixels), np.nan, np.float32)
    used = block.used.cpu().numpy()
    chosen: list[tuple[int, list[int], np.ndarray, float]] = []
    for row in range(len(block)):
        members = np.flatnonzero(flat["rows"] == row) if found else owner
        if len(members):
            parameters = max(found[k].parameters for k in owner[members])
            scale = max(1.0, float(flat["chi2"][members].min()) / max(int(used[row]) - parameters, 1))
            score = flat["chi2"][members] + scale * flat["penalty"][members]
            classes = [found[k].templates.spectral_class for k in owner[members]]
            near = LIGHT * np.log1p(seeds.z[row])
            kept = distinct(score, flat["velocity"][members], classes, near.tolist(), seeds.kind[row].tolist())
            chosen.append((row, [int(members[k]) for k in kept], differences(score, kept), scale))
        else:
            rows.add_nothing(int(numbers[row]), int(flags[row]))
    light = _lights(block, found, owner, place, [member for _, ranked, _, _ in chosen for member in ranked], orders)
    for row, ranked, delta, scale in chosen:
        little = used[row] < max(COVERED * _reached(block, row), FEW)
        for rank, member in enumerate(ranked):
            one, k = found[owner[member]], int(place[member])
            below, off, fit = light[member]
            rest = float(smooth[row]) - float(one.chi2[k])
            warning = int(flags[row])
            for name, holds in (
                ("LITTLE_COVERAGE", little),
                ("SMALL_DELTA_CHI2", delta[rank] <= SMALL * scale),
                ("NEGATIVE_MODEL", below > NEGATIVE),
                ("MANY_OUTLIERS", off > OUTLIERS),
                ("Z_FITLIMIT", one.edge[k]),
                ("NO_FEATURES", not rest > FEATURELESS * scale),
                ("NOT_SETTLED", not one.settled[k]),
            ):
                warning |= Z_WARNING[name] if holds else 0
            chi2 = float(one.chi2[k])
            rows.add(
                row=int(numbers[row]),
                rank=rank,
                z=round(float(one.z[k]), DECIMALS),
                z_err=round(standard_error(one, k, scale), DECIMALS),
                chi2=rounded(chi2, chi2),
                dof=max(int(used[row]) - one.parameters, 1),
                delta_chi2=rounded(float(delta[rank]), chi2 + np.nan_to_num(float(delta[rank]))),
                spectral_class=one.templates.spectral_class,
                template=one.names[k],
                z_warning=warning,
            )
            if rank == 0:
                model[row] = fit * float(block.scale[row])
    return model


def rounded(value: float, chi2: float) -> float:
    """Return a value with the decimals that are kept of a chi-square as great as `chi2`."""
    return round(value, DIGITS - 1 - int(np.floor(np.log10(max(chi2, 1.0)))))


def standard_error(one: Candidates, k: int, scale: float) -> float:
    """Return the error of a redshift: the fit's, widened by its chi-square per degree of freedom, and that of the templates."""
    factor, floor = ERROR[error_kind(one.templates.spectral_class, float(one.z[k]))]
    return float(np.hypot(factor * float(one.z_err[k]) * scale**0.5, (1 + float(one.z[k])) * floor / LIGHT))


def error_kind(spectral_class: str, z: float) -> str:
    """Return the entry of `ERROR` for a class and a redshift."""
    return "broad" if spectral_class == "quasar" and z > NARROW else spectral_class


def distinct(
    score: np.ndarray, velocity: np.ndarray, classes: Sequence[str], seeds: Sequence[float] = (), kinds: Sequence[str] = ()
) -> list[int]:
    """Return the candidates that go into the table, from the best to the worst, without those that repeat a better one.

    Two are the same if they are of one class and less than 1000 km/s apart, 100 km/s for stars. There are five, the best of each
    class among them, and the best near every seed that none of these is near.

    Args:
        score: (candidate,) the smaller the better.
        velocity: (candidate,) km/s.
        classes: of the candidates.
        seeds: km/s, NaN for none.
        kinds: classes of the seeds; empty for any.
    """
    kept: list[int] = []
    for k in np.argsort(score, kind="stable").tolist():
        apart = APART_STARS if classes[k] == "star" else APART
        if not any(classes[k] == classes[m] and abs(velocity[k] - velocity[m]) < apart for m in kept):
            kept.append(k)
    first: dict[str, int] = {}
    for k in kept:
        first.setdefault(classes[k], k)
    best = sorted({*kept[: RANKS - len(first)], *first.values()}, key=kept.index)
    best += [k for k in kept if k not in best][: RANKS - len(best)]
    for seed, kind in zip(seeds, kinds, strict=True):
        near = [k for k, name in enumerate(classes) if kind in (name, "") and abs(velocity[k] - seed) < APART]
        if near and not set(near) & set(best):
            best.append(min(near, key=lambda k: float(score[k])))
    return sorted(best, key=lambda k: float(score[k]))


def differences(score: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """Return by how much the next of the candidates in the table is worse than each, (kept,); NaN for the last."""
    return np.append(np.diff(score[kept]), np.nan)


def _lights(
    block: Block, found: Sequence[Candidates], owner: np.ndarray, place: np.ndarray, members: list[int], orders: Orders
) -> dict[int, tuple[float, float, np.ndarray]]:
    """Return of candidates: how much light is negative, how many pixels are outliers, and the model."""
    out = {}
    for k, one in enumerate(found):
        mine = [m for m in members if owner[m] == k]
        if mine:
            model, below, off = one.light(block, place[mine], orders)
            shapes = model.float().cpu().numpy()
            out.update({m: (float(below[i]), float(off[i]), shapes[i]) for i, m in enumerate(mine)})
    return out


def _reached(block: Block, row: int) -> int:
    used = np.flatnonzero(block.ivar[row].cpu().numpy() > 0)
    return int(used[-1] - used[0] + 1) if len(used) else 0
