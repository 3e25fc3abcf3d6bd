"""The kernels that label and flood give the same bytes on one thread and on two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import hashlib
import numba, numpy as np
from scipy import ndimage
from astrosurvey.kernels import components, flood, seeded_flood

rng = np.random.default_rng(1)
bright = ndimage.gaussian_filter(rng.normal(size=(300, 310)), 1.5).astype(np.float32)
bright[50:60, 20:90] = np.nan
height = np.full(bright.shape, 0.02, np.float32)
y, x = rng.integers(0, 300, 200), rng.integers(0, 310, 200)
seen = set()
for threads in (1, 2):
    numba.set_num_threads(threads)
    labels, n = components.cpu(bright > 0, 3)
    pieces, parent = flood.cpu(labels, bright, height, 3)
    seeded = seeded_flood.cpu(labels, bright, y, x)
    assert len(parent) > n > 50
    seen.add(hashlib.sha256(b"".join(a.tobytes() for a in (labels, pieces, parent, seeded))).hexdigest())
assert len(seen) == 1, seen
"""


def test_labels_do_not_depend_on_the_number_of_threads():
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, env={**os.environ, "NUMBA_NUM_THREADS": "2", "PYTHONPATH": path})
