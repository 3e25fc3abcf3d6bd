"""The strict reader of schemas written in the dialect of felis, the whole schema or a plugin's fragment.

felis itself is not needed at run time. This reader knows the part of its dialect that we use and refuses
everything else, so that whatever passes here also passes `felis validate`; and it keeps rules that felis
does not have: every column has a UCD, every float a unit, every rule is one that we can enforce.

References:
    The felis data model, https://felis.lsst.io/user-guide/model.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .rules import parse_rule
from .schema import TYPES, Check, Column, ForeignKey, Schema, SchemaError, Table, Version, semantic, suggestion

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SCHEMA_KEYS = {"name", "@id", "description", "version", "tables"}
_TABLE_KEYS = {"name", "tap:table_index", "description", "primaryKey", "constraints", "columns"}
_COLUMN_KEYS = {"name", "datatype", "length", "nullable", "description", "ivoa:ucd", "ivoa:unit", "tap:principal", "votable:arraysize"}
_CONSTRAINT_KEYS = {
    "ForeignKey": {"name", "@type", "description", "columns", "referencedColumns"},
    "Check": {"name", "@type", "description", "expression"},
}
_MAX_BYTES = 1_000_000


def read_schema(path: Path) -> Schema:
    """Return the schema in the YAML file `path`.

    Raises:
        SchemaError: it is not YAML, or breaks a rule; the message names every broken rule.
    """
    return _checked(path, None, "")


def read_fragment(path: Path, plugin: str, core: Schema) -> Schema:
    """Return a plugin's fragment: tables `x_<plugin>_<table>`, and columns `x_<plugin>_<column>` of core tables.

    The latter come as tables of a core table's name whose `extras` are filled.

    Raises:
        SchemaError: it is not YAML, or breaks a rule; the message names every broken rule.
    """
    return _checked(path, core, f"x_{plugin}_")


def _checked(path: Path, core: Schema | None, prefix: str) -> Schema:
    reader = _Reader(core, prefix)
    schema = reader.schema(_load(path))
    if reader.problems:
        raise SchemaError(f"{path}: " + "; ".join(reader.problems))
    return schema


def _load(path: Path) -> Any:
    from ruamel.yaml import YAML, YAMLError

    if path.stat().st_size > _MAX_BYTES:
        raise SchemaError(f"{path}: a schema of more than {_MAX_BYTES // 1000} kB is refused")
    text = path.read_text(encoding="utf-8")
    try:  # YAML 1.2, in which duplicate keys are errors and `y` and `no` are words
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, RecursionError) as error:
        raise SchemaError(f"{path} is not valid YAML: {error}") from error


class _Reader:
    """Turns parsed YAML into a Schema and collects what is wrong with it."""

    def __init__(self, core: Schema | None, prefix: str) -> None:
        self.core = core
        self.prefix = prefix
        self.problems: list[str] = []

    def mapping(self, where: str, data: Any, known: set[str], required: set[str]) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            self.problems.append(f"{where} must be a mapping")
            return {}
        for key in data:
            if key not in known:
                self.problems.append(f"{where}: unknown key {key!r}{suggestion(str(key), sorted(known))}")
        for key in sorted(required - set(data)):
            self.problems.append(f"{where}: {key!r} is missing")
        return dict(data)

    def text(self, where: str, data: Mapping[str, Any], key: str) -> str:
        value = data.get(key, "")
        if not isinstance(value, str) or (key in data and not value.strip() and key != "ivoa:unit"):
            self.problems.append(f"{where}: {key!r} must be text, not {value!r}")
            return ""
        return value.strip()

    def items(self, where: str, data: Any) -> list[Any]:
        if not isinstance(data, list):
            self.problems.append(f"{where} must be a list")
            return []
        return data

    def schema(self, data: Any) -> Schema:
        data = self.mapping("the schema", data, _SCHEMA_KEYS, {"name", "description", "version", "tables"})
        tables: dict[str, Table] = {}
        for entry in self.items("'tables'", data.get("tables", [])):
            table = self.table(entry)
            if table.name in tables:
                self.problems.append(f"table {table.name} is there twice")
            tables[table.name] = table
        schema = Schema(
            self.text("the schema", data, "name"), self.text("the schema", data, "description"), self.version(data.get("version")), tables
        )
        self.references(schema)
        return schema

    def version(self, data: Any) -> Version:
        data = self.mapping("'version'", data, {"current", "compatible", "read_compatible"}, {"current"})
        versions = {key: tuple(self.items(f"version.{key}", data.get(key, []))) for key in ("compatible", "read_compatible")}
        for version in (data.get("current", ""), *versions["compatible"], *versions["read_compatible"]):
            try:
                semantic(str(version))
            except SchemaError as error:
                self.problems.append(str(error))
        return Version(str(data.get("current", "")), **versions)

    def table(self, data: Any) -> Table:
        name = data.get("name", "?") if isinstance(data, Mapping) else "?"
        where = f"table {name}"
        extends = self.core is not None and name in self.core
        data = self.mapping(where, data, _TABLE_KEYS, {"name", "description", "columns"} | (set() if extends else {"primaryKey"}))
        if not _NAME.fullmatch(str(name)):
            self.problems.append(f"{where}: a table's name is a lower-case identifier")
        if self.core is not None and not extends and not str(name).startswith(self.prefix):
            self.problems.append(f"{where}: a plugin's table is called {self.prefix}<table>")
        if self.core is None and str(name).startswith("x_"):
            self.problems.append(f"{where}: names beginning with x_ belong to plugins")
        columns = tuple(self.column(name, entry, extends) for entry in self.items(f"{where}: 'columns'", data.get("columns", [])))
        names = [column.name for column in columns]
        for duplicate in sorted({n for n in names if names.count(n) > 1}):
            self.problems.append(f"{where}: column {duplicate} is there twice")
        if extends:
            if "primaryKey" in data or "constraints" in data:
                self.problems.append(f"{where}: a plugin adds columns to a core table, neither keys nor constraints")
            return Table(str(name), self.text(where, data, "description"), (), (), extras=columns)
        key = self.columns_of(where, name, data.get("primaryKey", []), columns)
        for column in columns:
            if column.name in key and column.nullable:
                self.problems.append(f"{where}: column {column.name} is in the key and so cannot be nullable")
        foreign_keys, checks = self.constraints(where, name, data.get("constraints", []), columns)
        if self.core is not None and not any(fk.table in self.core and set(fk.columns) <= set(key) for fk in foreign_keys):
            self.problems.append(f"{where}: its key must hold a foreign key to a core table, such as source_id")
        return Table(str(name), self.text(where, data, "description"), key, columns, foreign_keys, checks)

    def column(self, table: Any, data: Any, extends: bool) -> Column:
        name = str(data.get("name", "?")) if isinstance(data, Mapping) else "?"
        where = f"table {table}, column {name}"
        data = self.mapping(where, data, _COLUMN_KEYS, {"name", "datatype", "description", "ivoa:ucd"})
        column_type = data.get("datatype", "int")
        if column_type not in TYPES:
            self.problems.append(f"{where}: unknown datatype {column_type!r}{suggestion(str(column_type), TYPES)}")
        arraysize = data.get("votable:arraysize")
        column = Column(
            name=name,
            type=str(column_type),
            ucd=self.text(where, data, "ivoa:ucd"),
            description=self.text(where, data, "description"),
            unit=self.text(where, data, "ivoa:unit"),
            nullable=data.get("nullable", True) is not False,
            arraysize=None if arraysize is None else str(arraysize),
            length=data.get("length"),
            principal=data.get("tap:principal", 0) == 1,
        )
        self.column_rules(where, column, data, extends)
        return column

    def column_rules(self, where: str, column: Column, data: Mapping[str, Any], extends: bool) -> None:
        if not _NAME.fullmatch(column.name):
            self.problems.append(f"{where}: a column's name is a lower-case identifier")
        if not isinstance(data.get("nullable", True), bool):
            self.problems.append(f"{where}: 'nullable' is true or false")
        if column.is_float and "ivoa:unit" not in data:
            self.problems.append(f"{where}: a {column.type} column needs an 'ivoa:unit', \"\" where it is dimensionless")
        if column.type == "string" and not (type(column.length) is int and column.length > 0):
            self.problems.append(f"{where}: a string column needs a positive 'length'")
        if column.type != "string" and column.length is not None:
            self.problems.append(f"{where}: only string columns have a 'length'")
        if column.arraysize is not None:
            if not re.fullmatch(r"\*|[1-9]\d*", column.arraysize):
                self.problems.append(f"{where}: 'votable:arraysize' is \"*\" or a number")
            if column.is_text:
                self.problems.append(f"{where}: there are no arrays of text")
        if extends and not column.name.startswith(self.prefix):
            self.problems.append(f"{where}: a plugin's column in a core table is called {self.prefix}<column>")
        if extends and not column.nullable:
            self.problems.append(f"{where}: a plugin's column in a core table is nullable")

    def columns_of(self, where: str, table: Any, data: Any, columns: tuple[Column, ...]) -> tuple[str, ...]:
        """Return the names that a list of ids such as "#source.ra" stands for."""
        names = []
        for entry in [data] if isinstance(data, str) else self.items(where, data):
            name = str(entry).removeprefix(f"#{table}.")
            if f"#{table}.{name}" != entry or name not in {column.name for column in columns}:
                self.problems.append(f'{where}: {entry!r} is not one of its columns, written as "#{table}.<column>"')
            names.append(name)
        return tuple(names)

    def constraints(
        self, where: str, table: Any, data: Any, columns: tuple[Column, ...]
    ) -> tuple[tuple[ForeignKey, ...], tuple[Check, ...]]:
        foreign_keys, checks = [], []
        for entry in self.items(f"{where}: 'constraints'", data):
            kind = entry.get("@type", "?") if isinstance(entry, Mapping) else "?"
            if kind not in _CONSTRAINT_KEYS:
                self.problems.append(f"{where}: a constraint is of @type ForeignKey or Check, not {kind!r}")
                continue
            here = f"{where}, constraint {entry.get('name', '?')}"
            values = self.mapping(here, entry, _CONSTRAINT_KEYS[kind], _CONSTRAINT_KEYS[kind])
            name, description = self.text(here, values, "name"), self.text(here, values, "description")
            if kind == "ForeignKey":
                own = self.columns_of(here, table, values.get("columns", []), columns)
                targets = [re.fullmatch(r"#(\w+)\.(\w+)", str(t)) for t in self.items(here, values.get("referencedColumns", []))]
                tables = {t[1] for t in targets if t}
                if not all(targets) or len(tables) != 1 or len(targets) != len(own):
                    self.problems.append(f"{here}: 'referencedColumns' names as many columns of one table, as \"#table.column\"")
                    continue
                foreign_keys.append(ForeignKey(name, description, own, tables.pop(), tuple(t[2] for t in targets if t)))
            else:
                checks.append(Check(name, description, self.text(here, values, "expression")))
                try:
                    for term in parse_rule(checks[-1].expression):
                        term.check_columns({column.name: column for column in columns})
                except SchemaError as error:
                    self.problems.append(f"{here}: {error}")
        return tuple(foreign_keys), tuple(checks)

    def references(self, schema: Schema) -> None:
        known = {**(self.core.tables if self.core else {}), **{t.name: t for t in schema.tables.values() if not t.extras}}
        for table in schema.tables.values():
            for key in table.foreign_keys:
                target = known.get(key.table)
                if target is None or target.key != key.referenced:
                    self.problems.append(f"table {table.name}, constraint {key.name}: it must refer to the key of a table")
