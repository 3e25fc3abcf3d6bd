"""A stage's settings: validation against its Config, paths made absolute, and what they say in a key."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError

from .problems import did_you_mean
from .stage import Place, StageConfig


class UnsetVariable(ValueError):
    """A path names an environment variable that is not set."""


def validate(model: type[BaseModel], values: Mapping[str, Any], report: Callable[[Place, str, str], None]) -> Any:
    """Return `values` as an instance of `model`, or None after reporting every mistake in them.

    Types are strict, as JSON has them: a string is no number, and 1 is not true.
    """
    try:
        return model.model_validate_json(json.dumps(values), strict=True)
    except (TypeError, ValueError) as error:
        if not isinstance(error, ValidationError):
            report(
                (),
                f"holds a value that a pipeline file cannot hold: {error}",
                "use strings, numbers, true, false, null, lists and mappings",
            )
            return None
        for place, message, hint in _merged(model, error):
            report(place, message, hint)
        return None


def _merged(model: type[BaseModel], error: ValidationError) -> list[tuple[Place, str, str]]:
    """Return one (place, message, hint) a value: a union's many complaints become one."""
    merged: dict[Place, tuple[str, str]] = {}
    for detail in error.errors(include_url=False):
        place = _plain(model, detail["loc"])
        message, hint = _explain(model, place, detail)
        if place in merged and message not in merged[place][0]:
            message = f"{merged[place][0]}, or {message}"
        merged[place] = (message, hint)
    return [(place, *texts) for place, texts in merged.items()]


def _plain(model: type[BaseModel], loc: tuple[int | str, ...]) -> Place:
    """Return a pydantic location without the names of union members in it."""
    place: list[str | int] = []
    here: Any = model
    for step in loc:
        fields = _fields(here)
        if fields is None and isinstance(step, str) and re.search(r"[\[\]-]|^(str|int|float|bool|list|dict|constrained)", step):
            continue
        place.append(step)
        here = fields[step].annotation if fields and step in fields else None
    return tuple(place)


def _fields(annotation: Any) -> dict[Any, Any] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return dict(annotation.model_fields)
    for option in getattr(annotation, "__args__", ()):
        if (found := _fields(option)) is not None:
            return found
    return None


def _is_many(annotation: Any) -> bool:
    """Tell whether a type is a mapping or a list, perhaps an optional one, of something with fields."""
    return get_origin(annotation) in (dict, list, tuple) or any(
        get_origin(option) in (dict, list, tuple) for option in getattr(annotation, "__args__", ()) if get_origin(annotation) is not None
    )


def _explain(model: type[BaseModel], place: Place, detail: Any) -> tuple[str, str]:
    known: dict[Any, Any] = _fields(model) or {}
    setting, name = None, ""
    keyed = False  # the next step is a key of a mapping, or an index of a list, whose values have these fields
    for depth, step in enumerate(place, start=1):
        if keyed:
            keyed = False
            continue
        if step in known:
            setting, name = known[step], str(step)
        if depth < len(place):
            keyed = step in known and _is_many(known[step].annotation)
            known = (_fields(known[step].annotation) or {}) if step in known else {}
    match detail["type"]:
        case "extra_forbidden":
            settings = ", ".join(map(str, known)) or "none"
            return "unknown setting", did_you_mean(str(place[-1]), map(str, known), otherwise=f"the settings are {settings}")
        case "missing" if place and isinstance(place[-1], int):
            text = "a value is missing here"
        case "too_short" | "too_long":
            least = detail["type"] == "too_short"
            number = detail["ctx"]["min_length" if least else "max_length"]
            items = "item" if number == 1 else "items"
            text = f"must have at {'least' if least else 'most'} {number} {items}, not {detail['ctx']['actual_length']}"
        case "missing":
            what = known[place[-1]].description if place and place[-1] in known else ""
            return "this setting is required", f"give {place[-1]}: {what}".rstrip(": ")
        case "literal_error":
            options = [o.strip("' ") for o in re.split(r", | or ", detail["ctx"]["expected"])]
            return f"{detail['input']!r} is not one of {', '.join(options)}", did_you_mean(
                str(detail["input"]), options, otherwise=f"use {options[0]!r}"
            )
        case "value_error":
            text = str(detail["ctx"]["error"])
        case _:
            text = (
                detail["msg"].replace("Input should be", "must be").replace("valid array", "valid list")
                + f", not {json.dumps(detail['input'])}"
            )
    return text, f"{name}: {setting.description}" if setting is not None and setting.description else ""


def keyed_settings(config: StageConfig) -> dict[str, Any]:
    """Return the settings as a content key holds them: JSON values, with every path blank."""
    return config.with_paths(lambda place, path: "").model_dump(mode="json")


def expand(path: str, base: str) -> str:
    """Return a path from a pipeline file made absolute: `${NAME}` filled in, `~` too, relative to `base`.

    Raises:
        UnsetVariable: a variable it names is not set.
    """

    def variable(match: re.Match[str]) -> str:
        value = os.environ.get(match[1], "")
        if not value:
            raise UnsetVariable(match[1])
        return value

    path = os.path.expanduser(re.sub(r"\$\{(\w+)\}", variable, path))
    return os.path.normpath(os.path.join(base, path))
