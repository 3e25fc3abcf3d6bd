"""Strict YAML 1.2 with the place of every key kept.

Plain scalars follow the YAML 1.2 core schema (`no`, `on` and 12:30:45 are strings, 1e-3 is a number).
Duplicate keys, tags, several documents, deep nesting, many aliases and large files are refused, each
with its line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .problems import Mark, PipelineError, Problem

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_ALIASES = 100
MAX_NODES = 100_000

Path = tuple[str | int, ...]

_NULL = re.compile(r"(?:~|null|Null|NULL|)")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NAN = re.compile(r"\.(?:nan|NaN|NAN)")


@dataclass
class Document:
    """A YAML file as plain values, with the mark of each key and list item by its path."""

    data: Any
    marks: dict[Path, Mark] = field(default_factory=dict)

    def mark(self, path: Path) -> Mark:
        """Return where `path` is, or the nearest thing above it that is somewhere."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.marks:
                return self.marks[path[:end]]
        return Mark("pipeline")

    def set(self, path: Path, value: Any, mark: Mark) -> None:
        """Set the value at `path`, making mappings on the way, and mark it and all below it."""
        parent: Any = self.data
        for depth, key in enumerate(path[:-1]):
            if not isinstance(parent.get(key), dict):
                parent[key] = {}
                self.marks.setdefault(path[: depth + 1], mark)
            parent = parent[key]
        parent[path[-1]] = value
        self.marks = {p: m for p, m in self.marks.items() if p[: len(path)] != path}
        self.marks[path] = mark

    def merge(self, other: Document) -> None:
        """Merge another document over this one: mappings deeply, everything else replaced."""
        self._merge(other, (), other.data)

    def _merge(self, other: Document, path: Path, values: dict[str, Any]) -> None:
        for key, value in values.items():
            here = (*path, key)
            mine = self.at(here)
            if isinstance(value, dict) and isinstance(mine, dict):
                self._merge(other, here, value)
                continue
            self.set(here, value, other.mark(here))
            self.marks.update({p: m for p, m in other.marks.items() if p[: len(here)] == here})

    def at(self, path: Path) -> Any:
        """Return the value at `path`, or None when there is none."""
        value: Any = self.data
        for key in path:
            if not isinstance(value, dict) or key not in value:
                return None
            value = value[key]
        return value


def load(text: str, name: str) -> Document:
    """Return the one document in `text`; `name` is the file's name as marks should show it.

    Raises:
        PipelineError: it is no YAML, or one of the strictnesses above is violated.
    """
    if len(text) > MAX_BYTES:
        raise _error(
            Mark(name, 1, 1), f"the file has more than {MAX_BYTES // 1000} kB", "a pipeline file is small; put data into files of their own"
        )
    return _Builder(text, name).document()


def scalar(text: str) -> Any:
    """Return what a plain YAML 1.2 scalar means: None, bool, int, float or the string itself."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEX.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _INFINITE.fullmatch(text):
        return -math.inf if match[1] == "-" else math.inf
    return math.nan if _NAN.fullmatch(text) else text


def _error(mark: Mark, message: str, hint: str = "", path: Path = ()) -> PipelineError:
    return PipelineError([Problem(mark, ".".join(map(str, path)), message, hint)])


class _Builder:
    """Builds values from the parser's events, so that nothing happens that is not written here."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.document_ = Document(None)
        self.anchors: dict[str, Any] = {}
        self.aliases = self.nodes = 0
        self.problems: list[Problem] = []

    def document(self) -> Document:
        from ruamel.yaml import YAML, events
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        self.types = events
        try:
            stream: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(self.text))
            self._expect_start(stream)
            self.document_.marks[()] = Mark(self.name, 1, 1)
            event = next(stream)
            self.document_.data = None if isinstance(event, events.DocumentEndEvent) else self._value(event, stream, ())
            self._expect_end(stream)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = Mark(self.name, mark.line + 1, mark.column + 1) if mark else Mark(self.name, 1, 1)
            raise _error(where, f"not YAML: {error.problem or error.context}", _syntax_hint(self.text, where.line)) from None
        except YAMLError as error:
            line = self.text[: getattr(error, "position", 0)].count("\n") + 1
            raise _error(Mark(self.name, line, 1), f"not YAML: {error}", "save the file as plain UTF-8 text") from None
        if self.problems:
            raise PipelineError(self.problems)
        return self.document_

    def _expect_start(self, stream: Iterator[Any]) -> None:
        next(stream)
        event = next(stream)
        if isinstance(event, self.types.StreamEndEvent):
            raise _error(Mark(self.name, 1, 1), "the file is empty", "start from `astrosurvey new pipeline FILE.fits`")
        if getattr(event, "version", None) not in (None, (1, 2)):
            raise _error(self._mark(event), "only YAML 1.2 is read", "delete the %YAML line")

    def _expect_end(self, stream: Iterator[Any]) -> None:
        for event in stream:
            if isinstance(event, self.types.DocumentStartEvent):
                raise _error(self._mark(event), "a second document begins here", "keep one pipeline a file: delete the `---`")

    def _mark(self, event: Any) -> Mark:
        return Mark(self.name, event.start_mark.line + 1, event.start_mark.column + 1)

    def _value(self, event: Any, stream: Iterator[Any], path: Path) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            limit = f"{MAX_NODES} values" if self.nodes > MAX_NODES else f"{MAX_DEPTH} levels"
            raise _error(self._mark(event), f"more than {limit}", "a pipeline file is small and flat")
        if isinstance(event, self.types.AliasEvent):
            return self._alias(event, path)
        tag = getattr(event, "tag", None) or getattr(event, "ctag", None)
        if tag is not None and str(tag) != "!":
            raise _error(
                self._mark(event), f"the tag {tag} is not allowed", "delete it; values are plain strings, numbers, true, false, null", path
            )
        if isinstance(event, self.types.ScalarEvent):
            value: Any = scalar(event.value) if event.style in (None, "") and event.implicit[0] else event.value
        elif isinstance(event, self.types.SequenceStartEvent):
            value = self._sequence(stream, path)
        else:
            value = self._mapping(stream, path)
        if event.anchor:
            self.anchors[event.anchor] = value
        return value

    def _alias(self, event: Any, path: Path) -> Any:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise _error(self._mark(event), f"more than {MAX_ALIASES} aliases", "write the values out", path)
        if event.anchor not in self.anchors:
            raise _error(self._mark(event), f"the alias *{event.anchor} has no anchor before it", f"define it with &{event.anchor}", path)
        return self._copy(self.anchors[event.anchor], self._mark(event))

    def _copy(self, value: Any, mark: Mark) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _error(mark, f"aliases expand to more than {MAX_NODES} values", "write the values out")
        if isinstance(value, dict):
            return {key: self._copy(item, mark) for key, item in value.items()}
        return [self._copy(item, mark) for item in value] if isinstance(value, list) else value

    def _sequence(self, stream: Iterator[Any], path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(stream), self.types.SequenceEndEvent):
            here = (*path, len(items))
            self.document_.marks[here] = self._mark(event)
            items.append(self._value(event, stream, here))
        return items

    def _mapping(self, stream: Iterator[Any], path: Path) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := next(stream), self.types.MappingEndEvent):
            mark = self._mark(event)
            if not isinstance(event, self.types.ScalarEvent):
                raise _error(mark, "a key must be a plain word", "write `key: value`", path)
            here = (*path, event.value)
            if event.value in items:
                first = self.document_.marks[here]
                self.problems.append(
                    Problem(mark, ".".join(map(str, here)), f"the key is given twice, first in line {first.line}", "delete one of the two")
                )
            self.document_.marks[here] = mark
            items[event.value] = self._value(next(stream), stream, here)
        return items


def _syntax_hint(text: str, line: int) -> str:
    lines = text.splitlines()
    around = lines[max(line - 2, 0) : line]
    if any("\t" in row[: len(row) - len(row.lstrip())] for row in around):
        return "indent with spaces, not with tabs"
    return "check the indentation, the brackets and the colons of this line and the one before"
