"""Biases, scatters and calibration of `photometry.total` beside sep: `python benchmarks/photometry.py [--size 2048] [--seed 1]`.

Prints the table of docs/how-to/photometry.md. The scene is `simulate.field` as set; "isolated" means that no true
neighbour is within 12 px; pairs are counted where both members were found. Times are CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from astrosurvey import Box, Context, Tile
from astrosurvey.stages.background.stage import MeshBackground
from astrosurvey.stages.deblending.stage import WatershedDeblending
from astrosurvey.stages.detection.stage import SegmentDetection
from astrosurvey.stages.photometry.model_stage import TotalPhotometry
from astrosurvey.stages.simulate.field import SimulateField

LEVELS = ((50, np.inf), (30, 50), (10, 30), (5, 10))
NEAR = 3.0
ISOLATED = 12.0


def nmad(values):
    return 1.4826 * np.median(np.abs(values - np.median(values)))


def match(found, truth, flux):
    """Return the row of the detection of each true object, bright ones first, one to one; -1 for none."""
    tree, used, row = cKDTree(found), np.zeros(len(found), bool), np.full(len(truth), -1)
    for i in np.argsort(-flux):
        near = [j for j in tree.query_ball_point(truth[i], NEAR) if not used[j]]
        if near:
            row[i] = min(near, key=lambda j: np.hypot(*(found[j] - truth[i])))
            used[row[i]] = True
    return row


def by_sep(image):
    """Return sep's Kron fluxes, windowed positions, and what they cost."""
    import sep

    data = image.data[0].astype(np.float64)
    begin = time.process_time()
    objects, segments = sep.extract(data, np.sqrt(np.median(image.variance)), segmentation_map=True)
    ids = {"segmap": segments, "seg_id": np.arange(1, len(objects) + 1)}
    theta = np.clip(objects["theta"], -np.pi / 2, np.pi / 2)  # rounded beyond at times, which sep itself does not take
    shape = (data, objects["x"], objects["y"], objects["a"], objects["b"], theta)
    begin = time.process_time()
    kron = np.fmax(2.5 * sep.kron_radius(*shape, 6.0, **ids)[0], 3.5)
    flux = sep.sum_ellipse(*shape, kron, subpix=0, **ids)[0]
    for radius in (3, 4, 5, 6, 8):
        sep.sum_circle(*shape[:3], radius, subpix=0)
    half = sep.flux_radius(*shape[:3], 6 * objects["a"], 0.5, normflux=flux, **ids)[0]
    x, y, _ = sep.winpos(*shape[:3], 2 / 2.35 * half)
    return flux, np.stack([x, y], 1), np.stack([objects["x"], objects["y"]], 1), time.process_time() - begin


def main() -> None:  # noqa: PLR0915
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    size = options.size
    box = Box(0, 0, size, size)
    tile = Tile("t", number=1, index=0, window=box, core=box)
    log = logging.getLogger("benchmark")

    def run(stage, settings=None, **inputs):
        context = Context(tile, np.random.default_rng(options.seed), "cpu", log, lambda done, total: None, Path())
        begin = time.process_time()
        made = dict(stage(stage.Config(**(settings or {}))).run(context, **inputs))
        return made, time.process_time() - begin

    scene, _ = run(SimulateField)
    truth = scene["truth"]
    sky, _ = run(MeshBackground, image=scene["image"])
    image = sky["image"]
    detected, _ = run(SegmentDetection, image=image)
    parted, _ = run(WatershedDeblending, image=image, **detected)
    given = {"image": image, "segmentation": parted["segmentation"], "sources": parted["sources"], "photometry": None}
    settings = {"apertures": [3.0, 4.0, 5.0, 6.0, 8.0]}
    run(TotalPhotometry, settings, **given)  # compiles
    total, spent = run(TotalPhotometry, settings, **given)

    position = np.stack([truth.column("x"), truth.column("y")], 1).astype(float)
    flux, snr = truth.column("flux").astype(float), truth.column("snr").astype(float)
    alone = cKDTree(position).query(position, k=2)[0][:, 1] > ISOLATED
    pair = truth.rows["pair_id"].fill_null(-1).to_numpy()
    rows, after = total["photometry"], total["sources"]
    own = rows.column("method") == "total"
    centre = np.stack([after.column("x"), after.column("y")], 1)
    spread = np.sqrt(np.stack([after.column("x_var"), after.column("y_var")], 1))
    kron, win, iso, peer = by_sep(image)
    ours = (
        rows.column("flux")[own].astype(float),
        rows.column("flux_err")[own].astype(float),
        centre,
        spread,
        match(centre, position, flux),
    )
    theirs = (kron, None, win, None, match(iso, position, flux))
    for name, n, seconds in (("total", len(after), spent), ("sep", len(iso), peer)):
        print(f"{name}: {n} sources in {seconds:.2f} s, {1e6 * seconds / n:.0f} us each")
    print("| S/N | flux, total | its pull | flux, sep's Kron | position, px | its pull | sep's winpos, px |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for low, high in LEVELS:
        cells = []
        for f, error, at, sigma, row in (ours, theirs):
            here = (row >= 0) & alone & (snr > low) & (snr <= high)
            ratio = f[row[here]] / flux[here] - 1
            offset = at[row[here]] - position[here]
            cells.append(f"{np.median(ratio):+.3f} / {nmad(ratio):.3f}")
            if error is not None:
                cells.append(f"{nmad((f[row[here]] - flux[here]) / error[row[here]]):.2f}")
            cells.append(f"{np.median(np.hypot(*offset.T)):.3f}")
            if sigma is not None:
                cells.append(f"{nmad((offset / sigma[row[here]]).ravel()):.2f}")
        name = f"> {low}" if np.isinf(high) else f"{low} to {high}"
        print("| " + " | ".join([name, cells[0], cells[1], cells[4], cells[2], cells[3], cells[5]]) + " |")
    for name, (f, _, at, _, row) in (("total", ours), ("sep", theirs)):
        here = (row >= 0) & alone & (snr > 20)
        print(f"{name}: median distance at S/N > 20: {np.median(np.hypot(*(at[row[here]] - position[here]).T)):.4f} px")
        both = np.flatnonzero((row >= 0) & (pair >= 0))
        ids, counts = np.unique(pair[both], return_counts=True)
        errors = []
        for number in ids[counts == 2]:
            i, j = np.flatnonzero(pair == number)
            if 6 <= np.hypot(*(position[i] - position[j])) <= 12:
                errors += [f[row[k]] / flux[k] - 1 for k in (i, j)]
        errors = np.array(errors)
        far = np.mean(np.abs(errors) > 0.5)
        print(f"{name}: {len(errors)} members of pairs at 6 to 12 px: {np.median(errors):+.3f} / {nmad(errors):.3f}, > 50 % off {far:.3f}")


if __name__ == "__main__":
    main()
