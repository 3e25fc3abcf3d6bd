"""Many tiles' catalogues made into one in which every source stands once.

A source belongs to the tile in whose cell its centre lies (`ownership.py`). Near a cell's border that alone
will not do: backgrounds and deblending differ a little between tiles, so the centre of one source may fall
on different sides of the border and the source come twice, or not at all. There, sources of different tiles
are matched, one of each group of counterparts is kept (that of the tile in whose cell the group's mean
position lies), and a source that its own tile has just given away but no other tile has found is kept too.

Tiles are worked through one at a time: what certainly goes is dropped at once and what certainly stays is
put on a pile (`spill.py`), so that memory holds the border strips and one partition, never the survey.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .borders import Heirs, Strip, first_look, settle
from .ownership import cells
from .partitions import Partition
from .schema import SchemaError, current
from .spill import Pile


@dataclass(frozen=True, eq=False)
class Merged:
    """The merged catalogue.

    Attributes:
        n_source: number of sources by the id of the tile they come from.
        n_reconciled: number of objects near borders for which one of several measurements was chosen.
        n_rescued: number of sources kept although their centre lies just outside their tile's cell.
    """

    n_source: dict[int, int]
    n_reconciled: int
    n_rescued: int
    _pile: Pile
    _heirs: Heirs

    def __len__(self) -> int:
        return len(self._pile)

    def parts(self) -> Iterator[tuple[Partition | None, pa.Table, pa.Table | None]]:
        """Yield partitions one after the other: the one that is None, if all rows fit into one file.

        Yields:
            The partition. Its rows of the table `source`, each object once, all of them `primary`; sorted by
            HEALPix index and id, those without a place on the sky last by tile, y and x. And the rows of
            `photometry` of these sources, in their order; None if no tile had any.
        """
        for partition, span in self._pile.cut():
            sources, photometry = self._pile.rows(span)
            sources = _replaced(sources, "primary", pa.array(np.ones(len(sources), bool)))
            sources = _replaced(sources, "parent_source_id", self._parents(sources))
            yield partition, sources, photometry

    def _parents(self, sources: pa.Table) -> pa.Array:
        """Return the parents' ids, with that of the kept counterpart for one that was not kept, and null where there is none."""
        column = sources.column("parent_source_id")
        known = ~column.is_null().to_numpy()
        ids = self._pile.ids
        parent = self._heirs.of(column.fill_null(-1).to_numpy())
        if len(ids):
            known &= ids[np.searchsorted(ids, parent).clip(max=len(ids) - 1)] == parent
        return pa.array(parent, mask=~known)


def merge(
    tiles: Iterable[tuple[int, pa.Table, pa.Table | None]],
    footprints: Sequence[Mapping[str, Any]],
    radius: float = 2.0,
    *,
    scratch: Path,
    partition_rows: int,
) -> Merged:
    """Return the catalogue of a survey in which every source stands once.

    Args:
        tiles: (tile id, rows of `source`, rows of `photometry` or None) of each tile, in any order; consumed
            one at a time.
        footprints: what `footprint.describe` returned for every tile.
        radius: how far apart, in pixels, two tiles may see the centre of one source. Large sources are
            given `SIZE_FRACTION` of the half-width of their bounding box.
        scratch: a folder for what does not fit into memory; it must stay until the result has been read.
        partition_rows: the most rows of a table in memory and in one file.

    Raises:
        SchemaError: a tile has no footprint or comes twice, or two tiles share an id.
    """
    cell_of = cells(footprints)
    pile = Pile(current().tables, partition_rows, scratch)
    strips: dict[int, Strip] = {}
    n_source: dict[int, int] = {}
    for tile, sources, photometry in tiles:
        if tile not in cell_of or tile in strips:
            raise SchemaError(f"tile number {tile} {'comes twice' if tile in strips else 'has no footprint'} in the merge")
        strips[tile], certain = first_look(tile, cell_of[tile], sources, photometry, radius)
        n_source[tile] = len(certain)
        pile.add(tile, certain, photometry)
    if not strips:
        raise SchemaError("there are no tiles to merge")
    ordered = [strips[tile] for tile in sorted(strips)]
    heirs, n_reconciled, n_rescued = settle(ordered)
    for strip in ordered:
        n_source[strip.tile] += int(strip.keep.sum())
        pile.add(strip.tile, strip.rows.filter(pa.array(strip.keep)), strip.photometry)
    pile.close()
    return Merged(dict(sorted(n_source.items())), n_reconciled, n_rescued, pile, heirs)


def _replaced(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    place = rows.column_names.index(name)
    return rows.set_column(place, rows.schema.field(place), values)
