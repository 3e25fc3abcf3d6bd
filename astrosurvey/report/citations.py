"""What to cite for a run: astrosurvey, the plugins it used, and the methods of its stages."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from .gather import Run


@dataclass
class Citation:
    """A work, and what it was used for."""

    text: str
    used: list[str] = field(default_factory=list)

    @property
    def why(self) -> str:
        """What it was used for, in words."""
        return f"for {', '.join(dict.fromkeys(self.used))}" if self.used else ""


def citations(run: Run, stages: dict[str, type]) -> tuple[list[Citation], list[str]]:
    """Return what to cite, and notes on stages whose references are not known here.

    Args:
        run: the run.
        stages: the registered stage classes by name.
    """
    found: dict[str, Citation] = {}
    for text, why in _software(run):
        found.setdefault(text, Citation(text)).used.append(why)
    unknown = []
    for name, settings in run.stages.items():
        use = str(settings.get("use", name))
        if use not in stages:
            unknown.append(use)
            continue
        for reference in references(inspect.getdoc(stages[use]) or ""):
            found.setdefault(reference, Citation(reference)).used.append(use)
    notes = [f"What to cite for {', '.join(dict.fromkeys(unknown))} is not known here: no such stage is installed."] if unknown else []
    return list(found.values()), notes


def references(docstring: str) -> list[str]:
    """Return the works of a docstring's References section, of which each ends with a semicolon or a line of its own."""
    match = re.search(r"^References:[ \t]*(.*?)(?=\n\s*\n|\n[A-Z]\w+:|\Z)", inspect.cleandoc(docstring), re.S | re.M)
    if not match:
        return []
    works = [" ".join(part.split()).rstrip(".") for part in match[1].split(";")]
    return [f"{work}." for work in works if work]


def _software(run: Run) -> list[tuple[str, str]]:
    """Return the software to cite: astrosurvey, and the other packages whose plugins gave a stage."""
    versions = run.about.get("versions")
    known = versions if isinstance(versions, dict) else {}
    plugins = run.about.get("plugins")
    listed = [p.get("package") for p in plugins if isinstance(p, dict)] if isinstance(plugins, list) else []
    packages = [package for package in listed if isinstance(package, str)]
    cited = []
    for package in dict.fromkeys(["astrosurvey", *packages]):
        version = known.get(package) or known.get(package.replace("_", "-"))
        cited.append((_described(package, str(version) if version else ""), "the software" if package == "astrosurvey" else "a plugin"))
    return cited


def _described(package: str, version: str) -> str:
    author = title = ""
    try:
        about: Any = metadata(package)
    except PackageNotFoundError:
        pass
    else:
        author, title = about.get("Author") or about.get("Author-email") or "", about.get("Summary") or ""
        version = version or about["Version"]
    who = f"{author}: " if author else ""
    return f"{who}{package}{f' {version}' if version else ''}{f', {title[0].lower() + title[1:]}' if title else ''}."
