"""The shared catalogue schema as objects: tables, columns, keys, versions, and plugins' fragments.

`schemas/astrosurvey.yaml` is the source of truth. What is read here is its JSON twin
(`schemas/generated/astrosurvey.json`, see `generate.py`), because a pipeline is validated in well
under a second and parsing the YAML alone would take a fifth of that.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

TYPES = ("boolean", "short", "int", "long", "float", "double", "string", "text")
"""The felis datatypes that tables may use."""

HEALPIX_COLUMN = "_healpix_29"
"""Added by the writer to every file of a table with `ra` and `dec`; see `healpix.py`."""


class SchemaError(ValueError):
    """A schema, a fragment of it, or the rows of a catalogue break a rule."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: the column's name.
        type: one of `TYPES`; that of the elements for an array column.
        ucd: what it is, in the IVOA's controlled vocabulary (UCD1+).
        description: one sentence.
        unit: VOUnit; "" for dimensionless and for text.
        nullable: whether a row may leave it out.
        arraysize: None for one value a row, "*" for any number, "4" for always four.
        length: the longest text, in characters; None where there is no limit.
        principal: among the columns that a person wants to see first.
    """

    name: str
    type: str
    ucd: str
    description: str
    unit: str = ""
    nullable: bool = True
    arraysize: str | None = None
    length: int | None = None
    principal: bool = False

    @property
    def is_float(self) -> bool:
        """Whether the values are floating-point numbers, so that NaN says "not computable"."""
        return self.type in ("float", "double")

    @property
    def is_text(self) -> bool:
        """Whether the values are text."""
        return self.type in ("string", "text")


@dataclass(frozen=True)
class ForeignKey:
    """Columns whose values are a key of another table (or null)."""

    name: str
    description: str
    columns: tuple[str, ...]
    table: str
    referenced: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """A rule that every row keeps; the grammar is that of `rules.py`."""

    name: str
    description: str
    expression: str


@dataclass(frozen=True)
class Table:
    """One table: its columns in order, its key, and its rules.

    `extras` are the columns that plugins' fragments add to a core table. They are known by type and
    unit but never required, so that a catalogue does not change because a plugin is installed.
    """

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    extras: tuple[Column, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """Columns by name, those of plugins included."""
        return {column.name: column for column in (*self.columns, *self.extras)}

    def __contains__(self, name: object) -> bool:
        return name in self.by_name

    def __getitem__(self, name: str) -> Column:
        if name not in self.by_name:
            raise SchemaError(f"table {self.name} has no column {name!r}{suggestion(name, self.by_name)}")
        return self.by_name[name]

    @property
    def has_sky_position(self) -> bool:
        """Whether rows have a place on the sky, and files therefore a HEALPix column."""
        return "ra" in self and "dec" in self


@dataclass(frozen=True)
class Version:
    """The schema's semantic version, and the older ones whose files are read as well."""

    current: str
    compatible: tuple[str, ...] = ()
    read_compatible: tuple[str, ...] = ()

    def refuses(self, version: str) -> str:
        """Return why files of schema `version` cannot be read, or "" when they can.

        Files of the same major version can be read, and older ones if the schema lists them.
        """
        try:
            major, current = semantic(version)[0], semantic(self.current)[0]
        except SchemaError as error:
            return str(error)
        if major == current or version in (*self.compatible, *self.read_compatible):
            return ""
        if major > current:
            return f"it has catalogue schema {version}, this astrosurvey reads up to {current}.x; install a newer astrosurvey"
        return f"it has catalogue schema {version}, which {self.current} no longer reads; make it again by running its pipeline"


@dataclass(frozen=True)
class Schema:
    """All tables, by name."""

    name: str
    description: str
    version: Version
    tables: Mapping[str, Table] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Table:
        if name not in self.tables:
            raise SchemaError(f"there is no table {name!r} in the catalogue schema{suggestion(name, self.tables)}")
        return self.tables[name]

    def __contains__(self, name: object) -> bool:
        return name in self.tables

    @cached_property
    def digest(self) -> str:
        """sha256 of the schema's content, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the schema as JSON values; `from_json` undoes it."""
        tables = [asdict(table) for table in self.tables.values()]
        return {"name": self.name, "description": self.description, "version": asdict(self.version), "tables": tables}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """Return the schema that `to_json` gave."""
        tables = {table["name"]: _table_from_json(table) for table in data["tables"]}
        version = data["version"]
        versions = Version(version["current"], tuple(version["compatible"]), tuple(version["read_compatible"]))
        return cls(data["name"], data["description"], versions, tables)


def _table_from_json(data: Mapping[str, Any]) -> Table:
    return Table(
        name=data["name"],
        description=data["description"],
        key=tuple(data["key"]),
        columns=tuple(Column(**column) for column in data["columns"]),
        foreign_keys=tuple(
            ForeignKey(key["name"], key["description"], tuple(key["columns"]), key["table"], tuple(key["referenced"]))
            for key in data["foreign_keys"]
        ),
        checks=tuple(Check(**check) for check in data["checks"]),
        extras=tuple(Column(**column) for column in data["extras"]),
    )


def semantic(version: str) -> tuple[int, int, int]:
    """Return (major, minor, patch) of a version such as "1.4.0".

    Raises:
        SchemaError: it is not a semantic version.
    """
    match = re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", version)
    if not match:
        raise SchemaError(f"{version!r} is not a version like 1.4.0")
    return int(match[1]), int(match[2]), int(match[3])


def suggestion(name: str, known: Any) -> str:
    """Return "; did you mean 'x'?" when one of the `known` names is close to `name`, else what there is."""
    lower = {other.lower(): other for other in reversed(list(known))}
    close = difflib.get_close_matches(name.lower(), list(lower), n=1)
    return f"; did you mean {lower[close[0]]!r}?" if close else f"; there are {', '.join(known)}"


def schema_folder() -> Path:
    """Return the folder `schemas`: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "schemas"
    return inside if inside.is_dir() else package.parent / "schemas"


@cache
def core() -> Schema:
    """Return the schema that ships with astrosurvey, without plugins' fragments."""
    twin = schema_folder() / "generated" / "astrosurvey.json"
    return Schema.from_json(json.loads(twin.read_text(encoding="utf-8")))


_fragments: dict[str, dict[Path, Schema]] = {}
_with_fragments: Schema | None = None


def current() -> Schema:
    """Return the schema in force in this process: the core and every registered fragment."""
    return _with_fragments or core()


def register_fragment(path: Path, plugin: str) -> None:
    """Add the tables and columns of a plugin's schema fragment to the schema in force.

    Registering the same file for the same plugin again changes nothing.

    Args:
        path: a YAML file in the dialect of `schemas/astrosurvey.yaml`.
        plugin: the plugin's name; "-" counts as "_".

    Raises:
        SchemaError: the fragment breaks a rule, or claims a name that another one has.
    """
    global _with_fragments  # noqa: PLW0603  (the registry of this process)
    from .felis import read_fragment

    path = Path(path).resolve()
    plugin = plugin.replace("-", "_")
    if path in _fragments.get(plugin, {}):
        return
    fragment = read_fragment(path, plugin, core())
    _with_fragments = extend(current(), fragment, plugin)
    _fragments.setdefault(plugin, {})[path] = fragment


def forget_fragments() -> None:
    """Go back to the core schema, as a process that loads its plugins anew needs it."""
    global _with_fragments  # noqa: PLW0603  (the registry of this process)
    _fragments.clear()
    _with_fragments = None


def extend(schema: Schema, fragment: Schema, plugin: str) -> Schema:
    """Return `schema` with a plugin's fragment added.

    Raises:
        SchemaError: a table or column of the fragment is there already.
    """
    tables = dict(schema.tables)
    for table in fragment.tables.values():
        known = tables.get(table.name)
        if known is None:
            tables[table.name] = table
            continue
        taken = [column.name for column in table.extras if column.name in known] if table.extras else [table.name]
        if taken:
            owner = _claimant(table.name, taken[0])
            raise SchemaError(f"plugin {plugin} claims the name {taken[0]!r}, which {owner} has taken; rename it in the plugin's fragment")
        tables[table.name] = replace(known, extras=(*known.extras, *table.extras))
    return replace(schema, tables=tables)


def _claimant(table: str, name: str) -> str:
    for plugin, fragments in _fragments.items():
        for fragment in fragments.values():
            owned = fragment.tables.get(table)
            if owned is not None and (name == table or name in owned):
                return f"plugin {plugin}"
    return "astrosurvey itself"
