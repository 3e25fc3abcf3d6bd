"""Simulate what featureless fields show by chance: `python tools/cluster_null.py`, for `clustering.astrolink`.

Writes astrosurvey/stages/clustering/astrolink/null.json: by dimension and number of neighbours the tail of the excesses of some ten
thousand joins, half of them in uniform and half in Gaussian fields. Entries are kept in null.part until all are there, so
a run that was stopped goes on. Takes some minutes of CPU time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DIMENSIONS = (1, 2, 3, 6, 12)
NEIGHBOURS = (7, 20, 60)
JOINS = {7: 8_000, 20: 24_000, 60: 6_000}
"""Joins of an entry by the number of neighbours; a tenth of them in twelve dimensions, where one costs more."""
SEED = 20261126


def main() -> None:
    """Simulate every entry and write the table."""
    from astrosurvey.stages.clustering.astrolink.null import TABLE, simulated

    part = TABLE.with_suffix(".part")
    made = json.loads(part.read_text()) if part.exists() else {}
    for d in DIMENSIONS:
        for k in NEIGHBOURS:
            if f"{d} {k}" in made:
                continue
            joins = JOINS[k] if d < DIMENSIONS[-1] else JOINS[k] // 10
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
