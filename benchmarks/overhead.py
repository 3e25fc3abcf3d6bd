"""What the framework itself costs: per task inline and on local Dask, a rerun with nothing to do, driver memory, start-up.

python benchmarks/overhead.py --json out.json --seed 1
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import EntryPoint
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "toyplugin")]


WRONG = """
import sys, tempfile
path = tempfile.mkdtemp() + "/wrong.yaml"
open(path, "w").write("astrosurvey: 1\\nstages: {sky: {use: background.mesh, in: sim, bxo: 64}, sim: {use: simulate.sky}}\\n")
sys.argv = ["astrosurvey", "run", path]
sys.stderr = open("/dev/null", "w")
from astrosurvey.cli import main
try:
    main()
except SystemExit as ended:
    assert ended.code == 2
"""


def pipeline(tiles, seed):
    from astrosurvey import Pipeline, plugins

    registry = plugins.load_from([EntryPoint("toy", "toy", "astrosurvey")])
    stages = {"make": {"use": "toy.make"}}
    for index in range(4):
        stages[f"noise{index}"] = {"use": "toy.random", "in": "make" if not index else f"noise{index - 1}"}
    return Pipeline.build({"astrosurvey": 1, "seed": seed, "tiles": {"count": tiles}, "stages": stages}, registry)


def run(made, folder, engine):
    from astrosurvey.core.run import run_pipeline

    started = time.perf_counter()
    result = run_pipeline(made, folder, engine=engine)
    assert result.exit_code == 0
    return time.perf_counter() - started


def per_task(seed, tiles, engine, repeats=5):
    """Median milliseconds a task over several fresh runs of five stages."""
    times = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            times.append(run(pipeline(tiles, seed), folder, engine) / (5 * tiles) * 1e3)
    return statistics.median(times)


def process_seconds(code, repeats=5):
    """Median wall seconds of a Python process, less those of one that does nothing."""

    def once(text):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", text], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        return time.perf_counter() - started

    return statistics.median(once(code) for _ in range(repeats)), statistics.median(once("pass") for _ in range(repeats))


def main():
    from astrosurvey.core.engine import InlineEngine
    from astrosurvey.engines.local import LocalEngine

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    import_seconds, nothing = process_seconds("import astrosurvey")
    help_seconds, _ = process_seconds("import sys; sys.argv = ['astrosurvey', '--help']; from astrosurvey.cli import main; main()")
    wrong_seconds, _ = process_seconds(WRONG)
    found = {
        "wrong_pipeline_seconds": wrong_seconds,
        "import_seconds": import_seconds - nothing,
        "help_seconds": help_seconds,
        "inline_ms_per_task": per_task(options.seed, 100, InlineEngine),
    }
    with tempfile.TemporaryDirectory() as folder:
        times = []
        engine = LocalEngine(2, memory_limit=0)
        engine.close = lambda close=engine.close: None  # keep the workers between the runs
        for index in range(5):
            times.append(run(pipeline(40, options.seed), f"{folder}/{index}", lambda: engine) / 200 * 1e3)
        found["local_ms_per_task"] = statistics.median(times)
        LocalEngine.close(engine)
    with tempfile.TemporaryDirectory() as folder:
        big = pipeline(2000, options.seed)
        run(big, folder, InlineEngine)
        code = (
            f"import sys; sys.path[:0] = {sys.path[:2]!r}; sys.argv = ['overhead']\n"
            f"sys.path.insert(0, {str(ROOT / 'benchmarks')!r})\n"
            "import overhead, resource\n"
            "from astrosurvey.core.engine import InlineEngine\n"
            f"seconds = overhead.run(overhead.pipeline(2000, {options.seed}), {folder!r}, InlineEngine)\n"
            "print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
        )
        rows = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() for _ in range(3)]
        found["noop_10000_tasks_seconds"] = statistics.median(float(row[0]) for row in rows)
        found["noop_driver_mib"] = statistics.median(float(row[1]) for row in rows)
    bars = {
        "wrong_pipeline_seconds": 1, "import_seconds": 0.1, "help_seconds": 0.4, "inline_ms_per_task": 5, "local_ms_per_task": 50,
        "noop_10000_tasks_seconds": 15, "noop_driver_mib": 500,
    }  # fmt: skip
    for name, bar in bars.items():
        print(f"{name:28s} {found[name]:9.3f}   bar {bar}")
    if options.json:
        options.json.write_text(json.dumps({"seed": options.seed, "cores": os.cpu_count(), "found": found, "bars": bars}, indent=1))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
