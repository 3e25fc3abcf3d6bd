"""Rows for any table of the schema, made from the schema itself."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.catalog.rules import parse_rule
from astrosurvey.catalog.schema import Column, core, forget_fragments
from astrosurvey.products import Catalog


def _values(column: Column, n: int, rng: np.random.Generator):
    if column.arraysize:
        kind = {"int": "i4", "float": "f4", "double": "f8"}[column.type]
        return [rng.uniform(0, 9, size=rng.integers(0, 4)).astype(kind) for _ in range(n)]
    if column.type == "boolean":
        return rng.random(n) > 0.5
    if column.is_text:
        return [f"w{i % 3}" for i in range(n)]
    if column.is_float:
        return rng.uniform(0.1, 0.9, n).astype("f4" if column.type == "float" else "f8")
    return rng.integers(1, 9, n)


def random_columns(name: str, n: int, seed: int, fill: bool = True) -> dict:
    """Return sound columns of a table: all of them, or with `fill=False` those that every row must have."""
    table, rng = core()[name], np.random.default_rng(seed)
    columns = {c.name: _values(c, n, rng) for c in table.columns if fill or not c.nullable}
    for check in table.checks:
        for term in parse_rule(check.expression):
            if term.column in columns and isinstance(term.other, str) and term.other in columns:
                columns[term.other] = columns[term.column] + 1
            elif term.column in columns and isinstance(term.other, tuple):
                columns[term.column] = [term.other[i % len(term.other)] for i in range(n)]
    unique = next((c for c in table.columns if c.name in table.key and not c.is_text), table.columns[0])
    columns[unique.name] = [f"key {i}" for i in range(n)] if unique.is_text else np.arange(n) + 5
    if "ra" in columns:
        columns["ra"] = rng.uniform(0, 360, n)
        columns["dec"] = rng.uniform(-90, 90, n)
    return columns


@pytest.fixture
def random_catalog():
    def make(name: str, n: int = 50, seed: int = 0, fill: bool = True, meta: dict | None = None) -> Catalog:
        return Catalog.from_columns(name, random_columns(name, n, seed, fill), meta)

    return make


@pytest.fixture
def fragments():
    """A process in which no plugin has registered a fragment, before the test and after it."""
    forget_fragments()
    yield
    forget_fragments()


@pytest.fixture
def astropy_parquet(monkeypatch):
    """Astropy's Parquet readers, which ask for pandas but do not use it."""
    import astropy.io.misc.parquet

    monkeypatch.setattr(astropy.io.misc.parquet, "HAS_PANDAS", True)
