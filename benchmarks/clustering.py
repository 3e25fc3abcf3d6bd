"""Clustering beside other tools: `python benchmarks/clustering.py [--data FOLDER] [--part mocks gaia ...] [--out FILE.json]`.

Ours, and astrolink (Oliver et al. 2024, arXiv:2312.14632), hdbscan (McInnes et al. 2017), fast_hdbscan, scikit-learn and fuzzycategories
(Oliver et al. 2024, arXiv:2411.03229) on the same data; `pip install astrosurvey[benchmarks]` has them. Each method runs in a process of
its own on one thread. What is compiled is compiled on a part of the data before the clock runs, and counted as `warm_up_s`. Medians over
the seeds.

The parts, in minutes on an idle machine at the defaults:
- mocks (6): clumps, streams and a background in 2, 3 and 6 dimensions;
- many (1): a hundred and fifty clumps;
- gaia (1): members of nine open clusters with a synthetic field; FOLDER holds the table. Peers get directions as unit vectors, and all
  columns with unit variance; ours get the columns as they are, with the metric that is set by default (robust spreads);
- costs (4): CPU seconds and memory at 10^6 points, and how they grow from 10^5; with --large (3), ours at 10^7 as well;
- cold (1): a process that does nothing but cluster a thousand points, with what is compiled in a folder that it finds;
- nulls (1): boxes without structure;
- fuzzy (1): points with errors;
- clusterings (1): a thousand clusterings put together;
- events (1): births, deaths and mergers in snapshots; ours alone, for none of the others finds any.

Figures go to FILE.json at once. A run that is begun again goes on where it stopped; `--again` forgets the chosen parts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))
from clustering_data import GAIA_COLUMNS, GAIA_FIELDS, gaia, on_the_sphere, scaled
from clustering_tools import METHODS, OURS, PEERS, STATED

from astrosurvey.stages.simulate.clusters.mock import gaussian_box, mock, uniform_box

HERE = Path(__file__).parent
DIMENSIONS = (2, 3, 6)
SIZES = (10_000, 100_000)
TOO_SLOW = {("scikit-learn HDBSCAN", 100_000)}
"""Half a minute and more for each data set."""
MILLION = {"astrolink 0.5.4": DIMENSIONS[1:], "fast_hdbscan": (3,)}
"""Which peers cluster 10^6 points, and in how many dimensions."""
LARGE = 10_000_000
"""Points that only ours cluster, in three dimensions, with --large."""
MANY = 150
"""Clumps of a mock in which most points of the field are near one."""
NOISE = 0.008
"""Standard error of each coordinate, in sides of the box, for the mock with errors: about as wide as a stream."""
NULLS = {"uniform": uniform_box, "gaussian": gaussian_box}


Data = tuple[np.ndarray, np.ndarray, np.ndarray]


class Results:
    """Figures by part, case and method; written whenever there are new ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: dict[str, dict[str, dict[str, Any]]] = json.loads(path.read_text()) if path.exists() else {}

    def missing(self, part: str, cases: Sequence[str], method: str) -> list[str]:
        """Return the cases of which a method's figures are not there."""
        return [case for case in cases if method not in self.parts.get(part, {}).get(case, {})]

    def add(self, part: str, case: str, method: str, figures: dict[str, Any]) -> None:
        """Keep figures."""
        self.parts.setdefault(part, {}).setdefault(case, {})[method] = figures
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.parts, indent=1) + "\n")
        print(f"{part}, {case}, {method}: " + ", ".join(f"{key} {_n(value)}" for key, value in figures.items()), file=sys.stderr)


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a method's process: one thread."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    return {**os.environ, **limits, **more}


def call(script: str, *arguments: str, **more: str) -> None:
    """Run a script of this folder in a process of its own."""
    subprocess.run([sys.executable, str(HERE / script), *arguments], check=True, env=environment(**more))


@contextmanager
def tolerated(method: str) -> Iterator[None]:
    """Go on without a method that is not installed, or fails."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        print(f"{method} is left out here: its process ended with {error.returncode}", file=sys.stderr)


def run(method: str, sets: Sequence[np.ndarray], repeats: int = 1, **more: Any) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Run a method on data sets, one after the other in a process of its own; return the labels and the costs."""
    with tempfile.TemporaryDirectory() as name:
        given, out = Path(name) / "in.npz", Path(name) / "out.npz"
        np.savez(given, repeats=repeats, **more, **{f"points_{place}": points for place, points in enumerate(sets)})
        call("clustering_tools.py", method, str(given), str(out))
        with np.load(out) as stored:
            return [stored[f"labels_{place}"] for place in range(len(sets))], json.loads(str(stored["notes"]))


def scores(truth: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return how well flat labels agree with the truth; -1 is no cluster in both."""
    from astrosurvey.stages.evaluate.clustering.scores import adjusted_rand, groups_of, match

    groups = groups_of(labels)
    everything, members = adjusted_rand(truth, labels)
    best = match(truth, groups)
    return {
        "ari": everything,
        "ari_members": members,
        "n": len(groups),
        "recovered": float(best.recovered.mean()),
        "purity": float(np.nan_to_num(best.purity).mean()),
        "completeness": float(best.completeness.mean()),
        "false": int(best.false.sum()),
    }


def compare(
    results: Results, part: str, methods: Sequence[str], cases: Sequence[str], make: Callable[[str], Data], names: Sequence[str] = ()
) -> None:
    """Run methods on data sets with known truth and keep their scores.

    Args:
        make: returns points for the peers, columns for ours (the same as the points, where there are no names), and the truth.
        names: of the columns.
    """
    for method in methods:
        todo = results.missing(part, cases, method)
        if not todo:
            continue
        made = [make(case) for case in todo]
        more = {"names": np.array(names), **{f"columns_{k}": columns for k, (_, columns, _) in enumerate(made)}} if names else {}
        with tolerated(method):
            labels, notes = run(method, [points for points, _, _ in made], **more)
            for case, (_, _, truth), found, seconds in zip(todo, made, labels, notes["cpu_s"], strict=True):
                results.add(part, case, method, {**scores(truth, found), "cpu_s": seconds, "warm_up_s": notes["warm_up_s"]})


def mocks(results: Results, options: argparse.Namespace) -> None:
    def make(case: str) -> Data:
        d, n, seed = (int(word[1:]) for word in case.split())
        made = mock(np.random.default_rng(seed), n, d)
        points = scaled(made.values)
        return points, points, made.labels

    for n in SIZES:
        cases = [f"d{d} n{n} s{seed}" for d in DIMENSIONS for seed in options.seeds]
        compare(results, "mocks", [m for m in options.methods if (m, n) not in TOO_SLOW], cases, make)


def many(results: Results, options: argparse.Namespace) -> None:
    def make(case: str) -> Data:
        made = mock(np.random.default_rng(int(case.rsplit(maxsplit=1)[-1][1:])), 40_000, 3, clumps=MANY, streams=0)
        points = scaled(made.values)
        return points, points, made.labels

    compare(results, "many", options.methods, [f"{MANY} clumps d3 n40000 s{seed}" for seed in options.seeds], make)


def nearby(results: Results, options: argparse.Namespace) -> None:
    if options.data is None:
        print("gaia is left out: there is no --data", file=sys.stderr)
        return

    def make(case: str) -> Data:
        field, seed = case.split()
        values, truth = gaia(options.data, field, int(seed[1:]))
        return scaled(on_the_sphere(values)), values, truth

    cases = [f"{field} s{seed}" for field in GAIA_FIELDS for seed in options.seeds]
    compare(results, "gaia", options.methods, cases, make, GAIA_COLUMNS)


def costs(results: Results, options: argparse.Namespace) -> None:
    for method in options.methods:
        sizes = [(3, 100_000), *((d, 1_000_000) for d in (DIMENSIONS[1:] if method in OURS else MILLION.get(method, ())))]
        sizes += [(3, LARGE)] if options.large and method in OURS else []
        for d, n in sizes:
            case = f"d{d} n{n}"
            if not results.missing("costs", [case], method):
                continue
            points = scaled(mock(np.random.default_rng(1), n, d).values)
            # The repeats are those of a quick method alone: half a minute is measured well enough by one.
            with tolerated(method):
                _, notes = run(method, [points], options.repeats if n < (LARGE if method in OURS else 1_000_000) else 1)
                figures = {"cpu_s": notes["cpu_s"][0], **{key: notes[key] for key in ("warm_up_s", "start_mib", "peak_mib")}}
                results.add("costs", case, method, figures)


def cold(results: Results, options: argparse.Namespace) -> None:
    for method in options.methods:
        if not results.missing("cold", ["thousand points"], method):
            continue
        with tolerated(method), tempfile.TemporaryDirectory() as folder:
            figures: dict[str, float] = {}
            for state in ("empty", "warm", "warm"):
                begin, before = time.perf_counter(), os.times()
                call("clustering_tools.py", method, "cold", NUMBA_CACHE_DIR=folder)
                after = os.times()
                figures[f"{state}_cpu_s"] = after.children_user + after.children_system - before.children_user - before.children_system
                figures[f"{state}_wall_s"] = time.perf_counter() - begin
            results.add("cold", "thousand points", method, figures)


def nulls(results: Results, options: argparse.Namespace) -> None:
    cases = {f"{kind} d{d}": (draw, d) for d in DIMENSIONS for kind, draw in NULLS.items()}
    # The others state no probability of finding what is not there.
    stated = STATED if "clustering.astrolink" in options.methods else ()
    for method in (*stated, *(method for method in options.methods if method in PEERS and "astrolink" in method)):
        if not (todo := results.missing("nulls", list(cases), method)):
            continue
        boxes = [
            cases[case][0](np.random.default_rng(seed), options.null_points, cases[case][1])
            for case in todo
            for seed in range(options.boxes)
        ]
        labels = run(method, boxes)[0]
        found = np.array([len(np.unique(label[label >= 0])) for label in labels]).reshape(len(todo), -1)
        for case, counts in zip(todo, found, strict=True):
            any_of = counts > 0
            results.add("nulls", case, method, {"any": float(any_of.mean()), "mean": float(counts.mean()), "worst": int(counts.max())})


def fuzzy(results: Results, options: argparse.Namespace) -> None:
    from clustering_fuzzy import DRAWN

    from astrosurvey.stages.evaluate.clustering.scores import match, reliability

    cases = [f"d3 n10000 noise {NOISE} s{seed}" for seed in options.seeds]
    made = {case: mock(np.random.default_rng(seed), 10_000, 3, noise=NOISE) for case, seed in zip(cases, options.seeds, strict=True)}
    for method in DRAWN:
        todo = results.missing("fuzzy", cases, method)
        if not todo:
            continue
        with tolerated(method), tempfile.TemporaryDirectory() as name:
            given, out = Path(name) / "in.npz", Path(name) / "out.npz"
            data = {f"{key}_{k}": getattr(made[case], key) for k, case in enumerate(todo) for key in ("values", "sigma")}
            np.savez(given, **data)
            call("clustering_fuzzy.py", "draws", method, str(given), str(out))
            with np.load(out) as stored:
                notes = json.loads(str(stored["notes"]))
                for k, case in enumerate(todo):
                    truth = made[case].labels
                    cuts = np.cumsum(stored[f"sizes_{k}"])[:-1]
                    groups, stated = (
                        np.split(stored[f"{key}_{k}"], cuts) if len(stored[f"sizes_{k}"]) else [] for key in ("members", "probability")
                    )
                    sure = reliability(truth, groups, stated, match(truth, groups))
                    figures = {**scores(truth, stored[f"labels_{k}"]), "ece": sure.ece, "worst": sure.worst}
                    results.add("fuzzy", case, method, {**figures, "cpu_s": notes["cpu_s"][k], "warm_up_s": notes["warm_up_s"]})


def clusterings(results: Results, options: argparse.Namespace) -> None:
    from clustering_fuzzy import TOGETHER

    for number in (100, 1000):
        case = f"{number} clusterings"
        for method in TOGETHER:
            if results.missing("clusterings", [case], method):
                with tolerated(method), tempfile.TemporaryDirectory() as name:
                    out = Path(name) / "out.npz"
                    call("clustering_fuzzy.py", "clusterings", method, str(out), str(number))
                    with np.load(out) as stored:
                        results.add("clusterings", case, method, json.loads(str(stored["notes"])))


def events(results: Results, options: argparse.Namespace) -> None:
    from clustering_events import MOMENTS, NUMBER, score

    # There are a few events in each system, so those of all are counted together.
    case = f"d3 n{NUMBER} {MOMENTS} snapshots {len(options.seeds)} systems"
    for method in ("astrolink", "hdbscan"):
        if results.missing("events", [case], f"clustering.fuzzy, {method}"):
            results.add("events", case, f"clustering.fuzzy, {method}", score(options.seeds, method))


PARTS: dict[str, Callable[[Results, argparse.Namespace], None]] = {
    "mocks": mocks,
    "many": many,
    "gaia": nearby,
    "costs": costs,
    "cold": cold,
    "nulls": nulls,
    "fuzzy": fuzzy,
    "clusterings": clusterings,
    "events": events,
}


def medians(cases: dict[str, dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return figures by case, without its seed, and method: medians over the seeds."""
    grouped: dict[str, dict[str, list[dict[str, float]]]] = {}
    for case, methods in cases.items():
        name = " ".join(word for word in case.split() if not (word[0] == "s" and word[1:].isdigit()))
        for method, figures in methods.items():
            grouped.setdefault(name, {}).setdefault(method, []).append(figures)
    return {
        name: {method: {key: float(np.median([one[key] for one in many])) for key in many[0]} for method, many in methods.items()}
        for name, methods in grouped.items()
    }


def table(part: str, cases: dict[str, dict[str, Any]]) -> str:
    """Return a part's figures as a Markdown table."""
    rows = medians(cases)
    keys = list(dict.fromkeys(key for methods in rows.values() for figures in methods.values() for key in figures))
    lines = [f"| {part} | method | {' | '.join(keys)} |", "| --- " * (len(keys) + 2) + "|"]
    for case, methods in rows.items():
        lines += [f"| {case} | {method} | {' | '.join(_n(figures.get(key)) for key in keys)} |" for method, figures in methods.items()]
    return "\n".join(lines)


def _n(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the table of Gaia's members")
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), help="all that are installed, when left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--boxes", type=int, default=100, help="without structure, of each kind and number of dimensions")
    parser.add_argument("--null-points", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--large", action="store_true", help="measure the costs of ours at 10^7 points, too")
    parser.add_argument("--again", action="store_true", help="forget what is known of the chosen parts")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "clustering.json")
    options = parser.parse_args()
    options.methods = options.methods or [*OURS, *PEERS]
    results = Results(options.out)
    for part in options.part:
        if options.again:
            results.parts.pop(part, None)
        PARTS[part](results, options)
    for part, cases in results.parts.items():
        print(f"\n{table(part, cases)}")


if __name__ == "__main__":
    main()
