"""How grave a change of the schema is, and whether the version rises by enough for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from astrosurvey.catalog.diff import Change, bump_problem, changes, required_level
from astrosurvey.catalog.schema import Check, Column, ForeignKey, Schema, Table, Version


def column(name, **changed):
    return replace(Column(name, "double", "phot.flux.density", "words", "nJy"), **changed)


def schema(*columns, version="1.2.3", description="words", tables=(), **table):
    base = Table("t", "words", ("a",), columns or (column("a"), column("b")))
    made = replace(base, **table)
    return Schema("s", description, Version(version), {made.name: made, **{t.name: t for t in tables}})


KEY = ForeignKey("k", "words", ("a",), "t", ("a",))
TEXT = {"type": "string", "unit": "", "length": 8}


@pytest.mark.parametrize(
    ("old", "new", "level", "what"),
    [
        (schema(), schema(), None, None),
        (schema(), schema(column("a")), "MAJOR", "column removed"),
        (schema(), schema(column("a"), column("c")), "MAJOR", "column removed"),
        (schema(), schema(column("a"), column("b", type="float")), "MAJOR", "type is 'float', was 'double'"),
        (schema(), schema(column("a"), column("b", unit="Jy")), "MAJOR", "unit is 'Jy', was 'nJy'"),
        (schema(), schema(column("a"), column("b", ucd="phot.mag")), "MAJOR", "ucd is 'phot.mag', was 'phot.flux.density'"),
        (schema(), schema(column("a"), column("b", nullable=False)), "MAJOR", "cannot be null any more"),
        (schema(), schema(column("a", nullable=True), column("b", arraysize="*")), "MAJOR", "arraysize is '*', was None"),
        (schema(column("a", nullable=False)), schema(column("a")), "MAJOR", "can be null now"),
        (schema(), schema(column("a"), column("b"), column("c", nullable=False)), "MAJOR", "non-nullable column added"),
        (schema(), schema(column("a"), column("b"), column("c")), "MINOR", "nullable column added"),
        (schema(column("a", **TEXT)), schema(column("a", **{**TEXT, "length": 9})), "MINOR", "length is 9, was 8"),
        (schema(column("a", **TEXT)), schema(column("a", **{**TEXT, "length": 7})), "MAJOR", "length is 7, was 8"),
        (schema(column("a", **TEXT)), schema(column("a", **{**TEXT, "length": None})), "MINOR", "length is unlimited, was 8"),
        (schema(), schema(tables=[Table("u", "words", ("a",), (column("a"),))]), "MINOR", "table added"),
        (schema(tables=[Table("u", "words", ("a",), (column("a"),))]), schema(), "MAJOR", "table removed"),
        (schema(), schema(key=("a", "b")), "MAJOR", "key is a, b, was a"),
        (schema(), schema(foreign_keys=(KEY,)), "MAJOR", "constraint k added"),
        (schema(foreign_keys=(KEY,)), schema(foreign_keys=(replace(KEY, columns=("b",)),)), "MAJOR", "constraint k changed"),
        (schema(checks=(Check("c", "words", "a >= 0"),)), schema(), "MAJOR", "constraint c removed"),
        (schema(), schema(column("a"), column("b", description="other words")), "PATCH", "description changed"),
        (schema(), schema(column("b"), column("a")), "PATCH", "order of columns changed"),
        (schema(), schema(column("a"), column("b", principal=True)), "PATCH", "is a principal column"),
        (schema(), schema(description="other words"), "PATCH", "description changed"),
        (schema(), schema(description="other words", tables=[]), "PATCH", "description changed"),
    ],
)
def test_every_change_has_its_level(old, new, level, what):
    found = changes(old, new)
    assert required_level(found) == level
    assert [change.what for change in found if change.level == level][:1] == ([what] if what else [])


def test_the_gravest_change_comes_first_and_decides():
    old = schema(tables=[Table("u", "words", ("a",), (column("a"),))])
    new = schema(column("a", description="x"), column("b"), column("c"))
    assert [change.level for change in changes(old, new)] == ["MAJOR", "MINOR", "PATCH"]
    assert changes(old, new)[0] == Change("MAJOR", "u", "table removed")


@pytest.mark.parametrize(
    ("level", "version", "enough"),
    [
        ("MAJOR", "2.0.0", True),
        ("MAJOR", "1.3.0", False),
        ("MINOR", "1.3.0", True),
        ("MINOR", "2.0.0", True),
        ("MINOR", "1.2.4", False),
        ("PATCH", "1.2.4", True),
        ("PATCH", "1.2.3", False),
        (None, "1.2.3", True),
        (None, "1.2.2", False),
        ("PATCH", "1.1.9", False),
    ],
)
def test_the_version_rises_by_enough(level, version, enough):
    new = {
        "MAJOR": schema(column("a"), version=version),
        "MINOR": schema(column("a"), column("b"), column("c"), version=version),
        "PATCH": schema(description="other", version=version),
        None: schema(version=version),
    }[level]
    problem = bump_problem(schema(), new)
    assert (problem == "") == enough
    if not enough:
        assert version in problem
