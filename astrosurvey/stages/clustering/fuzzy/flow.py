"""From a catalogue to fuzzy clusters, for each of the three kinds of clusterings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....core.product import Tiles
from ....core.stage import Context, DataError
from ....products import Catalog
from ..features import Columns, Points, columns_of
from ..metric import metric_of
from ..tables import Group, cluster_ids, write_tables
from . import draws, snapshots
from .background import without_field
from .branches import branches
from .clusterings import Cluster, Clusterings, gather
from .errors import errors_of, moved
from .events import Event, events_of
from .given import Given, clusterings_in
from .groups import FuzzyGroup, groups_of
from .memberships import Membership, assigned, memberships, parents

Find = Callable[[Points], list[Cluster]]


@dataclass(frozen=True, eq=False)
class Fuzzy:
    """What was found.

    Attributes:
        points: n points, in an order that is not the rows'.
        groups: fuzzy clusters.
        assigned: (n,) which of them each point is put into; -1 for none.
        log_density: (n,) natural logarithm of the density; None where there is no one density.
        events: what happened to the fuzzy clusters.
        time: of each snapshot.
    """

    points: Points
    groups: list[Group]
    assigned: np.ndarray
    log_density: np.ndarray | None = None
    events: Sequence[Event] = ()
    time: np.ndarray | None = None

    def tables(self, catalog: Catalog, method: str) -> dict[str, Catalog]:
        """Return the stage's products."""
        made = write_tables(catalog, self.points, self.groups, method, log_density=self.log_density, assigned=self.assigned)
        return {**made, "events": self._events(catalog, method)}

    def _events(self, catalog: Catalog, method: str) -> Catalog:
        if not self.events or self.time is None:
            return Catalog.empty("cluster_event")
        ids = cluster_ids(catalog, self.points, self.groups, method)
        alone = [event.other < 0 for event in self.events]
        columns: dict[str, Any] = {
            "cluster_id": [ids[event.cluster] for event in self.events],
            "kind": [event.kind for event in self.events],
            "snapshot": [event.snapshot for event in self.events],
            "time": [self.time[event.snapshot] for event in self.events],
            "other_cluster_id": np.ma.MaskedArray([ids[event.other] for event in self.events], alone),
            "fraction": np.ma.MaskedArray([event.fraction for event in self.events], alone),
            "n_member": [event.n_member for event in self.events],
        }
        return Catalog.from_columns("cluster_event", columns)


def of_draws(ctx: Context, config: Any, catalog: Catalog) -> Fuzzy:
    """Cluster the catalogue with other errors added to its values, again and again."""
    columns = columns_of(catalog, config)
    errors = errors_of(catalog, columns, config.errors, config.correlations)
    if len(columns.rows) and not errors.usable.any():
        raise DataError("not one source has usable errors: they are missing, negative, or no covariances; see `errors` and `correlations`")
    if lost := int((~errors.usable).sum()):
        ctx.log.warning("%d of %d sources are left out: their errors are missing, negative, or no covariance", lost, len(errors.usable))
    usable = np.flatnonzero(errors.usable)
    # Random numbers are handed out by values and errors: ids may be those of rows, and the rows' order must not matter.
    of_each = (*errors.root.reshape(len(errors.root), math.prod(errors.root.shape[1:])).T, *columns.values.T)
    usable = usable[np.lexsort([key[usable] for key in of_each])]
    columns, errors = _rows(columns, usable), errors.take(usable)
    if not errors.root.any() and len(columns.rows):
        ctx.log.warning("all errors are 0, so all draws are equal; set `errors`")
    metric = metric_of(columns, config, ctx.log)
    points = Points(metric.apply(columns.values), columns.rows, columns.total, metric.dimension, metric.box, metric.names)
    find, seed = _finder(ctx, config), int(ctx.rng.integers(2**63))
    found = []
    for draw in range(config.draws):
        ctx.progress(draw, config.draws)
        drawn = moved(columns, errors.draw(np.random.default_rng([seed, draw])))
        found.append(find(replace(points, values=metric.apply(drawn))))
    return _agreed(ctx, config, points, gather(found, len(points)))


def of_given(ctx: Context, config: Any, catalog: Catalog, given: Given) -> Fuzzy:
    """Take clusterings that were made before."""
    columns = columns_of(catalog, config)
    metric = metric_of(columns, config, ctx.log)
    points = Points(metric.apply(columns.values), columns.rows, columns.total, metric.dimension, metric.box, metric.names)
    found, strangers = clusterings_in(given, catalog.column("source_id")[columns.rows])
    if strangers:
        ctx.log.warning("%d members of the clusters given are no source that can be clustered; they are left out", strangers)
    return _agreed(ctx, config, points, found)


def _agreed(ctx: Context, config: Any, points: Points, clusterings: Clusterings) -> Fuzzy:
    """Return the clusters on which clusterings of the same points agree."""
    if clusterings.n_clusterings == 1:
        ctx.log.warning("there is one clustering only: its clusters are as they are, and their stability says nothing")
    if len(clusterings) == 0:
        ctx.log.warning(
            "not one clustering has a cluster; there are %d points, and densities follow from %d", len(points), config.neighbours
        )
    least = max(1, int(np.ceil(config.min_stability * clusterings.n_clusterings)))
    groups = groups_of(clusterings, least, config.min_jaccard)
    log_density = draws.log_density(points, config.neighbours, ctx.device)
    plain = memberships(clusterings, groups)
    above = parents(clusterings, groups, plain)
    found = without_field(plain, points.values, points.box, log_density)
    stability = [len(group.clusterings) / clusterings.n_clusterings for group in groups]
    ctx.log.info("%d clusters in %d clusterings; %d hold", len(clusterings), clusterings.n_clusterings, len(groups))
    return Fuzzy(points, *_listed(clusterings, groups, found, above, stability, len(points)), log_density)


def of_snapshots(ctx: Context, config: Any, catalog: Catalog, tiles: Tiles[Catalog]) -> Fuzzy:
    """Cluster each snapshot, and follow the clusters through time."""
    columns = columns_of(catalog, config)
    usable = np.zeros(len(catalog), bool)
    usable[columns.rows] = True
    time = snapshots.times_of(catalog, config.time, tiles)
    whole = snapshots.snapshots_of(time, snapshots.tracers_of(catalog, config.tracer), usable, catalog.column("primary"))
    n_seen = int(whole.present.any(axis=1).sum())
    if empty := [name for name, part in tiles.items() if len(part) == 0]:
        ctx.log.warning("snapshots without rows are passed over: %s", ", ".join(empty))
    if n_seen < config.min_lifetime:
        ctx.log.warning("a cluster must last for %d snapshots, and %d have rows; set `min_lifetime` lower", config.min_lifetime, n_seen)
    metric = metric_of(columns, config, ctx.log)
    points = Points(metric.apply(columns.values), columns.rows, columns.total, metric.dimension, metric.box, metric.names)
    place = np.full(len(catalog), -1, np.int64)
    place[columns.rows] = np.arange(len(columns.rows))
    find = _finder(ctx, config)
    found: list[list[Cluster]] = []
    for t in range(len(whole.time)):
        ctx.progress(t, len(whole.time))
        there = np.flatnonzero(whole.present[t])
        here = place[whole.row[t, there]]
        clusters = find(replace(points, values=points.values[here], rows=points.rows[here]))
        found.append([cluster._replace(members=there[cluster.members]) for cluster in clusters])
    clusterings = gather(found, whole.n_tracers, whole.present)
    alike = groups_of(clusterings, config.min_lifetime, config.min_jaccard, config.window)
    groups, stability = snapshots.lasting(
        branches(clusterings, alike, whole.present), clusterings.clustering, whole.present, config.min_stability, config.min_lifetime
    )
    plain = memberships(clusterings, groups)
    in_time = snapshots.memberships_in_time(clusterings, groups, whole, config.average)
    rows = _without_field_in_time(
        ctx, config, points, whole.snapshot[points.rows], [Membership(place[members], probability) for members, probability in in_time]
    )
    events = events_of(snapshots.seen(clusterings, groups), whole.present)
    ctx.log.info("%d clusters in %d snapshots; %d last", len(clusterings), len(whole.time), len(groups))
    # Two snapshots of an object at rest are no duplicate.
    apart = np.column_stack([points.values, whole.snapshot[points.rows]])
    listed = _listed(clusterings, groups, rows, parents(clusterings, groups, plain), stability, len(points))
    return Fuzzy(replace(points, values=apart), *listed, events=events, time=whole.time)


def _without_field_in_time(ctx: Context, config: Any, points: Points, snapshot: np.ndarray, found: list[Membership]) -> list[Membership]:
    """Return memberships times the probability of not being field, for which every snapshot is looked at by itself."""
    kept: list[list[Membership]] = [[] for _ in found]
    for t in np.unique(snapshot):
        here = np.flatnonzero(snapshot == t)
        alone = replace(points, values=points.values[here], rows=points.rows[here])
        parts = []
        for members, probability in found:
            now = snapshot[members] == t
            parts.append(Membership(np.searchsorted(here, members[now]), probability[now]))
        log_density = draws.log_density(alone, config.neighbours, ctx.device)
        for whole, part in zip(kept, without_field(parts, alone.values, alone.box, log_density), strict=True):
            whole.append(Membership(here[part.members], part.probability))
    joined = []
    for several in kept:
        members = np.concatenate([part.members for part in several])
        order = np.argsort(members)
        joined.append(Membership(members[order], np.concatenate([part.probability for part in several])[order]))
    return joined


def _listed(
    clusterings: Clusterings,
    groups: Sequence[FuzzyGroup],
    found: Sequence[Membership],
    parent: Sequence[int],
    stability: Sequence[float],
    n_points: int,
) -> tuple[list[Group], np.ndarray]:
    """Return the fuzzy clusters that have members left, and which of them each point is put into."""
    kept = [index for index, membership in enumerate(found) if len(membership.members)]
    number = {index: place for place, index in enumerate(kept)}
    above = []
    for index in kept:
        up = parent[index]
        while up >= 0 and up not in number:
            up = parent[up]
        above.append(number[up] if up >= 0 else -1)
    of = assigned(n_points, [found[index] for index in kept], above)
    listed = []
    for index, up in zip(kept, above, strict=True):
        significance = np.sort(clusterings.significance[groups[index].clusters])
        middle = float(np.median(significance)) if np.isfinite(significance).all() else np.nan
        listed.append(Group(found[index].members, found[index].probability, up, middle, stability[index]))
    return listed, of


def _finder(ctx: Context, config: Any) -> Find:
    """Return the function that clusters points."""
    if config.method == "astrolink":
        return lambda points: draws.astrolink(points, config.neighbours, config.false_positive_rate, ctx.device)
    return lambda points: draws.hdbscan(points, config.neighbours, config.min_cluster_size, ctx.device)


def _rows(columns: Columns, rows: np.ndarray) -> Columns:
    """Return some rows of columns."""
    return replace(columns, values=columns.values[rows], rows=columns.rows[rows])
