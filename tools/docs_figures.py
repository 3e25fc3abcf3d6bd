"""Draw the figures of the how-to pages: `python tools/docs_figures.py`.

Curves are drawn from benchmarks/results/images.json, which `python benchmarks/images.py --out benchmarks/results/images.json` writes,
from images-VARIANT.json beside it for other skies (`--variant`), and from coindeblend.json, which `benchmarks/coindeblend.py` writes;
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
from astrosurvey import Catalog, Fractions, Image

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "img"
RESULTS = ROOT / "benchmarks" / "results" / "images.json"
SHOWN = (176, 336)
"""The part of the field of both detectors that is shown, pixels along each side."""
HALF = 24
"""Half the side of the picture of a blend, pixels."""
PAIRS = ROOT / "benchmarks" / "results" / "coindeblend.json"
BLEND = """
astrosurvey: 1
tiles: {count: 1, size: 128}
seed: 9
stages:
  field:
    {use: simulate.field, sky: 0.0, density: 0.0, pairs: 900.0, pair_separation: [8.0, 11.0], pair_flux: [2.0e+4, 3.0e+4]}
  find:  {use: detection.matched, in: {image: field.image}}
  split: {use: deblending.persistence, in: {image: field.image, segmentation: find.segmentation, sources: find.sources}}
  share: {use: deblending.templates, in: {image: field.image, segmentation: split.segmentation, sources: split.sources}}
"""
VARIANTS = {
    "standard": "seeing 4 px",
    "sharp": "seeing 2.5 px",
    "blurred": "seeing 6 px",
    "elliptical": "PSF ellipticity .15",
    "correlated": "correlated noise",
    "sparse": "half the density",
    "crowded": "twice the density",
    "deep": "twice the depth",
}
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
tiles: {count: 1, size: 512}
seed: 5
stages:
  field:   {use: simulate.field, density: 1000.0, pairs: 400.0, pair_unit: seeing, pair_separation: [1.0, 2.5], sky_gradient: 0.05}
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
    variants()
    detections()
    pairs(json.loads(PAIRS.read_text(encoding="utf-8"))["figures"])
    members()


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


def variants() -> None:
    """Draw what the network finds on other skies: isolated sources, and pairs of which each member could be found alone."""
    figure, (left, right) = _figure(9, 3.4, 2)
    groups = {"5-7": "#7fb2d9", "7-10": "#2a78b5"}, {"1-1.5": "#e7a79f", "1.5-2": "#d3695c", "2-2.5": "#8e2a20"}
    for axis, bins, key, title in zip(
        (left, right), groups, ("isolated", "pairs_seeing_5"), ("isolated sources, by S/N", "pairs, by seeing widths"), strict=True
    ):
        for k, (name, colour) in enumerate(bins.items()):
            for place, variant in enumerate(VARIANTS):
                results = json.loads((RESULTS.parent / f"images-{variant}.json").read_text(encoding="utf-8"))["results"]
                found = results["with pairs"]["unet"][key][name]
                axis.barh(place + 0.25 * (k - (len(bins) - 1) / 2), found, 0.23, color=colour, label=None if place else name)
        axis.set_yticks(range(len(VARIANTS)), list(VARIANTS.values()) if axis is left else [])
        axis.invert_yaxis()
        axis.set_xlim(0.4, 1.0)
        axis.set_xlabel("found, at purity 0.97")
        axis.set_title(title, fontsize=9)
        axis.grid(alpha=0.3, axis="x")
        axis.legend(fontsize=7, loc="lower left")
    _save(figure, "variants.png")


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
    figure, axes = _figure(9, 5.0, 2)
    bright = np.asarray(truth.column("snr"), float) > 5
    ring = {"s": 55, "facecolors": "none", "edgecolors": "#2a7", "linewidths": 0.9, "label": "true source of S/N > 5"}
    cross = {"linestyle": "none", "marker": "+", "color": "#c0392b", "markersize": 7, "label": "detected"}
    for axis, (name, title) in zip(axes, (("deblend", LABELS["classical"]), ("net", LABELS["unet"])), strict=True):
        axis.imshow(np.arcsinh(image.data[0] / 5.0), origin="lower", cmap="gray_r", vmin=-1, vmax=5)
        axis.scatter(truth.column("x")[bright], truth.column("y")[bright], **ring)
        axis.plot(found[name].column("x"), found[name].column("y"), **cross)
        axis.set_xlim(*SHOWN)
        axis.set_ylim(*SHOWN)
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    _save(figure, "detections.png")


def pairs(figures: dict[str, Any]) -> None:
    """Draw how far off the fluxes of pairs of real galaxies are, by the list of sources that they are measured with."""
    methods = {"sep": ("sep", "#999"), "templates": ("deblending.templates", "#2a78b5"), "network": ("deblending.unet", "#c0392b")}
    groups = (
        ("sep", "peer", "two sources of sep's,\nwhatever they are"),
        ("sep", "parted", "of these, both\non a galaxy each"),
        ("truth", "peer", "the same pairs,\ntrue positions"),
        ("truth", "all", "all pairs,\ntrue positions"),
    )
    figure, axis = _figure(7.5, 3.4, 1)
    for k, (method, (label, colour)) in enumerate(methods.items()):
        shown = [(g, figures[f"{method} | {name}"][count]) for g, (name, count, _) in enumerate(groups) if f"{method} | {name}" in figures]
        at = [g + 0.27 * (k - 1) for g, _ in shown]
        height, error = ([100 * f[key] for _, f in shown] for key in ("mean", "error"))
        axis.bar(at, height, 0.25, yerr=error, color=colour, ecolor="#444", capsize=2, label=label)
    axis.axhline(10, color="k", linewidth=0.6, linestyle=":")
    axis.set_xticks(range(len(groups)), [title for *_, title in groups], fontsize=8)
    axis.set_ylabel("mean flux error (%)")
    axis.legend(fontsize=8)
    _save(figure, "pairs.png")


def members() -> None:
    """Draw a blend, the light of each of its members, and what the templates leave over."""
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Path(folder) / "blend.yaml"
        pipeline.write_text(BLEND, encoding="utf-8")
        result = astrosurvey.run(astrosurvey.load(pipeline), out=Path(folder) / "run")
        image = result.read("field", "image", Image, tile="t0000")
        sources = result.read("share", "sources", Catalog, tile="t0000")
        fractions = result.read("share", "fractions", Fractions, tile="t0000")
        residual = result.read("share", "residual", Image, tile="t0000")
    # Of the sources that are not near the edge, the one that shares most with others, and its nearest neighbour.
    place = np.column_stack([sources.column("x"), sources.column("y")])
    inside = (np.abs(place - 63.5) < 64 - HALF).all(axis=1)
    first = np.argmax(np.where(inside, np.nan_to_num(sources.column("blendedness")), -1))
    chosen = np.argsort(np.hypot(*(place - place[first]).T))[:2]
    x, y = np.rint(place[first]).astype(int)
    panels = [("image", image.data[0])]
    for number, row in enumerate(chosen.tolist()):
        x0, x1, y0, y1 = fractions.boxes[row]
        alone = np.zeros_like(image.data[0])
        alone[y0:y1, x0:x1] = fractions.apply(image, row)[0]
        panels.append((f"member {number + 1}", alone))
    panels.append(("what templates leave over", residual.data[0]))
    figure, axes = _figure(9, 2.5, 4)
    for axis, (title, data) in zip(axes, panels, strict=True):
        cut = data[y - HALF : y + HALF, x - HALF : x + HALF]
        axis.imshow(np.arcsinh(cut / 10.0), origin="lower", cmap="gray_r", vmin=-1, vmax=4)
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    _save(figure, "members.png")


if __name__ == "__main__":
    main()
