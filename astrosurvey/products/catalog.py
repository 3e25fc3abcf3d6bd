"""Catalog: rows of one table of the shared schema, with units, and the contract of its columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..catalog.schema import SchemaError, Table, current, suggestion
from ..core.product import Contract, ProductError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from astropy.table import Table as AstropyTable


@contextmanager
def as_product_error() -> Iterator[None]:
    """Turn what is wrong with rows into a `ProductError`."""
    try:
        yield
    except SchemaError as error:
        raise ProductError(str(error)) from error


@dataclass(frozen=True, eq=False)
class Catalog:
    """Rows of one table of the shared schema.

    Attributes:
        table: the schema table's name, such as "source".
        rows: the columns; names, types and null rules are those of the schema table, and columns that
            begin with `x_` are a plugin's and pass through.
        meta: JSON values that travel in the file's footer, such as the tile's footprint.
    """

    table: str
    rows: pa.Table
    meta: Mapping[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "catalog"
    suffix: ClassVar[str] = ".parquet"

    @staticmethod
    def of(table: str, *, needs: Iterable[str] = (), fills: Iterable[str] = (), passes: str = "") -> CatalogContract:
        """Return the port contract of a table.

        A table's non-nullable columns are always there. The others are a matter of contract:

        Args:
            table: a table of the schema.
            needs: at an input, the nullable columns that must have been filled upstream.
            fills: at an output, the nullable columns that this stage fills.
            passes: at an output, the input port whose filled columns are handed on as well.
        """
        return CatalogContract(Catalog, table, frozenset(needs), frozenset(fills), passes)

    @classmethod
    def from_columns(cls, table: str, columns: Mapping[str, Any], meta: Mapping[str, Any] | None = None) -> Catalog:
        """Return a catalogue made of columns, cast to the schema's types.

        Args:
            table: a table of the schema.
            columns: arrays (n,), lists, masked arrays, Arrow arrays or quantities (converted to the
                schema's unit); a scalar stands for n equal values. Nullable columns may be left out and
                are null then; columns called `x_<plugin>_<column>` are taken as they are.
            meta: JSON values that travel in the file's footer.

        Raises:
            ProductError: a column is missing, unknown, of another length, or does not fit its type.
        """
        from ..catalog.arrow import build_rows

        with as_product_error():
            return cls(table, build_rows(current()[table], columns), dict(meta or {}))

    @classmethod
    def empty(cls, table: str, meta: Mapping[str, Any] | None = None) -> Catalog:
        """Return a catalogue without rows."""
        from ..catalog.arrow import arrow_schema

        with as_product_error():
            return cls(table, arrow_schema(current()[table]).empty_table(), dict(meta or {}))

    @classmethod
    def concatenate(cls, catalogs: Sequence[Catalog], meta: Mapping[str, Any] | None = None) -> Catalog:
        """Return the rows of several catalogues of one table, one after the other.

        A plugin's column that only some of them have is null in the rows of the others.

        Raises:
            ProductError: there are none, or they are of different tables.
        """
        from ..catalog.arrow import concatenate

        tables = sorted({catalog.table for catalog in catalogs})
        if len(tables) != 1:
            raise ProductError(f"only catalogues of one table can be concatenated, not of {', '.join(tables) or 'none'}")
        with as_product_error():
            return cls(tables[0], concatenate(current()[tables[0]], [catalog.rows for catalog in catalogs]), dict(meta or {}))

    @classmethod
    def read(cls, path: Path) -> Catalog:
        """Return the catalogue stored at `path`; every page's checksum is verified.

        One in partitions, which is a folder, is a `PartitionedCatalog` whose files are read when they are asked for.

        Raises:
            ProductError: the file is damaged, is no catalogue, or follows a schema that cannot be read.
        """
        from ..catalog.parquet import read_rows

        if Path(path).is_dir():
            from .partitions import PartitionedCatalog

            return PartitionedCatalog(Path(path))
        with as_product_error():
            table, rows, meta = read_rows(Path(path), current())
        return cls(table.name, rows, meta)

    def write(self, path: Path) -> None:
        """Store the catalogue as a Parquet file, with a `_healpix_29` column where rows have a place on the sky."""
        from ..catalog.parquet import write_rows

        with as_product_error():
            write_rows(Path(path), current(), self.schema, self.rows, self.meta)

    @property
    def schema(self) -> Table:
        """The table of the schema that the rows follow."""
        with as_product_error():
            return current()[self.table]

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def partitions(self) -> Iterator[Catalog]:
        """Yield the catalogue in parts that fit into memory, in the order of the rows: itself, unless it is stored in partitions."""
        yield self

    def column(self, name: str) -> np.ndarray:
        """Return a column as a read-only array: (n,), or (n, length) for arrays of equal length.

        Null becomes NaN in a column of floats and "" in one of text.

        Raises:
            ProductError: there is no such column, or an integer or boolean column has nulls.
        """
        from ..catalog.arrow import to_numpy

        with as_product_error():
            return to_numpy(self.rows, name)

    def replace(self, **columns: Any) -> Catalog:
        """Return the catalogue with some columns replaced or filled; see `from_columns` for what they may be.

        Plugins' columns that are not replaced keep their units.
        """
        from ..catalog.arrow import described_as

        held = {name: self.rows.column(name) for name in self.rows.column_names}
        made = Catalog.from_columns(self.table, {**held, **columns}, self.meta)
        kept = [name for name in held if name not in columns]
        return Catalog(self.table, described_as(made.rows, self.rows, kept), self.meta)

    def to_astropy(self) -> AstropyTable:
        """Return an astropy Table with units, descriptions and UCDs, in which nulls are masked."""
        from ..catalog.arrow import to_astropy

        return to_astropy(self.rows, {"table": self.table, **self.meta})

    def check(self) -> None:
        """Raise `ProductError`, naming columns and rows, unless the rows keep the rules of the schema."""
        from ..catalog.validate import problems

        if found := problems(self.schema, self.rows):
            more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
            raise ProductError(f"table {self.table}: " + "; ".join(found[:5]) + more)

    def summary(self) -> dict[str, Any]:
        """Return the table's name, the number of rows and columns, and the columns that are all null."""
        empty = [name for name in self.rows.column_names if len(self) and self.rows.column(name).null_count == len(self)]
        return {"table": self.table, "rows": len(self), "columns": self.rows.num_columns, "not_filled": empty}


@dataclass(frozen=True)
class CatalogContract(Contract):
    """A table and its column flow; see `Catalog.of`."""

    table: str
    needs: frozenset[str] = frozenset()
    fills: frozenset[str] = frozenset()
    passes: str = ""

    def __str__(self) -> str:
        return f"Catalog[{self.table}]"

    def resolve(self, inputs: Mapping[str, Contract]) -> CatalogContract:
        """Return the output's contract with what the passed-on input port holds added to `fills`."""
        handed = inputs.get(self.passes)
        extra = handed.fills if isinstance(handed, CatalogContract) else frozenset()
        return CatalogContract(self.product, self.table, frozenset(), self.fills | extra)

    def refuses(self, offered: Contract) -> str:
        """Return why `offered` will not do: another product, another table, or columns nobody fills."""
        if not isinstance(offered, CatalogContract):
            return super().refuses(offered) or f"needs {self}, is offered {offered} of no known table"
        if offered.table != self.table:
            return f"needs {self}, is offered {offered}"
        always = {column.name for column in current()[self.table].columns if not column.nullable}
        missing = sorted(self.needs - offered.fills - always)
        if missing:
            return f"needs column{'s' * (len(missing) > 1)} {', '.join(missing)} of {self}, which nobody upstream fills"
        return ""

    def check(self, value: Any) -> None:
        """Raise `ProductError` unless `value` is a sound catalogue of this table in which what was promised is filled.

        A promised column may have nulls, but not be null in every row.
        """
        super().check(value)
        if value.table != self.table:
            raise ProductError(f"expected {self}, got Catalog[{value.table}]")
        if problems := self.problems():
            raise ProductError("; ".join(problems))
        if len(value) and (unfilled := sorted(self.fills.intersection(value.summary()["not_filled"]))):
            raise ProductError(f"{self}: promised but null in all {len(value)} rows: {', '.join(unfilled)}")

    def problems(self) -> list[str]:
        """Return what of the contract the schema does not know: its table, or columns that it needs or fills."""
        schema = current()
        if self.table not in schema:
            return [f"there is no table {self.table!r} in the catalogue schema{suggestion(self.table, schema.tables)}"]
        table = schema[self.table]
        unknown = sorted((self.needs | self.fills) - set(table.by_name))
        return [f"table {self.table} has no column {name!r}{suggestion(name, table.by_name)}" for name in unknown]
