"""The rules of the schema's Check constraints: parsed once, enforced on rows, and written as SQL.

A rule is a conjunction of terms: `column op number`, `column op column` (op one of < <= > >= =) or
`column IN ('a', 'b')`. A term holds where a value is null or NaN, for a rule is about what was measured.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from .schema import Column, SchemaError

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}
_COMPARE = re.compile(r"(\w+)\s*(<=|>=|<|>|=)\s*(\w+|[-+]?[\d.]+(?:[eE][-+]?\d+)?)")
_IN = re.compile(r"(\w+)\s+IN\s*\(\s*('[^']*'(?:\s*,\s*'[^']*')*)\s*\)")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Term:
    """One comparison: `column op other`, where `other` is a number, another column's name, or words."""

    column: str
    op: str
    other: float | str | tuple[str, ...]

    def check_columns(self, columns: Mapping[str, Column]) -> None:
        """Raise `SchemaError` unless the columns are there and of a kind that can be compared."""
        named = [self.column, *([self.other] if isinstance(self.other, str) else [])]
        for name in named:
            if name not in columns:
                raise SchemaError(f"there is no column {name!r}")
            text = columns[name].is_text
            if text != (self.op == "IN") or columns[name].arraysize is not None or columns[name].type == "boolean":
                raise SchemaError(f"column {name!r} cannot be compared with {self.op}")

    def violations(self, values: Callable[[str], Any]) -> Any:
        """Return a boolean array that is True where a row breaks the term.

        Args:
            values: returns a column as a NumPy array (n,), with NaN (None for text) for null.
        """
        import numpy as np

        left = values(self.column)
        if isinstance(self.other, tuple):
            return np.array([value is not None and value not in self.other for value in left], dtype=bool)
        right = values(self.other) if isinstance(self.other, str) else self.other
        holds = _OPERATORS[self.op](left, right)
        return ~(holds | np.isnan(left) | np.isnan(right))

    def sql(self, columns: Mapping[str, Column]) -> str:
        """Return the term in SQL; NaN, which databases put above every number, passes as it does here."""
        if isinstance(self.other, tuple):
            words = ", ".join(f"'{word}'" for word in self.other)
            return f'"{self.column}" IN ({words})'
        other = f'"{self.other}"' if isinstance(self.other, str) else f"{self.other:g}"
        named = [self.column, *([self.other] if isinstance(self.other, str) else [])]
        nan = [f'isnan("{name}")' for name in named if columns[name].is_float]
        return "(" + " OR ".join([*nan, f'"{self.column}" {self.op} {other}']) + ")"


@cache
def parse_rule(expression: str) -> tuple[Term, ...]:
    """Return the terms of a rule.

    Raises:
        SchemaError: the expression is outside the grammar.
    """
    terms = []
    for part in re.split(r"\s+AND\s+", expression.strip()):
        if match := _IN.fullmatch(part):
            terms.append(Term(match[1], "IN", tuple(re.findall(r"'([^']*)'", match[2]))))
        elif match := _COMPARE.fullmatch(part):
            number = _NUMBER.fullmatch(match[3])
            terms.append(Term(match[1], match[2], float(match[3]) if number else match[3]))
        else:
            raise SchemaError(f"{part!r} is not `column op number`, `column op column` or `column IN ('a', 'b')`")
    return tuple(terms)
