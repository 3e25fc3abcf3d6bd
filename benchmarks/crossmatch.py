"""Two catalogues of a million sources, matched by us and by astropy: `python benchmarks/crossmatch.py [--size N] [--out FILE]`.

Each source of one catalogue is looked for in another, of which nine tenths are the same objects, 0.1 arcsec off, and the rest are
unrelated; in a field that is the whole sky, and in a crowded one of one square degree with a cluster in it. Ours finds the
nearest within a radius and counts all within it; astropy's `match_coordinates_sky` finds the nearest, its tree built anew, from SkyCoords
that are there already; pairs are the same if both name the same object for every source that has one within the radius, and none for
the others. CPU time of one thread, medians of five, the two in turn. For what it is worth, all pairs, too: `pairs` and `search_around_sky`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))
sys.path.append(str(Path(__file__).parents[1]))

import astropy
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, match_coordinates_sky, search_around_sky

from astrosurvey.stages.catalog.nearest import nearest, pairs

SEED, REPEATS, SCATTER, KNOWN = 5, 5, 0.1, 0.9
CASES = (("whole sky", 1.0), ("whole sky", 60.0), ("crowded field", 0.5), ("crowded field", 2.0))
"""Fields, and the radius in arcsec."""

Places = tuple[np.ndarray, np.ndarray]
"""Right ascensions and declinations, deg."""


def whole_sky(rng: np.random.Generator, n: int) -> Places:
    """Return places all over the sky."""
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def crowded_field(rng: np.random.Generator, n: int) -> Places:
    """Return places in a square degree around right ascension 0, a third of them in a cluster of 2 arcmin."""
    x, y = rng.uniform(-0.5, 0.5, (2, n))
    members = rng.random(n) < 1 / 3
    x[members], y[members] = rng.normal(0, 2 / 60, (2, members.sum()))
    dec = -30.0 + y
    return x / np.cos(np.radians(dec)) % 360, dec


FIELDS: dict[str, Callable[[np.random.Generator, int], Places]] = {"whole sky": whole_sky, "crowded field": crowded_field}


def catalogues(field: str, n: int) -> tuple[Places, Places]:
    """Return two catalogues of n sources each, the other one in no order."""
    rng = np.random.default_rng(SEED)
    ra, dec = FIELDS[field](rng, n)
    same = int(KNOWN * n)
    other_dec = np.clip(dec[:same] + rng.normal(0, SCATTER / 3600, same), -90, 90)
    other_ra = ra[:same] + rng.normal(0, SCATTER / 3600, same) / np.maximum(np.cos(np.radians(dec[:same])), 1e-6)
    more = FIELDS[field](rng, n - same)
    order = rng.permutation(n)
    return (ra, dec), (np.append(other_ra % 360, more[0])[order], np.append(other_dec, more[1])[order])


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of a call, and what it gave."""
    begin = time.process_time()
    result = call()
    return time.process_time() - begin, result


def measure(field: str, radius: float, n: int) -> dict[str, Any]:
    """Return seconds of ours and of astropy's, and whether the pairs are the same."""
    one, other = catalogues(field, n)
    coords = [SkyCoord(*places, unit="deg") for places in (one, other)]
    calls: dict[str, Callable[[], Any]] = {
        "ours": lambda: nearest(*one, *other, radius),
        "astropy": lambda: match_coordinates_sky(*coords, storekdtree=False),
        "ours_all_pairs": lambda: pairs(*one, *other, radius),
        "astropy_all_pairs": lambda: search_around_sky(*coords, radius * u.arcsec, storekdtree=False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    found = {}
    for _ in range(REPEATS):
        for name, call in calls.items():
            took, found[name] = timed(call)
            seconds[name].append(took)
    index, apart, _ = found["astropy"]
    wanted = np.where(apart.arcsec <= radius, index, -1)
    median = {f"{name}_s": round(statistics.median(values), 3) for name, values in seconds.items()}
    return {
        "field": field,
        "radius_arcsec": radius,
        "sources": n,
        "matched": int((wanted >= 0).sum()),
        "different": int((found["ours"].index != wanted).sum()),
        "pairs": len(found["ours_all_pairs"].other),
        "pairs_of_astropy": len(found["astropy_all_pairs"][0]),
        **median,
        "ratio": round(median["ours_s"] / median["astropy_s"], 3),
        "ratio_all_pairs": round(median["ours_all_pairs_s"] / median["astropy_all_pairs_s"], 3),
    }


def main() -> None:
    """Measure all cases, print them, and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1_000_000, help="sources of each catalogue")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "crossmatch.json")
    options = parser.parse_args()
    for search in (nearest, pairs):
        search(*whole_sky(np.random.default_rng(SEED), 1000), *whole_sky(np.random.default_rng(SEED), 1000), 1.0)  # compiles
    rows = []
    for case in CASES:
        rows.append(measure(*case, options.size))
        print(json.dumps(rows[-1]), flush=True)
    made = {
        "command": "python benchmarks/crossmatch.py",
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "astropy": astropy.__version__},
        "threads": 1,
        "rows": rows,
    }
    options.out.write_text(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    main()
