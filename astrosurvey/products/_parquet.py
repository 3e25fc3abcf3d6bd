"""Parquet files of products other than catalogues: deterministic, with page checksums and a JSON footer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.product import ProductError
from ._stored import to_json

if TYPE_CHECKING:
    import pyarrow as pa

_KEY = b"astrosurvey"


def write_table(path: Path, table: pa.Table, footer: Mapping[str, Any], *, dictionary: list[str], floats: list[str]) -> None:
    """Write a table and, in its footer, JSON values.

    Args:
        path: a new file.
        table: the columns.
        footer: JSON values, among them the product's kind.
        dictionary: columns of few different texts.
        floats: paths of float columns, stored byte by byte, which compresses better.
    """
    import pyarrow.parquet as pq

    table = table.replace_schema_metadata({_KEY: to_json("footer", dict(footer)).encode("ascii")})
    pq.write_table(table, path, compression="zstd", use_dictionary=dictionary, use_byte_stream_split=floats, write_page_checksum=True)


def read_table(path: Path, kind: str) -> tuple[pa.Table, dict[str, Any]]:
    """Return a table that `write_table` wrote and its footer.

    Raises:
        ProductError: the file is damaged or holds another kind of product.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # A file object, because a name with "://" in it would be taken for a URL.
        with open(path, "rb") as file:
            table = pq.ParquetFile(file, page_checksum_verification=True).read()
        footer = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ProductError(f"{path} is damaged: {error}; run the stage that wrote it again") from error
    if footer.get("kind") != kind:
        raise ProductError(f"{path} is no stored {kind}; run the stage that wrote it again")
    return table.replace_schema_metadata(None), footer
