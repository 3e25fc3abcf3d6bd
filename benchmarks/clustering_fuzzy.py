"""FuzzyCat as `clustering.py` runs it: fuzzycategories 0.3.2 as shipped, and with the weights of its memberships mended.

python clustering_fuzzy.py METHOD IN.npz OUT.npz

A clustering is a list of (id, rows): the id in AstroLink's notation, `1-2` inside `1`. The package reads clusterings from a folder,
one file a cluster; writing them is not timed, reading them is part of what it does.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from clustering_tools import timed

Clustering = list[tuple[str, np.ndarray]]


def draws(values: np.ndarray, sigma: np.ndarray, number: int, seed: int) -> list[np.ndarray]:
    """Return values as they might have been observed: (n, d) of each draw."""
    rng = np.random.default_rng(seed)
    return [values + sigma * rng.standard_normal(values.shape) for _ in range(number)]


def by_astrolink(points: np.ndarray) -> Clustering:
    """Return the clusters of AstroLink as published, the one of all points left out."""
    from astrolink import AstroLink

    found = AstroLink(points, workers=1)
    found.run()
    return [
        (name, found.ordering[start:end].astype(np.int64)) for name, (start, end) in zip(found.ids[1:], found.clusters[1:], strict=True)
    ]


def write(clusterings: list[Clustering], folder: Path) -> None:
    """Write clusterings as fuzzycategories reads them."""
    (folder / "Clusters").mkdir()
    digits = len(str(len(clusterings)))
    for number, clusters in enumerate(clusterings):
        for name, rows in clusters:
            np.save(folder / "Clusters" / f"{number:0{digits}d}_{name}.npy", rows)


def fuzzycat(clusterings: list[Clustering], n: int) -> tuple[float, Any]:
    """Return the CPU seconds of fuzzycategories on clusterings of n points, and its object."""
    from fuzzycat import FuzzyCat

    with tempfile.TemporaryDirectory() as name:
        write(clusterings, Path(name))
        found = FuzzyCat(len(clusterings), n, name)
        seconds, _ = timed(found.run)
        found.rows = [np.load(Path(name) / "Clusters" / file) for file in found.clusterFileNames]
    return seconds, found


def mended(found: Any, n: int) -> np.ndarray:
    """Return (cluster, point) memberships of the fuzzy clusters that the package found, with weights that are no integers.

    Shipped, a draw that holds m > 1 clusters of a fuzzy cluster gets the weight 1 / m in an array of integers: none.
    """
    memberships = np.zeros((len(found.fuzzyClusters), n))
    for number, (start, end) in enumerate(found.fuzzyClusters):
        inside = found.ordering[start:end]
        samples = found._sampleNumbers[inside]
        names, counts = np.unique(samples, return_counts=True)
        weight = dict(zip(names.tolist(), (1 / counts).tolist(), strict=True))
        for cluster, sample in zip(inside.tolist(), samples.tolist(), strict=True):
            memberships[number, found.rows[cluster]] += weight[sample]
        memberships[number] /= len(names)
    return memberships


def labels_of(memberships: np.ndarray, least: float = 0.5) -> np.ndarray:
    """Return the most probable fuzzy cluster of each point, -1 where that is less probable than not."""
    if not len(memberships):
        return np.full(memberships.shape[1], -1)
    return np.where(memberships.max(axis=0) >= least, memberships.argmax(axis=0), -1)
