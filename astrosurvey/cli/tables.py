"""`astrosurvey tables`: what is in the shared catalogue schema, and what changed between two versions of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..catalog.schema import Schema

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@click.group(invoke_without_command=True)
@_as_json
@click.pass_context
def tables(context: click.Context, as_json: bool) -> None:
    """List the tables of the catalogue schema, those of plugins included."""
    if context.invoked_subcommand is not None:
        return
    from ..catalog.schema import current

    schema = current()
    if as_json:
        listed = [
            {"name": t.name, "key": list(t.key), "columns": len(t.columns) + len(t.extras), "description": t.description}
            for t in schema.tables.values()
        ]
        click.echo(json.dumps({"schema": schema.name, "version": schema.version.current, "tables": listed}, indent=2))
        return
    click.echo(f"{schema.name} {schema.version.current}\n")
    rows = [(t.name, ", ".join(t.key), t.description) for t in schema.tables.values()]
    _print_table(("table", "key", "content"), rows)


@tables.command("show")
@click.argument("name")
@_as_json
def show(name: str, as_json: bool) -> None:
    """Show the columns of table NAME with their types, units, UCDs and meanings."""
    from dataclasses import asdict

    from ..catalog.schema import SchemaError, current

    try:
        table = current()[name]
    except SchemaError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(table), indent=2, ensure_ascii=False))
        return
    click.echo(f"{table.name}: {table.description}\nkey: {', '.join(table.key)}\n")
    rows = [
        (
            column.name,
            column.type + (f"[{column.arraysize}]" if column.arraysize else ""),
            column.unit,
            "" if column.nullable else "always",
            column.ucd,
            column.description,
        )
        for column in (*table.columns, *table.extras)
    ]
    _print_table(("column", "type", "unit", "filled", "UCD", "meaning"), rows)
    for key in table.foreign_keys:
        click.echo(f"\n{key.description}: {', '.join(key.columns)} -> {key.table}", nl=False)
    for check in table.checks:
        click.echo(f"\n{check.description}: {check.expression}", nl=False)
    click.echo()


@tables.command("diff")
@click.argument("old", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("new", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_as_json
def diff(old: Path, new: Path, as_json: bool) -> None:
    """Classify what changed from schema file OLD to NEW, and fail if the version does not rise by enough."""
    from dataclasses import asdict

    from ..catalog.diff import bump_problem, changes, required_level

    before, after = _schema(old), _schema(new)
    found = changes(before, after)
    problem = bump_problem(before, after)
    if as_json:
        result = {
            "old": before.version.current,
            "new": after.version.current,
            "required": required_level(found),
            "problem": problem or None,
            "changes": [asdict(change) for change in found],
        }
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        _print_table(("level", "where", "what"), [(c.level, c.where, c.what) for c in found]) if found else click.echo("no changes")
        click.echo(f"\n{problem}" if problem else f"\n{before.version.current} -> {after.version.current} is enough")
    if problem:
        raise click.exceptions.Exit(1)


def _schema(path: Path) -> Schema:
    from ..catalog.felis import read_schema
    from ..catalog.schema import SchemaError

    try:
        return read_schema(path)
    except (SchemaError, UnicodeDecodeError) as error:
        raise click.UsageError(str(error)) from error


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head) - 1)]
    for row in (head, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[-1]]).rstrip())
