"""Pictures of why the networks give a class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from ....core.product import optional
from ....core.stage import Context, NoWork, Stage, StageConfig
from ....products import Catalog, Export, Model, Spectra
from ...pictures import CAPTIONS, picture_section
from .stage import BUILTIN

if TYPE_CHECKING:
    from .attribution import Attribution

NAMED = 6
"""Lines that a caption names."""


class ExplainSpectra(Stage):
    """Show which lines made the networks of `spectra.classify` give a class, in pictures for the report.

    For each chosen spectrum there is its flux, with the named lines at its redshift, and below, what every pixel adds to the log odds of
    its likeliest class, compared with its own continuum (integrated gradients): what is above zero speaks for the class. The
    caption sums that over the lines.

    References: Sundararajan, Taly & Yan (2017), arXiv:1703.01365.
    """

    name = "spectra.explain"
    version = 1
    inputs = {
        "spectra": Spectra,
        "classes": Catalog.of("classification"),
        "redshifts": Catalog.of("redshift", needs=("z",)),
        "model": optional(Model, default=f"builtin:{BUILTIN}"),
    }
    outputs = {"pictures": Export}

    class Config(StageConfig):
        """Settings of `spectra.explain`."""

        ids: tuple[int, ...] | None = Field(None, min_length=1, description="`spectrum_id`s to explain. Left out, `choose` decides")
        choose: Literal["doubtful", "sure"] = Field(
            "doubtful", description="the spectra whose likeliest class is the least probable, or the most probable"
        )
        count: int = Field(6, ge=1, le=100, description="how many spectra are explained")

    def run(self, ctx: Context, *, spectra: Spectra, classes: Catalog, redshifts: Catalog, model: Model | None) -> Mapping[str, Any]:
        """Return a folder of pictures and their captions."""
        from ....networks.spectrum import folded
        from ..classes import COARSE
        from .attribution import attribution
        from .card import read, to_ensemble
        from .grid import on_grid

        assert model is not None
        read(model)
        best = likeliest(classes, COARSE)
        chosen = self._chosen(spectra.ids, best)
        if not len(chosen):
            raise NoWork("there is no classified spectrum to explain")
        network = folded(to_ensemble(model))
        z = first_redshifts(redshifts)
        captions = {}
        for done, row in enumerate(chosen):
            number = int(spectra.ids[row])
            label, probability = best[number]
            flux, ivar = (plane[0] for plane in on_grid(spectra, slice(row, row + 1), "cpu"))
            one = attribution(network, flux, ivar, COARSE.index(label), z.get(number, 0.0))
            _draw(ctx.scratch / f"{number}.png", flux, ivar, one, z.get(number))
            captions[f"{number}.png"] = caption(number, label, probability, z.get(number), one)
            ctx.progress(done + 1, len(chosen))
        (ctx.scratch / CAPTIONS).write_text(json.dumps(captions, indent=1, sort_keys=True) + "\n", encoding="ascii")
        return {"pictures": Export(ctx.scratch)}

    def _chosen(self, ids: np.ndarray, best: Mapping[int, tuple[str, float]]) -> list[int]:
        """Return the rows of the spectra to explain, in the order of choice."""
        config = self.config
        place = {int(number): row for row, number in enumerate(ids)}
        if config.ids is not None:
            return [place[number] for number in dict.fromkeys(config.ids) if number in place and number in best]
        there = [number for number in best if number in place]
        sign = 1 if config.choose == "doubtful" else -1
        return [place[number] for number in sorted(there, key=lambda number: (sign * best[number][1], number))[: config.count]]


def likeliest(classes: Catalog, labels: tuple[str, ...]) -> dict[int, tuple[str, float]]:
    """Return the likeliest coarse class of each spectrum with its probability, by id."""
    best: dict[int, tuple[str, float]] = {}
    for number, label, probability in zip(
        classes.column("object_id").tolist(), classes.column("label").tolist(), classes.column("probability").tolist(), strict=True
    ):
        if label in labels and probability > best.get(number, ("", -1.0))[1]:
            best[number] = label, probability
    return best


def first_redshifts(redshifts: Catalog) -> dict[int, float]:
    """Return the best redshift of each spectrum, by id."""
    first = np.asarray(redshifts.column("rank")) == 0
    z: np.ndarray = np.ma.filled(np.ma.asarray(redshifts.column("z"), float), np.nan)
    return {int(number): float(value) for number, value in zip(redshifts.column("spectrum_id")[first], z[first], strict=True)}


def caption(number: int, label: str, probability: float, z: float | None, one: Attribution) -> str:
    """Return what stands below a picture."""
    named = [(name, value) for name, value in one.lines.items() if name != "elsewhere"][:NAMED]
    lines = ", ".join(f"{name} {value:+.1f}" for name, value in [*named, ("elsewhere", one.lines["elsewhere"])])
    where = "" if z is None else f" at z {z:.4f}"
    return f"spectrum {number}: {label} ({probability:.3f}){where}; log odds {one.odds[0]:.1f}, of its continuum {one.odds[1]:.1f}; {lines}"


def _draw(path: Path, flux: np.ndarray, ivar: np.ndarray, one: Attribution, z: float | None) -> None:
    """Write a spectrum and, below, what its pixels add."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ..lines.linelist import LINES
    from .grid import WAVE

    figure = Figure(figsize=(9, 3.6), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    seen = np.where(ivar > 0, flux, np.nan)
    upper.plot(WAVE, seen, color="#333", linewidth=0.5, drawstyle="steps-mid")
    lower.fill_between(WAVE, one.weight, color="#b33", linewidth=0, step="mid")
    lower.axhline(0, color="#888", linewidth=0.5)
    if z is not None:
        strongest = [name for name in one.lines if name != "elsewhere"][:NAMED]
        for line in LINES:
            place = line.wave * (1 + z)
            if line.label in strongest and WAVE[0] < place < WAVE[-1]:
                upper.axvline(place, color="#27a", linewidth=0.6, alpha=0.6)
                upper.text(place, 0.98, line.label, rotation=90, fontsize=6, va="top", ha="right", transform=upper.get_xaxis_transform())
    upper.set_ylabel("flux", fontsize=8)
    lower.set_ylabel("adds to log odds", fontsize=8)
    lower.set_xlabel("wavelength (Å)", fontsize=8)
    for axes in (upper, lower):
        axes.tick_params(labelsize=7)
    figure.savefig(path, metadata={"Software": None})


def report_section(run: Path, stages: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the report's section with the pictures that stages of this kind have made in a run."""
    intro = "<p>Above the spectrum, below what each pixel adds to the log odds of its class; the numbers are sums over named lines.</p>"
    return picture_section(run, stages, ExplainSpectra.name, "Why the networks give a class", intro, 46)
