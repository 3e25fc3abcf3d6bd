"""`astrosurvey stages`, `models` and `plugins`: what is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ._shared import json_option, print_json, table

if TYPE_CHECKING:
    from ..core.stage import Stage


@click.command()
@click.argument("name", required=False)
@click.option("--offers", metavar="PORT", help="Only stages with an output port of this name.")
@click.option("--takes", metavar="PORT", help="Only stages with an input port of this name.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of pipeline files with the installed stages, for editors.")
@json_option
def stages(name: str | None, offers: str | None, takes: str | None, schema: bool, as_json: bool) -> None:
    """List the stages, or describe the one called NAME: ports, settings, references."""
    from ..core.problems import did_you_mean
    from ..plugins import load

    registry = load()
    if schema:
        from ..core.jsonschema import pipeline_schema

        print_json(pipeline_schema(registry.stages.values()))
        return
    if name is not None and name not in registry.stages:
        raise click.UsageError(
            f"there is no stage {name!r}; {did_you_mean(name, registry.stages, otherwise='`astrosurvey stages` lists them')}"
        )
    chosen = [registry.stages[name]] if name else list(registry.stages.values())
    chosen = [s for s in chosen if (not offers or offers in s.outputs) and (not takes or takes in s.inputs)]
    values = [describe(s, str(registry.origins["stages", s.name])) for s in chosen]
    if as_json:
        print_json(values[0] if name else values)
    elif name:
        click.echo(as_text(values[0]))
    else:
        click.echo(table(["stage", "scope", "package", ""], [[v["name"], v["scope"], v["package"], v["help"]] for v in values]))


def describe(stage: type[Stage], package: str) -> dict[str, Any]:
    """Return what is known of a stage, as JSON values."""
    import inspect

    from ..core.stage import ports

    text = inspect.getdoc(stage) or ""
    return {
        "name": stage.name,
        "version": stage.version,
        "scope": stage.scope,
        "package": package,
        "help": text.splitlines()[0],
        "doc": text,
        "inputs": {n: {"type": str(p.contract), "gather": p.gather, "optional": p.optional} for n, p in ports(stage, "inputs").items()},
        "outputs": {n: {"type": str(p.contract)} for n, p in ports(stage, "outputs").items()},
        "settings": settings(stage.Config),
        "details": {title: dict(rows) for title, rows in stage.details().items()},
    }


def settings(config: Any) -> list[dict[str, Any]]:
    """Return the settings of a config model as JSON values."""
    from pydantic_core import to_jsonable_python

    rows = []
    schema = config.model_json_schema(mode="validation")
    for name, field in config.model_fields.items():
        shown = schema["properties"].get(name, {})
        required = field.is_required()
        default = None if required else to_jsonable_python(field.get_default(call_default_factory=True))
        rows.append({"name": name, "required": required, "default": default, "description": field.description or "", "schema": shown})
    return rows


def as_text(value: dict[str, Any]) -> str:
    """Return a description of a stage for people."""
    import json

    lines = [f"{value['name']} (scope {value['scope']}, version {value['version']}, {value['package']})", "", value["doc"], ""]
    for direction in ("inputs", "outputs"):
        lines.append(f"{direction}:")
        for name, port in value[direction].items():
            notes = [word for word in ("optional",) if port.get("optional")] + (["of all tiles"] if port.get("gather") else [])
            lines.append(f"  {name}: {port['type']}" + (f" ({', '.join(notes)})" if notes else ""))
        if not value[direction]:
            lines.append("  none")
    lines += ["", "settings:"]
    for row in value["settings"]:
        given = "required" if row["required"] else f"default {json.dumps(row['default'])}"
        lines.append(f"  {row['name']} ({given}): {row['description']}")
    if not value["settings"]:
        lines.append("  none")
    for title, rows in value["details"].items():
        named = [f"  {name}: {said}" for name, said in rows.items()] if any(rows.values()) else [f"  {', '.join(rows)}"]
        lines += ["", f"{title}:", *named]
    return "\n".join(lines)


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List the built-in models that Model ports may fall back to."""
    from ..plugins import load

    registry = load()
    values = [{"name": name, "package": str(registry.origins["models", name])} for name in registry.models]
    if as_json:
        print_json(values)
    elif values:
        click.echo(table(["model", "package"], [[v["name"], v["package"]] for v in values]))
    else:
        click.echo("no plugin ships a built-in model; a Model output of any stage can be wired to a Model port")


@click.command()
@click.option("--traceback", "full", is_flag=True, help="Show the whole error of plugins that could not be loaded.")
@json_option
def plugins(full: bool, as_json: bool) -> None:
    """List the plugins: what each registers, and why a broken one could not be loaded."""
    from ..plugins import load

    registry = load()
    values: list[dict[str, Any]] = []
    for origin in registry.plugins:
        names: dict[str, list[str]] = {}
        for (hook, name), owner in registry.origins.items():
            if owner == origin:
                names.setdefault(hook, []).append(name)
        values.append({"plugin": origin.plugin, "package": origin.package, "version": origin.version, "registers": names, "error": ""})
    for broken in registry.broken:
        origin = broken.origin
        error = broken.traceback if full else broken.error
        values.append({"plugin": origin.plugin, "package": origin.package, "version": origin.version, "registers": {}, "error": error})
    if as_json:
        print_json(values)
        return
    for value in values:
        click.echo(f"{value['plugin']}  {value['package']} {value['version']}" + ("  BROKEN" if value["error"] else ""))
        for hook, names in value["registers"].items():
            click.echo(f"  {hook}: {', '.join(names)}")
        if value["error"]:
            click.echo(f"  {value['error']}")
