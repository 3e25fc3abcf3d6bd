"""Rows of the photometry table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.stage import DataError
from ...products import Catalog


def photometry_rows(sources: Catalog, before: Catalog | None, columns: Mapping[str, Any], remedy: str = "") -> Catalog:
    """Return photometry rows after those measured before.

    Args:
        sources: the sources the rows belong to, for the tile's footprint in `meta`.
        before: photometry of an earlier stage, passed on in front; None for none.
        columns: the columns of the new rows.
        remedy: what else than to leave it out can be done where the earlier photometry has such rows, after "leave one of them out".

    Raises:
        DataError: the earlier photometry already has rows of one of the methods.
    """
    own = Catalog.from_columns("photometry", columns, sources.meta)
    if before is None:
        return own
    both = sorted(set(own.column("method").tolist()) & set(before.column("method").tolist()))
    if both:
        raise DataError(f"two stages of this pipeline measure {', '.join(both)}: leave one of them out{remedy}")
    return Catalog.concatenate([before, own], sources.meta)
