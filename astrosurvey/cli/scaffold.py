"""The package of a new plugin, from the template: a working plugin in which the names are replaced."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from pathlib import Path

TEMPLATE = Path(__file__).with_name("templates") / "plugin"

_RENAMED = {"gitignore": ".gitignore", "tests.yml": ".github/workflows/tests.yml"}
"""Files that would have a meaning in this repository under their own names."""


class ScaffoldError(ValueError):
    """A plugin cannot be made: its name will not do, or something is in the way."""


@dataclass(frozen=True)
class Names:
    """What a new plugin is called.

    Attributes:
        distribution: what pip calls it.
        package: what Python imports.
        family: what its stages' names begin with, and what astrosurvey calls the plugin.
    """

    distribution: str
    package: str
    family: str


def names_for(name: str) -> Names:
    """Return the names of a new plugin.

    Raises:
        ScaffoldError: the name will not do; the message says which would.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name):
        better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")
        hint = f"; did you mean {better!r}?" if better else ""
        raise ScaffoldError(f"{name!r} cannot be a plugin's name: use lower-case letters, digits and -, beginning with a letter{hint}")
    package = name.replace("-", "_")
    family = package.removeprefix("astrosurvey_")
    if family == "astrosurvey" or keyword.iskeyword(family) or keyword.iskeyword(package):
        raise ScaffoldError(f"{name!r} cannot be a plugin's name: it has another meaning; try 'astrosurvey-<what it measures>'")
    if package in sys.stdlib_module_names or _is_module(package):
        raise ScaffoldError(f"{name!r} cannot be a plugin's name: Python has a module {package!r} already; try 'astrosurvey-{name}'")
    _check_family(name, family)
    return Names(name, package, family)


def _is_module(package: str) -> bool:
    """Tell whether a module of that name is installed; a mere folder of the name, which has no origin, does not count."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def _check_family(name: str, family: str) -> None:
    from ..plugins import load

    registry = load()
    taken = {stage.partition(".")[0]: str(registry.origins["stages", stage]) for stage in registry.stages}
    taken |= {origin.plugin: str(origin) for origin in registry.plugins}
    if family in taken:
        raise ScaffoldError(f"{name!r} cannot be a plugin's name: {taken[family]} has the name {family!r}; choose one of your own")


def write_plugin(names: Names, folder: Path) -> list[str]:
    """Write the package into a new folder and return the names of its files.

    Raises:
        ScaffoldError: the folder exists and is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ScaffoldError(f"{folder} exists; choose another name, or move it away")
    words = {"my-distribution": names.distribution, "my_package": names.package, "my_family": names.family}
    written = []
    for source in sorted(TEMPLATE.rglob("*")):
        if source.is_dir() or "__pycache__" in source.parts:
            continue
        relative = source.relative_to(TEMPLATE).as_posix()
        relative = _RENAMED.get(relative, relative).replace("my_package", names.package)
        text = source.read_text(encoding="utf-8")
        for word, name in words.items():
            text = text.replace(word, name)
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(relative)
    return sorted(written)
