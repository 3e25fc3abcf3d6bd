"""What a simulator is made of, as one digest: its source, its settings and the files that they name.

A version is raised by hand, and somebody who works on a simulator forgets it; a path says nothing of what is in the file. So simulations
carry a digest of both, and whatever needs the same simulator again can tell. Comments, blank lines and docstrings do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path

from ...core.digests import digest_path


@cache
def source_digest(modules: tuple[str, ...]) -> str:
    """Return the sha256 of the source of modules, and of what they import from their own packages, wherever in the file."""
    digest, seen, todo = hashlib.sha256(), set[str](), list(modules)
    while todo:
        name = todo.pop()
        found = None if name in seen else _source(name)
        seen.add(name)
        if found is not None:
            text, package = found
            tree = ast.parse(text)
            digest.update("\n".join(_code(text, tree)).encode())
            todo += sorted(_imported(tree, package), reverse=True)
    return digest.hexdigest()


def file_digest(path: str) -> str:
    """Return the sha256 of a file, or of a folder's files; "" where there is none."""
    found = Path(path)
    if not found.exists():
        return ""
    status = found.stat()
    return _content(found, status.st_size, status.st_mtime_ns)


@cache
def _content(path: Path, size: int, modified: int) -> str:
    """Return the digest of what is there; size and time of the last change are what it is remembered by."""
    return digest_path(path)[0]


def _source(module: str) -> tuple[str, str] | None:
    """Return a module's source and its package, which a package is itself; None of one that has none, or that is not there."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):  # a name within a module; `__main__`
        return None
    if spec is None or not (spec.origin or "").endswith(".py"):
        return None
    package = spec.name if spec.submodule_search_locations else spec.parent or ""
    return Path(spec.origin or "").read_text(encoding="utf-8"), package


def _code(text: str, tree: ast.Module) -> Iterator[str]:
    """Yield the lines that are neither blank, nor a comment, nor of a docstring."""
    silent = set[int]()
    for node in ast.walk(tree):
        match getattr(node, "body", None):
            case [ast.Expr(value=ast.Constant(value=str())) as said, *_]:
                silent.update(range(said.lineno, (said.end_lineno or said.lineno) + 1))
    for number, line in enumerate(text.splitlines(), start=1):
        if number not in silent and line.strip() and not line.lstrip().startswith("#"):
            yield line.rstrip()


def _imported(tree: ast.Module, package: str) -> set[str]:
    """Return what a module imports from its own package, as names of modules, or of things in them."""
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            name = resolve_name(relative, package) if node.level and package else relative
            found.update((name, *(f"{name}.{alias.name}" for alias in node.names)))
    return {name for name in found if package and name.startswith(f"{package}.")}
