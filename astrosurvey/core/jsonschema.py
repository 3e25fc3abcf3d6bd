"""The JSON Schema of pipeline files, good enough for an editor's completion and hovers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .pipeline import GRAMMAR, RunOptions
from .stage import Stage, ports
from .tiling import FORMS


def pipeline_schema(stages: Iterable[type[Stage]]) -> dict[str, Any]:
    """Return the JSON Schema of a pipeline file that uses these stages."""
    definitions: dict[str, Any] = {}
    listed = sorted(stages, key=lambda s: s.name)
    names = {"enum": [s.name for s in listed], "description": "which stage"}
    source = {"type": "string", "pattern": r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$"}
    rules = [
        {"if": {"properties": {"use": {"const": s.name}}, "required": ["use"]}, "then": _stage(s, source, definitions)} for s in listed
    ]
    tiles = [
        {"type": "string", "description": "a glob, or a CSV file with a column `tile`"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "the tiles' names"},
        *(_inlined(form.model_json_schema(), definitions) for form in FORMS.values()),
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "astrosurvey pipeline",
        "type": "object",
        "additionalProperties": False,
        "required": ["astrosurvey", "stages"],
        "properties": {
            "astrosurvey": {"const": GRAMMAR, "description": "version of the grammar"},
            "title": {"type": "string", "description": "what the pipeline is for"},
            "tiles": {"anyOf": tiles, "description": "the units of parallel work"},
            "seed": {"type": "integer", "minimum": 0, "description": "what every stage's random numbers derive from"},
            "stages": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": "^[a-z][a-z0-9_]{0,49}$"},
                "additionalProperties": {"type": "object", "required": ["use"], "properties": {"use": names}, "allOf": rules},
            },
            "run": _inlined(RunOptions.model_json_schema(), definitions),
        },
        "$defs": definitions,
    }


def _stage(stage: type[Stage], source: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one stage's mapping: `use`, `in` and its settings."""
    config = _inlined(stage.Config.model_json_schema(), definitions)
    takes = ports(stage, "inputs")
    wired = {"type": "object", "properties": dict.fromkeys(takes, source), "additionalProperties": False}
    inputs = {
        "anyOf": [source, {"type": "array", "items": source}, wired],
        "description": f"takes {', '.join(f'{p.name} ({p.contract})' for p in takes.values())}",
    }
    return {
        "description": (stage.__doc__ or "").strip().splitlines()[0],
        "additionalProperties": False,
        "required": ["use", *config.get("required", [])],
        "properties": {"use": {"const": stage.name}, **({"in": inputs} if takes else {}), **config.get("properties", {})},
    }


def _inlined(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a model's schema with its own definitions moved among the common ones, under names of their own."""
    inner = schema.pop("$defs", {})
    owner = schema.get("title", "model")
    names = {name: name if definitions.get(name, inner[name]) == inner[name] else f"{owner}.{name}.{len(definitions)}" for name in inner}

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: f"#/$defs/{names[item.rpartition('/')[2]]}" if key == "$ref" else moved(item) for key, item in value.items()}
        return [moved(item) for item in value] if isinstance(value, list) else value

    definitions.update({names[name]: moved(part) for name, part in inner.items()})
    found: dict[str, Any] = moved(schema)
    return found
