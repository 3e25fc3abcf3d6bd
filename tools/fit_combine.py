"""Fit the weights of `spectra.combine` and make them a built-in model: `python tools/fit_combine.py DATA [--number 4000] [--seed 1]`.

DATA is a folder with published templates (`templates/`) and labelled spectra (`spectra/sdss_labelled.fits.gz`), of which only those on
the side `train` of `examples/sdss-split.csv` are looked at.

Simulated spectra alone would make the network too trusted: it was trained on such, while the templates that are fitted are not those
that spectra are simulated with. So the real ones count `SHARE` of all. On the card stand figures of fresh simulated spectra, and of
real ones each scored by weights that were fitted without it (`FOLDS`-fold cross-validation).
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import shutil
import time
from collections.abc import Sequence
from copy import copy
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np

from astrosurvey import Catalog, Context, Model, Spectra, Tile, plugins
from astrosurvey.networks.candidates import CandidateScorer
from astrosurvey.stages.models.load import to_model
from astrosurvey.stages.simulate.spectra.draw import SHARES
from astrosurvey.stages.simulate.spectra.stage import SimulateSpectra
from astrosurvey.stages.spectra.classes import COARSE
from astrosurvey.stages.spectra.classify.card import digest
from astrosurvey.stages.spectra.classify.stage import ClassifySpectra
from astrosurvey.stages.spectra.combine.answer import class_probabilities
from astrosurvey.stages.spectra.combine.candidates import KINDS, NONE, Evidence, gather, same
from astrosurvey.stages.spectra.combine.features import NAMES
from astrosurvey.stages.spectra.combine.fit import fit
from astrosurvey.stages.spectra.combine.score import probabilities
from astrosurvey.stages.spectra.combine.stage import BUILTIN, TASK
from astrosurvey.stages.spectra.labels.stage import LabelSpectra
from astrosurvey.stages.spectra.redshift.stage import MeasureRedshift
from astrosurvey.stages.spectra.stage import ReadSpectra

ROOT = Path(__file__).parents[1]
SPLIT = ROOT / "examples" / "sdss-split.csv"
SHARE = 0.6
"""Of all weight: the real spectra's."""
FOLDS = 5
UNKNOWN = 0.01


class Known:
    """Spectra of known truth, with what the network and the templates say of them, and what the templates alone say."""

    def __init__(self, spectra: Spectra, truth: Catalog, data: Path, ctx: Context) -> None:
        network = dict(ClassifySpectra().run(ctx, spectra=spectra, model=shipped_network()))
        stage = MeasureRedshift(MeasureRedshift.Config(templates=str(data / "templates")))
        seeded = stage.run(ctx, spectra=spectra, catalog=None, seeds=network["redshifts"])["redshifts"]
        alone = stage.run(ctx, spectra=spectra, catalog=None, seeds=None)["redshifts"]
        ids = truth.column("spectrum_id").tolist()
        self.both = gather(ids, seeded, network["classes"], network["redshifts"])
        self.scan = gather(ids, alone, None, None)
        self.kinds: list[str] = truth.column("spectral_class").tolist()
        self.z = np.asarray(truth.column("z"), float)

    def __len__(self) -> int:
        return len(self.kinds)

    def take(self, rows: Sequence[int]) -> Known:
        """Return some of the spectra."""
        out = copy(self)
        out.both, out.scan, out.kinds = ([column[row] for row in rows] for column in (self.both, self.scan, self.kinds))
        out.z = self.z[list(rows)]
        return out


def shipped_network() -> Model:
    """Return the built-in network."""
    return Model.read(plugins.load().models["spectra-v1"])


def context(seed: int) -> Context:
    """Return what stages that are run by hand need."""
    return Context(Tile("t0", 7, 0), np.random.default_rng(seed), "cpu", logging.getLogger("fit"), lambda done, total: None, Path())


def simulated(data: Path, number: int, seed: int) -> Known:
    """Return simulated spectra of every kind."""
    labelled = str(data / "spectra" / "sdss_labelled.fits.gz")
    stage = SimulateSpectra(SimulateSpectra.Config(number=number, templates=str(data / "templates"), noise_from=labelled, split=str(SPLIT)))
    stage.setup(context(seed))
    made = stage.run(context(seed))
    return Known(made["spectra"], made["truth"], data, context(seed))


def real(data: Path, side: str) -> Known:
    """Return the real labelled spectra of one side."""
    path = str(data / "spectra" / "sdss_labelled.fits.gz")
    made = ReadSpectra(ReadSpectra.Config(path=path)).run(context(0))
    labels = LabelSpectra(LabelSpectra.Config(path=path, split=str(SPLIT), side=side)).run(context(0), catalog=made["catalog"])["truth"]
    wanted = np.isin(made["spectra"].ids, labels.column("spectrum_id"))
    return Known(made["spectra"].take(wanted), labels, data, context(0))


def fitted(made: Known, true: Known) -> CandidateScorer:
    """Return weights fitted to simulated and real spectra."""
    kinds, z = [*made.kinds, *true.kinds], np.concatenate([made.z, true.z])
    share = np.r_[np.full(len(made), (1 - SHARE) / len(made)), np.full(len(true), SHARE / len(true))]
    scorer = CandidateScorer(len(NAMES)).double()
    scorer.weights.data[0] = fit([*made.scan, *true.scan], kinds, z, share)
    scorer.weights.data[1] = fit([*made.both, *true.both], kinds, z, share)
    return scorer


class Judged(NamedTuple):
    """Of spectra, in the same order: what they are, what they were taken for, and how sure that was."""

    kinds: list[str]
    told: list[str]
    right_z: list[bool]
    share: list[float]


def judged(evidence: Sequence[Evidence], found: np.ndarray, kinds: Sequence[str], z: np.ndarray) -> Judged:
    """Return the answers to spectra of known truth."""
    told = [COARSE[k] for k in class_probabilities(evidence, found).argmax(axis=1)]
    out = Judged(list(kinds), told, [], [])
    for one, p, said, redshift in zip(evidence, found, told, z.tolist(), strict=True):
        mine = [(float(p[len(NONE) + k]), candidate) for k, candidate in enumerate(one.candidates) if candidate.kind == said]
        share, best = max(mine, key=lambda pair: pair[0], default=(0.0, None))
        out.right_z.append(best is not None and same(best.z, redshift))
        out.share.append(share)
    return out


def scores(found: Judged) -> dict[str, tuple[float, float]]:
    """Return the part of right classes, of right redshifts of galaxies and quasars, and of sky that is taken for something for sure."""
    rows = list(zip(*found, strict=True))
    out = {
        "coarse_accuracy": [told == kind for kind, told, _, _ in rows],
        "sky_taken_for_sure": [told in KINDS and share >= 0.9 for kind, told, _, share in rows if kind == "sky"],
    }
    for kind in ("galaxy", "quasar"):
        out[f"redshift_within_0.0033_{kind}"] = [right for name, _, right, _ in rows if name == kind]
    out["redshift_within_0.0033"] = out["redshift_within_0.0033_galaxy"] + out["redshift_within_0.0033_quasar"]
    return {name: fraction(values) for name, values in out.items() if values}


def network_scores(evidence: Sequence[Evidence], kinds: Sequence[str], z: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return the same of the network by itself."""
    out = Judged(list(kinds), [], [], [])
    for one, redshift in zip(evidence, z.tolist(), strict=True):
        out.told.append(max(one.classes, key=lambda name: one.classes[name], default="unknown"))
        out.right_z.append(one.spoken is not None and same(one.spoken[1], redshift))
        out.share.append(one.classes.get(out.told[-1], 0.0))
    return scores(out)


def crossed(made: Known, true: Known, card: dict[str, Any], seed: int) -> dict[str, Judged]:
    """Return the answers to real spectra by weights that were fitted without them, of both together and of the templates alone."""
    order = np.random.default_rng(seed).permutation(len(true))
    parts: dict[str, list[Judged]] = {"combined": [], "templates": []}
    for held in np.array_split(order, FOLDS):
        kept = true.take(held.tolist())
        model = as_model(fitted(made, true.take(sorted(set(range(len(true))) - set(held.tolist())))), card)
        for how, evidence in (("combined", kept.both), ("templates", kept.scan)):
            parts[how].append(judged(evidence, probabilities(model, evidence, UNKNOWN), kept.kinds, kept.z))
    return {how: Judged(*(list(chain(*columns)) for columns in zip(*found, strict=True))) for how, found in parts.items()}


def as_model(scorer: CandidateScorer, card: dict[str, Any]) -> Model:
    """Return weights with their card."""
    return to_model(scorer, "candidates", {"features": len(NAMES)}, card)


def fraction(hits: Sequence[bool]) -> tuple[float, float]:
    """Return a fraction and its binomial error."""
    p, n = float(np.mean(hits)), len(hits)
    return p, math.sqrt(max(p * (1 - p), 1 / n / 4) / n)


def main() -> None:
    """Simulate, fit, judge and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--number", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun = time.process_time()
    made, true = simulated(options.data, options.number, options.seed), real(options.data, "train")
    fresh = simulated(options.data, options.number // 3, options.seed + 1)
    card: dict[str, Any] = {
        "task": TASK,
        "title": "Weights by which spectra.combine chooses between the solutions of templates and network",
        "inputs": "tables of spectra.redshift with SDSS's basis vectors, and of spectra.classify with the built-in spectra-v1",
        "features": list(NAMES),
        "trained_on": {
            "simulated": options.number,
            "real": f"{len(true)} spectra on the side `train` of examples/sdss-split.csv, which count {SHARE} of all",
            "unknown": (1 - SHARE) * made.kinds.count("unknown") / len(made),
            "shares": dict(SHARES),
        },
        "training": {
            "pipeline": "tools/fit_combine.py",
            "command": f"python tools/fit_combine.py DATA --number {options.number} --seed {options.seed}",
            "seed": options.seed,
            "network": digest(shipped_network()),
        },
        "limits": "Probabilities hold for the mixture of classes and signal-to-noise ratios of simulate.spectra; real ones were few.",
        "licence": "MIT",
    }
    scorer = fitted(made, true)
    model = as_model(scorer, card)
    found = {
        "simulated: ": {
            how: scores(judged(evidence, probabilities(model, evidence, UNKNOWN), fresh.kinds, fresh.z))
            for how, evidence in (("combined", fresh.both), ("templates", fresh.scan))
        },
        "real, cross-validated: ": {how: scores(each) for how, each in crossed(made, true, card, options.seed).items()},
    }
    for what, known in (("simulated: ", fresh), ("real, cross-validated: ", true)):
        found[what]["network"] = network_scores(known.both, known.kinds, known.z)
    metrics = {}
    for what, by_method in found.items():
        for how, values in by_method.items():
            for metric, (value, error) in values.items():
                metrics[f"{what}{metric}, {how}"] = {"value": round(value, 4), "error": round(error, 4)}
                print(f"{what}{how:10} {metric:30} {value:.4f} ± {error:.4f}")
    card["metrics"] = metrics
    card["training"]["hours"] = round((time.process_time() - begun) / 3600, 4)
    folder = ROOT / "astrosurvey" / "models" / BUILTIN
    shutil.rmtree(folder, ignore_errors=True)
    as_model(scorer, card).write(folder)


if __name__ == "__main__":
    main()
