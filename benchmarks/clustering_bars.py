"""The figures of `clustering.py` beside each other, as the how-to shows them: `python benchmarks/clustering_bars.py [FILE.json]`.

Medians over the seeds. Accuracy is the adjusted Rand index over all points; behind it, the part of the structures that are recovered.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))
from clustering import medians
from clustering_tools import STATED

COLUMNS = ("clustering.astrolink", "clustering.hdbscan", "astrolink 0.5.4", "hdbscan", "fast_hdbscan", "scikit-learn HDBSCAN")
FOLLOWED = ("clustering.fuzzy, astrolink", "clustering.fuzzy, hdbscan")
FUZZY = ("clustering.fuzzy", "fuzzycategories", "fuzzycategories, mended", "astrolink 0.5.4, one draw")
Figures = dict[str, dict[str, dict[str, float]]]


def accuracy(figures: dict[str, float]) -> str:
    """Return the adjusted Rand index and the recovered part."""
    return f"{figures['ari']:.3f}, {figures['recovered']:.2f}"


def costs(figures: dict[str, float]) -> str:
    """Return CPU seconds and peak memory."""
    return f"{figures['cpu_s']:.1f}, {figures['peak_mib']:.0f} MiB"


def start(figures: dict[str, float]) -> str:
    """Return CPU seconds of a process with an empty folder of compiled code, and with a full one."""
    return f"{figures['empty_cpu_s']:.1f}, {figures['warm_cpu_s']:.1f}"


def false(figures: dict[str, float]) -> str:
    """Return the part of the boxes in which something is found."""
    return f"{figures['any']:.2f}"


def sure(figures: dict[str, float]) -> str:
    """Return accuracy, and how far probabilities of membership are off."""
    return f"{accuracy(figures)}; {figures['ece']:.3f}"


def seconds(figures: dict[str, float]) -> str:
    """Return CPU seconds."""
    return f"{figures['cpu_s']:.2f}"


def followed(figures: dict[str, float]) -> str:
    """Return precision and recall of events, and the latter by kind."""
    kinds = ", ".join(f"{kind} {figures[kind]:.2f}" for kind in ("births", "deaths", "mergers"))
    return f"{figures['precision']:.2f}, {figures['recall']:.2f} ({kinds})"


ROWS: tuple[tuple[str, str, tuple[str, ...], Callable[[dict[str, float]], str]], ...] = (
    ("mocks", "accuracy, recovered", COLUMNS, accuracy),
    ("many", "accuracy, recovered", COLUMNS, accuracy),
    ("gaia", "accuracy, recovered", COLUMNS, accuracy),
    ("costs", "CPU s, peak memory", COLUMNS, costs),
    ("cold", "CPU s to import and cluster a thousand points: first time, later", COLUMNS, start),
    ("nulls", "boxes with a cluster", (*STATED, "astrolink 0.5.4"), false),
    ("fuzzy", "accuracy, recovered; calibration error", FUZZY, sure),
    ("clusterings", "CPU s", FUZZY[:2], seconds),
    ("events", "precision, recall", FOLLOWED, followed),
)


def tables(parts: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """Return a Markdown table for each part."""
    made = []
    for part, what, methods, said in ROWS:
        rows: Figures = medians(parts.get(part, {}))
        there = [method for method in methods if any(method in found for found in rows.values())]
        if not there:
            continue
        lines = [f"| {part}: {what} | {' | '.join(f'`{method}`' for method in there)} |", "| --- " * (len(there) + 1) + "|"]
        for case, found in rows.items():
            lines.append(f"| {case} | {' | '.join(said(found[method]) if method in found else '' for method in there)} |")
        made.append("\n".join(lines))
    return made


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "results" / "clustering.json"
    print("\n\n".join(tables(json.loads(path.read_text()))))
