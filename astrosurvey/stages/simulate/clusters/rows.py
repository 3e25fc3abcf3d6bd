"""A tile of simulated objects as rows of the tables `source` and `cluster_truth`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ....catalog.ids import object_ids
from ....catalog.pixelless import pixel_columns, pixelless_footprint
from ....core.stage import Context, DataError
from ....core.tiles import Tile
from ....products import Catalog
from .colours import photometry
from .mock import gaussian_box, mock, uniform_box
from .snapshots import system

if TYPE_CHECKING:
    from .stage import SimulateClusters


@dataclass(frozen=True, eq=False)
class Drawn:
    """What is in a tile, before it is observed.

    Attributes:
        values: (n, d) places.
        labels: (n,) index of the structure that an object belongs to; -1 for none.
        kinds: what the structures are.
        magnitude, colour: (n,) G and BP - RP.
        tracer: (n,) which object of a system each one is; None where there is one moment.
    """

    values: np.ndarray
    labels: np.ndarray
    kinds: tuple[str, ...]
    magnitude: np.ndarray
    colour: np.ndarray
    tracer: np.ndarray | None = None


def simulate(config: SimulateClusters.Config, ctx: Context) -> dict[str, Catalog]:
    """Return the sources and the truth of a tile."""
    assert ctx.tile is not None
    drawn = _snapshot(config, ctx.tile, ctx.rng) if config.snapshots > 1 else _one(config, ctx.rng)
    return _tables(config, ctx, ctx.tile, drawn)


def _one(config: SimulateClusters.Config, rng: np.random.Generator) -> Drawn:
    n, d = config.number, config.dimensions
    if config.kind == "mock":
        made = mock(rng, n, d, clumps=config.clumps, streams=config.streams, background=config.background)
        values, labels, kinds = made.true, made.labels, tuple(s.kind for s in made.structures)
    else:
        values, labels, kinds = (uniform_box if config.kind == "uniform" else gaussian_box)(rng, n, d), np.full(n, -1), ()
    return Drawn(values, labels, kinds, *photometry(rng, labels, len(kinds)))


def _snapshot(config: SimulateClusters.Config, tile: Tile, rng: np.random.Generator) -> Drawn:
    """Return the objects of the system, which are the same at every moment, in an order that is not."""
    shared = np.random.default_rng(config.seed)
    made = system(
        shared,
        config.number,
        config.dimensions,
        config.snapshots,
        clumps=config.clumps,
        streams=config.streams,
        background=config.background,
        births=config.births,
        dissolutions=config.dissolutions,
        mergers=config.mergers,
    )
    magnitude, colour = photometry(shared, made.home, len(made.structures))
    values, labels = made.at(_moment(tile, config.snapshots))
    tracer = rng.permutation(config.number)
    kinds = tuple(s.kind for s in made.structures)
    return Drawn(values[tracer], labels[tracer], kinds, magnitude[tracer], colour[tracer], tracer)


def _moment(tile: Tile, moments: int) -> int:
    """Return which snapshot a tile is: the number at the end of its name."""
    found = re.search(r"\d+$", tile.name)
    if not found or int(found[0]) >= moments:
        raise DataError(
            f"tile {tile.name} is none of the snapshots 0 to {moments - 1}, whose numbers end the tiles' names; "
            f"write `tiles: {{count: {moments}}}`"
        )
    return int(found[0])


def _tables(config: SimulateClusters.Config, ctx: Context, tile: Tile, drawn: Drawn) -> dict[str, Catalog]:
    n, d = drawn.values.shape
    key = {"source_id": object_ids(tile.number, n), "tile_id": tile.number}
    noise = np.broadcast_to(np.asarray(config.noise, np.float64), d)
    sigma = noise * np.exp(config.noise_scatter * ctx.rng.standard_normal((n, 1)))
    observed = drawn.values + sigma * ctx.rng.standard_normal((n, d))
    columns: dict[str, Any] = {**key, **pixel_columns(np.arange(n)), "flags": 0}
    if config.center is not None:
        columns["ra"], columns["dec"] = on_sky(observed[:, :2] - 0.5, config.center, config.size)
    for axis in range(d):
        columns[f"x_simulate_p{axis + 1}"] = observed[:, axis]
        if noise.any():
            columns[f"x_simulate_p{axis + 1}_error"] = sigma[:, axis]
    columns |= {"x_simulate_phot_g_mean_mag": drawn.magnitude, "x_simulate_bp_rp": drawn.colour}
    if drawn.tracer is not None:
        columns["x_simulate_tracer"] = drawn.tracer
    structure = drawn.labels.astype(np.int64) + 1
    kinds = np.array(["background", *drawn.kinds])[structure]
    truth = {**key, "structure": structure, "structure_type": kinds, "tracer_id": drawn.tracer}
    meta = {"tile": pixelless_footprint(tile.name, tile.number, n)}
    return {"sources": Catalog.from_columns("source", columns, meta), "truth": Catalog.from_columns("cluster_truth", truth, meta)}


def on_sky(offset: np.ndarray, center: tuple[float, float], size: float) -> tuple[np.ndarray, np.ndarray]:
    """Return right ascension and declination (deg) of places on the plane that touches the sky at the centre.

    Args:
        offset: (n, 2) to the west and north, in sides of the field.
        center: right ascension and declination, deg.
        size: of a side, deg.
    """
    x, y = 2 * np.tan(np.radians(size) / 2) * offset.T
    ra0, dec0 = np.radians(center)
    north = np.cos(dec0) - y * np.sin(dec0)
    ra = np.mod(np.degrees(ra0 + np.arctan2(-x, north)), 360.0)
    dec = np.degrees(np.arctan2(np.sin(dec0) + y * np.cos(dec0), np.hypot(x, north)))
    return np.where(ra >= 360.0, 0.0, ra), dec
