"""Merging the catalogues of a survey: 10^7 sources from 1000 overlapping tiles, as `catalog.merge` does it in a run.

    python benchmarks/merge.py --json OUT --seed N

The tiles lie on the sky and overlap; each measures every source with errors of its own and misses some, so that
borders have to be reconciled. Sources have boxes of several sizes, blends have parents, and there is photometry of one
band and method. What is measured is the task from its stored inputs to its published products, in a process
of its own; making the inputs is not. Bars: at most 3 minutes and 3 GB on two cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from astropy.wcs import WCS

from astrosurvey.catalog.footprint import describe
from astrosurvey.catalog.ids import object_ids
from astrosurvey.core.task import Order, execute
from astrosurvey.core.tiles import Tile
from astrosurvey.products import Catalog

PIXEL = 0.2
"""arcsec"""
SIDE, OVERLAP = 3200, 200
"""Pixels of a tile, and those that it shares with the next one."""
STEP = (SIDE - OVERLAP) * PIXEL / 3600
"""deg between the centres of tiles."""
JITTER = 0.15
"""Pixels by which tiles differ in the centre of a source."""
MISSED = 0.01
PARENTS = 0.05


def objects(seed: int, row: int, column: int, n: int) -> dict[str, np.ndarray]:
    """Return the n objects of the area between the centres of tiles: positions in degrees, half-widths in pixels."""
    rng = np.random.default_rng([seed, 0, row, column])
    ra, dec = ((index + rng.uniform(-0.5, 0.5, n)) * STEP for index in (column, row))
    return {"ra": 150 + ra, "dec": dec, "half": np.clip(rng.lognormal(1.6, 0.5, n), 2, 200), "flux": 100 * (1 - rng.random(n)) ** -0.8}


def catalogues(seed: int, number: int, columns: int, rows: int, n: int) -> tuple[Catalog, Catalog]:
    """Return the sources and the photometry of one tile."""
    row, column = divmod(number, columns)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150 + column * STEP, row * STEP], [(SIDE + 1) / 2] * 2
    wcs.wcs.cdelt = [-PIXEL / 3600, PIXEL / 3600]
    near = [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if 0 <= row + i < rows and 0 <= column + j < columns]
    every = [objects(seed, *cell, n) for cell in near]
    seen = {name: np.concatenate([part[name] for part in every]) for name in every[0]}
    rng = np.random.default_rng([seed, 1, number])
    half_side = 0.55 * SIDE * PIXEL / 3600
    close = (np.abs(seen["ra"] - wcs.wcs.crval[0]) < half_side) & (np.abs(seen["dec"] - wcs.wcs.crval[1]) < half_side)
    x, y = np.array(wcs.world_to_pixel_values(seen["ra"][close], seen["dec"][close])) + rng.normal(0, JITTER, (2, close.sum()))
    inside = (x > 0) & (x < SIDE - 1) & (y > 0) & (y < SIDE - 1) & (rng.random(close.sum()) > MISSED)
    order = np.flatnonzero(inside)[np.lexsort([x[inside], y[inside]])]
    x, y, half, flux = x[order], y[order], seen["half"][close][order], seen["flux"][close][order]
    count = len(x)
    ra, dec = wcs.pixel_to_world_values(x, y)
    ids = object_ids(number, count)
    is_parent = rng.random(count) < PARENTS
    of = np.flatnonzero(is_parent)
    has_parent = ~is_parent & (rng.random(count) < 2 * PARENTS) if len(of) else np.zeros(count, bool)
    box_x, box_y = ([np.floor(p - half).astype(int), np.ceil(p + half).astype(int) + 1] for p in (x, y))
    significance = flux / 20
    columns_of = {
        "source_id": ids, "tile_id": number, "x": x, "y": y, "ra": ra, "dec": dec,
        "parent_source_id": np.ma.MaskedArray(ids[of[np.arange(count) % max(len(of), 1)]] if len(of) else ids, ~has_parent),
        "x_var": half / significance**2, "y_var": half / significance**2, "xy_cov": rng.normal(size=count) / significance**2,
        "x_min": box_x[0], "x_max": box_x[1], "y_min": box_y[0], "y_max": box_y[1], "n_pixels": (3 * half**2).astype(int),
        "significance": significance, "n_child": np.where(is_parent, 2, 0), "blendedness": rng.random(count),
        "primary": True, "flags": rng.choice([0, 0, 0, 2, 4], count),
    }  # fmt: skip
    measured = {
        "source_id": ids, "band": "r", "method": "kron", "tile_id": number, "flux": flux * rng.normal(1, 0.01, count),
        "flux_err": 20 + 0.01 * flux, "radius": half, "half_light_radius": half / 3, "semi_major": half / 3, "semi_minor": half / 4,
        "theta": rng.uniform(-90, 90, count), "masked_fraction": 0.0, "flags": 0,
    }  # fmt: skip
    meta = {"tile": describe(Tile(f"t{number:04d}", number, number), (SIDE, SIDE), wcs)}
    return Catalog.from_columns("source", columns_of, meta), Catalog.from_columns("photometry", measured, meta)


def store(folder: Path, seed: int, number: int, columns: int, rows: int, n: int) -> None:
    """Write the products of one tile."""
    sources, photometry = catalogues(seed, number, columns, rows, n)
    sources.write(folder / f"t{number:04d}.sources.parquet")
    photometry.write(folder / f"t{number:04d}.photometry.parquet")


def task(run: Path, inputs: Path, names: list[str], settings: dict[str, Any], result: Any) -> None:
    """Run the task and send what it took."""
    ports = {port: [(name, str(inputs / f"{name}.{port}.parquet")) for name in names] for port in ("sources", "photometry")}
    order = Order(str(run), "survey", "astrosurvey.stages.catalog.stage:MergeCatalogs", settings, None, ports, "0" * 64, {}, 0, "cpu")
    start = time.perf_counter()
    outcome = execute(order)
    wall = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert outcome.record is not None, outcome.failure
    outputs = {
        port: {"mb": round(stored.bytes / 1e6, 1), "sha256": stored.sha256, **stored.summary}
        for port, stored in outcome.record.outputs.items()
    }
    result.send(
        {
            "wall_s": round(wall, 1),
            "cpu_s": round(used.ru_utime + used.ru_stime, 1),
            "peak_rss_gb": round(used.ru_maxrss / 1e6, 3),
            "log": outcome.log,
            "outputs": outputs,
        }
    )


def is_sorted(files: Iterator[Path]) -> bool:
    """Return whether the sources are in the order of their HEALPix index from one file to the next."""
    last = -1
    for path in files:
        index = pq.read_table(path, columns=["_healpix_29"], partitioning=None).column(0).to_numpy()
        if len(index) and (index[0] < last or (np.diff(index) < 0).any()):
            return False
        last = index[-1] if len(index) else last
    return True


def measure(folder: Path, seed: int, sources: int, tiles: int) -> dict[str, Any]:
    """Return all figures."""
    columns = int(np.ceil(np.sqrt(tiles * 1.6)))
    rows = -(-tiles // columns)
    inputs = folder / "inputs"
    inputs.mkdir()
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        pool.starmap(store, [(inputs, seed, number, columns, rows, sources // tiles) for number in range(tiles)], chunksize=8)
    names = [f"t{number:04d}" for number in range(tiles)]
    rows_read = sum(pq.read_metadata(inputs / f"{name}.sources.parquet").num_rows for name in names)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=task, args=(folder / "run", inputs, names, {}, theirs))
    (folder / "run").mkdir()
    process.start()
    theirs.close()
    found: dict[str, Any] = ours.recv()
    process.join()
    product = Catalog.read(folder / "run" / "products" / "survey" / "survey" / "sources.parquet")
    files = getattr(product, "files", [folder / "run" / "products" / "survey" / "survey" / "sources.parquet"])
    found |= {"sorted_by_healpix": is_sorted(iter(files)), "largest_partition": max(len(part) for part in product.partitions())}
    bars = {
        "wall_at_most_180_s": found["wall_s"] <= 180,
        "peak_at_most_3_gb": found["peak_rss_gb"] <= 3,
        "sorted": found["sorted_by_healpix"],
    }
    return {
        "tiles": tiles,
        "sources_in": rows_read,
        "sources_out": len(product),
        "cores": len(os.sched_getaffinity(0)),
        **found,
        "bars": bars,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write the figures to")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sources", type=int, default=10_000_000, help="number of objects on the sky")
    parser.add_argument("--tiles", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.seed, arguments.sources, arguments.tiles)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
