"""Train the networks of `spectra.classify` in minutes on a GPU: `python tools/train_spectra.py --out FOLDER --templates FOLDER [...]`.

Processes draw spectra without noise into memory; each step of the training observes some of them anew on the device.
What is written to --out is a model as `models.load` reads it. `examples/train-spectra.yaml` trains the same networks as
any pipeline does, from stored tiles, and takes hours where this takes minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from drawing import Drawing, device_name, seconds_a_step

from astrosurvey import DataError, Model
from astrosurvey.networks.spectrum import SpectrumEnsemble
from astrosurvey.networks.train import Recipe
from astrosurvey.stages.models.load import to_model
from astrosurvey.stages.simulate.spectra.drawn import Drawn
from astrosurvey.stages.simulate.spectra.grid import LogGrid
from astrosurvey.stages.simulate.spectra.instrument import Instrument
from astrosurvey.stages.simulate.spectra.noise import read_labelled
from astrosurvey.stages.spectra.classify.assess import columns
from astrosurvey.stages.spectra.classify.augment import Batch
from astrosurvey.stages.spectra.classify.card import ARCHITECTURE, card, to_ensemble
from astrosurvey.stages.spectra.classify.examples import Fresh, joined
from astrosurvey.stages.spectra.classify.grid import PIXELS, WAVE
from astrosurvey.stages.spectra.classify.train import Trained, build, ensemble_losses, train
from astrosurvey.stages.spectra.classify.train import drawn as batches
from astrosurvey.stages.spectra.templates import read_library

GRID = LogGrid(float(WAVE[0]), PIXELS, 2)
SHARES = {"star": 0.35, "galaxy": 0.31, "quasar": 0.25, "sky": 0.05, "unknown": 0.04}
CHUNK = 1024
TRIED = 40
"""Steps in which the speed is measured."""
AFTERWARDS = 30.0
"""Seconds that calibration and scores take."""


def main() -> None:
    """Draw, train, calibrate, write."""
    settings = arguments()
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)

    library = read_library(settings.templates)
    labelled = read_labelled(settings.labelled, settings.split, GRID, library) if settings.labelled else None
    real = 0 if labelled is None else len(labelled.shapes)
    say(f"templates: {settings.templates or 'analytic'}; errors of {real} real spectra")
    total = settings.count + settings.kept
    drawing = Drawing(GRID, SHARES, settings.templates, labelled, CHUNK, kept)
    every = Drawn.concatenate(list(drawing.chunks(settings.seed, total, settings.workers)))
    torch.set_num_threads(settings.workers)
    say(f"{total} spectra drawn, {every.flux.nbytes / 1e9:.1f} GB")
    shapes = None if labelled is None else labelled.shapes
    learn, keep = every.take(np.arange(settings.count)), every.take(np.arange(settings.count, total))
    del every
    source = Fresh(learn, Instrument(), shapes, settings.device)
    held = observed_once(Fresh(keep, Instrument(), shapes, settings.device), settings.seed + 1, settings.device)
    del learn, keep
    speed = speed_of(source, settings)
    left = settings.minutes * 60 - (time.monotonic() - began) - AFTERWARDS
    steps = settings.steps or max(50, int(left / speed))
    say(f"{speed * 1e3:.1f} ms a step, {settings.members * settings.batch / speed:.0f} spectra/s: {steps} steps")
    recipe = Recipe(steps, settings.learning_rate, average=max(0.995, 1 - 20 / steps), every=max(20, steps // 20))
    trained = resumed(source, held, recipe, settings, say)
    say("trained")
    about = {
        "data": "simulated, observed anew in each step",
        "spectra": settings.count,
        "kept_back": settings.kept,
        "templates": "analytic" if settings.templates is None else "published",
        "real_errors": real,
        "real_rows": [] if settings.split is None else training_rows(settings.split),
    }
    how = {
        "learning_rate": settings.learning_rate,
        "batch": settings.batch,
        "members": settings.members,
        "hours": round((time.monotonic() - began) / 3600, 3),
        "on": f"{device_name(settings.device)}, {platform.machine()}",
        "pipeline": "tools/train_spectra.py",
        "seed": settings.seed,
    }
    if settings.start is not None:
        how["start"] = Model.read(settings.start).card["training"]
    shutil.rmtree(settings.out, ignore_errors=True)
    to_model(trained.network, ARCHITECTURE, trained.config, card(trained, about, how)).write(settings.out)
    (settings.out.parent / f"{settings.out.name}-curves.json").write_text(json.dumps(dict(trained.history.curves)) + "\n")
    print(columns(trained.scores), trained.calibration, sep="\n")
    say(f"written to {settings.out}")


def arguments() -> Any:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model, replaced if it is there")
    parser.add_argument("--templates", type=Path, help="folder of published templates; analytic ones when left out")
    parser.add_argument("--labelled", type=Path, help="labelled spectra whose errors and quasars the simulation borrows")
    parser.add_argument("--split", type=Path, help="CSV with columns row and side; only rows of the side train are used")
    parser.add_argument("--count", type=int, default=400_000, help="spectra to draw for training")
    parser.add_argument("--kept", type=int, default=12_000, help="spectra to draw for calibration and scores")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that draw")
    parser.add_argument("--minutes", type=float, default=6.0, help="for everything; the steps follow from it")
    parser.add_argument("--steps", type=int, help="instead of what fits into --minutes")
    parser.add_argument("--start", type=Path, help="folder of a model whose weights to start from")
    parser.add_argument("--members", type=int, default=4, help="networks; those of --start where it is given")
    parser.add_argument("--batch", type=int, default=512, help="spectra for each member in a step")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--bayesian", action="store_true", help="last layers with weights that are distributions")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=20261126)
    return parser.parse_args()


def kept(chunk: Drawn) -> Drawn:
    """Return what is kept of spectra: all."""
    return chunk


def resumed(source: Fresh, held: Batch, recipe: Recipe, settings: Any, say: Callable[[str], None]) -> Trained:
    """Train; if the loss is lost on the way, be content with what there was at the last checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        for attempt in range(2):
            state = Path(folder) / "state.pt"
            if attempt:
                recipe = replace(recipe, steps=int(torch.load(state, weights_only=True)["step"]))
            try:
                return train(
                    source,
                    held,
                    start=started(settings),
                    recipe=recipe,
                    batch=settings.batch,
                    seed=settings.seed,
                    device=settings.device,
                    log=say,
                    checkpoint=Path(folder),
                )
            except DataError as error:
                if attempt or not state.is_file():
                    raise
                say(f"{error}; the last checkpoint is taken")
    raise AssertionError


def started(settings: Any) -> tuple[SpectrumEnsemble, dict[str, Any]]:
    """Return the networks to start from."""
    if settings.start is None:
        return build(settings.members, bayesian=settings.bayesian, seed=settings.seed)
    model = Model.read(settings.start)
    return to_ensemble(model), dict(model.config)


def observed_once(source: Fresh, seed: int, device: str) -> Batch:
    """Return every spectrum of a source, observed once, on the CPU."""
    draw = torch.Generator(device)
    draw.manual_seed(seed)
    pieces = torch.arange(len(source), device=device).split(2048)
    return joined([source.observed(which, draw).to(torch.device("cpu")) for which in pieces])


def speed_of(source: Fresh, settings: Any) -> float:
    """Return how long a step takes."""
    network, _ = build(settings.members, bayesian=settings.bayesian, seed=0)

    def batch(step: int) -> list[Batch]:
        with torch.autocast(settings.device, enabled=False), torch.no_grad():
            return batches(source, step, seed=0, rows=settings.batch, members=settings.members, device=settings.device)

    return seconds_a_step(network, batch, lambda net, parts: ensemble_losses(net, parts, 0.0), TRIED, settings.device)


def training_rows(split: Path) -> list[int]:
    """Return the rows that training may see."""
    with split.open(newline="") as stream:
        return sorted(int(entry["row"]) for entry in csv.DictReader(stream) if entry["side"] == "train")


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    main()
