"""The kernels that label, flood and search give the same bytes on one thread and on two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)  # compiles in a process of its own

SCRIPT = """
import hashlib
import numba, numpy as np
from scipy import ndimage
from astrosurvey.kernels import components, flood, friends, morton, nearest, neighbours, seeded_flood

rng = np.random.default_rng(1)
bright = ndimage.gaussian_filter(rng.normal(size=(300, 310)), 1.5).astype(np.float32)
bright[50:60, 20:90] = np.nan
height = np.full(bright.shape, 0.02, np.float32)
points = rng.normal(size=(20000, 3))
points[::7] = points[3]
none = np.zeros(3)
y, x = rng.integers(0, 300, 200), rng.integers(0, 310, 200)
seen = set()
for threads in (1, 2):
    numba.set_num_threads(threads)
    labels, n = components.cpu(bright > 0, 3)
    pieces, parent = flood.cpu(labels, bright, height, 3)
    seeded = seeded_flood.cpu(labels, bright, y, x)
    assert len(parent) > n > 50
    order = morton.order(points)
    near = neighbours.cpu(points[order], 8, none)
    matched = nearest.cpu(points, points[order][::3].copy(), 0.05, True)
    groups = friends.cpu(points[order], 0.03, 0.0, np.ones(len(points)), none)
    assert 5000 < groups.max() < 17000
    seen.add(hashlib.sha256(b"".join(a.tobytes() for a in (labels, pieces, parent, seeded, order, *near, *matched, groups))).hexdigest())
assert len(seen) == 1, seen
"""


def test_results_do_not_depend_on_the_number_of_threads():
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, env={**os.environ, "NUMBA_NUM_THREADS": "2", "PYTHONPATH": path})
