"""What a task costs in files, bytes, file-system operations, driver memory and driver time, and what a large survey would cost by it.

Each cost is the difference between two runs of different size, of stages of the toy plugin that follow one another and do next to nothing.
Operations are counted by strace: calls that name a file of the run directory, and fsync. Each may be a question to a file server.

python benchmarks/sizing.py --json benchmarks/results/sizing.json      # 10^6 tiles x 10 stages
python benchmarks/sizing.py --survey-tiles 50000 --survey-stages 6
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from planner import ENVIRONMENT, command

STAGES = 10
TRACED = "%file,fsync,fdatasync,getdents64,ftruncate"


def pipeline(folder, tiles):
    """Write a pipeline of STAGES stages on each tile; return its name."""
    chain = ["make: {use: toy.make}", *(f"add{k}: {{use: toy.add, in: {f'add{k - 1}' if k > 1 else 'make'}}}" for k in range(1, STAGES))]
    lines = ["astrosurvey: 1", f"tiles: {{count: {tiles}}}", "stages:", *(f"  {line}" for line in chain)]
    (folder / f"{tiles}.yaml").write_text("\n".join(lines) + "\n")
    return f"{tiles}.yaml"


def traced(folder, out, *words):
    """Run a command in a folder; return how many operations it and its children called on the run directory `out`."""
    argv = ["strace", "-f", "-y", "-e", f"trace={TRACED}", "-o", "trace", sys.executable, "-c"]
    subprocess.run(
        [*argv, "from astrosurvey.cli import main; main()", *words], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True
    )
    with (folder / "trace").open(encoding="utf-8", errors="replace") as lines:
        return sum(f"{folder}/{out}" in line and "AT_EMPTY_PATH" not in line for line in lines)  # that is of an open file, and known


def inodes(root, *areas):
    """Return how many files and folders there are in some folders of a run directory, and their bytes."""
    number = size = 0
    for area in areas:
        for folder, folders, files in os.walk(root / area):
            number += len(folders) + len(files)
            size += sum(os.lstat(os.path.join(folder, file)).st_size for file in files)
    return number, size


def costs_of(folder, tiles):
    """Return what a run of so many tiles costs in all, by name."""
    name, out = pipeline(folder, tiles), f"run{tiles}"
    root = folder / out
    run = ["run", name, "--out", str(root), "--no-report"]
    found = {"operations, running": traced(folder, out, *run)}
    found["operations, nothing to do"] = traced(folder, out, *run)
    found["inodes"], found["bytes of products and records"] = inodes(root, "products")
    found["bytes of the log"] = (root / "events.jsonl").stat().st_size
    found["driver seconds, nothing to do"] = command(folder, *run)["cpu_seconds"]
    command(folder, "pack", out)
    found["inodes, packed"], _ = inodes(root, "products", "packs")
    found["driver seconds, nothing to do, packed"] = command(folder, *run)["cpu_seconds"]
    return found


def plan_costs(folder, tiles):
    """Return what a driver needs to know of so many tiles, and of as many input files."""
    cost = command(folder, "plan", pipeline(folder, tiles), "--out", "none")
    (folder / f"raw{tiles}").mkdir()
    for number in range(tiles):
        (folder / f"raw{tiles}" / f"{number:07d}.txt").write_text("1")
    lines = ["astrosurvey: 1", f'tiles: "raw{tiles}/*.txt"', "stages:", f'  read: {{use: toy.read, path: "raw{tiles}/{{tile}}.txt"}}']
    (folder / "read.yaml").write_text("\n".join(lines) + "\n")
    read = command(folder, "plan", "read.yaml", "--out", "none")
    bytes_of_files = STAGES * (read["peak_bytes"] - cost["peak_bytes"] / STAGES)  # there is a file a tile, and one stage
    return {
        "driver bytes": cost["peak_bytes"],
        "driver bytes, an input file": bytes_of_files,
        "driver seconds, planning": cost["cpu_seconds"],
    }


def per_task(small, large, tiles):
    """Return the cost of one more task, by name, from the costs of two runs."""
    return {name: (large[name] - small[name]) / (STAGES * (tiles[1] - tiles[0])) for name in small}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs=2, default=(50, 250), help="of the two runs")
    parser.add_argument("--planned", type=int, nargs=2, default=(1000, 6000), help="of the two plans")
    parser.add_argument("--survey-tiles", type=int, default=1_000_000)
    parser.add_argument("--survey-stages", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        each = per_task(*(costs_of(folder, tiles) for tiles in options.tiles), options.tiles)
        each |= per_task(*(plan_costs(folder, tiles) for tiles in options.planned), options.planned)
    tasks = options.survey_tiles * options.survey_stages
    print(f"{'':40s} {'a task':>12s} {f'{tasks:.0e} tasks':>14s}")
    for name, cost in each.items():
        print(f"{name:40s} {cost:12.4g} {cost * tasks:14.3g}")
    if options.json:
        about = {"tiles": options.tiles, "planned": options.planned, "stages": STAGES}
        options.json.write_text(json.dumps({**about, "a_task": {k: float(f"{v:.4g}") for k, v in each.items()}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
