"""Small run directories made by hand: two three-band tiles, their catalogues, a truth, metrics, a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from astrosurvey.catalog.flags import PIXEL, SOURCE
from astrosurvey.core.digests import digest_path
from astrosurvey.core.store import RECORD, Record, Store, Stored
from astrosurvey.products import Catalog, Image, Metrics
from astrosurvey.products.metrics import Metric

SIZE, OVERLAP, BANDS = 96, 16, ("g", "r", "i")
SOURCES = 12
"""Sources a tile, of which the last lies in the overlap and belongs to the neighbour."""
FACTS = {"seconds": 0.5, "cpu_seconds": 0.4, "peak_bytes": 50_000_000, "device": "cpu", "attempt": 1, "warnings": [], "log": []}


def put(root: Path, stage: str, tile: str | None, products: dict[str, Any], *, identity: Any = None, facts: Any = None) -> None:
    """Publish products as a finished task."""
    store = Store(root)
    with store.publishing(stage, tile) as folder:
        outputs = {}
        for port, product in products.items():
            path = folder / f"{port}{product.suffix}"
            product.write(path)
            outputs[port] = Stored(path.name, product.kind, *digest_path(path), product.summary())
        record = Record("k", {"tile": identity}, "done" if products else "empty", outputs, {**FACTS, **(facts or {})})
        (folder / RECORD).write_bytes(record.as_json())


def fail(root: Path, stage: str, tile: str, message: str) -> None:
    """Record a failure."""
    error = {"attempts": 3, "kind": "DataError", "message": message, "traceback": f"Traceback\n{message}", "final": True}
    script = f"#!/bin/sh\n# a comment\nastrosurvey run p.yaml --only {stage}\n"
    Store(root).write_failure(stage, tile, {"error.json": json.dumps(error), "reproduce.sh": script})


def write_about(root: Path, stages: dict[str, Any], **changes: Any) -> None:
    """Write run.json and pipeline.yaml."""
    root.mkdir(parents=True, exist_ok=True)
    about = {
        "command": ["astrosurvey", "run", "p.yaml"], "title": "A field", "started": 1e9, "finished": 1e9 + 61.0, "exit_code": 0,
        "stopped": "", "device": "cpu", "host": "h", "python": "3.11.0", "versions": {"astrosurvey": "0.1.0"}, "plugins": [],
        "tiles": 2,
    }  # fmt: skip
    (root / "run.json").write_text(json.dumps({**about, **changes}))
    lines = [f"  {json.dumps(name)}: {json.dumps(settings)}" for name, settings in stages.items()]
    (root / "pipeline.yaml").write_text("\n".join(["astrosurvey: 1", f"title: {json.dumps(about['title'])}", "stages:", *lines]) + "\n")


def window(tile: int) -> dict[str, Any]:
    """Return the identity of tile 0 or 1, side by side."""
    x0, half = tile * (SIZE - OVERLAP), OVERLAP // 2
    core = [0, 0, SIZE - half, SIZE] if tile == 0 else [SIZE - half, 0, 2 * SIZE - OVERLAP, SIZE]
    return {"name": f"t{tile}", "number": 7 + tile, "window": [x0, 0, x0 + SIZE, SIZE], "core": core}


def places(tile: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of a tile's sources."""
    x, y = np.linspace(8.0, SIZE - OVERLAP, SOURCES - 1), np.linspace(12.0, SIZE - 14.0, SOURCES - 1)
    return np.append(x, SIZE - 4.0 if tile == 0 else 3.0), np.append(y, 20.0)


def image(tile: int) -> Image:
    """Return a noisy image with sources, a saturated star, a bad column and a corner without data."""
    rng = np.random.default_rng(tile)
    y, x = np.mgrid[:SIZE, :SIZE]
    data = rng.normal(0, 1, (3, SIZE, SIZE)).astype(np.float32)
    for n, (sx, sy) in enumerate(zip(*places(tile), strict=True)):
        for band in range(3):
            data[band] += 40 * (1 + 0.3 * band * (n % 3)) * np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / 8).astype(np.float32)
    mask = np.zeros(data.shape, np.int32)
    mask[:, 50:53, 10:13] = PIXEL["SAT"]
    mask[1, :, 60] = PIXEL["BAD"]
    mask[:, :6, :6] = PIXEL["NO_DATA"]
    data[:, :6, :6] = np.nan
    return Image(data, BANDS, np.ones_like(data), mask, None, tan_wcs(tile))


def tan_wcs(tile: int) -> Any:
    """Return a tile's world coordinates: 0.2 arcsec a pixel, north up."""
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [359.99, 30.0]
    wcs.wcs.crpix = [1.0 - tile * (SIZE - OVERLAP), 1.0]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    return wcs


def catalogues(tile: int, *, flux_scale: float = 1.0, dx: float = 0.0) -> tuple[Catalog, Catalog, Catalog]:
    """Return source, photometry and truth of a tile."""
    x, y = places(tile)
    n = len(x)
    ids = (7 + tile) * 1000 + np.arange(n)
    ra, dec = tan_wcs(tile).all_pix2world(x + dx, y, 0)
    flags = np.zeros(n, np.int64)
    flags[1] = SOURCE["BLENDED"] | SOURCE["SATURATED"]
    primary = np.arange(n) < n - 1
    bounds = {name: (v + d).astype(int) for name, v, d in (("x_min", x, -3), ("x_max", x, 4), ("y_min", y, -3), ("y_max", y, 4))}
    source = {
        "source_id": ids, "tile_id": 7 + tile, "x": x + dx, "y": y, "ra": ra, "dec": dec, **bounds, "n_pixels": 30,
        "significance": np.arange(n, 0, -1) * 10.0, "n_child": 0, "primary": primary, "flags": flags,
    }  # fmt: skip
    names = ("source_id", "band", "method", "flux", "flux_err", "radius", "semi_major", "semi_minor", "theta", "flags")
    rows: dict[str, list[Any]] = {name: [] for name in names}
    for i in range(n):
        for b, band in enumerate(BANDS):
            for method in ("kron", "aperture_3"):
                flux = flux_scale * 1000.0 * (i + 1) * (b + 1) * (0.5 if method == "aperture_3" else 1.0)
                values = (ids[i], band, method, flux if i != 2 else np.nan, 10.0, 6.0, 2.0, 1.0, 30.0, SOURCE["NO_FLUX"] if i == 2 else 0)
                for name, value in zip(rows, values, strict=True):
                    rows[name].append(value)
    truth = {
        "truth_id": np.repeat(ids, 3), "band": list(BANDS) * n, "tile_id": 7 + tile,
        "object_type": (["star"] * 3 + ["galaxy"] * 3) * (n // 2),
        "x": np.repeat(x, 3) + 0.25, "y": np.repeat(y, 3), "ra": np.repeat(ra, 3), "dec": np.repeat(dec, 3),
        "flux": 1000.0, "primary": np.repeat(primary, 3),
    }  # fmt: skip
    return (
        Catalog.from_columns("source", source),
        Catalog.from_columns("photometry", {"tile_id": 7 + tile, **rows}),
        Catalog.from_columns("truth", truth),
    )


STAGES: dict[str, Any] = {
    "sim": {"use": "simulate.sky"},
    "sky": {"use": "background.mesh", "in": {"image": "sim.image"}},
    "measure": {"use": "photometry.kron", "in": {"image": "sky.image"}},
    "judge": {"use": "evaluate.detection", "in": {"sources": "measure.sources", "truth": "sim.truth"}},
}


def field(root: Path, **changes: Any) -> Path:
    """Make the run directory of a small field of two overlapping tiles."""
    write_about(root, STAGES)
    for tile in (0, 1):
        source, photometry, truth = catalogues(tile, **changes)
        put(root, "sim", f"t{tile}", {"image": image(tile), "truth": truth}, identity=window(tile))
        put(root, "sky", f"t{tile}", {"background": image(tile), "image": image(tile)}, identity=window(tile))
        put(root, "measure", f"t{tile}", {"sources": source, "photometry": photometry}, identity=window(tile))
    values = (
        Metric("completeness", 0.93, error=0.01, bar=0.9),
        Metric("purity", 0.8, bar=0.9),
        Metric("flux_bias.kron.g", 0.01),
        Metric("flux_bias.kron.r", 0.02),
    )
    bins: dict[str, list[float | None]] = {"magnitude_min": [20, 21, 22], "magnitude_max": [21, 22, 23], "n": [5, 9, 9]}
    curve: dict[str, list[float | None]] = {**bins, "completeness": [1.0, 0.9, 0.4], "low": [0.9, 0.8, 0.3], "high": [1.0, 0.95, 0.5]}
    put(root, "judge", None, {"metrics": Metrics(values, {"completeness by magnitude, g": curve, "completeness by magnitude, r": curve})})
    return root
