"""Simulate what featureless fields show by chance: `python tools/cluster_null.py [JOINS]`, for `clustering.astrolink`.

Writes astrosurvey/stages/clustering/astrolink/null.json: by dimension and number of neighbours the tail of the excesses of JOINS joins
(default 40000), half of them in uniform and half in Gaussian fields. Entries that a shorter run has made are kept
in FILE.part until all are there. Takes about an hour of CPU time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DIMENSIONS = (1, 2, 3, 5, 8, 12, 20)
NEIGHBOURS = (6, 10, 20, 40, 100)
SEED = 20261126


def main() -> None:
    """Simulate every entry and write the table."""
    from astrosurvey.stages.clustering.astrolink.null import TABLE, simulated

    joins = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    part = TABLE.with_suffix(".part")
    made = json.loads(part.read_text()) if part.exists() else {}
    for d in DIMENSIONS:
        for k in NEIGHBOURS:
            if f"{d} {k}" in made:
                continue
            null = simulated(np.random.default_rng([SEED, d, k]), 20_000, d, k, joins=joins)
            made[f"{d} {k}"] = {"tail": [round(x, 4) for x in null.tail], "scale": round(null.scale, 4)}
            part.write_text(json.dumps(made))
            print(d, k, made[f"{d} {k}"], flush=True)
    table = {
        "dimension": DIMENSIONS,
        "k": NEIGHBOURS,
        "scale": [[made[f"{d} {k}"]["scale"] for k in NEIGHBOURS] for d in DIMENSIONS],
        "tail": [[made[f"{d} {k}"]["tail"] for k in NEIGHBOURS] for d in DIMENSIONS],
    }
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    part.unlink()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
