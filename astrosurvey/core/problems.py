"""Problems of a pipeline file: where each one is, what is wrong, and what to try."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mark:
    """A place in a pipeline file (1-based), or a command-line override, which has no line."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a pipeline.

    Attributes:
        mark: where it is.
        path: the key, such as "stages.deblend.contrast".
        message: what is wrong.
        hint: what to try; may be empty.
    """

    mark: Mark
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.mark} {self.path}".rstrip()
        return f"{where}: {self.message}" + (f"; {self.hint}" if self.hint else "")

    def as_json(self) -> dict[str, Any]:
        """Return the problem as JSON values."""
        return {
            "file": self.mark.file,
            "line": self.mark.line,
            "column": self.mark.column,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
        }


class PipelineError(Exception):
    """A pipeline that cannot run, with everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda p: (p.mark.file, p.mark.line, p.mark.column, p.path))
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[Any, ...]:
        return PipelineError, (self.problems,)


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Return "did you mean 'x'?" for the nearest of `known`, or `otherwise` when none is near."""
    choices = sorted(known)
    near = difflib.get_close_matches(word.lower(), [c.lower() for c in choices], n=1, cutoff=0.55)
    if near:
        return f"did you mean {next(c for c in choices if c.lower() == near[0])!r}?"
    tails = [c for c in choices if "." in c and c.rpartition(".")[2] == word.rpartition(".")[2]]
    return f"did you mean {tails[0]!r}?" if tails else otherwise
