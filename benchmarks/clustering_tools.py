"""The methods that `clustering.py` compares, each in a process of its own: which cluster each point is in, and what it costs.

python clustering_tools.py METHOD IN.npz OUT.npz [THREADS]

A method takes (n, d) points and gives a flat label a point, -1 for none. Hierarchies are flattened: the smallest cluster that a
point is in. All get points whose columns have unit variance; k is 20 everywhere, and the smallest cluster of the HDBSCANs has
max(20, n / 500) points. IN.npz holds the data sets `points_0`, `points_1`, ... and the number of repeats of each.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))

NEIGHBOURS = 20
WARM_UP = 1000
"""Points of the first data set that a method sees before the clock runs, so that what is compiled is compiled."""

Method = Callable[[np.ndarray], np.ndarray]


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


def points_of(values: np.ndarray) -> Any:
    """Return (n, d) points as our methods take them."""
    from astrosurvey.stages.clustering.features import Points

    n, d = values.shape
    return Points(np.ascontiguousarray(values), np.arange(n), n, d, np.zeros(d), tuple(f"p{k + 1}" for k in range(d)))


def our_hdbscan(points: np.ndarray) -> np.ndarray:
    """clustering.hdbscan: from points to labels."""
    from astrosurvey.stages.clustering.hdbscan.select import select
    from astrosurvey.stages.clustering.hdbscan.tree import grow

    hierarchy = grow(points_of(points), NEIGHBOURS, smallest(len(points)), "cpu")
    labels = np.full(len(points), -1)
    if hierarchy.tree is not None:
        labels[hierarchy.order] = select(hierarchy.tree, "eom", 0.0, False).label
    return labels


OURS: dict[str, Method] = {"clustering.hdbscan": our_hdbscan}
PEERS: dict[str, Method] = {
    "astrolink 0.5.4": astrolink_package,
    "hdbscan": hdbscan_package,
    "fast_hdbscan": fast_hdbscan_package,
    "scikit-learn HDBSCAN": sklearn_hdbscan,
}
METHODS = OURS | PEERS


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
    sets = [data.pop(f"points_{place}") for place in range(sum(key.startswith("points_") for key in data))]
    run, repeats = METHODS[method], int(data["repeats"])
    shapes = {points.shape[1]: points for points in sets}
    warm_up, _ = timed(lambda: [run(np.ascontiguousarray(points[:WARM_UP])) for points in shapes.values()])
    start, costs, labels = peak(), [], {}
    for place, points in enumerate(sets):
        seconds, labels[f"labels_{place}"] = timed(lambda points=points: run(points), repeats)
        costs.append(seconds)
    notes = {"cpu_s": costs, "warm_up_s": warm_up, "start_mib": start, "peak_mib": peak()}
    np.savez(out, notes=json.dumps(notes), **labels)


def cold(method: str) -> None:
    """Import a method and cluster a thousand points: what a process costs that does nothing else."""
    warnings.simplefilter("ignore")
    METHODS[method](np.random.default_rng(1).normal(size=(WARM_UP, 3)))


if __name__ == "__main__":
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    if sys.argv[2] == "cold":
        cold(sys.argv[1])
    else:
        work(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
