"""Clusters that a run has found: the ordered-density plot with the hierarchy, maps, a card for each of the clearest, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ..catalog.flags import CLUSTERING
from ..core.tiling import SURVEY
from . import text
from .cluster_panels import Sources, panels, whole
from .cluster_plots import Span, ordered, style
from .cluster_times import events_of, timeline
from .gather import Run

MOST_CLUSTERINGS = 4
"""Stages, or tiles of one, of which the clusters are shown."""
MOST_CARDS = 16
MOST_ROWS = 60
MOST_BYTES = 600_000_000
"""Of a clustering's tables and its sources; larger ones are not opened for the page."""


@dataclass(frozen=True)
class Row:
    """One row of the table of clusters.

    Attributes:
        style: the class that colours it.
        cells: its values in words.
    """

    style: str
    cells: list[str]


@dataclass(frozen=True)
class Card:
    """One cluster with its pictures."""

    style: str
    number: int
    facts: str
    panels: list[Markup]


@dataclass(frozen=True)
class Clustering:
    """What one stage has found on one tile, or on the survey.

    Attributes:
        facts: (name, value) pairs.
        plot: ordered densities over the hierarchy; empty for a method that orders nothing.
        lives: of clusters that were followed in time; empty for others.
        map: where the clusters lie.
        header: of the table: of each column its name and whether it holds numbers.
        total: clusters, of which the table shows the first.
    """

    title: str
    facts: list[tuple[str, str]]
    plot: Markup
    lives: Markup
    map: Markup
    map_title: str
    cards: list[Card]
    header: list[tuple[str, bool]]
    rows: list[Row]
    total: int


@dataclass
class ClustersSection:
    """What the page says of clusters."""

    clusterings: list[Clustering] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def make_clusters(run: Run) -> ClustersSection:
    """Return the section; empty for a run that clusters nothing."""
    section = ClustersSection()
    tasks = [(stage, tile) for stage in run.stages for tile, port, stored, _ in run.products(stage) if _table(stored) == "cluster_point"]
    if len(tasks) > MOST_CLUSTERINGS:
        section.notes.append(f"{MOST_CLUSTERINGS} of {len(tasks)} clusterings are shown: the last of the pipeline.")
    for stage, tile in tasks[-MOST_CLUSTERINGS:]:
        outputs = {_table(stored): run.store.get(path) for at, _, stored, path in run.products(stage) if at == tile}
        sources = {port: _paths(run, source, tile) for port, source in run.inputs(stage).items()}
        files = [*outputs.values(), *(path for paths in sources.values() for path in paths)]
        if sum(path.stat().st_size for path in files) > MOST_BYTES:
            section.notes.append(f"The clusters of {stage} are too many to be opened for this page.")
            continue
        title = stage if tile == SURVEY else f"{stage}, {tile}"
        section.clusterings.append(_clustering(run, stage, title, outputs, sources))
    return section


def _table(stored: Any) -> str:
    return str(stored.summary.get("table")) if stored.kind == "catalog" and isinstance(stored.summary, dict) else ""


def _paths(run: Run, source: str, tile: str) -> list[Path]:
    """Return the files of an input, "stage.port": of the tile, or of all where the survey has gathered them."""
    stage, _, port = source.partition(".")
    found = [(at, path) for at, name, stored, path in run.products(stage) if name == port and stored.kind == "catalog"]
    mine = [path for at, path in found if at in (tile, SURVEY)] or [path for _, path in found]
    return [run.store.get(path) for path in mine]


class _Tables:
    """The three tables of a clustering as arrays, joined by rows and by the numbers that clusters have on the page."""

    def __init__(self, outputs: dict[str, Path]) -> None:
        self.clusters = _columns(outputs.get("cluster"))
        self.members = _columns(outputs.get("cluster_member"), ("cluster_id", "source_id", "probability"))
        self.points = _columns(outputs["cluster_point"])
        ids = self.clusters.get("cluster_id", np.zeros(0, np.int64))
        self.number = {int(number): place + 1 for place, number in enumerate(ids)}
        self.numbers = self._places(self.points["cluster_id"], ids)
        self.ids = self.points["source_id"]
        self.sorted = np.argsort(self.ids, kind="stable")

    @staticmethod
    def _places(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Return (n,) the place, from 1, of each cluster's id in the table; 0 for none."""
        if not len(ids):
            return np.zeros(len(values), np.int64)
        order = np.argsort(ids)
        at = np.clip(np.searchsorted(ids[order], values), 0, len(ids) - 1)
        return np.where(ids[order][at] == values, order[at] + 1, 0)

    def rows(self, source_ids: np.ndarray) -> np.ndarray:
        """Return which points sources are."""
        return self.sorted[np.searchsorted(self.ids[self.sorted], source_ids)]

    def members_of(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return, cluster by cluster, the points that are its members and their probabilities."""
        if not len(self.number):
            return []
        place = self._places(self.members["cluster_id"], self.clusters["cluster_id"]) - 1
        order = np.argsort(place, kind="stable")
        rows, probability = self.rows(self.members["source_id"][order]), self.members["probability"][order]
        cuts = np.searchsorted(place[order], np.arange(len(self.number) + 1))
        return [(rows[a:b], np.asarray(probability[a:b], float)) for a, b in pairwise(cuts.tolist())]


def _columns(path: Path | None, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Return a stored table's columns; null is NaN in a column of floats and -1 in one of integers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path is None:
        return {}
    table = pq.read_table(path, columns=None if names is None else list(names))
    found = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_integer(column.type):
            column = column.fill_null(-1)
        found[name] = column.to_numpy(zero_copy_only=False)
    return found


def _clustering(run: Run, stage: str, title: str, outputs: dict[str, Path], inputs: dict[str, list[Path]]) -> Clustering:
    tables = _Tables(outputs)
    members = tables.members_of()
    sources = Sources.read(inputs, tables.ids, [str(name) for name in run.stages[stage].get("columns") or []])
    picture, caption = whole(sources, tables.numbers)
    header, rows = _rows(tables)
    chosen = _clearest(tables.clusters, len(members))
    return Clustering(
        title=title,
        facts=_facts(tables),
        plot=_plot(tables, members),
        lives=_lives(outputs, inputs, tables),
        map=picture,
        map_title=caption,
        cards=[_card(tables, sources, k, *members[k]) for k in chosen],
        header=header,
        rows=rows,
        total=len(members),
    )


def _card(tables: _Tables, sources: Sources, place: int, rows: np.ndarray, probability: np.ndarray) -> Card:
    pictures = panels(sources, tables.numbers, _probable(rows, probability), place + 1)
    return Card(style(place + 1), place + 1, _said(tables.clusters, place), pictures)


def _probable(rows: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return the members that rather are than are not; all, where there are none."""
    return rows[probability > 0.5] if (probability > 0.5).any() else rows


def _facts(tables: _Tables) -> list[tuple[str, str]]:
    """Return what stands above the pictures: how many sources there are, and what became of them."""
    flags, clustered = tables.points["flags"], int((tables.numbers > 0).sum())
    facts = [("sources", text.number(len(flags))), ("clusters", text.number(len(tables.number)))]
    facts.append(("in a cluster", f"{text.number(clustered)} ({text.decimal(100 * clustered / max(len(flags), 1), 3)} %)"))
    for name, said in (("MISSING_VALUE", "without a value"), ("DUPLICATE", "coinciding")):
        if number := int((flags & CLUSTERING[name] != 0).sum()):
            facts.append((said, text.number(number)))
    return facts


def _plot(tables: _Tables, members: list[tuple[np.ndarray, np.ndarray]]) -> Markup:
    position = tables.points["position"]
    placed = np.flatnonzero(position >= 0)
    if not len(placed):
        return Markup()
    order = placed[np.argsort(position[placed], kind="stable")]
    rank = np.full(len(position), -1)
    rank[order] = np.arange(len(order))
    spans = []
    for place, (rows, _) in enumerate(members):
        at = rank[rows]
        level = int(tables.clusters["level"][place])
        spans.append(Span(place + 1, level, int(at.min()), int(at.max()) + 1, f"{place + 1}: {_said(tables.clusters, place)}"))
    return ordered(np.asarray(tables.points["log_density"], float)[order], tables.numbers[order], spans)


def _lives(outputs: dict[str, Path], inputs: dict[str, list[Path]], tables: _Tables) -> Markup:
    """Return the lives of clusters, for a method that tells of them; each file of the sources is a snapshot."""
    if "cluster_event" not in outputs or not tables.number:
        return Markup()
    events = events_of(_columns(outputs["cluster_event"]), tables.number)
    return timeline(events, len(tables.number), max(map(len, inputs.values()), default=1))


def _said(clusters: dict[str, np.ndarray], place: int) -> str:
    """Return a cluster in words."""
    said = [f"{text.number(int(clusters['n_member'][place]))} members"]
    for name, unit in (("significance", " σ"), ("stability", "")):
        value = float(clusters[name][place])
        if not np.isnan(value):
            said.append(f"{name} {text.decimal(value, 3)}{unit}")
    return ", ".join(said)


def _clearest(clusters: dict[str, np.ndarray], number: int) -> list[int]:
    """Return the clusters to show: the most significant, else the most stable, else the largest; in the table's order."""
    if not number:
        return []
    keys = [np.asarray(clusters[name], float) for name in ("significance", "stability", "n_member")]
    rank = next(key for key in keys if not np.isnan(key).all())
    return sorted(np.argsort(-np.nan_to_num(rank, nan=-np.inf, posinf=np.finfo(float).max), kind="stable")[:MOST_CARDS].tolist())


def _rows(tables: _Tables) -> tuple[list[tuple[str, bool]], list[Row]]:
    """Return the head and the rows of the table of clusters, without the columns in which nothing stands."""
    clusters = tables.clusters
    shown = range(min(len(tables.number), MOST_ROWS))
    columns: list[tuple[str, list[str]]] = [("", [str(k + 1) for k in shown])]
    columns.append(("inside", [str(tables.number.get(int(clusters["parent_cluster_id"][k]), "")) for k in shown]))
    columns.append(("members", [text.number(int(clusters["n_member"][k])) for k in shown]))
    for name, digits, unit in (("significance", 3, ", σ"), ("stability", 3, ""), ("ra", 7, ", deg"), ("dec", 7, ", deg")):
        values = [float(clusters[name][k]) for k in shown]
        columns.append((name + unit, ["" if np.isnan(value) else text.decimal(value, digits) for value in values]))
    columns.append(("id", [str(int(clusters["cluster_id"][k])) for k in shown]))
    kept = [(name, cells) for name, cells in columns if any(cells)]
    rows = [Row(style(k + 1), [cells[k] for _, cells in kept]) for k in shown]
    return [(name, True) for name, _ in kept], rows
