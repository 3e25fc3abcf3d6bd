"""What `spectra.anomaly` is worth: `python benchmarks/anomaly.py DATA [--model FOLDER] [--side test] [--only simulated real] [--out FILE]`.

DATA is a folder with the labelled spectra (`spectra/`) and published templates (`templates/`).

simulated: objects of a seed that no training used, each seen anew. How uniform p is (the greatest difference of the distributions, at
three brightnesses), how many hidden pixels lie within one and two errors of what is filled in, and how far apart the latent vectors of
one object at five redshifts are, over how far apart those of different objects are.

real: known objects (labelled SDSS spectra of one side of `examples/sdss-split.csv` without a warning, and LAMOST) against unknown ones
(supernovae of OzDES, LAMOST's UNKNOWN, and as many simulated sky fibres), at the redshifts that `spectra.redshift` finds: the area
under the curve of unknown objects found over false alarms. Errors are those of 400 resamplings.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import platform
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np
import torch
from astropy.io import fits
from scipy.stats import kstest, rankdata

from astrosurvey import Context, Model, Spectra, plugins
from astrosurvey.products import Catalog
from astrosurvey.stages.simulate.spectra.draw import Drawer
from astrosurvey.stages.simulate.spectra.grid import LogGrid
from astrosurvey.stages.simulate.spectra.instrument import Instrument, observe
from astrosurvey.stages.spectra.anomaly import corpus as views
from astrosurvey.stages.spectra.anomaly.decode import channels, decode
from astrosurvey.stages.spectra.anomaly.model import Known, opened
from astrosurvey.stages.spectra.anomaly.rest import PIXELS, STEP
from astrosurvey.stages.spectra.anomaly.score import statistics
from astrosurvey.stages.spectra.anomaly.stage import SpectralAnomaly
from astrosurvey.stages.spectra.read import read_spectra
from astrosurvey.stages.spectra.redshift.stage import MeasureRedshift
from astrosurvey.stages.spectra.stage import ReadSpectra

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


def context(seed: int = 1) -> Context:
    """Return what a stage is run with."""
    return Context(None, np.random.default_rng(seed), "cpu", LOG, lambda done, total: None, Path())


def drawn(data: Path, number: int, seed: int) -> views.Corpus:
    """Return noiseless known objects, wider than a view."""
    margin = round(views.SHIFT / STEP)
    grid = LogGrid(views.BLUE * 10 ** (-STEP * margin), views.WIDTH + 2 * margin, 2)
    made = Drawer(grid, data / "templates").draw(np.random.default_rng(seed), number, KNOWN)
    return views.noiseless(torch.from_numpy(made.flux), torch.from_numpy(made.z.astype(np.float32)), float(np.log10(grid.start)))


@torch.inference_mode()
def simulated(known: Known, data: Path, number: int) -> dict[str, Any]:
    """Return how uniform p is, how well hidden pixels are filled, and how far latent vectors follow the redshift."""
    corpus = drawn(data, number, SEED)
    generator = torch.Generator().manual_seed(SEED)
    found: list[dict[str, np.ndarray]] = []
    inside: list[np.ndarray] = []
    for rows in torch.arange(number).split(128):
        flux, ivar = views.view(corpus, rows, generator)
        start = known.network(channels(flux, ivar))
        best = decode(known.network, flux, ivar, start)
        found.append({name: one.numpy() for name, one in statistics(known.network, flux, ivar, best, start).items()})
        inside.append(hidden(known, flux, ivar, generator))
    every = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    every["forest"] = known.forest(every["latent"])
    result: dict[str, Any] = {}
    for density, calibration in known.calibrations.items():
        p = calibration(every)
        for name, low, high in (("faint", 0, 3), ("medium", 3, 10), ("bright", 10, np.inf)):
            part = p[(every["snr"] >= low) & (every["snr"] < high)]
            result[f"{density}: difference from uniform, {name}"] = (
                float(kstest(part, "uniform").statistic),
                float(0.87 / len(part) ** 0.5),
            )
        result[f"{density}: p below 0.05"] = share(p < 0.05)
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


def real(model: Model, data: Path, side: str) -> dict[str, Any]:
    """Return how well unknown objects are told from known ones."""
    sets = {**of_sdss(data, side), **of_lamost(data), "supernova": read(data / "spectra" / "ozdes_transients.fits.gz", **OZDES)}
    if side == "train":  # nothing but what may be tuned on
        sets = {name: one for name, one in sets.items() if name.startswith("SDSS")}
    unknown = [name for name in sets if name in ("supernova", "LAMOST UNKNOWN")]
    sets["sky"] = sky(max(25, sum(len(sets[name]) for name in unknown)))
    scan = MeasureRedshift(MeasureRedshift.Config(templates=str(data / "templates")))
    scores: dict[str, dict[str, np.ndarray]] = {"flow": {}, "forest": {}}
    result: dict[str, Any] = {}
    for name, spectra in sets.items():
        found: Catalog = scan.run(context(), spectra=spectra, catalog=None, seeds=None)["redshifts"]
        for density, by_set in scores.items():
            stage = SpectralAnomaly(SpectralAnomaly.Config.model_validate({"density": density}))
            made = stage.run(context(), spectra=spectra, redshifts=found, model=model)["classes"]
            by_set[name] = np.nan_to_num(made.column("ood_score"))
        result[f"{name}: median -log10(p)"] = float(np.median(scores["flow"][name]))
    for density, by_set in scores.items():
        usual = np.concatenate([by_set[name] for name in by_set if name not in (*unknown, "sky")])
        for name in (*unknown, "sky"):
            result[f"{density}: AUROC {name}"] = auroc(usual, by_set[name])
        result[f"{density}: AUROC all"] = auroc(usual, np.concatenate([by_set[name] for name in (*unknown, "sky")]))
        alarm = np.quantile(usual, 0.95)
        result[f"{density}: found at 5 % false alarms"] = share(np.concatenate([by_set[name] for name in (*unknown, "sky")]) > alarm)
    return result


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
    wave = 3600 * 10 ** (1e-4 * np.arange(4300))
    seen = observe(torch.zeros(number, len(wave)), wave, torch.Generator().manual_seed(SEED), Instrument())
    flux, ivar = seen.flux.numpy(), seen.ivar.numpy()
    return Spectra(flux, ivar, np.where(ivar > 0, 0, 8).astype(np.int32), wave, np.arange(number), "")


def auroc(usual: np.ndarray, strange: np.ndarray) -> tuple[float, float]:
    """Return the chance that a strange object has the greater score, and its error."""

    def area(a: np.ndarray, b: np.ndarray) -> float:
        return float((rankdata(np.r_[a, b])[len(a) :].mean() - (len(b) + 1) / 2) / len(a))

    rng = np.random.default_rng(1)
    again = [area(rng.choice(usual, len(usual)), rng.choice(strange, len(strange))) for _ in range(400)]
    return area(usual, strange), float(np.std(again))


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
    if "simulated" in options.only:
        made["simulated"] = simulated(opened(model, "cpu"), options.data, options.number)
    if "real" in options.only:
        made["real"] = real(model, options.data, options.side)
    for part, figures in made.items():
        for name, value in figures.items():
            text = f"{value[0]:.3f} ± {value[1]:.3f}" if isinstance(value, tuple) else f"{value:.2f}"
            print(f"{part:10} {name:60} {text}")
    if options.out:
        figures = {"machine": platform.processor() or platform.machine(), "side": options.side, **made}
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
