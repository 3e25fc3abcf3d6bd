"""Calibrate the built-in model of `spectra.anomaly` beside templates and classifier: `python tools/fit_anomaly.py DATA [--number 1800]`.

DATA is a folder with published templates (`templates/`) and labelled spectra (`spectra/sdss_labelled.fits.gz`), of which only those on
the side `train` of `examples/sdss-split.csv` are looked at. The network stays as it is; its p-values are calibrated anew, on spectra as the
stage sees them: at the redshifts that `spectra.redshift` finds, with what its fits leave and what `spectra.classify` says.

Simulated spectra alone would make real ones look strange. So real ones, made fainter again and again, count `SHARE` of all.
To be run again whenever `spectra.redshift`, `spectra-v1` or the simulation change.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np
import torch
from astropy.io import fits

from astrosurvey import Catalog, Context, Model, Spectra, Tile, plugins
from astrosurvey.networks.spectral_autoencoder import SpectralAutoencoder
from astrosurvey.stages.models.load import to_network
from astrosurvey.stages.simulate.spectra.stage import SimulateSpectra
from astrosurvey.stages.spectra.anomaly import hear
from astrosurvey.stages.spectra.anomaly.calibrate import calibrate
from astrosurvey.stages.spectra.anomaly.corpus import SNR
from astrosurvey.stages.spectra.anomaly.model import Known
from astrosurvey.stages.spectra.anomaly.model import known as of_network
from astrosurvey.stages.spectra.classify.stage import ClassifySpectra
from astrosurvey.stages.spectra.labels.stage import LabelSpectra
from astrosurvey.stages.spectra.redshift.stage import MeasureRedshift
from astrosurvey.stages.spectra.stage import ReadSpectra

ROOT = Path(__file__).parents[1]
SPLIT = ROOT / "examples" / "sdss-split.csv"
KNOWN = {"star": 0.36, "galaxy": 0.34, "quasar": 0.3}
SHARE = 0.25
"""Of all spectra: the real ones."""
BUILTIN = "anomaly-v1"


def context(seed: int = 1) -> Context:
    """Return what stages that are run by hand need."""
    return Context(Tile("t0", 7, 0), np.random.default_rng(seed), "cpu", logging.getLogger("fit"), lambda done, total: None, Path())


class Witnesses:
    """The stages whose answers `spectra.anomaly` hears."""

    def __init__(self, data: Path) -> None:
        self.scan = MeasureRedshift(MeasureRedshift.Config(templates=str(data / "templates")))
        self.network = ClassifySpectra()
        self.weights = Model.read(plugins.load().models["spectra-v1"])

    def heard(self, spectra: Spectra, truth: Catalog) -> hear.Tile:
        """Return spectra with what is said of them."""
        scan = self.scan.run(context(), spectra=spectra, catalog=None, seeds=None)
        classes = self.network.run(context(), spectra=spectra, model=self.weights)["classes"]
        return hear.Tile(spectra, truth, scan["redshifts"], scan["fits"], classes)


def simulated(data: Path, number: int, seed: int) -> tuple[Spectra, Catalog]:
    """Return simulated spectra of known objects, and the truth about them."""
    labelled = str(data / "spectra" / "sdss_labelled.fits.gz")
    config = SimulateSpectra.Config(
        number=number, templates=str(data / "templates"), noise_from=labelled, split=str(SPLIT), classes=KNOWN, snr=SNR, calibrated=False
    )
    stage = SimulateSpectra(config)
    stage.setup(context(seed))
    made = stage.run(context(seed))
    return made["spectra"], made["truth"]


def real(data: Path) -> tuple[Spectra, Catalog]:
    """Return the real labelled spectra of the side `train` whose redshifts are sure, and their labels."""
    path = str(data / "spectra" / "sdss_labelled.fits.gz")
    made = ReadSpectra(ReadSpectra.Config(path=path)).run(context())
    labels = LabelSpectra(LabelSpectra.Config(path=path, split=str(SPLIT), side="train")).run(context(), catalog=made["catalog"])["truth"]
    sure = np.asarray(fits.getdata(path, 1)["ZWARNING"]) == 0
    return made["spectra"].take(sure & np.isin(made["spectra"].ids, labels.column("spectrum_id"))), labels


def fainter(spectra: Spectra, rng: np.random.Generator) -> Spectra:
    """Return spectra with noise added, so that their signal-to-noise ratios are spread evenly in the logarithm; none gets better."""
    usable = spectra.usable()
    ivar = np.where(usable, spectra.ivar, 0).astype(float)
    signal = np.where(usable, np.abs(spectra.flux) * np.sqrt(ivar), np.nan)
    snr = np.nanmedian(signal, axis=1)
    wanted = np.exp(rng.uniform(np.log(SNR[0]), np.log(np.maximum(snr, 2 * SNR[0]))))
    times = np.maximum((snr / wanted) ** 2, 1.0)[:, None]
    sigma = np.where(ivar > 0, 1 / np.sqrt(np.where(ivar > 0, ivar, 1)), 0)
    noise = sigma * np.sqrt(times - 1) * rng.normal(size=ivar.shape)
    return replace(spectra, flux=(spectra.flux + noise).astype(np.float32), ivar=(spectra.ivar / times).astype(np.float32))


def statistics(known: Known, tile: hear.Tile) -> dict[str, np.ndarray]:
    """Return the statistics of the known objects of a tile."""
    parts = hear.statistics_of(context(), known, tile)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def joined(parts: list[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return several statistics, one behind the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def main() -> None:
    """Simulate, calibrate, judge and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--number", type=int, default=1800)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun = time.process_time()
    torch.set_num_threads(1)
    folder = ROOT / "astrosurvey" / "models" / BUILTIN
    model, witnesses, rng = Model.read(folder), Witnesses(options.data), np.random.default_rng(options.seed)
    known = of_network(cast(SpectralAutoencoder, to_network(model)), {})
    spectra, labels = real(options.data)
    times = max(1, round(SHARE / (1 - SHARE) * options.number / len(spectra)))
    true = [statistics(known, witnesses.heard(spectra if not k else fainter(spectra, rng), labels)) for k in range(times)]
    made = statistics(known, witnesses.heard(*simulated(options.data, options.number, options.seed)))
    fresh = statistics(known, witnesses.heard(*simulated(options.data, max(200, options.number // 3), options.seed + 1)))
    metrics: dict[str, dict[str, float]] = {}
    calibrations: dict[str, Any] = {}
    for density in ("flow", "forest"):
        calibration = calibrate(joined([made, *true]), density)
        calibrations[density] = calibration.to_card()
        unheard = {name: value for name, value in fresh.items() if name not in ("misfit", "nothing_known")}
        for alone, found in (("", fresh), ("_alone", unheard)):
            p = calibration(found)
            for part in (0.05, 0.5):
                share = float((p <= part).mean())
                error = float(np.sqrt(share * (1 - share) / len(p)))
                metrics[f"{density}_p_below_{part:g}{alone}"] = {"value": round(share, 4), "error": round(error, 4)}
                print(f"{density} {alone or 'with witnesses':15} p below {part:g}: {share:.4f} ± {error:.4f}")
    about = {
        "pipeline": "tools/fit_anomaly.py",
        "simulated": options.number,
        "real": f"{len(spectra)} spectra on the side `train` of examples/sdss-split.csv, as they are and {times - 1} times fainter",
        "witnesses": "spectra.redshift with SDSS's basis vectors; spectra-v1",
        "seed": options.seed,
        "hours": round((time.process_time() - begun) / 3600, 4),
    }
    shutil.rmtree(folder)
    replace(model, card={**model.card, "calibrations": calibrations, "metrics": metrics, "calibrated_on": about}).write(folder)


if __name__ == "__main__":
    main()
