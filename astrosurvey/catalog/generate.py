"""Make everything that is derived from `schemas/astrosurvey.yaml`: `python -m astrosurvey.catalog.generate`.

The results are committed, so that nobody needs to run this to use them; a test fails when they are stale.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import votable
from .felis import read_schema
from .rules import parse_rule
from .schema import Column, Schema, Table, schema_folder

_SQL = {
    "boolean": "BOOLEAN",
    "short": "SMALLINT",
    "int": "INTEGER",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "text": "VARCHAR",
}
_JSON = {"boolean": "boolean", "short": "integer", "int": "integer", "long": "integer", "float": "number", "double": "number"}
_MADE_BY = "Generated from schemas/astrosurvey.yaml by `python -m astrosurvey.catalog.generate`; do not edit."


def artefacts(schema: Schema) -> dict[str, str]:
    """Return the text of every generated file, by its path relative to the repository."""
    files = {
        "schemas/generated/astrosurvey.json": json.dumps(schema.to_json(), indent=1, ensure_ascii=False) + "\n",
        "schemas/generated/astrosurvey.duckdb.sql": duckdb_ddl(schema),
        "schemas/generated/astrosurvey.vot.xml": votable.document(schema, [(t, _stored(t)) for t in schema.tables.values()]),
        "docs/reference/schema.md": reference_page(schema),
    }
    for table in schema.tables.values():
        files[f"schemas/generated/{table.name}.schema.json"] = json.dumps(json_schema(schema, table), indent=2, ensure_ascii=False) + "\n"
    return files


def _stored(table: Table) -> tuple[Column, ...]:
    """Return the columns of a table's files: its own, and the one the writer adds."""
    return (*table.columns, votable.HEALPIX) if table.has_sky_position else table.columns


def json_schema(schema: Schema, table: Table) -> dict[str, Any]:
    """Return the JSON Schema of one row of a table; NaN has no place in JSON and is written as null."""
    limits: dict[str, dict[str, Any]] = {}
    for check in table.checks:
        for term in parse_rule(check.expression):
            if isinstance(term.other, float):
                key = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum", "=": "const"}[term.op]
                limits.setdefault(term.column, {})[key] = int(term.other) if term.other.is_integer() else term.other
            elif isinstance(term.other, tuple):
                limits.setdefault(term.column, {})["enum"] = list(term.other)
    properties = {column.name: _json_property(column, limits.get(column.name, {})) for column in table.columns}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": _MADE_BY,
        "title": f"{table.name} ({schema.name} {schema.version.current})",
        "description": table.description,
        "type": "object",
        "properties": properties,
        "required": [column.name for column in table.columns if not column.nullable],
        "patternProperties": {"^x_[a-z][a-z0-9]*_": {}},
        "additionalProperties": False,
    }


def _json_property(column: Column, limits: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one value."""
    kind: dict[str, Any] = {"type": _JSON.get(column.type, "string"), **limits}
    if column.length:
        kind["maxLength"] = column.length
    if column.arraysize:
        size = {} if column.arraysize == "*" else {"minItems": int(column.arraysize), "maxItems": int(column.arraysize)}
        kind = {"type": "array", "items": kind, **size}
    value = {"anyOf": [kind, {"type": "null"}]} if column.nullable else kind
    unit = {"x-unit": column.unit} if column.unit else {}
    return {"description": column.description, **value, **unit, "x-ucd": column.ucd}


def duckdb_ddl(schema: Schema) -> str:
    """Return the statements that create all tables in DuckDB, with keys, rules and comments."""
    statements = [f"-- {_MADE_BY}", f"-- {schema.name} {schema.version.current}"]
    for table in _in_order_of_reference(schema):
        lines = []
        for column in table.columns:
            kind = _SQL[column.type] + ({None: "", "*": "[]"}.get(column.arraysize, f"[{column.arraysize}]"))
            lines.append(f'    "{column.name}" {kind}{"" if column.nullable else " NOT NULL"}')
        if table.has_sky_position:
            lines.append(f'    "{votable.HEALPIX.name}" BIGINT')
        lines.append(f"    PRIMARY KEY ({_quoted(table.key)})")
        for key in table.foreign_keys:
            lines.append(f'    FOREIGN KEY ({_quoted(key.columns)}) REFERENCES "{key.table}" ({_quoted(key.referenced)})')
        for check in table.checks:
            rule = " AND ".join(term.sql(table.by_name) for term in parse_rule(check.expression))
            lines.append(f'    CONSTRAINT "{check.name}" CHECK ({rule})')
        statements.append(f'CREATE TABLE "{table.name}" (\n' + ",\n".join(lines) + "\n);")
        statements.append(f'COMMENT ON TABLE "{table.name}" IS {_literal(table.description)};')
        for column in _stored(table):
            comment = f"{column.description} [{column.unit}]" if column.unit else column.description
            statements.append(f'COMMENT ON COLUMN "{table.name}"."{column.name}" IS {_literal(comment)};')
    return "\n".join(statements) + "\n"


def _in_order_of_reference(schema: Schema) -> Iterator[Table]:
    """Yield tables so that each comes after those that it refers to."""
    waiting, done = list(schema.tables.values()), set()
    while waiting:
        ready = next(t for t in waiting if all(key.table in done or key.table == t.name for key in t.foreign_keys))
        waiting.remove(ready)
        done.add(ready.name)
        yield ready


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def reference_page(schema: Schema) -> str:
    """Return the page of the documentation that lists every table and column."""
    version = schema.version
    older = ", ".join((*version.compatible, *version.read_compatible)) or "none yet"
    lines = [
        "# Catalogue schema",
        "",
        f"<!-- {_MADE_BY} -->",
        "",
        f"Version **{version.current}**; files of every {version.current.split('.')[0]}.x are read, and of older versions: {older}.",
        "",
        schema.description,
        "",
        "**Null** means not attempted, **NaN** means attempted but not computable, and a flag says why. Keys are in bold; a column",
        "marked ● is filled in every row. Files are Parquet; those of tables with `ra` and `dec` have one more column, `_healpix_29`,",
        f"the {votable.HEALPIX.description}.",
        "Columns called `x_<plugin>_<column>` and tables called `x_<plugin>_<table>` are a plugin's.",
        "",
        "`Catalog.read(path).to_astropy()` masks nulls. Astropy's own reader, `Table.read(path)`, gives the same values and units but",
        "shows null integers as NaN and null text as `None`.",
        "",
        "| table | key | content |",
        "| --- | --- | --- |",
    ]
    lines += [f"| [`{t.name}`](#{t.name}) | {', '.join(t.key)} | {_cell(t.description)} |" for t in schema.tables.values()]
    for table in schema.tables.values():
        lines += ["", f"## {table.name}", "", table.description, ""]
        lines += ["| column | | type | unit | UCD | description |", "| --- | --- | --- | --- | --- | --- |"]
        for column in table.columns:
            name = f"**`{column.name}`**" if column.name in table.key else f"`{column.name}`"
            kind = column.type + (f"[{column.arraysize}]" if column.arraysize else "") + (f"({column.length})" if column.length else "")
            filled = "" if column.nullable else "●"
            cells = (name, filled, *(_cell(text) for text in (kind, column.unit, column.ucd, column.description)))
            lines.append(f"| {' | '.join(cells)} |")
        rules = [f"- {k.description}: `{', '.join(k.columns)}` → [`{k.table}`](#{k.table})" for k in table.foreign_keys]
        rules += [f"- {c.description}: `{c.expression}`" for c in table.checks]
        lines += ["", *rules] if rules else []
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def main() -> int:
    """Write every generated file of this checkout."""
    schemas = schema_folder()
    repository: Path = schemas.parent
    for name, text in artefacts(read_schema(schemas / "astrosurvey.yaml")).items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
