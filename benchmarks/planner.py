"""What a run of very many tasks costs its driver: plan, run, run again, status and report, each a process of its own.

The stages are the toy plugin's, four on each tile and one that gathers all tiles, and do next to nothing.

python benchmarks/planner.py --tiles 25000 --json out.json
python benchmarks/planner.py --tiles 2500 --folder /tmp/kept     # keeps the run, and measures the rest again when called again
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "toyplugin")]),
    "NO_COLOR": "1",
    "TOY_AWAKE": "1",  # not even a sleep of no length, which gives way to other processes
    "OMP_NUM_THREADS": "1",
}
STAGES = ["make: {use: toy.make}", *(f"noise{k}: {{use: toy.random, in: {'make' if k == 1 else f'noise{k - 1}'}}}" for k in (1, 2, 3))]
BARS = {"plan": 60, "plan when all is done": 60, "plan --json": 60, "run again": 90, "status": 10}
"""Seconds that 10^5 tasks may take."""
MEMORY_BAR = 1.5e9


def command(folder, *words):
    """Run a command in a folder; return its wall and CPU seconds, its peak memory, and its exit status."""
    argv = [sys.executable, "-c", "from astrosurvey.cli import main; main()", *words]
    with (folder / "said.txt").open("wb") as said:
        started = time.perf_counter()
        process = subprocess.Popen(argv, cwd=folder, env=ENVIRONMENT, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    return {
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_bytes": used.ru_maxrss * 1024,
        "exit_code": process.returncode,
    }


def milliseconds(log):
    """Return the wall milliseconds a task in the first and in the last tenth of a log of one run, without what came before and after."""
    times = [values["time"] for values in map(json.loads, log.open()) if values["kind"] == "task_finished"]
    tenth = len(times) // 10
    return [round((times[at + tenth] - times[at]) / tenth * 1e3, 3) for at in (0, len(times) - tenth - 1)]


def most_entries(root):
    """Return the greatest number of entries of a folder, and the number of files and folders."""
    most = total = 0
    for _, folders, files in os.walk(root):
        most, total = max(most, len(folders) + len(files)), total + len(folders) + len(files)
    return most, total


def measure(folder, tiles):
    """Return what each command costs, by name, and facts of the run directory."""
    lines = [*STAGES, "total: {use: toy.total, in: noise3}"]
    text = [f"astrosurvey: 1\ntiles: {{count: {tiles}}}\nrun: {{retries: 0}}\nstages:", *(f"  {line}" for line in lines)]
    (folder / "many.yaml").write_text("\n".join(text) + "\n")
    run = ["run", "many.yaml", "--out", "run", "--engine", "inline", "--no-report"]
    log, facts = folder / "run" / "events.jsonl", {}
    steps = {"plan": ["plan", "many.yaml", "--out", "run"]} | ({} if log.exists() else {"run": run})
    steps |= {
        "run again": run,
        "plan when all is done": ["plan", "many.yaml", "--out", "run"],
        "plan --json": ["plan", "many.yaml", "--out", "run", "--json"],
        "status": ["status", "run"],
        "report": ["report", "run"],
    }
    costs = {}
    for name, words in steps.items():
        costs[name] = command(folder, *words)
        print(f"{name:24s}", *(f"{key} {value:>12}" for key, value in costs[name].items()), flush=True)
        if costs[name]["exit_code"]:
            sys.exit((folder / "said.txt").read_text()[-2000:])
        if name == "run":
            facts["run_milliseconds_of_a_task_first_and_last_tenth"] = milliseconds(log)
    facts["most_entries_of_a_folder"], facts["files_and_folders"] = most_entries(folder / "run")
    facts["report_bytes"] = (folder / "run" / "report" / "index.html").stat().st_size
    facts["events_bytes"] = log.stat().st_size
    return costs, facts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=25_000)
    parser.add_argument("--folder", type=Path, help="where to run; a temporary folder when left out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        costs, facts = measure(folder, options.tiles)
    for name, value in facts.items():
        print(f"{name:48s} {value}")
    if options.json:
        about = {"tasks": 4 * options.tiles + 1, "tiles": options.tiles, "cores": os.cpu_count(), "python": platform.python_version()}
        bars = {"seconds_for_100000_tasks": BARS, "peak_bytes": MEMORY_BAR}
        options.json.write_text(json.dumps({**about, "bars": bars, "costs": costs, "facts": facts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
