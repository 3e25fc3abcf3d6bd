"""Draw the figures of the how-to pages: `python tools/docs_figures.py`.

Curves are drawn from benchmarks/results/images.json, which `python benchmarks/images.py --out benchmarks/results/images.json` writes;
pictures are made by running stages on one small simulated field. Everything lands in docs/img/.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import astrosurvey
from astrosurvey import Catalog, Image

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "img"
RESULTS = ROOT / "benchmarks" / "results" / "images.json"
LABELS = {
    "sep-1.05": "sep",
    "sextractor": "SExtractor",
    "photutils": "photutils",
    "classical": "detection.matched + deblending.persistence",
    "unet": "detection.unet",
}
COLOURS = {"sep-1.05": "#999", "sextractor": "#b58900", "photutils": "#6c71c4", "classical": "#2a78b5", "unet": "#c0392b"}
FIELD = """
astrosurvey: 1
tiles: {count: 1, size: 192}
seed: 5
stages:
  field:   {use: simulate.field, density: 1200.0, pairs: 700.0, pair_unit: seeing, pair_separation: [0.9, 2.5]}
  sky:     {use: background.mesh, in: {image: field.image}}
  classic: {use: detection.matched, in: {image: sky.image}}
  deblend: {use: deblending.persistence, in: {image: sky.image, segmentation: classic.segmentation, sources: classic.sources}}
  net:     {use: detection.unet, in: {image: sky.image}}
"""


def main() -> None:
    """Draw all figures."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))["results"]["with pairs"]
    tools = {tool: results[tool] for tool in LABELS if tool in results}
    completeness(tools)
    fluxes(tools)
    detections()


def _figure(width: float, height: float, columns: int) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns)


def _save(figure: Figure, name: str) -> None:
    figure.savefig(IMAGES / name, metadata={"Software": None})


def completeness(tools: dict[str, Any]) -> None:
    """Draw what fraction of isolated sources is found, by S/N, and of pairs, by separation, all at one purity."""
    figure, (left, right) = _figure(9, 3.6, 2)
    for tool, figures in tools.items():
        style = {"color": COLOURS[tool], "label": LABELS[tool], "marker": "o", "markersize": 3.5}
        left.plot(range(len(figures["isolated"])), list(figures["isolated"].values()), **style)
        right.plot(range(len(figures["pairs"])), list(figures["pairs"].values()), **style)
    first = next(iter(tools.values()))
    for axes, names, what in (
        (left, first["isolated"], "signal to noise, isolated sources"),
        (right, first["pairs"], "separation of pairs (pixels; seeing 4)"),
    ):
        axes.set_xticks(range(len(names)), list(names))
        axes.set_xlabel(what)
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.3)
    left.set_ylabel("found, at purity 0.97")
    right.set_ylabel("both found")
    right.legend(fontsize=7)
    _save(figure, "completeness.png")


def fluxes(tools: dict[str, Any]) -> None:
    """Draw the bias and the scatter of total fluxes."""
    groups = {"50": "isolated, S/N > 50", "10-30": "isolated, S/N 10-30", "members": "members of pairs, 6-12 px"}
    figure, axes = _figure(9, 3.2, 3)
    for axis, (group, title) in zip(axes, groups.items(), strict=True):
        shown = {tool: figures["flux"][group] for tool, figures in tools.items() if figures["flux"][group]["bias"] is not None}
        places = np.arange(len(shown))
        axis.errorbar(
            places,
            [100 * f["bias"] for f in shown.values()],
            yerr=[100 * f["nmad"] for f in shown.values()],
            fmt="none",
            ecolor="#777",
            capsize=3,
        )
        axis.scatter(places, [100 * f["bias"] for f in shown.values()], c=[COLOURS[tool] for tool in shown], zorder=3)
        axis.axhline(0, color="k", linewidth=0.6)
        axis.set_xticks(places, [LABELS[tool].partition(" + ")[0] for tool in shown], rotation=25, fontsize=7)
        axis.set_title(title, fontsize=9)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("flux error (%): median and scatter")
    _save(figure, "fluxes.png")


def detections() -> None:
    """Draw what both detectors find among close pairs."""
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Path(folder) / "field.yaml"
        pipeline.write_text(FIELD, encoding="utf-8")
        result = astrosurvey.run(astrosurvey.load(pipeline), out=Path(folder) / "run")
        image = result.read("sky", "image", Image, tile="t0000")
        truth = result.read("field", "truth", Catalog, tile="t0000")
        found = {name: result.read(name, "sources", Catalog, tile="t0000") for name in ("deblend", "net")}
    figure, axes = _figure(9, 4.4, 2)
    snr = np.asarray(truth.column("snr"), float)
    for axis, (name, title) in zip(axes, (("deblend", LABELS["classical"]), ("net", LABELS["unet"])), strict=True):
        axis.imshow(np.arcsinh(image.data[0] / 5.0), origin="lower", cmap="gray_r", vmin=-1, vmax=5)
        axis.scatter(truth.column("x")[snr > 5], truth.column("y")[snr > 5], s=55, facecolors="none", edgecolors="#2a7", linewidths=0.8)
        axis.plot(found[name].column("x"), found[name].column("y"), "+", color="#c0392b", markersize=7)
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    _save(figure, "detections.png")


if __name__ == "__main__":
    main()
