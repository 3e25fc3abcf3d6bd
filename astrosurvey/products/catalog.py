"""Catalog: rows of one table of the shared schema, with units, and the contract of its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.product import Contract

if TYPE_CHECKING:
    import pyarrow as pa


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
        missing = sorted(self.needs - offered.fills)
        if missing:
            return f"needs column{'s' * (len(missing) > 1)} {', '.join(missing)} of {self}, which nobody upstream fills"
        return ""
