"""Footprints from seeds: the detections of another method, joined with those of the matched filter."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...products import Catalog

JUDGED = ("probability", "probability_err", "star_probability")
"""Columns in which a detector says what it thinks of a source."""


def divide(
    labels: np.ndarray,
    snr: np.ndarray,
    brightness: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    least: float,
    radius: float,
    device: Literal["cpu", "cuda"] = "cpu",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return footprints in which every seed has one of its own.

    A seed outside all footprints gets a disc; then each island is divided among its seeds by flooding
    from them. An island without a seed remains as it is.

    Args:
        labels: (y, x) int32, footprints found without the seeds.
        snr: (y, x) significance; 0 where nothing is known.
        brightness: (y, x), in which islands are flooded.
        x, y: (seed,) positions in pixels.
        least: the S/N that one of the 3 x 3 pixels at a seed must reach, or the seed is dropped.
        radius: of the disc around a lonely seed, in pixels.
        device: where to calculate.

    Returns:
        labels: (y, x) int32, labels 1 to n.
        seed: (n,) int64, the seed of each label; -1 for islands without one.
        crowded: (n,) bool, whether the label shares its island with another.
    """
    from ...kernels.components import KERNEL as components
    from ...kernels.seeded_flood import KERNEL as seeded_flood

    ny, nx = labels.shape
    with np.errstate(invalid="ignore"):
        inside = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    rank = np.flatnonzero(inside)
    px, py = np.rint(x[rank]).astype(np.int64), np.rint(y[rank]).astype(np.int64)
    near = [(np.clip(py + j, 0, ny - 1), np.clip(px + i, 0, nx - 1)) for j in (-1, 0, 1) for i in (-1, 0, 1)]
    real = np.max([snr[at] for at in near], axis=0, initial=-np.inf) >= least
    rank, px, py = rank[real], px[real], py[real]

    mask = labels > 0
    lonely = ~mask[py, px]
    reach = int(radius)
    for j in range(-reach, reach + 1):
        for i in range(-reach, reach + 1):
            if i * i + j * j <= radius * radius:
                at = np.clip(py[lonely] + j, 0, ny - 1), np.clip(px[lonely] + i, 0, nx - 1)
                mask[at] |= snr[at] > 0
    mask[py, px] = True
    islands, n = components.on(device)(mask, 1)

    own = np.zeros(n + 1, bool)
    own[islands[py, px]] = True
    where = np.flatnonzero(~own[islands] & mask)
    order = np.lexsort((where, -snr.reshape(-1)[where], islands.reshape(-1)[where]))
    _, first = np.unique(islands.reshape(-1)[where[order]], return_index=True)
    peak_y, peak_x = np.divmod(where[order[first]], nx)
    all_y, all_x = np.concatenate([py, peak_y]), np.concatenate([px, peak_x])
    flooded = seeded_flood.on(device)(islands, brightness, all_y, all_x)
    kept = np.bincount(flooded.reshape(-1), minlength=len(all_y) + 1) > 0  # of two seeds on one pixel the second has none
    kept[0] = False
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    seed = np.concatenate([rank, np.full(len(peak_y), -1)])[kept[1:]]
    island = islands[all_y, all_x][kept[1:]]
    return number[flooded], seed, np.bincount(island, minlength=n + 1)[island] > 1


def judgements(seeds: Catalog, rows: np.ndarray) -> dict[str, object]:
    """Return what the seeds' detector says of the sources that it found, and the columns of plugins; null for the others.

    Args:
        seeds: its catalogue.
        rows: (n,) int, the row of each source there; negative for none.
    """
    import pyarrow as pa

    taken = seeds.rows.take(pa.array(rows, pa.int64(), mask=rows < 0))
    wanted = [name for name in seeds.rows.column_names if name in JUDGED or name not in seeds.schema.by_name]
    return {name: taken.column(name) for name in wanted}
