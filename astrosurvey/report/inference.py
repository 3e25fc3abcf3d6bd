"""Posteriors by simulation: whether they can be trusted, how many are flagged, and some of them as corner plots."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ..catalog.flags import SBI
from ..core.tiling import SURVEY
from . import text
from .charts import Curve, curves, histogram
from .corner import Density, corner
from .gather import Run

if TYPE_CHECKING:
    from ..products import Samples
    from ..stages.sbi.calibration.check import Calibration

MOST_CALIBRATIONS, MOST_STAGES, MOST_CORNERS = 4, 4, 6
MOST_TILES = 1000
"""The products of so many tiles are opened."""
MOST_RANKS = 6
"""Parameters whose rank histograms are shown."""
MOST_BYTES = 400_000_000
"""Of a stage's tables; larger ones are not opened for the page."""
OWN = ("tests by rank", "difference by place", "coverage by level", "central coverage by level")
"""First words of curves that this section draws, so that the metrics' need not."""
MOODS = {"calibrated": "good", "off": "warn", "untested": "warn"}
BAND = "95 % of right posteriors"
ABOUT = {"source_id": "source", "spectrum_id": "spectrum", "tile_id": "tile"}
"""Columns that say what a posterior is of, and what that is called."""


@dataclass(frozen=True)
class Picture:
    """A chart with its title and what to look for in it."""

    title: str
    svg: Markup
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """The calibration of one estimator.

    Attributes:
        mood: the CSS class of the verdict.
        facts: (name, value) pairs.
        faults: what is wrong, in words.
    """

    title: str
    verdict: str
    mood: str
    facts: list[tuple[str, str]]
    faults: tuple[str, ...]
    pictures: list[Picture]


@dataclass(frozen=True)
class Answers:
    """The posteriors that a stage gave.

    Attributes:
        facts: (name, value) pairs, flags among them.
        corners: some of them.
    """

    title: str
    facts: list[tuple[str, str]]
    corners: list[Picture]


@dataclass
class InferenceSection:
    """What the page says of inference."""

    verdicts: list[Verdict] = field(default_factory=list)
    answers: list[Answers] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def make_inference(run: Run) -> InferenceSection:
    """Return the section; empty for a run that infers nothing."""
    from ..products import Metrics
    from ..stages.sbi.calibration.product import of_metrics

    section = InferenceSection()
    for stage in run.stages:
        for _, port, stored, path in run.products(stage)[:MOST_TILES]:
            if stored.kind == "metrics" and port in ("calibration", "metrics") and len(section.verdicts) < MOST_CALIBRATIONS:
                found = of_metrics(Metrics.read(run.store.get(path)))
                if found is not None:
                    section.verdicts.append(_verdict(stage, found))
    stages = [stage for stage in run.stages if any(_table(stored) == "posterior" for _, _, stored, _ in run.products(stage))]
    for stage in stages[:MOST_STAGES]:
        sizes = [stored.bytes for _, _, stored, _ in run.products(stage) if _table(stored) in ("posterior", "posterior_sample")]
        if sum(sizes) > MOST_BYTES:
            section.notes.append(f"The posteriors of {stage} are too many to be opened for this page.")
        else:
            section.answers.append(_answers(run, stage))
            if (tiles := len(run.tiles_of(stage))) > MOST_TILES:
                section.notes.append(f"Posteriors of {stage} are counted on the first {MOST_TILES} of {tiles} tiles.")
    return section


def _table(stored: Any) -> str:
    return str(stored.summary.get("table")) if stored.kind == "catalog" and isinstance(stored.summary, dict) else ""


def _verdict(title: str, found: Calibration) -> Verdict:
    facts = [("tests", text.number(found.tests))] if found.tests else []
    if np.isfinite(found.p):
        facts += [
            ("p, all tests together", text.decimal(found.p, 2)),
            ("regions of 90 % hold", f"{text.decimal(100 * found.covered, 3)} %"),
            ("coverage less nominal", ("+" if found.signed > 0 else "") + text.decimal(found.signed, 2)),
        ]
    facts += [("without a draw", text.number(found.empty))] if found.empty else []
    return Verdict(title, found.verdict, MOODS.get(found.verdict, "bad"), facts, found.faults, _pictures(found))


def _pictures(found: Calibration) -> list[Picture]:
    made = []
    covered = _starting(found, "coverage by level, ")
    if covered:
        made.append(_coverage("Expected coverage", "regions that hold the truth", covered))
    places = _starting(found, "difference by place, ")
    if places:
        lines = [_line(name, curve, "place", "difference", k) for k, (name, curve) in enumerate(places.items())]
        first = next(iter(places.values()))
        lines.append(_band(first, _numbers(first, "place"), [0.0] * len(first["place"])))
        svg = curves(lines, x="place of the truth among the draws", y="distribution less uniform")
        note = "A line wholly above or below is a bias; up and then down, a posterior too narrow; down and then up, one too wide."
        made.append(Picture("Places of the truth, by parameter", svg, note))
    central = _starting(found, "central coverage by level, ")
    if central:
        made.append(_coverage("Central intervals, by parameter", "intervals that hold the truth", central))
    for k, (name, curve) in enumerate(list(_starting(found, "tests by rank, ").items())[:MOST_RANKS]):
        edges = [*_numbers(curve, "rank_min"), *_numbers(curve, "rank_max")[-1:]]
        band = (BAND, _numbers(curve, "low"), _numbers(curve, "high"))
        svg = histogram(edges, {"tests": _numbers(curve, "tests")}, x="rank of the truth among the draws", y="tests", band=band)
        note = "A bowl is a posterior too narrow; a hill, one too wide; a slope, a bias."
        made.append(Picture(f"Ranks, {name}", svg, note if k == 0 else ""))
    return made


def _coverage(title: str, y: str, covered: dict[str, Any]) -> Picture:
    lines = [_line(name, curve, "level", "coverage", k) for k, (name, curve) in enumerate(covered.items())]
    first = next(iter(covered.values()))
    lines.append(_band(first, _numbers(first, "level"), _numbers(first, "level")))
    svg = curves(lines, x="nominal probability", y=y, y_range=(0.0, 1.04))
    return Picture(title, svg, "Below the dashed line, regions are too small: the posterior is overconfident.")


def _starting(found: Calibration, prefix: str) -> dict[str, Any]:
    """Return the curves whose names begin so, by what follows."""
    return {name.removeprefix(prefix): curve for name, curve in found.curves.items() if name.startswith(prefix)}


def _line(name: str, curve: Any, x: str, y: str, colour: int) -> Curve:
    return Curve(name, _numbers(curve, x), _numbers(curve, y), colour=colour)


def _band(curve: Any, x: list[float], y: list[float]) -> Curve:
    return Curve(BAND, x, y, _numbers(curve, "low"), _numbers(curve, "high"), colour=7, dashed=True)


def _numbers(curve: Any, column: str) -> list[float]:
    return [float("nan") if value is None else float(value) for value in curve[column]]


def _answers(run: Run, stage: str) -> Answers:
    import pyarrow.parquet as pq

    number, flags, corners = 0, [], list[Picture]()
    tiles: dict[str, dict[str, Path]] = {}
    for tile, _, stored, path in run.products(stage):
        if _table(stored) in ("posterior", "posterior_sample"):
            tiles.setdefault(tile, {})[_table(stored)] = path
    priors = _priors(run, stage)
    each = max(1, MOST_CORNERS // max(len(tiles), 1))
    for tile, stored_at in islice(tiles.items(), MOST_TILES):
        paths = {table: run.store.get(path) for table, path in stored_at.items()}
        wanted = ["posterior_id", "parameter_names", "parameter_units", "flags", *ABOUT]
        there = pq.read_schema(paths["posterior"]).names
        posterior = pq.read_table(paths["posterior"], columns=[name for name in wanted if name in there])
        number += posterior.num_rows
        flags.append(posterior.column("flags").to_numpy())
        if len(corners) < MOST_CORNERS and "posterior_sample" in paths and posterior.num_rows:
            sample = pq.read_table(paths["posterior_sample"], columns=["posterior_id", "parameters"])
            corners += _corners(posterior, sample, _truth(run, stage, tile), priors, each)
    bits = np.concatenate(flags) if flags else np.zeros(0, np.int64)
    facts = [("posteriors", text.number(number)), ("without a flag", text.number(int((bits == 0).sum())))]
    facts += [
        (flag.name.lower().replace("_", " "), text.number(count)) for flag in SBI.flags if (count := int((bits & flag.value != 0).sum()))
    ]
    return Answers(stage, facts + _together(run, stage), corners[:MOST_CORNERS])


def _together(run: Run, stage: str) -> list[tuple[str, str]]:
    """Return on how many tiles the observations, all together, are unlike the simulations."""
    from ..products import Metrics
    from ..stages.sbi.calibration.misspecification import LEVEL

    paths = [path for _, port, _, path in run.products(stage) if port == "likeness"][:MOST_TILES]
    read = [Metrics.read(run.store.get(path)) for path in paths]
    p = np.array([metric.value for metrics in read for metric in metrics.values if metric.name == "together_p"])
    known = p[np.isfinite(p)]
    return [("tiles unlike the simulations as a whole", f"{(known <= LEVEL).sum()} of {len(known)}")] if len(known) else []


def _corners(posterior: Any, sample: Any, truth: Samples | None, priors: dict[str, Density], most: int) -> list[Picture]:
    """Return the first posteriors as pictures."""
    owner = sample.column("posterior_id").to_numpy()
    values = sample.column("parameters").combine_chunks()
    names = posterior.column("parameter_names")[0].as_py().split(",")
    units = posterior.column("parameter_units")[0].as_py().split(",")
    flat = values.flatten().to_numpy().reshape(-1, len(names))
    labels = [f"{name}, {unit}" if unit else name for name, unit in zip(names, units, strict=True)]
    true = None
    if truth is not None and set(names) <= set(truth.parameters):
        true = truth.draws[:, [truth.parameters.index(name) for name in names]]
    made = []
    known_ids = [name for name in ABOUT if name in posterior.column_names and not posterior.column(name).null_count]
    about, of = (known_ids[0], ABOUT[known_ids[0]]) if known_ids else ("posterior_id", "posterior")
    for row, number in enumerate(posterior.column("posterior_id").to_numpy()[:most].tolist()):
        known = true[row] if true is not None and len(true) == posterior.num_rows else None
        said = ", ".join(SBI.decode(int(posterior.column("flags")[row].as_py())))
        title = f"{of} {posterior.column(about)[row].as_py()}"
        made.append(Picture(title, corner(flat[owner == number], labels, known, [priors.get(name) for name in names]), said))
    return made


def _truth(run: Run, stage: str, tile: str) -> Samples | None:
    """Return the parameters that made what a tile's posteriors are of, in their order, where a simulator did."""
    from ..core.product import Tiles
    from ..products import Observations
    from ..stages.sbi.rounds.target import observed

    # What learns and answers at once learns from `observations`, and answers for `target`.
    wires = run.inputs(stage)
    source, _, port = wires.get("target", wires.get("observations", "")).partition(".")
    found = ((at, path) for at, name, _, path in run.products(source) if name == port and tile in (SURVEY, at))
    parts = {at: Observations.read(run.store.get(path)) for at, path in found}
    if tile == SURVEY and any(map(len, parts.values())):
        return observed(Tiles(list(parts), parts.__getitem__)).parameters
    return next(iter(parts.values())).parameters if parts else None


def _priors(run: Run, stage: str) -> dict[str, Density]:
    """Return the prior density of each parameter of the model that a stage has asked, where it is one of a single number."""
    from ..products import Model
    from ..stages.sbi.priors import Prior

    # What learns and answers at once has asked its own.
    source, _, port = run.inputs(stage).get("posterior_model", f"{stage}.posterior_model").partition(".")
    for _, name, _, path in run.products(source):
        if name == port:
            prior = Prior.from_json(Model.read(run.store.get(path)).card["prior"])
            known = [m for m in prior.marginals if m.kind not in ("categorical", "joint")]
            return {m.name: lambda x, m=m: np.exp(m.log_density(x)) for m in known}  # type: ignore[misc]
    return {}
