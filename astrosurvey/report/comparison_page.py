"""The page on which two runs stand side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from .. import __version__
from ..core.digests import write_atomically
from . import text
from .charts import Curve, curves, histogram
from .comparison import Comparison
from .gather import gather
from .head import make_head
from .render import page
from .sky import make_sky

BIN = 0.5


def write_comparison(found: Comparison, path: Path) -> Path:
    """Write the page of a comparison and return its path.

    Args:
        found: what `compare_runs` found.
        path: the HTML file to write.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, comparison(found).encode("utf-8"))
    return path


def comparison(found: Comparison) -> str:
    """Return the page of a comparison as one HTML document."""
    sides = [
        _side(Path(name), origin, count, only)
        for name, origin, count, only in zip(found.names, found.origins, found.counts, found.only, strict=True)
    ]
    context = {
        "found": found,
        "sides": sides,
        "charts": [chart for chart in (_ratios(found), _lonely(found)) if chart],
        "decimal": text.decimal,
        "notes": found.notes,
        "version": __version__,
        "data": text.embedded({}),
    }
    return page("compare.html.j2", context)


def _side(root: Path, origin: str, count: int, only: int) -> dict[str, Any]:
    run = gather(root)
    try:
        pictures = make_sky(run, most_tiles=4).tiles
    except Exception:  # the numbers are what the page is about
        pictures = []
    return {"name": str(root), "head": make_head(run, [], count), "origin": origin, "only": only, "pictures": pictures}


def _ratios(found: Comparison) -> dict[str, Any] | None:
    """Return the flux ratio against magnitude: the median in bins, of the first method that both runs have."""
    methods = list(dict.fromkeys(method for method, _ in found.sample))
    if not methods:
        return None
    method = min(methods, key=lambda name: name.startswith("aperture"))
    series = []
    for (name, band), (magnitude, ratio) in found.sample.items():
        if name != method or not len(magnitude):
            continue
        cells = np.floor(magnitude / BIN).astype(int)
        filled = [cell for cell in np.unique(cells) if (cells == cell).sum() >= 3]
        parts = [np.quantile(ratio[cells == cell], [0.5, 0.16, 0.84]) for cell in filled]
        middle, low, high = (np.array(column) for column in zip(*parts, strict=True)) if parts else (np.empty(0),) * 3
        series.append(Curve(band, [(cell + 0.5) * BIN for cell in filled], middle.tolist(), low.tolist(), high.tolist()))
    svg = curves(series, x="AB magnitude in the first", y="flux, second over first")
    return {"title": f"Flux ratio, {method.replace('_', ' ')}: median and central 68 %", "svg": svg}


def _lonely(found: Comparison) -> dict[str, Any] | None:
    """Return how significant the sources are that only one run has."""
    values = [v[np.isfinite(v) & (v > 0)] for v in found.lonely]
    if not any(len(v) for v in values):
        return None
    edges = np.arange(0, 3.01, 0.15)
    counts = {
        f"only in the {name}": np.histogram(np.log10(v), edges)[0].tolist() for name, v in zip(("first", "second"), values, strict=True)
    }
    return {
        "title": "Sources without a counterpart",
        "svg": Markup(histogram(edges.tolist(), counts, x="log10 of the peak S/N", y="sources")),
    }
