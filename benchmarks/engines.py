"""What each engine costs and gains: milliseconds a task that does nothing, and the small survey on one worker and on two; and what
stages of the demo need on large tiles, for the worked example in the docs.

python benchmarks/engines.py --json benchmarks/results/engines.json --seed 1      (brings up a Slurm of its own; as root)

Workers are warm: each engine runs everything once before it is measured. A Slurm array has no workers that could be warm; its time is
from submission to the end of its last element, the start of Python in each included.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import EntryPoint
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "toyplugin")]
DEMO = ROOT / "examples" / "demo.yaml"
TILES = 40
STAGES = 5
SMALL = ["tiles.count=6", "tiles.size=256", "tiles.overlap=64", "sky.box=32"]
BAR = 50.0
"""Milliseconds a task on a worker."""


def nothing(seed):
    """Return the pipeline file of tasks that do nothing but pass a number on."""
    stages = {"make": {"use": "toy.make"}}
    for index in range(STAGES - 1):
        stages[f"noise{index}"] = {"use": "toy.random", "in": "make" if not index else f"noise{index - 1}"}
    return {"astrosurvey": 1, "seed": seed, "tiles": {"count": TILES}, "stages": stages}


def pipelines(seed):
    """Return the two pipelines by name: tasks that do nothing, and the small simulated survey."""
    from astrosurvey import Pipeline, api, plugins

    toys = plugins.load_from([EntryPoint("toy", "toy", "astrosurvey")])
    return {"nothing": Pipeline.build(nothing(seed), toys), "survey": api.load(DEMO, overrides=[*SMALL, f"seed={seed}"])}


def timed(made, folder, make_engine):
    """Return the seconds of a fresh run, and how many tasks it had."""
    from astrosurvey.core.run import run_pipeline

    started = time.perf_counter()
    result = run_pipeline(made, folder, engine=make_engine)
    assert result.exit_code == 0, result.failures[:1]
    return time.perf_counter() - started, len(result.states)


def on_workers(engine, workers, made, folder, repeats):
    """Return the seconds of several runs of each pipeline on an engine whose workers stay, and how many tasks there were."""
    from astrosurvey import api

    opened = api.engine_factory(engine, workers, run=folder)()
    close, opened.close = opened.close, lambda: None
    try:
        found = {}
        for name, pipeline in made.items():
            timed(pipeline, f"{folder}/{name}-warm", lambda: opened)
            rows = [timed(pipeline, f"{folder}/{name}-{index}", lambda: opened) for index in range(repeats)]
            found[name] = {"seconds": [round(seconds, 3) for seconds, _ in rows], "tasks": rows[0][1]}
        return found
    finally:
        close()


def needs(seed, folder):
    """Return what tasks of each stage need on tiles of 2048 pixels: median seconds of CPU, the largest memory, bytes and files stored."""
    from astrosurvey import api
    from astrosurvey.core.run import run_pipeline

    overrides = ["tiles.count=4", "tiles.size=2048", f"seed={seed}"]
    result = run_pipeline(api.load(DEMO, overrides=overrides), folder)
    assert result.exit_code == 0, result.failures[:1]
    rows = {}
    for stage, tile in result.states:
        record = result.store.record(stage, tile)
        size = sum(stored.bytes for stored in record.outputs.values())
        rows.setdefault(stage, []).append((record.facts["cpu_seconds"], record.facts["peak_bytes"], size, 1 + len(record.outputs)))
    names = ("cpu_seconds", "peak_mb", "stored_mb", "files")
    found = {}
    for stage, tasks in rows.items():
        cpu, peak, size, files = zip(*tasks, strict=True)
        values = (round(statistics.median(cpu), 2), max(peak) // 10**6, round(max(size) / 1e6, 1), files[0])
        found[stage] = dict(zip(names, values, strict=True))
    return found


def astrosurvey(*arguments):
    """Run a command."""
    subprocess.run([sys.executable, "-m", "astrosurvey", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def as_array(cluster, workers, folder, seed, repeats):
    """Return the same for job arrays, with an element for each of the `workers` that run at once."""
    from tests.slurm.cluster import wait_until
    from tests.slurm.runs import site

    (folder / "nothing.yaml").write_text(json.dumps(nothing(seed)))
    survey = [word for override in [*SMALL, f"seed={seed}"] for word in ("-c", override)]
    found = {}
    for name, arguments, tiles in (("nothing", [folder / "nothing.yaml"], TILES), ("survey", [DEMO, *survey], 6)):
        where = site(folder, workers={"maximum": workers}, array={"tiles": -(-tiles // workers)})
        seconds = []
        for index in range(repeats):
            out = folder / f"{name}-{index}"
            astrosurvey("plan", *arguments, "--slurm-array", "--engine", where, "--out", out)
            started = time.perf_counter()
            subprocess.run([out / "array" / "submit.sh"], check=True, stdout=subprocess.DEVNULL)
            wait_until(lambda: not cluster.jobs(), 600, "the array does not end")
            seconds.append(round(time.perf_counter() - started, 3))
            astrosurvey("collect", out)
        counts = json.loads((out / "run.json").read_text())["counts"]
        found[name] = {"seconds": seconds, "tasks": sum(number for states in counts.values() for number in states.values())}
    return found


def summary(found):
    """Return the medians of one engine on one and on two workers."""
    median = {(workers, name): statistics.median(row["seconds"]) for workers, rows in found.items() for name, row in rows.items()}
    one = min(found)
    values = {f"ms_per_task_{w}": round(1e3 * median[w, "nothing"] / found[w]["nothing"]["tasks"], 2) for w in found}
    values |= {f"survey_seconds_{w}": round(median[w, "survey"], 2) for w in found}
    if len(found) > 1:
        values["survey_gain"] = round(median[one, "survey"] / median[max(found), "survey"], 2)
    return values


def main():
    from tests.slurm.cluster import Cluster, free_port
    from tests.slurm.runs import site

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=["inline", "local", "slurm", "array"])
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # takes the Slurm down
    made = pipelines(options.seed)
    found = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="engines-")))
        if {"slurm", "array"} & set(options.only):
            cluster = Cluster(folder / "slurm")
            stack.callback(cluster.down)
            cluster.up(free_port())
            os.environ.update(cluster.environment, PYTHONPATH=os.pathsep.join(sys.path[:2]))
        stages = needs(options.seed, folder / "needs")
        print(json.dumps(stages, indent=1), flush=True)
        for engine in options.only:
            rows = {}
            for workers in (1,) if engine == "inline" else (1, 2):
                here = folder / f"{engine}-{workers}"
                here.mkdir()
                if engine == "array":
                    rows[workers] = as_array(cluster, workers, here, options.seed, options.repeats)
                else:
                    file = str(site(here, workers={"minimum": workers, "maximum": workers})) if engine == "slurm" else engine
                    rows[workers] = on_workers(file, workers, made, here, options.repeats)
            found[engine] = {**summary(rows), "runs": rows}
            print(engine, summary(rows), f"bar {BAR:g} ms a task", flush=True)
            if options.json:  # what there is so far
                about = {"seed": options.seed, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "bar_ms_per_task": BAR}
                options.json.write_text(json.dumps({**about, "engines": found, "needs_of_a_2048_pixel_tile": stages}, indent=1))


if __name__ == "__main__":
    main()
