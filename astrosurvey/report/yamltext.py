"""The resolved pipeline as YAML that a person likes to read; reading it gives the same values again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def dump(values: dict[str, Any]) -> str:
    """Return a mapping of JSON values as YAML, one setting a line; what is short stays on its line."""
    lines = []
    for key, value in values.items():
        if key == "stages" and isinstance(value, dict):
            lines.append("stages:")
            for name, stage in value.items():
                lines += (
                    [f"  {_scalar(name)}:", *_block(stage, 4)]
                    if isinstance(stage, dict) and stage
                    else [f"  {_scalar(name)}: {_flow(stage)}"]
                )
        else:
            lines += _entry(key, value, 0)
    return "\n".join(lines) + "\n"


def _block(values: dict[str, Any], indent: int) -> Iterator[str]:
    for key, value in values.items():
        yield from _entry(key, value, indent)


def _entry(key: str, value: Any, indent: int) -> Iterator[str]:
    space = " " * indent
    line = f"{space}{_scalar(key)}: {_flow(value)}"
    if len(line) <= WIDTH or not value or not isinstance(value, dict | list):
        yield line
    elif isinstance(value, dict):
        yield f"{space}{_scalar(key)}:"
        yield from _block(value, indent + 2)
    else:
        yield f"{space}{_scalar(key)}:"
        yield from (f"{space}  - {_flow(item)}" for item in value)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
