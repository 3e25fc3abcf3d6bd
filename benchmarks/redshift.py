"""What redshifts and classes are worth: `python benchmarks/redshift.py DATA [--side test] [--only sdss lamost] [--out FILE]`.

DATA is a folder with published templates (`templates/`) and labelled spectra (`spectra/`). Of the SDSS spectra only those on one side of
`examples/sdss-split.csv` are looked at. Fractions come with binomial errors, for the templates, the network and both together; and for
a plain template scan of the textbook: chi-square by Fourier transforms at every shift, sums of basis vectors and a polynomial, single stars
and a polynomial, the smallest chi-square wins. One process, one thread.

SDSS's labels were made with the basis vectors that are fitted here, so agreement with them is close to that of a method with itself.
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
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np
import torch
from astropy.table import Table

from astrosurvey import Catalog, Context, Model, Spectra, Tile, plugins
from astrosurvey.stages.simulate.spectra.stage import SimulateSpectra
from astrosurvey.stages.spectra.classify.stage import ClassifySpectra
from astrosurvey.stages.spectra.combine.stage import CombineSpectra
from astrosurvey.stages.spectra.redshift.stage import MeasureRedshift
from astrosurvey.stages.spectra.stage import ReadSpectra
from astrosurvey.stages.spectra.templates import read_library

SPLIT = Path(__file__).parents[1] / "examples" / "sdss-split.csv"
CLASSES = {"STAR": "star", "GALAXY": "galaxy", "QSO": "quasar"}
NEAR, FAR = 0.0033, 0.05
SEED = 971

Answers = dict[str, np.ndarray]
"""`spectral_class`, `z`, `z_err` and `z_warning` of the best answers, (n,)."""


def context(seed: int = 0) -> Context:
    return Context(Tile("t0", 7, 0), np.random.default_rng(seed), "cpu", logging.getLogger("benchmark"), lambda done, total: None, Path())


class Methods:
    """The four ways to an answer."""

    def __init__(self, data: Path) -> None:
        self.scan = MeasureRedshift(MeasureRedshift.Config(templates=str(data / "templates")))
        models = plugins.load().models
        self.network, self.weights = (Model.read(models[name]) for name in ("spectra-v1", "combine-v1"))
        self.plain = PlainScan(data / "templates")

    def answers(self, spectra: Spectra, catalog: Catalog | None = None) -> dict[str, Answers]:
        """Return the best answers of each method."""
        net = dict(ClassifySpectra().run(context(), spectra=spectra, model=self.network))
        alone = self.scan.run(context(), spectra=spectra, catalog=catalog, seeds=None)["redshifts"]
        seeded = self.scan.run(context(), spectra=spectra, catalog=catalog, seeds=net["redshifts"])["redshifts"]
        both = CombineSpectra().run(context(), scan=seeded, network_classes=net["classes"], network=net["redshifts"], model=self.weights)[
            "redshifts"
        ]
        made = {"templates": best(alone, spectra.ids), "network": best(net["redshifts"], spectra.ids), "combined": best(both, spectra.ids)}
        made["network"]["spectral_class"] = most_probable(net["classes"], spectra.ids)
        return {**made, "plain scan": self.plain.answers(spectra)}


def best(table: Catalog, ids: np.ndarray) -> Answers:
    """Return the rows of rank 0 in the order of the spectra."""
    first = np.flatnonzero(table.column("rank") == 0)
    place = dict(zip(table.column("spectrum_id")[first].tolist(), first.tolist(), strict=True))
    rows = [place.get(int(one)) for one in ids]
    out = {}
    for name, empty in (("spectral_class", "unknown"), ("z", np.nan), ("z_err", np.nan), ("z_warning", 0)):
        column = table.column(name)
        out[name] = np.array([empty if k is None else column[k] for k in rows])
    return out


def most_probable(table: Catalog, ids: np.ndarray) -> np.ndarray:
    """Return the most probable coarse class of each spectrum."""
    top: dict[int, tuple[float, str]] = {}
    columns = (table.column(name).tolist() for name in ("object_id", "classifier", "label", "probability"))
    for one, classifier, label, probability in zip(*columns, strict=True):
        if classifier.endswith("/coarse"):
            top[one] = max(top.get(one, (-1.0, "")), (probability, label))
    return np.array([top[int(one)][1] for one in ids])


class PlainScan:
    """The textbook's scan, as the peer: no sky weights, no multiplied polynomials, no forest, no exact fits, no penalties."""

    def __init__(self, folder: Path) -> None:
        from astrosurvey.stages.spectra.redshift.sets import scan_sets

        library = read_library(folder)
        # Of analytic quasars no forest is taken out.
        library = replace(library, eigen_quasars=replace(library.eigen_quasars, origin="analytic"))
        names = ("eigen_stars", "eigen_galaxies", "eigen_quasars")
        self.sets = [replace(one, edge=-math.inf) for one in scan_sets(library, names, (0.0, 1.7), (0.05, 7.0), 1000.0)]

    def answers(self, spectra: Spectra) -> Answers:
        """Return the smallest chi-square's class and redshift."""
        from astrosurvey.stages.spectra.redshift.block import blocks, reach
        from astrosurvey.stages.spectra.redshift.curves import BasisScan, Prepared
        from astrosurvey.stages.spectra.redshift.sets import STEP

        n = len(spectra)
        out: Answers = {"spectral_class": np.full(n, "unknown", "U8"), "z": np.full(n, np.nan), "z_warning": np.zeros(n, int)}
        for numbers, block in blocks(context(), spectra, reach(self.sets), 1.0):
            chi2 = np.full(len(numbers), np.inf)
            for templates in self.sets:
                terms = 4 if templates.spectral_class == "star" else 3
                prepared = Prepared(block, terms, terms)
                if templates.single:
                    curve = _single_curve(templates, block, prepared)
                else:
                    curve = BasisScan(templates, block.first, block.pixels, "cpu").curve(prepared)
                gain, place = curve.max(dim=1)
                mine = (prepared.chi2 - gain).numpy()
                better = mine < chi2
                chi2[better] = mine[better]
                z = np.expm1((place.numpy() + templates.shifts[0] + block.offset) * STEP)
                out["spectral_class"][numbers[better]] = templates.spectral_class
                out["z"][numbers[better]] = z[better]
        return out


def _single_curve(templates: Any, block: Any, prepared: Any) -> torch.Tensor:
    """Return the gain of the best of single templates with an added polynomial, at every shift, (row, shift)."""
    weight, flux, nuisance = prepared.planes
    gains = []
    for shift in range(templates.shifts[0], templates.shifts[1] + 1):
        t = torch.from_numpy(templates.segment(block.first - shift, block.pixels))
        square = weight @ (t**2).T - ((nuisance @ t.T) ** 2).sum(dim=1)
        gains.append(((flux @ t.T) ** 2 / square.clamp(min=1e-12)).max(dim=1).values)
    return torch.stack(gains, dim=1)


def labelled(path: Path) -> tuple[Spectra, Any]:
    """Return spectra and the table of their labels."""
    table = Table.read(path, hdu=1)
    table.convert_bytestring_to_unicode()
    return ReadSpectra(ReadSpectra.Config(path=str(path))).run(context())["spectra"], table


def fraction(hits: Sequence[bool] | np.ndarray) -> list[float]:
    """Return a fraction, its binomial error, and of how many."""
    hits = np.asarray(hits, bool)
    if not len(hits):
        return [math.nan, math.nan, 0]
    p = float(hits.mean())
    return [round(p, 4), round(math.sqrt(max(p * (1 - p), 0.25 / len(hits)) / len(hits)), 4), len(hits)]


def judged(found: Answers, kinds: np.ndarray, z: np.ndarray, far: np.ndarray) -> dict[str, Any]:
    """Return accuracies of classes, and of redshifts where `far`."""
    with np.errstate(invalid="ignore"):
        off = np.nan_to_num(np.abs(found["z"] - z) / (1 + z), nan=9.0)
    right = found["spectral_class"] == kinds
    out = {"class": fraction(right), "class_by_class": {kind: fraction(right[kinds == kind]) for kind in sorted(set(kinds.tolist()))}}
    if far.any():
        out |= {"z_within_0.0033": fraction(off[far] < NEAR), "z_off_by_0.05": fraction(off[far] > FAR)}
        safe = far & (found["z_warning"] == 0)
        out |= {"without_warning": fraction(found["z_warning"][far] == 0), "of_these_within_0.0033": fraction(off[safe] < NEAR)}
    return out


def sdss(methods: Methods, data: Path, side: str) -> dict[str, Any]:
    """Bars 4 and 8: real SDSS spectra of one side of the split."""
    spectra, table = labelled(data / "spectra" / "sdss_labelled.fits.gz")
    with SPLIT.open(newline="") as stream:
        rows = np.array([int(row["row"]) for row in csv.DictReader(stream) if row["side"] == side])
    spectra, table = spectra.take(rows), table[rows]
    kinds, z = np.array([CLASSES[str(name).strip()] for name in table["CLASS"]]), np.asarray(table["Z"], float)
    far = np.isin(kinds, ["galaxy", "quasar"]) & (table["ZWARNING"] == 0)
    found = methods.answers(spectra)
    out: dict[str, Any] = {name: judged(one, kinds, z, far) for name, one in found.items()}
    for name, one in found.items():
        wrong = np.flatnonzero((one["spectral_class"] != kinds) | (far & ~(np.abs(one["z"] - z) < NEAR * (1 + z))))
        out[name]["wrong"] = [f"row {rows[k]}: {kinds[k]} {z[k]:.4f} -> {one['spectral_class'][k]} {one['z'][k]:.4f}" for k in wrong]
    return out


def lamost(methods: Methods, data: Path, side: str) -> dict[str, Any]:
    """Bar 5: real LAMOST spectra, whose flux is not calibrated."""
    spectra, table = labelled(data / "spectra" / "lamost_labelled.fits.gz")
    names = np.array([str(name).strip() for name in table["CLASS"]])
    known = np.isin(names, list(CLASSES))
    kinds, z = np.array([CLASSES[name] for name in names[known]]), np.asarray(table["Z"], float)[known]
    found = methods.answers(spectra.take(known))
    return {name: judged(one, kinds, z, np.zeros(len(z), bool)) for name, one in found.items()}


def desi(methods: Methods, data: Path, side: str) -> dict[str, Any]:
    """Bar 10: DESI spectra that have lost level, scale and errors, as `io.spectra` reads them; all count, whatever their class."""
    with np.load(data / "spectra" / "desi" / "desi_asinh_z.npz", allow_pickle=False) as archive:
        stored, valid, wave, z = (archive[name] for name in ("asinh_flux", "valid", "wave", "z_true"))
    table = Table({"wave": np.broadcast_to(wave, stored.shape), "flux": np.where(valid, np.sinh(stored.astype(np.float64)), np.nan)})
    with TemporaryDirectory() as folder:
        table.write(Path(folder) / "desi.fits")
        origin = {"wave_unit": "Angstrom", "medium": "vacuum", "unit": "relative", "errors": "measured"}
        read = ReadSpectra(ReadSpectra.Config(path=f"{folder}/desi.fits", **origin)).run(context())
    found = methods.answers(read["spectra"], read["catalog"])
    every = np.ones(len(z), bool)
    return {name: {k: v for k, v in judged(one, np.full(len(z), ""), z, every).items() if "class" not in k} for name, one in found.items()}


def simulated(methods: Methods, data: Path, side: str) -> dict[str, Any]:
    """Bars 12 and 14: errors of redshifts, and empty sky, on fresh simulated spectra."""
    labels = str(data / "spectra" / "sdss_labelled.fits.gz")
    out: dict[str, Any] = {}
    for what, shares, number in (("objects", {"star": 1.0, "galaxy": 1.0, "quasar": 1.0}, 600), ("sky", {"sky": 1.0}, 300)):
        stage = SimulateSpectra(
            SimulateSpectra.Config(number=number, classes=shares, templates=str(data / "templates"), noise_from=labels, split=str(SPLIT))
        )
        stage.setup(context(SEED))
        made = stage.run(context(SEED))
        kinds, z = made["truth"].column("spectral_class"), np.asarray(made["truth"].column("z"), float)
        found = methods.answers(made["spectra"])
        if what == "sky":
            some = {name: np.isin(one["spectral_class"], list(CLASSES.values())) for name, one in found.items()}
            out["sky_accepted"] = {name: fraction(some[name] & (one["z_warning"] == 0)) for name, one in found.items()}
            continue
        out["objects"] = {name: judged(one, kinds, z, np.isin(kinds, ["galaxy", "quasar"])) for name, one in found.items()}
        for name in ("templates", "combined"):
            one = found[name]
            right = (one["spectral_class"] == kinds) & (np.abs(one["z"] - z) < NEAR * (1 + z)) & (one["z_warning"] == 0)
            pull = np.abs(one["z"] - z) / one["z_err"]
            for kind in ("all", *CLASSES.values()):
                mine = right & ((kinds == kind) | (kind == "all"))
                out.setdefault("errors", {}).setdefault(name, {})[kind] = {f"within_{k}_sigma": fraction(pull[mine] < k) for k in (1, 2)}
    return out


def speed(methods: Methods, data: Path, side: str) -> dict[str, Any]:
    """Bar 9: spectra per CPU second, blind, of 4000 pixels; best of three."""
    spectra, _ = labelled(data / "spectra" / "sdss_labelled.fits.gz")
    cut = slice(300, 4300)
    planes = (np.ascontiguousarray(plane[:128, cut]) for plane in (spectra.flux, spectra.ivar, spectra.mask))
    spectra = Spectra(*planes, spectra.wave[cut], spectra.ids[:128])
    calls = {
        "templates": lambda: methods.scan.run(context(), spectra=spectra, catalog=None, seeds=None),
        "plain scan": lambda: methods.plain.answers(spectra),
    }
    out = {}
    for name, call in calls.items():
        call()
        passed = []
        for _ in range(3):
            begun = time.process_time()
            call()
            passed.append(time.process_time() - begun)
        out[name] = round(len(spectra) / min(passed), 1)
    return {"spectra_per_cpu_s": out}


PARTS = {"sdss": sdss, "lamost": lamost, "desi": desi, "simulated": simulated, "speed": speed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--side", default="test", choices=("test", "train"))
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=tuple(PARTS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    methods = Methods(options.data)
    made: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "side": options.side}
    for name in options.only:
        made[name] = PARTS[name](methods, options.data, options.side)
        print(f"== {name}\n{json.dumps(made[name], indent=1)}", flush=True)
    if options.out:
        options.out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
