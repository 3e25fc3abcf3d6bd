"""The methods that `clustering.py` compares, each in a process of its own: which cluster each point is in, and what it costs.

python clustering_tools.py METHOD IN.npz OUT.npz [THREADS]

A method takes (n, d) points and gives a flat label a point, -1 for none. Hierarchies are flattened: the smallest cluster that a
point is in. All get points whose columns have unit variance; k is 20 everywhere, and the smallest cluster of the peers' HDBSCANs has
max(20, n / 500) points. IN.npz holds the data sets `points_0`, `points_1`, ... and the number of repeats of each; where there are
`names`, ours get the columns `columns_0`, ... of those names and make points of them by their own rules.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))

NEIGHBOURS = 20
WARM_UP = 1000
"""Points of the first data set that a method sees before the clock runs, so that what is compiled is compiled."""

FALSE_POSITIVES = 0.05
"""The rate of clustering.astrolink as it is set."""
Method = Callable[[Any], np.ndarray]
"""From points, in our class for our methods and as (n, d) array for the others, to labels."""


def smallest(n: int) -> int:
    """Return how many points the smallest cluster of an HDBSCAN has."""
    return max(20, n // 500)


def flattened(n: int, clusters: list[np.ndarray]) -> np.ndarray:
    """Return labels: of the clusters that a point is in, the smallest.

    Args:
        n: number of points.
        clusters: rows of each.
    """
    labels = np.full(n, -1)
    for number in sorted(range(len(clusters)), key=lambda k: -len(clusters[k])):
        labels[clusters[number]] = number
    return labels


def astrolink_package(points: np.ndarray) -> np.ndarray:
    """AstroLink as published, as it is set; its first cluster is everything."""
    from astrolink import AstroLink

    found = AstroLink(points, workers=1)
    found.run()
    return flattened(len(points), [found.ordering[start:end] for start, end in found.clusters[1:]])


def hdbscan_package(points: np.ndarray) -> np.ndarray:
    """hdbscan as published."""
    import hdbscan

    return hdbscan.HDBSCAN(min_samples=NEIGHBOURS, min_cluster_size=smallest(len(points)), core_dist_n_jobs=1).fit_predict(points)


def fast_hdbscan_package(points: np.ndarray) -> np.ndarray:
    """fast_hdbscan as published."""
    import fast_hdbscan

    return fast_hdbscan.HDBSCAN(min_samples=NEIGHBOURS, min_cluster_size=smallest(len(points))).fit_predict(points)


def sklearn_hdbscan(points: np.ndarray) -> np.ndarray:
    """HDBSCAN of scikit-learn."""
    from sklearn.cluster import HDBSCAN

    return HDBSCAN(min_samples=NEIGHBOURS, min_cluster_size=smallest(len(points)), n_jobs=1, copy=True).fit_predict(points)


def context(seed: int = 1) -> Any:
    """Return what a stage is given to run with."""
    import logging

    from astrosurvey import Context

    return Context(None, np.random.default_rng(seed), "cpu", logging.getLogger("benchmark"), lambda done, total: None, Path())


def mock_catalog(columns: dict[str, np.ndarray]) -> Any:
    """Return sources with columns of a mock."""
    from astrosurvey import Catalog

    n = len(next(iter(columns.values())))
    fixed = {"tile_id": 1, "x": np.nan, "y": np.nan, "ra": np.nan, "dec": np.nan, "n_pixels": 0, "significance": np.nan, "n_child": 0}
    box = dict.fromkeys(("x_min", "x_max", "y_min", "y_max"), 0)
    own = {f"x_mock_{name}": values for name, values in columns.items()}
    return Catalog.from_columns("source", {"source_id": np.arange(n), **fixed, **box, "primary": True, "flags": 0, **own})


def plain_points(values: np.ndarray) -> Any:
    """Return (n, d) points as our methods take them, in the metric that they are in."""
    from astrosurvey.stages.clustering.features import Points

    n, d = values.shape
    return Points(np.ascontiguousarray(values), np.arange(n), n, d, np.zeros(d), tuple(f"p{k + 1}" for k in range(d)))


def columns_as_set(values: np.ndarray, names: list[str]) -> Any:
    """Return the points that our methods make of columns when nothing else is set; `ra` and `dec` are a direction."""
    from astrosurvey.stages.clustering.features import FeatureConfig, points_of

    catalog = mock_catalog({name: column for name, column in zip(names, values.T, strict=True) if name not in ("ra", "dec")})
    own = {name: values[:, names.index(name)] for name in ("ra", "dec") if name in names}
    return points_of(catalog.replace(**own), FeatureConfig(columns=names), context().log)


def our_astrolink(points: Any) -> np.ndarray:
    """clustering.astrolink: from points to labels."""
    return _astrolink(points, FALSE_POSITIVES)[1]


def our_clusters(points: Any, rate: float) -> np.ndarray:
    """clustering.astrolink at a rate of false positives: from points to the last cluster that each is a member of, however unlikely.

    So every cluster that the stage states has a label, though none of its members may be one rather than not.
    """
    labels = np.full(len(points), -1)
    for index, group in enumerate(_astrolink(points, rate)[0]):
        labels[group.members] = index
    return labels


def _astrolink(points: Any, rate: float) -> Any:
    from astrosurvey.stages.clustering.astrolink.groups import significant
    from astrosurvey.stages.clustering.astrolink.joins import joins_of
    from astrosurvey.stages.clustering.astrolink.membership import memberships
    from astrosurvey.stages.clustering.astrolink.null import tabulated
    from astrosurvey.stages.clustering.graph import build

    graph = build(points, NEIGHBOURS)
    joins, null = joins_of(graph), tabulated(points.dimension, NEIGHBOURS)
    return memberships(graph, joins, null, significant(joins, null, rate))


def our_hdbscan(points: Any) -> np.ndarray:
    """clustering.hdbscan: from points to labels."""
    from astrosurvey.stages.clustering.hdbscan.select import select
    from astrosurvey.stages.clustering.hdbscan.tree import grow, smallest_cluster

    hierarchy = grow(points, NEIGHBOURS, smallest_cluster(len(points), points.dimension), "cpu")
    labels = np.full(len(points), -1)
    if hierarchy.tree is not None:
        labels[hierarchy.order] = select(hierarchy.tree, "eom", 0.0, False).label
    return labels


OURS: dict[str, Method] = {"clustering.astrolink": our_astrolink, "clustering.hdbscan": our_hdbscan}
STATED: dict[str, Method] = {f"clustering.astrolink at {rate}": partial(our_clusters, rate=rate) for rate in (FALSE_POSITIVES, 0.5)}
"""Clusters at a stated rate of false ones; one half is what AstroLink's own threshold stands for."""
PEERS: dict[str, Method] = {
    "astrolink 0.5.4": astrolink_package,
    "hdbscan": hdbscan_package,
    "fast_hdbscan": fast_hdbscan_package,
    "scikit-learn HDBSCAN": sklearn_hdbscan,
}
METHODS = OURS | PEERS | STATED


def peak() -> float:
    """Return the most memory that this process has had resident, in MiB; what getrusage says is the parent's if that had more."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def timed(call: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Return the fewest CPU seconds of the repeats, and what the call gives."""
    best, made = np.inf, None
    for _ in range(repeats):
        begin = time.process_time()
        made = call()
        best = min(best, time.process_time() - begin)
    return best, made


def work(method: str, given: Path, out: Path) -> None:
    """Run a method on each data set of a file; write labels, CPU seconds and memory."""
    warnings.simplefilter("ignore")
    with np.load(given) as stored:
        data = {key: stored[key] for key in stored.files}
    names = [str(name) for name in data.get("names", [])]
    repeats, count = int(data["repeats"]), sum(key.startswith("points_") for key in data)
    run = METHODS[method]
    is_ours = method not in PEERS
    sets: list[Any] = [data.pop(f"points_{place}") for place in range(count)]
    first = {points.shape[1]: np.ascontiguousarray(points[:WARM_UP]) for points in sets}
    if is_ours:
        sets = [columns_as_set(data[f"columns_{place}"], names) if names else plain_points(points) for place, points in enumerate(sets)]
    warm_up, _ = timed(lambda: [run(plain_points(points) if is_ours else points) for points in first.values()])
    start, costs, labels = peak(), [], {}
    for place, points in enumerate(sets):
        seconds, labels[f"labels_{place}"] = timed(lambda points=points: run(points), repeats)
        costs.append(seconds)
    notes = {"cpu_s": costs, "warm_up_s": warm_up, "start_mib": start, "peak_mib": peak()}
    np.savez(out, notes=json.dumps(notes), **labels)


def cold(method: str) -> None:
    """Import a method and cluster a thousand points: what a process costs that does nothing else."""
    warnings.simplefilter("ignore")
    points = np.random.default_rng(1).normal(size=(WARM_UP, 3))
    METHODS[method](points if method in PEERS else plain_points(points))


if __name__ == "__main__":
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    if sys.argv[2] == "cold":
        cold(sys.argv[1])
    else:
        work(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
