"""From a run directory to one HTML file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from markupsafe import Markup

from .. import __version__
from ..core.digests import write_atomically
from . import text, yamltext
from .cards import Card, cards
from .citations import Citation, citations
from .clusters import ClustersSection, make_clusters
from .counts import make_counts
from .gather import Run, gather
from .graph import picture
from .head import Head, make_head
from .inference import InferenceSection, make_inference
from .metrics import Group, metric_groups
from .sky import Sky, make_sky
from .sources import Shown, flag_meanings, make_sources
from .spectra import SpectraSection, make_spectra
from .statistics import ZERO_POINT
from .truth import Truth, make_truth

_PAGE = Path(__file__).parent / "page"
_STYLES = ("base.css", "sections.css")
_SCRIPTS = ("data.js", "view.js", "sky.js", "panel.js", "main.js")
_POLICY = ("style-src 'unsafe-inline'", "img-src data:", "base-uri 'none'", "form-action 'none'")
MOST_NOTES = 100
T = TypeVar("T")


@dataclass(frozen=True)
class PluginSection:
    """A plugin's part of the page: an HTML document that is shown in a frame which runs no script."""

    title: str
    document: str


def write_report(root: Path) -> Path:
    """Write a run's report; see `astrosurvey.report.write`."""
    path = root / "report" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, report(root).encode("utf-8"))
    return path


def report(root: Path) -> str:
    """Return the report of a run directory as one HTML document."""
    notes: list[str] = []

    def attempt(what: str, make: Callable[[], T], otherwise: T) -> T:
        # Whatever is wrong with one part of a run, the page is about the whole of it.
        try:
            return make()
        except Exception as error:
            notes.append(f"{what} cannot be shown: {type(error).__name__}: {error}")
            return otherwise

    run = attempt("The run directory", lambda: gather(root), Run(root))
    sky = attempt("The sky", lambda: make_sky(run), Sky())
    sources = attempt("The sources", lambda: make_sources(run, sky), Shown())
    truth = attempt("The truth", lambda: make_truth(run, sky), Truth())
    spectra = attempt("The spectra", lambda: make_spectra(run), SpectraSection())
    clusters = attempt("The clusters", lambda: make_clusters(run), ClustersSection())
    inference = attempt("The inference", lambda: make_inference(run), InferenceSection())
    made = attempt("The stages", lambda: cards(run), list[Card]())
    stages = attempt("The installed stages", _installed, dict[str, type]())
    cited, uncited = attempt("What to cite", lambda: citations(run, stages), (list[Citation](), list[str]()))
    context = {
        "head": attempt("How the run went", lambda: make_head(run, made, sources.total), Head(run.title, "unknown", "idle", [], "", [])),
        "cards": made,
        "sky": sky,
        "sources": sources,
        "truth": truth,
        "spectra": spectra,
        "clusters": clusters,
        "inference": inference,
        "flags": flag_meanings(),
        "metrics": attempt("The metrics", lambda: metric_groups(run, notes), list[Group]()),
        "counts": attempt("The counts", lambda: make_counts(sources.statistics), None),
        "graph": attempt("The graph", lambda: _graph(run, made), Markup("")),
        "yaml": attempt("The pipeline", lambda: yamltext.dump(run.pipeline) if run.pipeline else run.text, run.text),
        "plugins": attempt("A plugin's section", lambda: _plugin_sections(run, made), list[PluginSection]()),
        "citations": cited,
        "version": __version__,
        "data": attempt("The map", lambda: text.embedded(_data(sky, sources, truth)), text.embedded(_data(Sky(), Shown(), Truth()))),
    }
    parts = (sky, sources, truth, spectra, clusters, inference)
    said = [*run.problems, *(note for part in parts for note in part.notes), *notes, *uncited]
    context["notes"] = said[:MOST_NOTES] + ([f"{len(said) - MOST_NOTES} further notes are left out."] if len(said) > MOST_NOTES else [])
    return page("index.html.j2", context)


def page(template: str, context: dict[str, Any]) -> str:
    """Return a template of the folder `page` filled in, with style, script and the policy that allows just these."""
    style, script = _asset(_STYLES), _wrapped(_SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Only this one script may run. Nothing may be loaded, sent or embedded but pictures that the page itself holds.
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return _environment().get_template(template).render(**context, style=Markup(style), script=Markup(script), policy=policy)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGE), autoescape=True, finalize=_finalized, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters.update(count=text.number, size=text.size)
    return environment


def _finalized(value: Any) -> Any:
    """Make control characters visible in every string that a template shows; markup is markup already."""
    return text.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _asset(names: tuple[str, ...]) -> str:
    return "\n".join((_PAGE / name).read_text(encoding="utf-8") for name in names)


def _wrapped(names: tuple[str, ...]) -> str:
    """Return the scripts as one function, so that their names are theirs alone."""
    return f'(() => {{\n"use strict";\n{_asset(names)}}})();'


def _installed() -> dict[str, type]:
    from ..plugins import load

    return dict(load().stages)


def _data(sky: Sky, sources: Shown, truth: Truth) -> dict[str, Any]:
    return {
        "tiles": sky.tiles,
        "mosaic": sky.mosaic,
        "flags": flag_meanings(),
        "zero_point": ZERO_POINT,
        "sources": {"number": sources.number, "columns": sources.columns, "fluxes": sources.fluxes},
        "truth": {"number": truth.number, "band": truth.band, "columns": truth.columns},
    }


def _graph(run: Run, made: list[Card]) -> Markup:
    uses = {card.name: card.use for card in made}
    edges: dict[tuple[str, str], list[str]] = {}
    for stage in run.stages:
        for port, source in run.inputs(stage).items():
            edges.setdefault((source.partition(".")[0], stage), []).append(f"{source} → {stage}.{port}")
    return picture(uses, edges, {card.name: _worst(card) for card in made}) if uses else Markup("")


def _worst(card: Card) -> str:
    """Return the state that colours a stage in the picture: the worst that any of its tasks is in."""
    states = {"done" if state == "cached" else state for state, _ in card.states}
    return next((state for state in ("failed", "blocked", "pending", "done", "empty") if state in states), "")


def _plugin_sections(run: Run, made: list[Card]) -> list[PluginSection]:
    """Return what plugins add. Their HTML is theirs to answer for: it stands in a frame in which no script runs."""
    from ..plugins import hook_results

    summary = {
        "title": run.title,
        "exit_code": run.about.get("exit_code"),
        "stages": {card.name: {"use": card.use, "states": dict(card.states)} for card in made},
    }
    sections = [tuple(section) for sections in hook_results("report_sections", run=run.root, summary=summary) for section in sections or ()]
    return [PluginSection(str(title), _document(str(fragment))) for title, fragment in sections]


def _document(fragment: str) -> str:
    return (
        '<!DOCTYPE html><meta charset="utf-8"><style>body{font:15px/1.5 system-ui,sans-serif;margin:1rem;color:#171b22;background:#fff}'
        f"table{{border-collapse:collapse}}td,th{{padding:.2rem .8rem .2rem 0;text-align:left}}</style><body>{fragment}"
    )
