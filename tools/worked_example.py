"""Put the figures of the benchmarks' results into the tables of docs/clusters/worked-example.md: `python tools/worked_example.py`.

They come from benchmarks/results/engines.json and kill-slurm.json; a test fails when the page is stale (`tests/test_worked_example.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "clusters" / "worked-example.md"
RESULTS = ROOT / "benchmarks" / "results"
TILES, WORKERS = 10_000, 100
STAGES = ("sky", "detect", "deblend", "kron", "apertures")
"""Of tile scope; the survey of the example reads its images and does not simulate them."""
ENGINES = ("inline", "local", "slurm", "array")
NEEDS = ("cpu_seconds", "peak_mb", "stored_mb", "files")
TAKES = ("ms_per_task_1", "ms_per_task_2", "survey_seconds_1", "survey_seconds_2", "survey_gain")
KILLS = ("same", "runs", "tasks_lost", "tasks_lost_allowed", "orphans")


def rows() -> dict[str, list[str]]:
    """Return the last cells of the page's rows, by their first cell."""
    measured, kills = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("engines", "kill-slurm"))
    needs, engines = measured["needs_of_a_2048_pixel_tile"], measured["engines"]
    cells: dict[str, list[Any]] = {f"`{stage}`": [needs[stage][name] for name in NEEDS] for stage in (*STAGES, "survey")}
    cells |= {name: [engines.get(name, {}).get(value, "—") for value in TAKES] for name in ENGINES}
    cells["machine"] = [f"{measured['cores']} cores", measured["load"]]
    cells[str(kills["kills"])] = [kills[name] for name in KILLS]
    overhead = engines["slurm"]["ms_per_task_2"] / 1e3
    seconds = sum(needs[stage]["cpu_seconds"] for stage in STAGES)
    hours = (seconds + len(STAGES) * overhead) * TILES / 3600
    cells |= {
        "CPU s of a tile": [f"{seconds:.2f}"],
        "… with what the engine takes": [f"{seconds + len(STAGES) * overhead:.2f}"],
        "core hours": [f"{hours:.1f}"],
        "hours on the clock": [f"{hours / WORKERS:.2f}"],
        "largest peak, MB": [max(needs[stage]["peak_mb"] for stage in STAGES)],
        "disk, TB": [f"{sum(needs[stage]['stored_mb'] for stage in STAGES) * TILES / 1e6:.2f}"],
        "files and folders": [sum(needs[stage]["files"] + 1 for stage in STAGES) * TILES],
    }
    return {first: [str(cell) for cell in rest] for first, rest in cells.items()}


def refreshed(text: str) -> str:
    """Return the page with the cells of its rows as they should be."""
    known, lines = rows(), []
    for line in text.splitlines():
        cells = line.strip("| ").split(" | ") if line.startswith("| ") else [""]
        if new := known.get(cells[0]):
            cells[-len(new) :] = new
        lines.append(f"| {' | '.join(cells)} |" if new else line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
