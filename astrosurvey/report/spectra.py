"""Some of a run's spectra, with what the stages say of them: redshifts, classes, lines, and the truth where it is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ..catalog.flags import SPECTRAL_LINE, Z_WARNING
from ..catalog.lines import LINES
from . import text
from .charts import scatter
from .gather import Run
from .spectrum import Mark, picture

if TYPE_CHECKING:
    from ..products import Spectra

MOST_SPECTRA = 12
MOST_WRONG = 4
MOST_BYTES = 400_000_000
"""Of one spectra product, fits included; larger ones are not opened for the page."""
MOST_TILES = 1000
"""The catalogues of so many tiles are opened."""
MOST_POINTS = 4000
SOLUTIONS, TOP_LABELS, TOP_LINES = 5, 3, 8
SEEN = 3.0
"""A line of this signal-to-noise ratio is there."""

# Strong enough that an eye looks for them; the strongest of close ones stands for all.
USUAL = {
    "star": {"hdelta", "hgamma", "hbeta", "halpha", "ca_k", "ca_h", "g_band", "mg_b1", "na_d2", "na_8183", "ca_8498", "ca_8542", "ca_8662"},
    "galaxy": {
        *("oii_3729", "hdelta", "hgamma", "hbeta", "oiii_4959", "oiii_5007", "oi_6300", "halpha", "nii_6583", "sii_6716"),
        *("ca_k", "ca_h", "g_band", "mg_b1", "na_d2"),
    },
    "quasar": {"lya", "civ_1549", "ciii_1909", "mgii_2799", "hgamma", "hbeta", "oiii_5007", "halpha"},
}

_SOLUTION = (("", True), ("class", False), ("template", False), ("z", True), ("Δχ²", True), ("probability", True), ("warnings", False))
_LINE = (("line", False), ("flux", True), ("width at rest, Å", True), ("σ, km/s", True))

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Listing:
    """A small table: of each column its name and whether it holds numbers, and the rows."""

    header: list[tuple[str, bool]]
    rows: list[list[str]]

    @classmethod
    def of(cls, header: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> Listing:
        """Return the table without the columns in which nothing stands."""
        keep = [k for k in range(len(header)) if any(row[k] for row in rows)]
        return cls([header[k] for k in keep], [[row[k] for k in keep] for row in rows])


@dataclass(frozen=True)
class ShownSpectrum:
    """One spectrum.

    Attributes:
        title: its id and name.
        verdict: the answer, in words.
        wrong: whether the truth is another.
        facts: (name, value) pairs.
        solutions: the best of the redshift.
        classes: of each classifier, its first labels with their probabilities.
        lines: the strongest.
    """

    title: str
    verdict: str
    wrong: bool
    svg: Markup
    facts: list[tuple[str, str]]
    solutions: Listing
    classes: list[tuple[str, list[tuple[str, float]]]]
    lines: Listing


@dataclass
class SpectraSection:
    """What the page says of spectra.

    Attributes:
        total: how many there are in the products that were opened.
        redshifts: measured against true redshifts; empty where no truth is known.
    """

    shown: list[ShownSpectrum] = field(default_factory=list)
    total: int = 0
    redshifts: Markup = field(default_factory=Markup)
    compared: int = 0
    notes: list[str] = field(default_factory=list)


def make_spectra(run: Run) -> SpectraSection:
    """Return the section; empty for a run without spectra."""
    section = SpectraSection()
    source = _source(run)
    if source is None:
        return section
    tables = _Tables(run)
    _compare(tables, section)
    if len(source) > MOST_TILES:
        section.notes.append(f"Spectra are compared on the first {MOST_TILES} of {len(source)} tiles.")
    for tile, path, size in source[:MOST_SPECTRA]:
        fits = _fits(run, tile)
        if size + (fits.stat().st_size if fits else 0) > MOST_BYTES:
            section.notes.append(f"The spectra of {tile} are too many to be opened for this page.")
            continue
        _show(tables, run.store.get(path), fits, section)
        break
    return section


def _source(run: Run) -> list[tuple[str, Path, int]] | None:
    """Return (tile, path, bytes) of the spectra whose redshifts or classes were measured last; None when there are none."""
    made: dict[str, list[tuple[str, Path, int]]] = {}
    for stage in run.stages:
        for tile, port, stored, path in run.products(stage):
            if stored.kind == "spectra" and port != "fits":
                made.setdefault(f"{stage}.{port}", []).append((tile, path, int(stored.bytes)))
    wired = [source for stage in run.stages for port, source in run.inputs(stage).items() if port == "spectra" and source in made]
    measured = [source for stage in run.stages if _measures(run, stage) for source in run.inputs(stage).values() if source in made]
    chosen = (measured or wired or list(made))[-1:]
    return made[chosen[0]] if chosen else None


def _measures(run: Run, stage: str) -> bool:
    return any(_table(stored) in ("redshift", "classification") for _, _, stored, _ in run.products(stage))


def _table(stored: Any) -> str:
    return str(stored.summary.get("table")) if stored.kind == "catalog" and isinstance(stored.summary, dict) else ""


def _fits(run: Run, tile: str) -> Path | None:
    found = [
        path
        for stage in run.stages
        for at, port, stored, path in run.products(stage)
        if at == tile and port == "fits" and stored.kind == "spectra"
    ]
    return run.store.get(found[-1]) if found else None


class _Tables:
    """The catalogues of a run that speak of spectra; each stage's, in pipeline order."""

    def __init__(self, run: Run) -> None:
        self._store = run.store
        self._paths: dict[str, list[tuple[str, Path]]] = {}
        for stage in run.stages:
            first = set(run.tiles_of(stage)[:MOST_TILES])
            for tile, _, stored, path in run.products(stage):
                if (table := _table(stored)) and tile in first:
                    self._paths.setdefault(table, []).append((stage, path))

    def columns(self, table: str, key: str, names: Sequence[str], ids: np.ndarray | None = None) -> Iterator[tuple[str, Any]]:
        """Yield (stage, Arrow table) of the wanted columns, of some spectra alone if `ids` says which."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        for stage, packed in self._paths.get(table, []):
            path = self._store.get(packed)
            there = [name for name in (key, *names) if name in pq.read_schema(path).names]
            condition = None if ids is None else pc.field(key).isin(pa.array(ids))
            yield stage, pq.read_table(path, columns=there, filters=condition)

    def rows(self, table: str, key: str, names: Sequence[str], ids: np.ndarray) -> dict[int, Rows]:
        """Return the rows of each of some spectra, with the `stage` that made them."""
        found: dict[int, Rows] = {int(number): [] for number in ids}
        for stage, part in self.columns(table, key, names, ids):
            for row in part.to_pylist():
                found[int(row[key])].append({"stage": stage, **row})
        return found


def _compare(tables: _Tables, section: SpectraSection) -> None:
    """Draw measured against true redshifts, by true class; measured ones are those of the last stage that has any."""
    truth = [part for _, part in tables.columns("spectrum_truth", "spectrum_id", ("z", "spectral_class"))]
    by_stage: dict[str, list[Any]] = {}
    for stage, part in tables.columns("redshift", "spectrum_id", ("rank", "z")):
        by_stage.setdefault(stage, []).append(part)
    if not truth or not by_stage:
        return
    measured: dict[int, float] = {}
    for part in list(by_stage.values())[-1]:
        columns = (part.column(name).to_pylist() for name in ("spectrum_id", "rank", "z"))
        measured |= {number: z for number, rank, z in zip(*columns, strict=True) if rank == 0 and z is not None}
    points: dict[str, list[tuple[float, float]]] = {"galaxy": [], "quasar": [], "star": []}
    for part in truth:
        for number, z, label in zip(*(part.column(name).to_pylist() for name in ("spectrum_id", "z", "spectral_class")), strict=True):
            if z is not None and number in measured and label in points:
                points[label].append((z, measured[number]))
    points = {label: pairs for label, pairs in points.items() if pairs}
    section.compared = sum(map(len, points.values()))
    if section.compared:
        step = -(-section.compared // MOST_POINTS)
        thinned = {label: pairs[::step] for label, pairs in points.items()}
        section.redshifts = scatter(thinned, x="true redshift", y="measured redshift", diagonal=True)


def _show(tables: _Tables, path: Path, fits: Path | None, section: SpectraSection) -> None:
    from ..products import Spectra

    spectra = Spectra.read(path)
    section.total = len(spectra)
    if not len(spectra) or spectra.ids.dtype.kind != "i":
        return
    fitted = Spectra.read(fits) if fits else None
    ids = spectra.ids
    names = ("rank", "z", "z_err", "delta_chi2", "spectral_class", "template", "z_warning", "probability")
    redshifts = tables.rows("redshift", "spectrum_id", names, ids)
    labelled = tables.rows("classification", "object_id", ("object_table", "classifier", "label", "probability"), ids)
    classes = {number: [row for row in found if row["object_table"] == "spectrum"] for number, found in labelled.items()}
    truth = tables.rows("spectrum_truth", "spectrum_id", ("spectral_class", "subclass", "z", "snr"), ids)
    answers = [_answer(redshifts[int(i)], classes[int(i)], truth[int(i)]) for i in ids]
    rows = _chosen(answers)
    some = ids[rows]
    lines = tables.rows(
        "spectral_line",
        "spectrum_id",
        (
            "line",
            "wave",
            "z",
            "line_flux",
            "line_flux_err",
            "snr",
            "equivalent_width",
            "equivalent_width_err",
            "sigma",
            "sigma_err",
            "flags",
        ),
        some,
    )
    labels = {
        int(row["spectrum_id"]): str(row.get("name") or "")
        for found in tables.rows("spectrum", "spectrum_id", ("name",), some).values()
        for row in found
    }
    for row in rows:
        number = int(ids[row])
        fit = fitted.flux[fitted.ids == number] if fitted is not None else None
        section.shown.append(
            _spectrum(
                spectra, row, fit[0] if fit is not None and len(fit) else None, answers[row],
                labels.get(number, ""), redshifts[number], classes[number], truth[number], lines[number],
            )
        )  # fmt: skip


@dataclass(frozen=True)
class _Answer:
    """What the last stage says of a spectrum, and whether the truth is another; None where no truth is known."""

    label: str
    probability: float
    z: float
    warned: bool
    wrong: bool | None


def _answer(redshifts: Rows, classes: Rows, truth: Rows) -> _Answer:
    best = [row for row in redshifts if row["rank"] == 0]
    last = best[-1] if best else {}
    coarse = _coarse(classes)
    label, probability = (coarse[0][0], coarse[0][1]) if coarse else (str(last.get("spectral_class") or ""), float("nan"))
    z = last.get("z")
    z = float("nan") if z is None else float(z)
    wrong = None
    if truth:
        known, true_z = str(truth[-1].get("spectral_class") or ""), truth[-1].get("z")
        wrong = bool(label) and label != known
        if known in ("galaxy", "quasar") and true_z is not None and np.isfinite(z):
            wrong |= abs(z - true_z) > 0.0033 * (1 + true_z)
    return _Answer(label, probability, z, bool(last.get("z_warning")), wrong)


def _coarse(classes: Rows) -> list[tuple[str, float]]:
    """Return the labels of the last coarse classifier, the most probable first; a single label is a p-value or a flag, and no class."""
    coarse = {"star", "galaxy", "quasar", "sky", "unknown"}
    names: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for row in classes:
        names.setdefault((row["stage"], row["classifier"]), []).append((str(row["label"]), float(row["probability"])))
    fitting = [found for found in names.values() if len(found) > 1 and {label for label, _ in found} <= coarse]
    return sorted(fitting[-1], key=lambda pair: -pair[1]) if fitting else []


def _chosen(answers: Sequence[_Answer]) -> list[int]:
    """Return the spectra to show: some that are wrong, one that is warned of in each class, and sure ones of all classes in turn."""
    chosen = [row for row, answer in enumerate(answers) if answer.wrong][:MOST_WRONG]
    groups: dict[str, list[int]] = {}
    for row in sorted(range(len(answers)), key=lambda row: (answers[row].warned, -np.nan_to_num(answers[row].probability))):
        if row not in chosen:
            groups.setdefault(answers[row].label, []).append(row)
    for group in groups.values():
        warned = next((row for row in group if answers[row].warned), None)
        if warned is not None and warned != group[0]:
            group.insert(1, group.pop(group.index(warned)))
    while len(chosen) < MOST_SPECTRA and any(groups.values()):
        chosen += [group.pop(0) for _, group in sorted(groups.items()) if group]
    return chosen[:MOST_SPECTRA]


def _spectrum(
    spectra: Spectra, row: int, fit: np.ndarray | None, answer: _Answer, name: str,
    redshifts: Rows, classes: Rows, truth: Rows, lines: Rows,
) -> ShownSpectrum:  # fmt: skip
    number = int(spectra.ids[row])
    ivar = np.where(spectra.usable()[row] if len(spectra) == 1 else spectra.take([row]).usable()[0], spectra.ivar[row], 0)
    verdict = ", ".join(part for part in (answer.label, f"z = {text.decimal(answer.z, 6)}" if np.isfinite(answer.z) else "") if part)
    facts = []
    if truth:
        last = truth[-1]
        known = [str(last.get("spectral_class") or ""), str(last.get("subclass") or "")]
        z = last.get("z")
        facts.append(
            (
                "truth",
                ", ".join([part for part in known if part] + ([f"z = {text.decimal(z, 6)}"] if z is not None and np.isfinite(z) else [])),
            )
        )
        if last.get("snr") is not None:
            facts.append(("true S/N per pixel", text.decimal(last["snr"], 3)))
    marks = _marks(answer, lines)
    said = f"Spectrum {number}: {verdict or 'no answer'}" + (", with the fitted template" if fit is not None else "")
    svg = picture(spectra.wave_of(row), spectra.flux[row], ivar, fit, marks, spectra.unit, said)
    title = f"{number}" + (f" · {name}" if name else "")
    return ShownSpectrum(
        title, verdict or "no answer", bool(answer.wrong), svg, facts, _solutions(redshifts), _probabilities(classes), _strongest(lines)
    )


def _marks(answer: _Answer, lines: Rows) -> list[Mark]:
    """Return the lines to mark: measured ones where there are any, else those that an object of its class usually shows."""
    if not np.isfinite(answer.z) or answer.label in ("sky", "unknown"):
        return []
    # Of tied lines, which have one signal-to-noise ratio, the stronger is named.
    measured = {
        str(row["line"]): abs(row["snr"]) * (0.9 if row["flags"] & SPECTRAL_LINE["TIED"] else 1) for row in lines if row["snr"] is not None
    }
    usual = USUAL.get(answer.label, set())
    found = []
    for line in LINES:
        snr = measured.get(line.key)
        unusual = snr is not None and snr >= SEEN and answer.label != "star"
        if unusual or (line.key in usual and (snr is not None or not lines or line.kind == "absorption")):
            seen = None if snr is None else snr >= SEEN
            found.append(Mark(line.label, line.wave * (1 + answer.z), line.kind == "absorption", seen, snr or 0.0))
    return found


def _solutions(redshifts: Rows) -> Listing:
    """Return the best solutions of the stage that has the most of them, the last of equals."""
    stages: dict[str, Rows] = {}
    for row in redshifts:
        stages.setdefault(str(row["stage"]), []).append(row)
    if not stages:
        return Listing([], [])
    most = max(reversed(list(stages.values())), key=len)
    said = []
    for row in sorted(most, key=lambda row: row["rank"])[:SOLUTIONS]:
        z, error = row["z"], row["z_err"]
        said.append(
            [
                str(row["rank"] + 1),
                str(row["spectral_class"] or ""),
                str(row["template"] or ""),
                text.measured(float("nan") if z is None else z, error),
                _number(row.get("delta_chi2")),
                _number(row.get("probability")),
                ", ".join(Z_WARNING.decode(int(row["z_warning"] or 0))),
            ]
        )
    return Listing.of(_SOLUTION, said)


def _number(value: float | None) -> str:
    return "" if value is None or not np.isfinite(value) else text.decimal(float(value))


def _probabilities(classes: Rows) -> list[tuple[str, list[tuple[str, float]]]]:
    """Return the first labels of each classifier; those of a later stage replace an earlier one's of the same name."""
    found: dict[str, dict[str, float]] = {}
    stage: dict[str, str] = {}
    for row in classes:
        name = str(row["classifier"])
        if stage.get(name) != row["stage"]:
            found[name], stage[name] = {}, str(row["stage"])
        found[name][str(row["label"])] = float(row["probability"])
    return [(name, sorted(labels.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP_LABELS]) for name, labels in found.items()]


def _strongest(lines: Rows) -> Listing:
    names = {line.key: line.label for line in LINES}
    tied = SPECTRAL_LINE["TIED"]
    seen = [row for row in lines if row["snr"] is not None and abs(row["snr"]) >= SEEN and not row["flags"] & tied]
    said = []
    for row in sorted(seen, key=lambda row: (-abs(row["snr"]), row["line"]))[:TOP_LINES]:
        key = str(row["line"])
        base = key.removesuffix("_broad")
        label = names.get(base, base) + (", broad" if key != base else "")
        pairs = (("line_flux", "line_flux_err"), ("equivalent_width", "equivalent_width_err"), ("sigma", "sigma_err"))
        numbers = [text.measured(float("nan") if row[a] is None else row[a], row[b]) for a, b in pairs]
        said.append([label, *numbers])
    return Listing.of(_LINE, said)
