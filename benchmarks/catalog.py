"""Writing and reading a catalogue of 10^6 sources, beside astropy and pyarrow's defaults in the same run.

    python benchmarks/catalog.py --json OUT --seed N

The rows are those of the table `source` with the noise and the correlations of a merged survey: 19 filled
columns and one that is null, in the order in which `catalog.merge` leaves them. Bars: written in under 0.8 s
and at most 60 MB, the HEALPix column included; every bit flipped in the data is found.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import astropy
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table

from astrosurvey.catalog.healpix import healpix_29
from astrosurvey.catalog.ids import object_ids
from astrosurvey.core.product import ProductError
from astrosurvey.products import Catalog

ROWS, TILES = 1_000_000, 100


def survey(rng: np.random.Generator) -> Catalog:
    """Return a merged catalogue of TILES tiles of 4096² pixels with positions of full precision."""
    n = ROWS // TILES
    x, y = rng.uniform(0, 4095, (2, ROWS))
    tile = np.repeat(np.arange(TILES), n)
    order = np.lexsort([x, y, tile])
    x, y = x[order], y[order]
    size = np.clip(rng.lognormal(1.2, 0.5, (2, ROWS)), 1, 300)
    low_x, low_y = (np.maximum(p - s, 0).astype(np.int32) for p, s in zip((x, y), size, strict=True))
    high_x, high_y = (np.minimum(p + s + 1, 4096).astype(np.int32) for p, s in zip((x, y), size, strict=True))
    significance = 5 * (1 - rng.random(ROWS)) ** -0.7
    columns = {
        "source_id": np.concatenate([object_ids(13 * number + 5, n) for number in range(TILES)]),
        "tile_id": 13 * tile + 5,
        "x": x,
        "y": y,
        "ra": 150 + (tile % 10) * 0.3 + x * 0.263 / 3600,
        "dec": 2 + (tile // 10) * 0.3 + y * 0.263 / 3600,
        "x_var": size[0] / significance**2,
        "y_var": size[1] / significance**2,
        "xy_cov": rng.normal(size=ROWS) * 0.1 / significance**2,
        "x_min": low_x,
        "x_max": np.maximum(high_x, low_x + 1),
        "y_min": low_y,
        "y_max": np.maximum(high_y, low_y + 1),
        "n_pixels": np.maximum((size[0] * size[1] * 2.5).astype(np.int32), 1),
        "significance": significance,
        "n_child": 0,
        "blendedness": np.where(rng.random(ROWS) < 0.2, rng.random(ROWS), 0.0),
        "primary": np.ones(ROWS, bool),
        "flags": rng.choice([0, 0, 0, 2, 4, 8], ROWS),
    }
    index = np.argsort(healpix_29(columns["ra"], columns["dec"]).data, kind="stable")
    return Catalog.from_columns("source", {name: np.broadcast_to(v, ROWS)[index] for name, v in columns.items()})


def timed(action: Callable[[], Any], repeats: int) -> float:
    """Return the median time of an action in seconds; the first call, which imports things, is not counted."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return round(float(np.median(times)), 4)


def flip_bits(path: Path, rng: np.random.Generator, n: int) -> dict[str, dict[str, int]]:
    """Flip one bit at a time in the pages of a file; count what a reader notices and what it reads wrong."""
    truth = pq.read_table(path)
    spans = []
    metadata = pq.read_metadata(path)
    for group in range(metadata.num_row_groups):
        for i in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(i)
            start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
            spans.append((start, start + chunk.total_compressed_size))
    lengths = np.array([high - low for low, high in spans], float)
    content = path.read_bytes()
    counts = {reader: {"found": 0, "silent_wrong": 0, "harmless": 0} for reader in ("astrosurvey", "pyarrow")}
    broken_path = path.with_name("broken.parquet")
    names = [name for name in truth.column_names if not name.startswith("_")]
    for _ in range(n):
        low, high = spans[rng.choice(len(spans), p=lengths / lengths.sum())]
        broken = bytearray(content)
        broken[rng.integers(low, high)] ^= 1 << int(rng.integers(8))
        broken_path.write_bytes(broken)
        readers = {"astrosurvey": lambda: Catalog.read(broken_path).rows, "pyarrow": lambda: pq.read_table(broken_path)}
        for reader, read in readers.items():
            try:
                same = read().select(names).equals(truth.select(names))
                counts[reader]["harmless" if same else "silent_wrong"] += 1
            except (ProductError, pa.ArrowException, OSError):
                counts[reader]["found"] += 1
    return counts


def measure(folder: Path, seed: int) -> dict[str, Any]:
    """Return all figures."""
    astropy.io.misc.parquet.HAS_PANDAS = True  # astropy asks for pandas and does not use it
    rng = np.random.default_rng(seed)
    catalog = survey(rng)
    table = Table({name: catalog.rows.column(name).to_numpy() for name in catalog.rows.column_names})
    ours, theirs, plain = folder / "ours.parquet", folder / "astropy.parquet", folder / "pyarrow.parquet"
    three = ["ra", "dec", "significance"]
    result = {
        "rows": ROWS,
        "columns": catalog.rows.num_columns,
        "raw_mb": round(catalog.rows.nbytes / 1e6, 1),
        "check_s": timed(catalog.check, 3),
        "write_s": {
            "astrosurvey": timed(lambda: catalog.write(ours), 5),
            "astropy": timed(lambda: table.write(theirs, format="parquet", overwrite=True), 3),
            "pyarrow_defaults": timed(lambda: pq.write_table(catalog.rows, plain), 5),
        },
        "size_mb": {
            name: round(p.stat().st_size / 1e6, 1) for name, p in (("astrosurvey", ours), ("astropy", theirs), ("pyarrow_defaults", plain))
        },
        "read_all_s": {
            "astrosurvey": timed(lambda: Catalog.read(ours), 5),
            "astropy": timed(lambda: Table.read(theirs), 3),
            "pyarrow_defaults": timed(lambda: pq.read_table(plain), 5),
        },
        "read_3_columns_s": {
            "astrosurvey_file_by_pyarrow": timed(lambda: pq.read_table(ours, columns=three), 5),
            "astrosurvey_file_by_pyarrow_checked": timed(lambda: pq.read_table(ours, columns=three, page_checksum_verification=True), 5),
            "astropy": timed(lambda: Table.read(theirs, include_names=three), 3),
            "pyarrow_defaults": timed(lambda: pq.read_table(plain, columns=three), 5),
        },
    }
    small = folder / "small.parquet"
    Catalog("source", catalog.rows.slice(0, 20_000)).write(small)
    result["bit_flips"] = flip_bits(small, rng, 100)
    result["bars"] = {
        "write_below_0.8_s": result["write_s"]["astrosurvey"] < 0.8,
        "size_at_most_60_mb": result["size_mb"]["astrosurvey"] <= 60,
        "no_bit_flip_read_wrong": result["bit_flips"]["astrosurvey"]["silent_wrong"] == 0,
    }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write the figures to")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.seed)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
