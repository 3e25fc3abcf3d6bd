"""What changed between two schemas, and by how much the version must rise for it.

MAJOR: anything that breaks a reader or an older file: a table or column that is gone or of another type,
unit, UCD, key, reference or rule, or whose null rule changed. MINOR: what older files can do without: a new
table, a new nullable column, a longer text. PATCH: words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .schema import Column, Schema, Table, semantic

LEVELS = ("PATCH", "MINOR", "MAJOR")


@dataclass(frozen=True)
class Change:
    """One difference: how grave it is, where it is, and what it is."""

    level: str
    where: str
    what: str


def changes(old: Schema, new: Schema) -> list[Change]:
    """Return what differs between two schemas, the gravest first."""
    found = [*_words("the schema", old.description, new.description)]
    for name in old.tables:
        if name in new:
            found += _table(old[name], new[name])
        else:
            found.append(Change("MAJOR", name, "table removed"))
    found += [Change("MINOR", name, "table added") for name in new.tables if name not in old]
    return sorted(found, key=lambda change: -LEVELS.index(change.level))


def required_level(found: list[Change]) -> str | None:
    """Return the gravest level among changes; None when there are none."""
    return max((change.level for change in found), key=LEVELS.index, default=None)


def bump_problem(old: Schema, new: Schema) -> str:
    """Return why the new schema's version does not rise by enough, or "" when it does.

    A version that rises by more than it must is fine, one that falls is not.
    """
    before, after = semantic(old.version.current), semantic(new.version.current)
    level = required_level(changes(old, new))
    if level is None:
        return "" if after >= before else f"the version falls from {old.version.current} to {new.version.current}"
    needed = {
        "MAJOR": (before[0] + 1, 0, 0),
        "MINOR": (before[0], before[1] + 1, 0),
        "PATCH": (before[0], before[1], before[2] + 1),
    }[level]
    if after >= needed:
        return ""
    text = ".".join(str(part) for part in needed)
    return f"the changes are {level}, so the version must rise from {old.version.current} to at least {text}, not {new.version.current}"


def _table(old: Table, new: Table) -> Iterator[Change]:
    yield from _words(old.name, old.description, new.description)
    if old.key != new.key:
        yield Change("MAJOR", old.name, f"key is {', '.join(new.key)}, was {', '.join(old.key)}")
    for column in old.columns:
        if column.name in new:
            yield from _column(f"{old.name}.{column.name}", column, new[column.name])
        else:
            yield Change("MAJOR", f"{old.name}.{column.name}", "column removed")
    for column in new.columns:
        if column.name not in old:
            level, kind = ("MINOR", "nullable") if column.nullable else ("MAJOR", "non-nullable")
            yield Change(level, f"{new.name}.{column.name}", f"{kind} column added")
    if [c.name for c in old.columns if c.name in new] != [c.name for c in new.columns if c.name in old]:
        yield Change("PATCH", old.name, "order of columns changed")
    before = {key.name: (key.columns, key.table, key.referenced) for key in old.foreign_keys} | {c.name: c.expression for c in old.checks}
    after = {key.name: (key.columns, key.table, key.referenced) for key in new.foreign_keys} | {c.name: c.expression for c in new.checks}
    for name in sorted({*before, *after}):
        if name not in after or name not in before:
            # Without a rule, readers meet rows that they could not before; with a new one, older files may break it.
            yield Change("MAJOR", old.name, f"constraint {name} {'removed' if name not in after else 'added'}")
        elif before[name] != after[name]:
            yield Change("MAJOR", old.name, f"constraint {name} changed")


def _column(where: str, old: Column, new: Column) -> Iterator[Change]:
    for attribute in ("type", "arraysize", "unit", "ucd"):
        before, after = getattr(old, attribute), getattr(new, attribute)
        if before != after:
            yield Change("MAJOR", where, f"{attribute} is {after!r}, was {before!r}")
    if old.nullable != new.nullable:
        yield Change("MAJOR", where, "can be null now" if new.nullable else "cannot be null any more")
    if old.length != new.length:
        longer = new.length is None or (old.length is not None and new.length > old.length)
        yield Change("MINOR" if longer else "MAJOR", where, f"length is {new.length or 'unlimited'}, was {old.length or 'unlimited'}")
    if old.principal != new.principal:
        yield Change("PATCH", where, f"is {'' if new.principal else 'no longer '}a principal column")
    yield from _words(where, old.description, new.description)


def _words(where: str, old: str, new: str) -> Iterator[Change]:
    if old != new:
        yield Change("PATCH", where, "description changed")
