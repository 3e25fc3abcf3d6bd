"""The methods for points with errors that `clustering.py` compares, each in a process of its own.

python clustering_fuzzy.py draws METHOD IN.npz OUT.npz          points with errors, clustered again and again
python clustering_fuzzy.py clusterings METHOD OUT.npz NUMBER    a given number of clusterings put together

fuzzycategories 0.3.2 runs as shipped, and with its memberships computed from its groups as its paper says: shipped, a draw that holds
m > 1 clusters of a fuzzy cluster gets the weight 1 / m in an array of integers, which is none. Its clusterings are AstroLink's, as
published; their ids, such as `1-2` inside `1`, tell it the hierarchy. It reads clusterings from a folder, one file a cluster; writing
them is not timed, reading them is part of what it does.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))
from clustering_data import many_clusterings
from clustering_tools import astrolink_package, context, mock_catalog, peak, timed

Clustering = list[tuple[str, np.ndarray]]
Found = tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]
"""Flat labels, and of each cluster the points that may be in it and how probably they are."""

DRAWS = 25
POINTS, CLUSTERS = 10_000, 5
"""Of the many clusterings; with more clusters fuzzycategories needs tens of gigabytes."""


def by_astrolink(points: np.ndarray) -> Clustering:
    """Return the clusters of AstroLink as published, the one of all points left out."""
    from astrolink import AstroLink

    found = AstroLink(points, workers=1)
    found.run()
    return [
        (name, found.ordering[start:end].astype(np.int64)) for name, (start, end) in zip(found.ids[1:], found.clusters[1:], strict=True)
    ]


def fuzzycat(clusterings: list[Clustering], n: int) -> tuple[float, Any]:
    """Return the CPU seconds of fuzzycategories on clusterings of n points, and its object, which keeps them as `rows`."""
    from fuzzycat import FuzzyCat

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "Clusters"
        folder.mkdir()
        digits = len(str(len(clusterings)))
        for number, clusters in enumerate(clusterings):
            for label, rows in clusters:
                np.save(folder / f"{number:0{digits}d}_{label}.npy", rows)
        found = FuzzyCat(len(clusterings), n, name)
        seconds, _ = timed(found.run)
        found.rows = [np.load(folder / file) for file in found.clusterFileNames]
    return seconds, found


def mended(found: Any, n: int) -> np.ndarray:
    """Return (cluster, point) memberships of the fuzzy clusters that the package found, with weights that are no integers."""
    memberships = np.zeros((len(found.fuzzyClusters), n))
    for number, (start, end) in enumerate(found.fuzzyClusters):
        inside = found.ordering[start:end]
        names, place, counts = np.unique(found._sampleNumbers[inside], return_inverse=True, return_counts=True)
        for cluster, draw in zip(inside.tolist(), place.tolist(), strict=True):
            memberships[number, found.rows[cluster]] += 1 / counts[draw]
        memberships[number] /= len(names)
    return memberships


def by_fuzzycategories(values: np.ndarray, sigma: np.ndarray, seed: int, repair: bool) -> Found:
    """Cluster draws with AstroLink and put them together with fuzzycategories."""
    rng = np.random.default_rng(seed)
    _, found = fuzzycat([by_astrolink(values + sigma * rng.standard_normal(values.shape)) for _ in range(DRAWS)], len(values))
    memberships = mended(found, len(values)) if repair else found.memberships_flat
    labels = (
        np.where(memberships.max(axis=0, initial=0) >= 0.5, memberships.argmax(axis=0), -1) if len(memberships) else -np.ones(len(values))
    )
    groups = [np.flatnonzero(row > 0) for row in memberships]
    return labels.astype(np.int64), groups, [np.minimum(row[rows], 1) for row, rows in zip(memberships, groups, strict=True)]


def one_draw(values: np.ndarray, sigma: np.ndarray, seed: int) -> Found:
    """What AstroLink makes of the values as they are: members are certain."""
    labels = astrolink_package(values)
    groups = [np.flatnonzero(labels == k) for k in np.unique(labels[labels >= 0])]
    return labels, groups, [np.ones(len(rows)) for rows in groups]


def ours(values: np.ndarray, sigma: np.ndarray, seed: int) -> Found:
    """clustering.fuzzy as it is set, with as many draws as the peers."""
    from astrosurvey.stages.clustering.fuzzy import flow
    from astrosurvey.stages.clustering.fuzzy.stage import FuzzyClustering

    columns = [f"p{k + 1}" for k in range(values.shape[1])]
    catalog = mock_catalog(
        {**dict(zip(columns, values.T, strict=True)), **{f"{c}_error": s for c, s in zip(columns, sigma.T, strict=True)}}
    )
    found = flow.of_draws(context(seed), FuzzyClustering.Config(columns=columns, draws=DRAWS), catalog)
    groups = [np.asarray(found.points.rows[group.members]) for group in found.groups]
    labels = np.full(len(values), -1)
    labels[found.points.rows] = found.assigned
    return labels, groups, [group.probability for group in found.groups]


DRAWN: dict[str, Callable[[np.ndarray, np.ndarray, int], Found]] = {
    "clustering.fuzzy": ours,
    "astrolink 0.5.4, one draw": one_draw,
    "fuzzycategories": lambda values, sigma, seed: by_fuzzycategories(values, sigma, seed, repair=False),
    "fuzzycategories, mended": lambda values, sigma, seed: by_fuzzycategories(values, sigma, seed, repair=True),
}


def ours_together(clusterings: list[Clustering], n: int) -> float:
    """Return the CPU seconds of our functions from clusterings to memberships."""
    from astrosurvey.stages.clustering.fuzzy.clusterings import Cluster, gather
    from astrosurvey.stages.clustering.fuzzy.groups import groups_of
    from astrosurvey.stages.clustering.fuzzy.memberships import memberships

    def together() -> Any:
        gathered = gather([[Cluster(rows) for _, rows in clusters] for clusters in clusterings], n)
        return memberships(gathered, groups_of(gathered, max(1, len(clusterings) // 2)))

    return timed(together, 3)[0]


TOGETHER: dict[str, Callable[[list[Clustering], int], float]] = {
    "clustering.fuzzy": ours_together,
    "fuzzycategories": lambda clusterings, n: fuzzycat(clusterings, n)[0],
}


def draw(method: str, given: Path, out: Path) -> None:
    """Run a method on each mock of a file."""
    with np.load(given) as stored:
        data = {key: stored[key] for key in stored.files}
    count = sum(key.startswith("values_") for key in data)
    run = DRAWN[method]
    warm_up, _ = timed(lambda: run(data["values_0"], data["sigma_0"], 0))
    results: dict[str, np.ndarray] = {}
    costs = []
    for place in range(count):
        seconds, (labels, groups, probability) = timed(lambda k=place: run(data[f"values_{k}"], data[f"sigma_{k}"], k))
        costs.append(seconds)
        results[f"labels_{place}"] = labels
        results[f"members_{place}"] = np.concatenate([np.zeros(0, np.int64), *groups])
        results[f"sizes_{place}"] = np.array([len(rows) for rows in groups], np.int64)
        results[f"probability_{place}"] = np.concatenate([np.zeros(0), *probability])
    np.savez(out, notes=json.dumps({"cpu_s": costs, "warm_up_s": warm_up, "peak_mib": peak()}), **results)


def put_together(method: str, out: Path, number: int) -> None:
    """Put clusterings together, a few first so that what is compiled is compiled."""
    warm_up, _ = timed(lambda: TOGETHER[method](many_clusterings(5, POINTS, CLUSTERS, 1), POINTS))
    seconds = TOGETHER[method](many_clusterings(number, POINTS, CLUSTERS, 2), POINTS)
    np.savez(out, notes=json.dumps({"cpu_s": seconds, "warm_up_s": warm_up, "peak_mib": peak()}))


if __name__ == "__main__":
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    warnings.simplefilter("ignore")
    if sys.argv[1] == "draws":
        draw(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        put_together(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
