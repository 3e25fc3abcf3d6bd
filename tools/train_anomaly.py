"""Train the built-in model of `spectra.anomaly` on a GPU: `python tools/train_anomaly.py --out FOLDER --templates FOLDER [...]`.

Processes draw stars, galaxies and quasars without noise, wider than any spectrograph sees, and keep them in memory. Each step of the
training sees some of them anew on the device: at other redshifts, by other instruments, fainter. What is written to --out is a
model as `models.load` reads it. `spectra.train_anomaly` trains the same network from stored spectra, each at its one redshift.
A test of the chain: `--count 300 --steps 6 --rows 16 --views 300`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from drawing import Drawing, device_name, seconds_a_step

from astrosurvey.networks.spectral_autoencoder import SpectralAutoencoder
from astrosurvey.networks.train import Recipe
from astrosurvey.stages.simulate.spectra.drawn import Drawn
from astrosurvey.stages.simulate.spectra.grid import LogGrid
from astrosurvey.stages.simulate.spectra.noise import Labelled, read_labelled
from astrosurvey.stages.spectra.anomaly import train as training
from astrosurvey.stages.spectra.anomaly.corpus import BLUE, SHIFT, WIDTH, noiseless
from astrosurvey.stages.spectra.anomaly.model import to_model
from astrosurvey.stages.spectra.anomaly.rest import PIXELS, STEP
from astrosurvey.stages.spectra.templates import read_library

MARGIN = round(SHIFT / STEP)
GRID = LogGrid(BLUE * 10 ** (-STEP * MARGIN), WIDTH + 2 * MARGIN, 2)
"""A view's window, and all that it may move by."""
CHUNK = 512
SHARES = {"star": 0.36, "galaxy": 0.34, "quasar": 0.3}
LATENT, ENCODER, DECODER = 8, (48, 96, 192, 192), (128, 256, 64)
TRIED = 30
"""Steps in which the speed is measured."""
AUTOENCODER = 0.75
"""Part of the time that goes to the autoencoder; the rest is the flow's and the calibration's."""


def main() -> None:
    """Draw, train, calibrate, write."""
    settings = arguments()
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)

    library = read_library(settings.templates)
    labelled = read_labelled(settings.labelled, settings.split, LogGrid(BLUE, WIDTH, 2), library) if settings.labelled else None
    flux, z = drawn(settings, labelled)
    say(f"{len(z)} objects drawn, {flux.nbytes / 1e9:.1f} GB")
    shapes = None if labelled is None else torch.from_numpy(labelled.shapes)
    learn, keep = (
        noiseless(torch.from_numpy(flux[rows]), torch.from_numpy(z[rows]), float(np.log10(GRID.start)), shapes).to(settings.device)
        for rows in (slice(settings.kept, None), slice(0, settings.kept))
    )
    del flux
    if settings.views:
        training.VIEWS_TO_CALIBRATE = settings.views
    steps = settings.steps
    if not steps:
        network = SpectralAutoencoder(PIXELS, LATENT, ENCODER, DECODER)
        speed = seconds_a_step(
            network, lambda step: training.batch(learn, step, rows=settings.rows, seed=0), training.losses, TRIED, settings.device
        )
        steps = max(50, int((settings.minutes * 60 - (time.monotonic() - began)) * AUTOENCODER / speed))
        say(f"{speed * 1e3:.1f} ms a step: {steps} steps")
    trained = training.train(
        learn,
        keep,
        latent=LATENT,
        encoder=ENCODER,
        decoder=DECODER,
        recipe=Recipe(steps, settings.learning_rate, every=max(2, steps // 15)),
        rows=settings.rows,
        seed=settings.seed,
        device=settings.device,
        progress=lambda done, total: None,
        log=say,
        checkpoint=settings.checkpoint,
    )
    real = {"real_errors": 0 if labelled is None else len(labelled.shapes)}
    about = {"data": "simulated, seen anew in each step", "spectra": len(learn), "kept_back": len(keep), **real}
    model = to_model(trained, about, settings.learning_rate)
    how = {"rows": settings.rows, "seed": settings.seed, "hours": round((time.monotonic() - began) / 3600, 3)}
    how |= {"on": f"{device_name(settings.device)}, {platform.machine()}", "pipeline": "tools/train_anomaly.py"}
    shutil.rmtree(settings.out, ignore_errors=True)
    replace(model, card={**model.card, "training": {**model.card["training"], **how}}).write(settings.out)
    (settings.out.parent / f"{settings.out.name}-curves.json").write_text(json.dumps(dict(trained.history.curves)) + "\n")
    print(json.dumps(model.card["metrics"], indent=1))
    say(f"written to {settings.out}")


def arguments() -> Any:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model, replaced if it is there")
    parser.add_argument("--templates", type=Path, help="folder of published templates; analytic ones when left out")
    parser.add_argument("--labelled", type=Path, help="labelled spectra whose errors and quasars the simulation borrows")
    parser.add_argument("--split", type=Path, help="CSV with columns row and side; only rows of the side train are used")
    parser.add_argument("--count", type=int, default=100_000, help="objects to draw for training")
    parser.add_argument("--kept", type=int, default=8000, help="objects to draw for calibration and scores")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that draw")
    parser.add_argument("--minutes", type=float, default=3.0, help="for everything; the steps follow from it")
    parser.add_argument("--steps", type=int, help="instead of what fits into --minutes")
    parser.add_argument("--rows", type=int, default=512, help="objects in a step, each seen twice")
    parser.add_argument("--views", type=int, help="views to calibrate on")
    parser.add_argument(
        "--checkpoint", type=Path, help="folder to keep the state in, and to go on from: with the same --steps, on any machine"
    )
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=20261128)
    return parser.parse_args()


def drawn(settings: Any, labelled: Labelled | None) -> tuple[np.ndarray, np.ndarray]:
    """Return flux (n, pixel) float16 and redshifts, drawn by processes; the same for any number of them."""
    drawing = Drawing(GRID, SHARES, settings.templates, labelled, CHUNK, kept)
    parts = list(drawing.chunks(settings.seed, settings.count + settings.kept, settings.workers))
    flux, z = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    return flux, z


def kept(chunk: Drawn) -> tuple[np.ndarray, np.ndarray]:
    """Return what is kept of spectra."""
    return chunk.flux.astype(np.float16), chunk.z.astype(np.float32)


if __name__ == "__main__":
    main()
