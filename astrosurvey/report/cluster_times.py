"""The lives of clusters as SVG: a bar for each from its birth to its death, and links where clusters merge or split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from .charts import ticks
from .cluster_plots import style
from .text import decimal, visible

WIDTH, LEFT, RIGHT, TOP, ROW = 1000, 46, 30, 8, 20
MOST_LIVES = 40


@dataclass(frozen=True)
class Event:
    """What happened to a cluster.

    Attributes:
        number: the cluster's number on the page.
        kind: birth or split, with which it begins; death or merger, with which it ends.
        snapshot: when: place in time of the first snapshot with the cluster, or of the first without it.
        other: number of the cluster that has a part in it; 0 for none.
        said: for those who point at it.
    """

    number: int
    kind: str
    snapshot: int
    other: int
    said: str


def events_of(columns: Mapping[str, np.ndarray], number: Mapping[int, int]) -> list[Event]:
    """Return the events of a table `cluster_event`.

    Args:
        columns: of the table; -1 where there is no other cluster.
        number: a cluster's number on the page by its id.
    """
    found = []
    for k in range(len(columns["cluster_id"])):
        own, other = (number.get(int(columns[name][k]), 0) for name in ("cluster_id", "other_cluster_id"))
        kind, part = str(columns["kind"][k]), float(columns["fraction"][k])
        partner = f" {'from' if kind == 'split' else 'into'} {other}, {decimal(100 * part, 3)} % of its members" if other else ""
        said = f"{own}: {kind}{partner}, at time {decimal(float(columns['time'][k]))}, {int(columns['n_member'][k])} members"
        found.append(Event(own, kind, int(columns["snapshot"][k]), other, said))
    return [event for event in found if event.number]


def timeline(events: Sequence[Event], clusters: int, snapshots: int) -> Markup:
    """Return the picture.

    Args:
        events: of all clusters.
        clusters: how many there are; clusters without an event live from the first snapshot to the last.
        snapshots: how many there are.
    """
    shown = min(clusters, MOST_LIVES)
    last = max([snapshots, *(event.snapshot + 1 for event in events)]) - 1
    base = TOP + shown * ROW

    def across(snapshot: float) -> float:
        return LEFT + (snapshot + 0.5) / (last + 1) * (WIDTH - LEFT - RIGHT)

    def up(number: int) -> float:
        return TOP + (number - 0.5) * ROW

    parts = [f'<path class="axis" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>']
    for tick in ticks(0, max(last, 1), 10):
        if tick == int(tick):
            parts.append(f'<path class="grid" d="M{across(tick):.1f} {TOP}V{base}"/>')
            parts.append(f'<text class="tick middle" x="{across(tick):.1f}" y="{base + 16}">{decimal(tick)}</text>')
    begins = {event.number: event for event in events if event.kind in ("birth", "split")}
    ends = {event.number: event for event in events if event.kind in ("death", "merger")}
    for number in range(1, shown + 1):
        start = across(begins[number].snapshot) if number in begins else across(-0.5)
        end = across(ends[number].snapshot - 1) if number in ends else across(last + 0.5)
        bar = f'<rect x="{start:.1f}" y="{up(number) - 4}" width="{max(end - start, 3):.1f}" height="8" rx="3"/>'
        parts.append(f'<g class="{style(number)}">{bar}</g>')
        parts.append(f'<text class="tick end" x="{LEFT - 8}" y="{up(number) + 4}">{number}</text>')
    for event in events:
        if event.number > shown or event.other > shown:
            continue
        ending = event.kind in ("death", "merger")
        x, y = across(event.snapshot - 1 if ending else event.snapshot), up(event.number)
        mark = f'<circle class="{"end-mark" if ending else "begin-mark"}" cx="{x:.1f}" cy="{y}" r="5"/>'
        if event.other:
            # A merged cluster is in the other one at the snapshot after; a split one was in it at the snapshot before.
            to = across(event.snapshot if ending else event.snapshot - 1)
            mark += f'<path class="link" d="M{x:.1f} {y}C{to:.1f} {y} {x:.1f} {up(event.other)} {to:.1f} {up(event.other)}"/>'
        parts.append(f'<g class="event {style(event.number)}">{mark}<title>{escape(visible(event.said))}</title></g>')
    parts.append(f'<text class="label middle" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{base + 34}">snapshot</text>')
    label = f"Lives of {shown} clusters over {snapshots} snapshots"
    return Markup(
        f'<svg class="chart clusters lives" role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {base + 40}">{"".join(parts)}</svg>'
    )
