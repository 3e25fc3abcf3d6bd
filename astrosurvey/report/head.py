"""The head of the page: how the run went, in one glance."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from typing import Any

from . import text
from .cards import Card
from .gather import Run

_VERDICTS = {
    0: ("complete", "good"),
    1: ("finished, some tasks failed", "bad"),
    2: ("did not start", "bad"),
    3: ("stopped", "bad"),
    4: ("ended by a bug", "bad"),
    130: ("interrupted", "warn"),
}
_FIRST = ("astrosurvey", "python", "numpy", "astropy", "photutils", "numba", "torch")


@dataclass(frozen=True)
class Head:
    """Title, verdict and facts of a run.

    Attributes:
        mood: the CSS class of the verdict.
        facts: (name, value) pairs in words.
        versions: (package, version), those that matter most first.
    """

    title: str
    verdict: str
    mood: str
    facts: list[tuple[str, str]]
    command: str
    versions: list[tuple[str, str]]


def make_head(run: Run, made: list[Card], sources: int) -> Head:
    """Return the head of a run's page.

    Args:
        run: the run.
        made: its stage cards.
        sources: the number of sources in its catalogues.
    """
    about = run.about
    started, finished = about.get("started"), about.get("finished")
    tasks = sum((Counter(dict(card.states)) for card in made), Counter())
    good = sum(tasks[state] for state in ("done", "cached", "empty"))
    code = about.get("exit_code")
    verdict, mood = _VERDICTS.get(code if isinstance(code, int) else -1, ("running, or ended without a word", "idle"))
    if about.get("stopped"):
        verdict = str(about["stopped"])
    facts: list[tuple[str, Any]] = [
        ("started", text.moment(started)),
        ("took", text.duration(finished - started) if isinstance(started, float) and isinstance(finished, float) else ""),
        ("tiles", text.number(about["tiles"]) if _numbers(about.get("tiles")) else ""),
        ("tasks done", f"{text.number(good)} of {text.number(tasks.total())}" if tasks else ""),
        ("failed", text.number(tasks["failed"]) if tasks["failed"] else ""),
        ("blocked", text.number(tasks["blocked"]) if tasks["blocked"] else ""),
        ("sources", text.number(sources) if sources else ""),
        ("device", about.get("device")),
        ("host", about.get("host")),
    ]
    versions = _versions(about)
    facts += [(name, dict(versions)[name]) for name in ("astrosurvey", "python") if name in dict(versions)]
    command = about.get("command")
    return Head(
        run.title,
        verdict,
        mood,
        [(name, str(value)) for name, value in facts if value],
        shlex.join(map(str, command)) if isinstance(command, list) else "",
        versions,
    )


def _numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _versions(about: dict[str, Any]) -> list[tuple[str, str]]:
    known = about.get("versions")
    versions = {str(name): str(version) for name, version in known.items()} if isinstance(known, dict) else {}
    if about.get("python"):
        versions["python"] = str(about["python"])
    first = [name for name in _FIRST if name in versions]
    return [(name, versions[name]) for name in [*first, *sorted(versions.keys() - set(first), key=str.lower)]]
