"""What `spectra.classify` is worth: `python benchmarks/classify.py DATA [--model FOLDER] [--side test] [--only speed sdss] [--out FILE]`.

DATA is a folder with the labelled spectra (`spectra/`) and published templates (`templates/`). Of the SDSS spectra only those on
one side of `examples/sdss-split.csv` are looked at. Accuracies come with their binomial errors; simulated spectra are of a
seed that no training used. The network stands alone here: `spectra.combine` and the template scan are not part of this.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np
import torch
from astropy.io import fits
from scoring import auroc

from astrosurvey import Model, Spectra, plugins
from astrosurvey.catalog.flags import SPECTRUM_PIXEL
from astrosurvey.networks.spectrum import SpectrumEnsemble, folded
from astrosurvey.stages.evaluate.spectra.calibration import calibration_error
from astrosurvey.stages.models.load import precision_on
from astrosurvey.stages.simulate.spectra.draw import SHARES, Drawer
from astrosurvey.stages.simulate.spectra.grid import LogGrid
from astrosurvey.stages.simulate.spectra.instrument import Instrument
from astrosurvey.stages.spectra.classes import COARSE, FINE
from astrosurvey.stages.spectra.classify import tables
from astrosurvey.stages.spectra.classify.assess import assess, judge, verdicts
from astrosurvey.stages.spectra.classify.augment import Batch
from astrosurvey.stages.spectra.classify.card import read, to_ensemble
from astrosurvey.stages.spectra.classify.examples import Fresh, joined
from astrosurvey.stages.spectra.classify.grid import PIXELS, WAVE
from astrosurvey.stages.spectra.classify.predict import Predictions, predict
from astrosurvey.stages.spectra.classify.stage import ClassifySpectra
from astrosurvey.stages.spectra.planes import measured
from astrosurvey.stages.spectra.read import read_spectra
from astrosurvey.stages.spectra.skylines import marks
from astrosurvey.stages.spectra.stage import ReadSpectra

LOG = logging.getLogger("benchmark")
SPLIT = Path(__file__).parents[1] / "examples" / "sdss-split.csv"
CLASSES = {"STAR": "star", "GALAXY": "galaxy", "QSO": "quasar"}
OZDES = {"wave_unit": "Angstrom", "medium": "air", "unit": "relative", "columns": {"error": "VAR_OR_ERR"}}
SEED = 970


class Subject:
    """A model, ready to be asked."""

    def __init__(self, model: Model, device: Any, samples: int = 0) -> None:
        self.calibration, self.distances = read(model, ClassifySpectra.Config().unknown)
        self.device, self.samples = device, samples
        self.precision = precision_on(device, "auto")
        self.network: SpectrumEnsemble = folded(to_ensemble(model), device)
        self.ready = folded(to_ensemble(model), device, self.precision)

    def ask(self, spectra: Spectra) -> Predictions:
        """Return what it says of spectra."""
        return predict(self.ready, spectra, self.calibration, samples=self.samples, seed=1, device=self.device, precision=self.precision)

    def strangeness(self, found: Predictions) -> np.ndarray:
        """Return out-of-distribution scores."""
        return tables.strangeness(found.distance, self.distances)


def speed(subject: Subject, data: Path) -> dict[str, float]:
    """Return the time that 40 000 spectra of 4000 pixels take, tables included."""
    rows = 4096 if subject.device == "cpu" else 40_000
    rng = np.random.default_rng(SEED)
    flux = rng.normal(10, 3, (rows, 4000)).astype(np.float32)
    spectra = Spectra(
        flux, np.full_like(flux, 1 / 9), np.zeros(flux.shape, np.int32), 10 ** (3.57 + 1e-4 * np.arange(4000)), np.arange(rows)
    )
    best = [math.inf, math.inf]
    for _ in range(4):
        begun = time.process_time(), time.perf_counter()
        found = subject.ask(spectra)
        tables.classes(found, spectra.ids, "benchmark", subject.distances, "")
        tables.redshifts(found, spectra.ids)
        passed = time.process_time() - begun[0], time.perf_counter() - begun[1]
        best = [min(old, new) for old, new in zip(best, passed, strict=True)]
    each = best[0] / rows
    return {
        "cpu_milliseconds_a_spectrum": each * 1e3,
        "seconds_for_40000_on_2_cores": each * 40_000 / 2,
        "seconds_for_40000_here": best[1] / rows * 40_000,
    }


def sdss(subject: Subject, data: Path, side: str) -> dict[str, Any]:
    """Return scores on real SDSS spectra of one side of the split."""
    spectra, table = labelled(data / "spectra" / "sdss_labelled.fits.gz")
    with SPLIT.open(newline="") as stream:
        rows = np.array([int(row["row"]) for row in csv.DictReader(stream) if side in (row["side"], "both")])
    spectra, table = spectra.take(rows), table[rows]
    found, snr = subject.ask(spectra), medians(spectra)
    kind = np.array([CLASSES[str(name).strip()] for name in table["CLASS"]])
    fine, z, safe = np.array([str(name).strip() for name in table["LABEL13"]]), np.asarray(table["Z"]), np.asarray(table["ZWARNING"]) == 0
    out = coarse_scores(found, kind)
    for name, mine in (("high", snr >= 10), ("low", snr < 5)):
        out |= {f"coarse_{name}_snr": fraction((best_class(found) == kind)[mine])}
    told = np.array(FINE)[found.fine.argmax(axis=1)]
    diagonal = {name: fraction(told[fine == name] == name) for name in FINE if (fine == name).any()}
    out["fine"] = mean(list(diagonal.values()))
    out["fine_by_class"] = diagonal
    far = np.isin(kind, ["galaxy", "quasar"]) & safe
    out |= redshift_scores(found, z, far)
    wrong = np.flatnonzero(best_class(found) != kind)
    out["wrong"] = [
        f"row {rows[k]}: {kind[k]} {str(table['SUBCLASS'][k]).strip()} z {z[k]:.3f} S/N {snr[k]:.1f} -> {best_class(found)[k]} "
        f"{found.coarse[k].max():.2f}"
        for k in wrong
    ]
    return out


def lamost(subject: Subject, data: Path) -> dict[str, Any]:
    """Return scores on real LAMOST spectra, whose flux is not calibrated."""
    spectra, table = labelled(data / "spectra" / "lamost_labelled.fits.gz")
    name = np.array([str(name).strip() for name in table["CLASS"]])
    kind = np.array([CLASSES.get(one, "unknown") for one in name])
    found, snr = subject.ask(spectra), medians(spectra)
    known = kind != "unknown"
    out = {"coarse_stars": fraction((best_class(found) == kind)[kind == "star"]), **coarse_scores(some(found, known), kind[known])}
    out["galaxies"] = fraction((best_class(found) == kind)[kind == "galaxy"])
    out["wrong"] = [
        f"{kind[k]} {str(table['SUBCLASS'][k]).strip()} S/N {snr[k]:.1f} -> {best_class(found)[k]} {found.coarse[k].max():.2f}"
        for k in np.flatnonzero(known & (best_class(found) != kind))
    ]
    return out


def desi(subject: Subject, data: Path) -> dict[str, Any]:
    """Return scores of redshifts of DESI spectra that have lost level, scale and errors."""
    with np.load(data / "spectra" / "desi" / "desi_asinh_z.npz", allow_pickle=False) as archive:
        stored, valid, wave, z = (archive[name] for name in ("asinh_flux", "valid", "wave", "z_true"))
    flux = np.where(valid, np.sinh(stored.astype(np.float64)), np.nan)
    sky = marks(wave.astype(np.float64))
    ivar = np.where(valid, np.nan_to_num(measured(flux, sky != 0)), 0).astype(np.float32)
    mask = sky | np.where(ivar > 0, 0, SPECTRUM_PIXEL["NO_DATA"]).astype(np.int32)
    spectra = Spectra(flux.astype(np.float32), ivar, mask, wave.astype(np.float64), np.arange(len(z)), "")
    return redshift_scores(subject.ask(spectra), z, np.ones(len(z), bool))


def unknowns(subject: Subject, data: Path, side: str) -> dict[str, Any]:
    """Return how well unknown spectra, and empty sky, are told from known ones."""
    lamost_spectra, table = labelled(data / "spectra" / "lamost_labelled.fits.gz")
    strange = np.array([str(name).strip() == "UNKNOWN" for name in table["CLASS"]])
    supernovae, _ = labelled(data / "spectra" / "ozdes_transients.fits.gz", **OZDES)
    sdss_spectra, _ = labelled(data / "spectra" / "sdss_labelled.fits.gz")
    with SPLIT.open(newline="") as stream:
        rows = np.array([int(row["row"]) for row in csv.DictReader(stream) if side in (row["side"], "both")])
    known = [subject.ask(sdss_spectra.take(rows)), subject.ask(lamost_spectra.take(~strange))]
    sky = simulated(subject, data, 300, {"sky": 1.0}, (1.0, 50.0))
    sky_found = subject.ask(on_own_grid(sky))
    others = {"supernovae": subject.ask(supernovae), "lamost_unknown": subject.ask(lamost_spectra.take(strange)), "sky": sky_found}
    scores = {"ood_score": subject.strangeness, "not_known": lambda one: 1 - one.coarse[:, :3].sum(axis=1)}
    scores["either"] = lambda one: np.log(subject.strangeness(one)) + 2 * (1 - one.coarse[:, :3].sum(axis=1))
    out: dict[str, Any] = {}
    for name, score in scores.items():
        base = np.concatenate([score(one) for one in known])
        out[name] = {kind: auroc(base, score(one)) for kind, one in others.items()}
        out[name]["all"] = auroc(base, np.concatenate([score(one) for one in others.values()]))
    out["sky_accepted"] = fraction(sky_found.coarse[:, :3].max(axis=1) > tables.DOUBTFUL)
    return out


def simulation(subject: Subject, data: Path) -> dict[str, Any]:
    """Return scores on fresh simulated spectra: all, at S/N 3, and the fine classes at S/N 5 to 30."""
    whole = verdicts(subject.network, simulated(subject, data, 3000, SHARES, (1.0, 50.0)))
    out: dict[str, Any] = {"all": judge(whole, subject.calibration)}
    out["all_recalibrated"] = assess(whole)[1]
    faint = verdicts(subject.network, simulated(subject, data, 2000, {"star": 1, "galaxy": 1, "quasar": 1}, (3.0, 3.0001)))
    out["snr_3"] = judge(faint, subject.calibration)
    medium = verdicts(subject.network, simulated(subject, data, 16000, {"star": 7, "galaxy": 8, "quasar": 3}, (5.0, 30.0)))
    out["snr_5_30"] = judge(medium, subject.calibration)
    fine = medium.fine.numpy()
    told = medium.pool.fine.numpy()
    joint = told + np.log(np.maximum(np.exp(medium.pool.coarse.numpy()), 1e-30))[:, [COARSE.index(p) for p in parents()]]
    out["fine_5_30"] = {
        name: [*fraction(joint[fine == k].argmax(axis=1) == k), int((fine == k).sum())] for k, name in enumerate(FINE) if (fine == k).any()
    }
    return out


def parents() -> list[str]:
    """Return the coarse class of each fine one."""
    return [{"GALAXY": "galaxy", "QSO": "quasar", "STAR": "star"}[name.split("_", maxsplit=1)[0]] for name in FINE]


def simulated(subject: Subject, data: Path, number: int, shares: Any, snr: tuple[float, float]) -> Batch:
    """Return fresh simulated spectra on the networks' grid."""
    drawer = Drawer(LogGrid(float(WAVE[0]), PIXELS, 2), data / "templates")
    source = Fresh(drawer.draw(np.random.default_rng(SEED), number, shares), Instrument(snr=snr))
    draw = torch.Generator()
    draw.manual_seed(SEED)
    return joined([source.observed(rows, draw) for rows in torch.arange(number).split(2048)])


def on_own_grid(batch: Batch) -> Spectra:
    """Return simulated spectra as a product."""
    mask = np.where(batch.ivar.numpy() > 0, 0, SPECTRUM_PIXEL["NO_DATA"]).astype(np.int32)
    return Spectra(batch.flux.numpy(), batch.ivar.numpy(), mask, WAVE, np.arange(len(batch)), "")


def labelled(path: Path, **settings: Any) -> tuple[Spectra, Any]:
    """Return the spectra of a file, and its table."""
    spectra = read_spectra(ReadSpectra.Config(path=str(path), **settings), None, LOG)[0]
    with fits.open(path) as hdus:
        return spectra, hdus[1].data.copy()


def medians(spectra: Spectra) -> np.ndarray:
    """Return (n,) median signal-to-noise ratios of usable pixels."""
    return np.nanmedian(np.where(spectra.usable(), spectra.flux * np.sqrt(spectra.ivar), np.nan), axis=1)


def best_class(found: Predictions) -> np.ndarray:
    """Return (n,) names of the likeliest coarse classes."""
    return np.array(COARSE)[found.coarse.argmax(axis=1)]


def some(found: Predictions, rows: np.ndarray) -> Predictions:
    """Return some of the predictions."""
    return Predictions(**{name: plane[rows] for name, plane in vars(found).items()})


def coarse_scores(found: Predictions, kind: np.ndarray) -> dict[str, Any]:
    """Return accuracy and calibration of the coarse class."""
    right = best_class(found) == kind
    confidence = found.coarse.max(axis=1)
    return {"coarse": fraction(right), "ece": calibration_error(confidence, right)}


def redshift_scores(found: Predictions, z: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """Return how many of the best redshifts, and of the best five, are right, and what their errors are worth."""
    off = np.abs(found.z - z[:, None])[rows] / (1 + z[rows, None])
    close = off[:, 0] < 0.0033
    pull = (off[:, 0] * (1 + z[rows]) / found.z_err[rows, 0])[close]
    return {
        "redshift_within_0.0033": fraction(close),
        "redshift_beyond_0.05": fraction(off[:, 0] > 0.05),
        "redshift_among_five": fraction((off < 0.0033).any(axis=1)),
        "redshift_within_1_sigma": fraction(pull < 1),
        "redshift_within_2_sigma": fraction(pull < 2),
    }


def fraction(values: Sequence[bool] | np.ndarray) -> list[float]:
    """Return a fraction with its binomial error, and of how many."""
    values = np.asarray(values)
    if not len(values):
        return [math.nan, math.nan, 0]
    p = float(values.mean())
    return [p, math.sqrt(max(p * (1 - p), 1 / len(values)) / len(values)), len(values)]


def mean(fractions: list[list[float]]) -> list[float]:
    """Return the mean of fractions with its error, and of how many."""
    return [
        float(np.mean([one[0] for one in fractions])),
        math.sqrt(sum(one[1] ** 2 for one in fractions)) / max(len(fractions), 1),
        int(sum(one[2] for one in fractions)),
    ]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, help="folder of a model; the built-in one when left out")
    parser.add_argument("--side", choices=("train", "test", "both"), default="test", help="of the split of the SDSS spectra")
    parser.add_argument("--only", nargs="+", choices=("speed", "sdss", "lamost", "desi", "unknowns", "simulation"))
    parser.add_argument("--samples", type=int, default=0, help="answers of each member under dropout")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path)
    settings = parser.parse_args()
    torch.set_num_threads(1)
    model = Model.read(settings.model or plugins.load().models["spectra-v1"])
    subject = Subject(model, settings.device, settings.samples)
    parts = {
        "speed": lambda: speed(subject, settings.data),
        "sdss": lambda: sdss(subject, settings.data, settings.side),
        "lamost": lambda: lamost(subject, settings.data),
        "desi": lambda: desi(subject, settings.data),
        "unknowns": lambda: unknowns(subject, settings.data, settings.side),
        "simulation": lambda: simulation(subject, settings.data),
    }
    results: dict[str, Any] = {"side": settings.side, "on": f"{platform.machine()}, {settings.device}, {subject.precision}"}
    for name, call in parts.items():
        if settings.only is None or name in settings.only:
            results[name] = call()
            print(name, json.dumps(results[name], indent=1), flush=True)
    if settings.out:
        settings.out.write_text(json.dumps(results, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
