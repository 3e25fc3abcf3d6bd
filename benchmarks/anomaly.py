"""What `spectra.anomaly` is worth: `python benchmarks/anomaly.py DATA [--model FOLDER] [--side test] [--only simulated real] [--out FILE]`.

DATA is a folder with the labelled spectra (`spectra/`) and published templates (`templates/`).

simulated: objects of a seed that no training used. How uniform p is (the greatest difference of the distributions, at three
brightnesses), at the redshifts that `spectra.redshift` finds; and of objects seen anew, how many hidden pixels lie within one and
two errors of what is filled in, and how far apart the latent vectors of one object at five redshifts are, over how far apart those
of different objects are.

real: known objects against unknown ones, at the redshifts that `spectra.redshift` finds: the area under the curve of unknown objects
found over false alarms, with the explanation alone, with what templates leave, with what `spectra.classify` says, and with both. With
`--side test` the known are labelled SDSS spectra of that side of `examples/sdss-split.csv` without a warning, and LAMOST; the unknown
supernovae of OzDES, LAMOST's UNKNOWN, and as many simulated sky fibres. With `--side train` nothing is looked at but what may be tuned on:
SDSS spectra of that side, simulated supernovae (`benchmarks/supernovae.py`), `simulate.spectra`'s unknown ones, and sky. There what
else a p-value might be made of is listed, too. Errors are those of 400 resamplings.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np
import torch
from astropy.io import fits
from scipy.stats import kstest
from scoring import auroc_with_error
from supernovae import supernovae

from astrosurvey import Context, Model, Spectra, Tile, plugins
from astrosurvey.stages.simulate.spectra.draw import Drawer
from astrosurvey.stages.simulate.spectra.grid import LogGrid
from astrosurvey.stages.simulate.spectra.instrument import Instrument, Observed, observe
from astrosurvey.stages.simulate.spectra.stage import SimulateSpectra
from astrosurvey.stages.spectra.anomaly import corpus as views
from astrosurvey.stages.spectra.anomaly.calibrate import WITNESSES, Calibration
from astrosurvey.stages.spectra.anomaly.decode import channels, decode
from astrosurvey.stages.spectra.anomaly.model import Known, opened
from astrosurvey.stages.spectra.anomaly.rest import PIXELS, STEP
from astrosurvey.stages.spectra.anomaly.rows import redshifts_of, statements
from astrosurvey.stages.spectra.classify.stage import ClassifySpectra
from astrosurvey.stages.spectra.read import read_spectra
from astrosurvey.stages.spectra.redshift.stage import MeasureRedshift
from astrosurvey.stages.spectra.stage import ReadSpectra
from astrosurvey.stages.spectra.templates import read_library

LOG = logging.getLogger("benchmark")
SPLIT = Path(__file__).parents[1] / "examples" / "sdss-split.csv"
# The third column holds errors: its median is the scatter between neighbouring pixels, not that scatter squared.
OZDES = {"wave_unit": "Angstrom", "medium": "air", "unit": "relative", "columns": {"error": "VAR_OR_ERR"}}
SEED = 971
KNOWN = {"star": 0.36, "galaxy": 0.34, "quasar": 0.3}
BRIGHT = (10.0, 30.0)
"""Signal-to-noise ratios of the objects at five redshifts."""
AT = np.linspace(-0.14, 0.14, 5)
"""Where they are seen: by so much in log10(1 + z) from where they were drawn."""
SIGMAS = (1.0, 2.0)
FOUND = (0.7, 8.0)
"""Signal-to-noise ratios of simulated supernovae: those of a survey of transients."""
HEARD: dict[str, tuple[str, ...]] = {"alone": (), "fits": ("misfit",), "classes": ("nothing_known",), "both": ("misfit", "nothing_known")}
"""Beside the explanation."""


def context(seed: int = 1) -> Context:
    """Return what a stage is run with."""
    return Context(Tile("t0", 7, 0), np.random.default_rng(seed), "cpu", LOG, lambda done, total: None, Path())


def drawn(data: Path, number: int, seed: int) -> views.Corpus:
    """Return noiseless known objects, wider than a view."""
    margin = round(views.SHIFT / STEP)
    grid = LogGrid(views.BLUE * 10 ** (-STEP * margin), views.WIDTH + 2 * margin, 2)
    made = Drawer(grid, data / "templates").draw(np.random.default_rng(seed), number, KNOWN)
    return views.noiseless(torch.from_numpy(made.flux), torch.from_numpy(made.z.astype(np.float32)), float(np.log10(grid.start)))


@torch.inference_mode()
def simulated(known: Known, witnesses: Witnesses, data: Path, number: int) -> dict[str, Any]:
    """Return how uniform p is, how well hidden pixels are filled, and how far latent vectors follow the redshift."""
    every = witnesses.statistics(known, of_simulation(data, number, SEED, KNOWN))
    result: dict[str, Any] = {}
    for density, calibration in known.calibrations.items():
        for heard, names in HEARD.items():
            p = p_values(calibration, every, names)
            for name, low, high in (("faint", 0, 3), ("medium", 3, 10), ("bright", 10, np.inf)):
                part = p[(every["snr"] >= low) & (every["snr"] < high)]
                difference = float(kstest(part, "uniform").statistic), float(0.87 / len(part) ** 0.5)
                result[f"{density}, {heard}: difference from uniform, {name}"] = difference
            result[f"{density}, {heard}: p below 0.05"] = share(p < 0.05)
    corpus, generator = drawn(data, number, SEED), torch.Generator().manual_seed(SEED)
    inside = [hidden(known, *views.view(corpus, rows, generator), generator) for rows in torch.arange(number).split(128)]
    for k, sigma in enumerate(SIGMAS):
        result[f"hidden pixels within {sigma:g} sigma"] = share(np.concatenate(inside)[:, k])
    return result | redshifts(known, corpus)


def hidden(known: Known, flux: torch.Tensor, ivar: torch.Tensor, generator: torch.Generator) -> np.ndarray:
    """Return (row, sigma) the part of a hidden stretch within so many errors, noise included, of what is filled in."""
    pixel = torch.arange(PIXELS)
    good = ivar > 0
    first = torch.where(good, pixel, PIXELS).amin(dim=1, keepdim=True)
    length = good.sum(dim=1, keepdim=True)
    begin = first + (length * (0.1 + 0.7 * torch.rand(len(flux), 1, generator=generator))).long()
    away = good & (pixel >= begin) & (pixel < begin + 60)
    left = torch.where(away, 0.0, ivar)
    shown = torch.where(away, 0.0, flux)
    best = decode(known.network, shown, left, known.network(channels(shown, left)))
    pull = (flux - best.model).abs() / (best.variance + best.floor + 1 / ivar.clamp_min(1e-30)).sqrt()
    some = away.sum(dim=1) > 10
    parts = [((pull < sigma) & away).sum(dim=1) / away.sum(dim=1).clamp_min(1) for sigma in SIGMAS]
    return torch.stack(parts, dim=1)[some].numpy()


def redshifts(known: Known, corpus: views.Corpus) -> dict[str, Any]:
    """Return the distance of the latent vectors of one object at five redshifts over that of different objects."""
    far = torch.nonzero((corpus.z > 0.05) & (corpus.z < 3))[:, 0][:400]
    flux, _, z = corpus.take(far)
    latent = []
    for k, shift in enumerate(AT):
        generator = torch.Generator().manual_seed(SEED + k)
        start = torch.round((np.log10(views.BLUE) - torch.log10(1 + z) - shift - views.FIRST) / STEP).long()[:, None]
        there = start + torch.arange(views.WIDTH)
        window = torch.where((there >= 0) & (there < PIXELS), flux.gather(1, there.clamp(0, PIXELS - 1)), 0.0)
        seen = observe(window, views.observed_grid(), generator, Instrument(snr=BRIGHT))
        planes = (torch.zeros_like(flux).scatter(1, there.clamp(0, PIXELS - 1), one) for one in (seen.flux, seen.ivar))
        latent.append(known.network(channels(*planes)))
    seen_at = torch.stack(latent, dim=1).double()  # (object, redshift, number)
    within = torch.cdist(seen_at, seen_at).sum(dim=(1, 2)) / (len(AT) * (len(AT) - 1))
    between = torch.cdist(seen_at[:, 0], seen_at[:, 2])
    apart = (between.sum(dim=1) - between.diagonal()) / (len(far) - 1)
    ratio = (within / apart.mean()).numpy()
    return {"latent distance within over between objects": (float(ratio.mean()), float(ratio.std() / len(ratio) ** 0.5))}


def share(hit: np.ndarray) -> tuple[float, float]:
    """Return the mean of (n,) numbers from 0 to 1, and its error."""
    return float(hit.mean()), float(hit.std() / len(hit) ** 0.5)


def real(known: Known, witnesses: Witnesses, data: Path, side: str) -> dict[str, Any]:
    """Return how well unknown objects are told from known ones."""
    if side == "train":  # nothing but what may be tuned on
        sets, unknown = (
            of_sdss(data, side),
            {"supernova": of_supernovae(data, 200), "unknown": of_simulation(data, 200, SEED, {"unknown": 1})},
        )
        unknown["sky"] = sky(200)
    else:
        lamost = of_lamost(data)
        unknown = {
            "supernova": read(data / "spectra" / "ozdes_transients.fits.gz", **OZDES),
            "LAMOST UNKNOWN": lamost.pop("LAMOST UNKNOWN"),
        }
        unknown["sky"] = sky(sum(len(one) for one in unknown.values()))
        sets = {**of_sdss(data, side), **lamost}
    found = {name: witnesses.statistics(known, spectra) for name, spectra in {**sets, **unknown}.items()}
    result: dict[str, Any] = {}

    def told(name: str, scores: dict[str, np.ndarray]) -> None:
        usual, strange = (np.concatenate([scores[one] for one in held]) for held in (sets, unknown))
        for one in unknown:
            result[f"{name}: AUROC {one}"] = auroc_with_error(usual, scores[one])
        result[f"{name}: AUROC all"] = auroc_with_error(usual, strange)
        result[f"{name}: found at 5 % false alarms"] = share(strange > np.quantile(usual, 0.95))

    for density, calibration in known.calibrations.items():
        for heard, names in HEARD.items():
            scores = {name: -np.log10(p_values(calibration, one, names)) for name, one in found.items()}
            told(f"{density}, {heard}", scores)
            if density == "flow" and names == HEARD["both"]:
                result |= {f"{name}: median -log10(p)": float(np.median(one)) for name, one in scores.items()}
                result["known: p below 0.05"] = share(np.concatenate([scores[name] for name in sets]) > -np.log10(0.05))
    if side == "train":
        calibration = known.calibrations["flow"]
        for name, ranks in calibration.ranks.items():
            told(f"{name} alone", {one: -np.log(ranks(held[name], np.log(held["snr"]))) for one, held in found.items()})
        said = {name: [-np.log(calibration.said(witness, held)) for witness in WITNESSES] for name, held in found.items()}
        told("smallest of the three", {name: np.max(three, axis=0) for name, three in said.items()})
    return result


class Witnesses:
    """The stages whose answers `spectra.anomaly` hears."""

    def __init__(self, data: Path) -> None:
        self.scan = MeasureRedshift(MeasureRedshift.Config(templates=str(data / "templates")))
        self.network, self.weights = ClassifySpectra(), Model.read(plugins.load().models["spectra-v1"])

    def statistics(self, known: Known, spectra: Spectra) -> dict[str, np.ndarray]:
        """Return all that p-values are made of, of the spectra that have data and a redshift."""
        scan = self.scan.run(context(), spectra=spectra, catalog=None, seeds=None)
        classes = self.network.run(context(), spectra=spectra, model=self.weights)["classes"]
        z = redshifts_of(scan["redshifts"], spectra.ids)
        parts = [found for *_, found in statements(context(), known, spectra, np.nan_to_num(z), scan["fits"], classes)]
        every = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return {name: one[(every["pixels"] > 0) & np.isfinite(z)] for name, one in every.items()}


def p_values(calibration: Calibration, found: Mapping[str, np.ndarray], heard: Sequence[str]) -> np.ndarray:
    """Return p-values by the explanation and some other statistics."""
    return calibration({name: one for name, one in found.items() if name not in HEARD["both"] or name in heard})


def of_simulation(data: Path, number: int, seed: int, classes: Mapping[str, float]) -> Spectra:
    """Return simulated spectra."""
    labelled = {"noise_from": str(data / "spectra" / "sdss_labelled.fits.gz"), "split": str(SPLIT), "templates": str(data / "templates")}
    config = {**labelled, "number": number, "classes": classes, "snr": views.SNR, "calibrated": False}
    stage = SimulateSpectra(SimulateSpectra.Config.model_validate(config))
    stage.setup(context(seed))
    return stage.run(context(seed))["spectra"]


def of_supernovae(data: Path, number: int) -> Spectra:
    """Return simulated supernovae, as bright as they are when surveys find them."""
    grid = LogGrid(3600.0, 4300)
    flux = supernovae(read_library(data / "templates"), grid, np.random.default_rng(SEED), number)
    return seen_by(observe(torch.from_numpy(flux), grid.wave, torch.Generator().manual_seed(SEED), Instrument(snr=FOUND)), grid.wave)


def read(path: Path, **settings: Any) -> Spectra:
    """Return the spectra of a file."""
    return read_spectra(ReadSpectra.Config(path=str(path), **settings), None, LOG)[0]


def of_sdss(data: Path, side: str) -> dict[str, Spectra]:
    """Return the known objects of one side of the split, by class."""
    path = data / "spectra" / "sdss_labelled.fits.gz"
    with SPLIT.open(newline="") as stream:
        rows = np.array([int(entry["row"]) for entry in csv.DictReader(stream) if entry["side"] == side])
    table, spectra = fits.getdata(path, 1), read(path)
    rows = rows[np.asarray(table["ZWARNING"])[rows] == 0]
    kind = np.char.strip(np.asarray(table["CLASS"])[rows])
    return {f"SDSS {name}": spectra.take(rows[kind == name]) for name in np.unique(kind)}


def of_lamost(data: Path) -> dict[str, Spectra]:
    """Return LAMOST's spectra by class."""
    path = data / "spectra" / "lamost_labelled.fits.gz"
    kind, spectra = np.char.strip(np.asarray(fits.getdata(path, 1)["CLASS"])), read(path)
    return {f"LAMOST {name}": spectra.take(kind == name) for name in np.unique(kind)}


def sky(number: int) -> Spectra:
    """Return simulated fibres on empty sky."""
    wave = LogGrid(3600.0, 4300).wave
    return seen_by(observe(torch.zeros(number, len(wave)), wave, torch.Generator().manual_seed(SEED), Instrument()), wave)


def seen_by(seen: Observed, wave: np.ndarray) -> Spectra:
    """Return what an instrument recorded as a product."""
    flux, ivar = seen.flux.numpy(), seen.ivar.numpy()
    return Spectra(flux, ivar, np.where(ivar > 0, 0, 8).astype(np.int32), wave, np.arange(len(flux)), "")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, help="folder of a model; the built-in one when left out")
    parser.add_argument("--side", choices=("train", "test"), default="test", help="of the labelled SDSS spectra")
    parser.add_argument("--only", nargs="+", choices=("simulated", "real"), default=["simulated", "real"])
    parser.add_argument("--number", type=int, default=1500, help="simulated objects")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = Model.read(options.model or Path(plugins.load().models["anomaly-v1"]))
    made: dict[str, Any] = {}
    known, witnesses = opened(model, "cpu"), Witnesses(options.data)
    if "simulated" in options.only:
        made["simulated"] = simulated(known, witnesses, options.data, options.number)
    if "real" in options.only:
        made["real"] = real(known, witnesses, options.data, options.side)
    for part, figures in made.items():
        for name, value in figures.items():
            text = f"{value[0]:.3f} ± {value[1]:.3f}" if isinstance(value, tuple) else f"{value:.2f}"
            print(f"{part:10} {name:64} {text}")
    if options.out:
        figures = {"machine": platform.processor() or platform.machine(), "side": options.side, **made}
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
