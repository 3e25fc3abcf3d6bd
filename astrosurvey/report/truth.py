"""The true positions of a simulation, for the overlay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .gather import Run
from .sky import Sky
from .sources import packed
from .statistics import ZERO_POINT
from .tables import Text, batches, find, numbers

MOST = 20_000


@dataclass
class Truth:
    """True sources on the tiles shown: position, brightness in one band, star or galaxy."""

    number: int = 0
    band: str = ""
    columns: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def make_truth(run: Run, sky: Sky) -> Truth:
    """Return the brightest true sources on the tiles shown; empty where no truth is known."""
    truth = Truth()
    found = find(run, "truth", merged=False)
    if found is None:
        return truth
    parts: list[dict[str, np.ndarray]] = []
    for place, image in enumerate(sky.shown):
        if image.tile not in found.paths:
            continue
        try:
            for batch in batches(found.paths[image.tile], ("band", "object_type", "x", "y", "flux", "primary")):
                parts.append(_rows(batch, place, sky, truth))
        except Exception as error:  # one damaged catalogue must not cost the page
            truth.notes.append(f"The truth of tile {image.tile} cannot be shown: {error}")
    if not parts:
        return truth
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(rows["magnitude"], kind="stable")
    if len(order) > MOST:
        truth.notes.append(f"The {MOST:,} brightest of {len(order):,} true sources are in the overlay.")
    rows = {name: values[order[:MOST]] for name, values in rows.items()}
    truth.number = len(rows["x"])
    kinds = {"x": "f4", "y": "f4", "magnitude": "f4", "tile": "u2", "star": "u1"}
    truth.columns = {name: packed(rows[name], kind) for name, kind in kinds.items()}
    return truth


def _rows(batch: dict[str, Any], place: int, sky: Sky, truth: Truth) -> dict[str, np.ndarray]:
    """Return one row an object: the table has one a band, of which the middle one of the image is taken."""
    band, kind = batch["band"], batch.get("object_type")
    assert isinstance(band, Text)
    if not truth.band:
        wanted = [name for name in sky.bands[len(sky.bands) // 2 :] + sky.bands if name in band.names]
        truth.band = (wanted or band.names)[0]
    mine = band.codes == (band.names.index(truth.band) if truth.band in band.names else -2)
    if sky.mosaic and isinstance(batch.get("primary"), np.ndarray):
        mine &= batch["primary"]
    flux = numbers(batch, "flux")[mine]
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = ZERO_POINT - 2.5 * np.log10(flux)
    star = np.array([name == "star" for name in kind.names], bool)[kind.codes] if isinstance(kind, Text) else np.zeros(len(mine), bool)
    return {
        "x": numbers(batch, "x")[mine],
        "y": numbers(batch, "y")[mine],
        "magnitude": np.nan_to_num(magnitude, nan=99.0, posinf=99.0),
        "tile": np.full(int(mine.sum()), place),
        "star": star[mine],
    }
