"""kill -9 of the driver of a twelve-tile survey at random moments, and again of the run that resumes it, until it is let go to its end:
it ends with the same catalogue, has lost no more than the tasks that were in flight, and left no process and no job.

python benchmarks/kill.py --json out.json --seed 1 --times 20
python benchmarks/kill.py --json benchmarks/results/kill-slurm.json --seed 1 --times 10 --slurm     (brings up a Slurm of its own; as root)
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
PIPELINE = ROOT / "examples" / "demo.yaml"
SMALL = ["-c", "tiles.size=192", "-c", "tiles.overlap=64", "-c", "sky.box=32"]
WORKERS = 2
MARK = "ASTROSURVEY_BENCHMARK"
"""The variable by which the processes of a driver are known, those of its jobs too."""


class Survey:
    """The survey on an engine: started, killed, looked at.

    Args:
        engine: options of `astrosurvey run`.
        environment: what the engine needs in its environment.
    """

    def __init__(self, engine, environment):
        self.engine = engine
        self.mark = uuid.uuid4().hex
        self.environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", MARK: self.mark}

    def start(self, out):
        """Start the survey, or resume it."""
        code = "from astrosurvey.cli import main; main()"
        argv = [sys.executable, "-c", code, "run", str(PIPELINE), "--out", str(out), *self.engine, "--no-report", *SMALL]
        return subprocess.Popen(argv, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def processes(self):
        """Return how many processes there are that a driver or one of its jobs has started."""
        found = 0
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                found += process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE
        return found

    def jobs(self):
        """Return how many jobs are queued or run."""
        if "SLURM_CONF" not in self.environment:
            return 0
        listed = subprocess.run(["squeue", "-h", "-o", "%i"], env=self.environment, capture_output=True, text=True, check=True)
        return len(listed.stdout.split())

    def killed(self, out, moment):
        """Start the survey, kill the driver after `moment` seconds, and return what there was then and how long anything outlived it."""
        driver = self.start(out)
        time.sleep(moment)
        early = driver.poll() is None
        driver.kill()
        driver.wait()
        killed = time.perf_counter()
        while (left := self.processes() + self.jobs()) and time.perf_counter() - killed < 90:
            time.sleep(0.2)
        return {
            "moment": round(moment, 2),
            "killed_while_running": early,
            "tasks_done": len(digests(out)),
            "seconds_until_nothing_was_left": round(time.perf_counter() - killed, 1),
            "orphans": left,
        }


def digests(out):
    """Return the digest of every product of a run."""
    from astrosurvey.core.store import Store

    store = Store(out)
    records = {name: store.record(*name) for name in store.published()}
    return {(*name, port): s.sha256 for name, record in records.items() if record for port, s in record.outputs.items()}


def lost(out):
    """Return how many times a task was started that had been started before."""
    starts = Counter()
    for line in (Path(out) / "events.jsonl").read_text().splitlines():
        with contextlib.suppress(ValueError):  # half a line, of a driver that was killed
            event = json.loads(line)
            starts[event["stage"], event["tile"]] += event["kind"] == "task_started"
    return sum(number - 1 for number in starts.values() if number)


def repeatedly(survey, seconds, whole, generator, times):
    """Kill runs `times` times, each run again and again until one of them is over; return a row a kill and one a finished run."""
    rows, runs = [], []
    while len(rows) < times:
        with tempfile.TemporaryDirectory() as out:
            kills = 0
            while len(rows) < times:
                rows.append(survey.killed(out, generator.uniform(0.5, seconds)))
                print(rows[-1], flush=True)
                kills += rows[-1]["killed_while_running"]
                if not rows[-1]["killed_while_running"] or len(digests(out)) > 0.7 * len(whole):
                    break
            resumed = survey.start(out).wait()
            runs.append({"kills": kills, "same": resumed == 0 and digests(out) == whole, "lost": lost(out), "allowed": kills * WORKERS})
            print(runs[-1], flush=True)
    return rows, runs


def measure(survey, options):
    """Return all figures of an engine."""
    with tempfile.TemporaryDirectory() as out:  # compiles what is not compiled yet, too
        assert Survey(["--engine", "inline"], {}).start(out).wait() == 0
        whole = digests(out)
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        assert survey.start(out).wait() == 0
        seconds = time.perf_counter() - started
        assert digests(out) == whole, "not what one process makes"
    print(f"undisturbed: {seconds:.1f} s, {len(whole)} products", flush=True)
    rows, runs = repeatedly(survey, seconds, whole, random.Random(options.seed), options.times)
    found = {
        "seed": options.seed,
        "engine": "slurm" if options.slurm else "local",
        "workers": WORKERS,
        "undisturbed_seconds": round(seconds, 1),
        "kills": len(rows),
        "killed_while_running": sum(row["killed_while_running"] for row in rows),
        "runs": len(runs),
        "same": sum(run["same"] for run in runs),
        "tasks_lost": sum(run["lost"] for run in runs),
        "tasks_lost_allowed": sum(run["allowed"] for run in runs),
        "orphans": sum(row["orphans"] for row in rows),
        "seconds_until_nothing_was_left": max(row["seconds_until_nothing_was_left"] for row in rows),
    }
    print(found)
    return {**found, "kill": rows, "run": runs}


@contextlib.contextmanager
def slurm(folder):
    """Give the survey on the jobs of a Slurm that is there for as long as the block lasts."""
    from tests.slurm.cluster import Cluster, free_port
    from tests.slurm.runs import site

    cluster = Cluster(folder)
    try:
        cluster.up(free_port())
        yield Survey(["--engine", str(site(Path(folder)))], cluster.environment)
    finally:
        cluster.down()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--slurm", action="store_true", help="on the jobs of a Slurm, and not on workers of this machine")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # takes the Slurm down
    with contextlib.ExitStack() as stack:
        if options.slurm:
            survey = stack.enter_context(slurm(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-"))))
        else:
            survey = Survey(["--engine", "local", "--workers", str(WORKERS)], {})
        found = measure(survey, options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
