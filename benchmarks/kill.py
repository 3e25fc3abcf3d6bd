"""kill -9 of the driver at random moments of a twelve-tile survey: run again, it ends with the same catalogue.

python benchmarks/kill.py --json out.json --seed 1 --times 20
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
PIPELINE = ROOT / "examples" / "demo.yaml"
SMALL = ["-c", "tiles.size=192", "-c", "tiles.overlap=64", "-c", "sky.box=32"]


def start(out):
    """Start the survey on two workers."""
    code = "from astrosurvey.cli import main; main()"
    argv = [sys.executable, "-c", code, "run", str(PIPELINE), "--out", str(out), "--workers", "2", "--no-report", *SMALL]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def digests(out):
    """Return the digest of every product of a finished run."""
    from astrosurvey.core.store import Store

    store = Store(out)
    records = {name: store.record(*name) for name in store.published()}
    return {(*name, port): s.sha256 for name, record in records.items() if record for port, s in record.outputs.items()}


def killed_once(whole, seconds, moment):
    """Kill one run after `moment` seconds; return whether it resumed to the same bytes, and what outlived the driver."""
    with tempfile.TemporaryDirectory() as out:
        driver = start(out)
        time.sleep(moment)
        workers = psutil.Process(driver.pid).children(recursive=True) if driver.poll() is None else []
        early = driver.poll() is None
        driver.kill()
        driver.wait()
        _, alive = psutil.wait_procs(workers, timeout=20)
        done = len(digests(out))
        resumed = start(out).wait()
        return {
            "moment": round(moment, 2),
            "killed_while_running": early,
            "tasks_done": done,
            "orphans": len(alive),
            "same": resumed == 0 and digests(out) == whole,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        assert start(out).wait() == 0
        seconds, whole = time.perf_counter() - started, digests(out)
    print(f"undisturbed: {seconds:.1f} s, {len(whole)} products")
    generator = random.Random(options.seed)
    rows = []
    for _ in range(options.times):
        rows.append(killed_once(whole, seconds, generator.uniform(0.5, seconds)))
        print(rows[-1], flush=True)
    same, orphans = sum(row["same"] for row in rows), sum(row["orphans"] for row in rows)
    print(f"{same} of {options.times} end with the same digests; {orphans} orphans")
    if options.json:
        options.json.write_text(
            json.dumps({"seed": options.seed, "same": same, "times": options.times, "orphans": orphans, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
