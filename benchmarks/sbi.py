"""Posteriors beside reference posteriors, as in sbibm: `python benchmarks/sbi.py [--part two_moons slcp ...] [--out FILE.json]`.

Each part is a task of sbibm (Lueckmann et al. 2021, arXiv:2101.04653) and a method: the stage is trained on simulations at its
defaults, and its draws are told from those of a reference posterior by scikit-learn's perceptron, as sbibm does (C2ST: 0.5 is
perfect, 1 is nothing alike). FOLDER holds sbibm's reference posteriors of observations 1 to 3 (two_moons and slcp); further observations
are simulated, and their posteriors drawn by the simulators' own `reference`.

- `TASK`: `sbi.npe`, its defaults; `TASK/single`: one flow instead of four; `TASK/nle`: `sbi.nle`; `TASK/zuko`: as `TASK`, with flows
  of zuko (`pip install astrosurvey[benchmarks]` has it);
- `TASK/sbi`: NPE of the package sbi with its neural spline flow, all else at its defaults, on the same simulations; in a process of this
  one, by the interpreter that `--sbi-python` names, for sbi is not installed beside astrosurvey;
- `TASK/calibration`: the ensemble's calibration by 500 simulations that were kept back, as `sbi.npe` reports it;
- `speed`: draws per CPU second of `sbi.posterior` for many observations of six parameters.

Seconds are CPU seconds of one thread. Figures go to FILE.json at once; parts and seeds that are there are passed over. `--compare`
measures nothing, and prints one flow of ours beside the one of sbi.
"""

from __future__ import annotations

import argparse
import bz2
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parent))
import numpy as np
from sbi_zuko import ZukoEnsemble

from astrosurvey import Context, plugins
from astrosurvey.core.product import Tiles
from astrosurvey.networks.conditional_flow import FlowEnsemble
from astrosurvey.networks.determinism import threads
from astrosurvey.products import Observations
from astrosurvey.stages.sbi.calibration.product import CARD
from astrosurvey.stages.sbi.data import Simulations
from astrosurvey.stages.sbi.estimator import PosteriorFlow
from astrosurvey.stages.sbi.infer import infer, settings_of
from astrosurvey.stages.sbi.likelihood import LikelihoodFlow
from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.stages.sbi.scaling import DataScaling, ParameterScaling
from astrosurvey.stages.sbi.stage import NeuralLikelihood, NeuralPosterior, Posterior
from astrosurvey.stages.sbi.train import FLOW, Pairs, train

HERE = Path(__file__).parent
TASKS = ("two_moons", "slcp", "gaussian_linear", "gaussian_mixture", "sir", "lotka_volterra")
BESIDE = TASKS[:5]
"""Tasks on which sbi is measured."""
PARTS = (
    *(*TASKS, "slcp/nle", "speed"),
    *(f"{task}/{one}" for task in BESIDE for one in ("single", "sbi")),
    *("gaussian_linear/calibration", "slcp/calibration", "two_moons/zuko", "slcp/zuko"),
)
PUBLISHED = 3
"""Observations of sbibm in FOLDER."""


def context(seed: int, scratch: Path) -> Context:
    """Return the surroundings of a task outside of any run."""
    return Context(None, np.random.default_rng(seed), "cpu", logging.getLogger("benchmark"), lambda done, total: None, scratch)


def simulated(task: str, number: int, seed: int) -> Observations:
    """Return simulations of a task, with their parameters."""
    simulator = plugins.load().stages[f"simulate.{task}"]()
    prior = simulator.usual_prior()
    theta = prior.draw(np.random.default_rng((7, seed)), number)
    ids = np.arange(number, dtype=np.int64)
    return Observations(simulator.draw(theta, seed), ids, "", simulator.features, prior.samples(theta), {"simulator": {"name": task}})


def references(task: str, number: int, draws: int, data: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (1, …) observations, the published ones first, with (draws, p) draws of their posteriors."""
    found = []
    for k in range(1, PUBLISHED + 1):
        folder = data / task / f"num_observation_{k}"
        if folder.is_dir():
            found.append((_read(folder / "observation.csv"), _read(folder / "reference_posterior_samples.csv.bz2")[:draws]))
    simulator = plugins.load().stages[f"simulate.{task}"]()
    fresh = simulated(task, max(number, 1), seed=991)
    for row in range(number - len(found)):
        x = fresh.data[row : row + 1]
        found.append((x, simulator.reference(x[0].astype(float), draws, np.random.default_rng((11, row)))))
    return found[:number]


def _read(path: Path) -> np.ndarray:
    raw = path.read_bytes()
    text = (bz2.decompress(raw) if path.suffix == ".bz2" else raw).decode()
    return np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1, ndmin=2).astype(np.float32)


def c2st(draws: np.ndarray, reference: np.ndarray) -> float:
    """Return how well a perceptron tells (n, p) draws from (n, p) others, in five-fold cross-validation, as sbibm has it."""
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    mean, std = reference.mean(axis=0), reference.std(axis=0, ddof=1)
    x = (np.concatenate([reference, draws]) - mean) / std
    y = np.repeat([0, 1], [len(reference), len(draws)])
    width = 10 * x.shape[1]
    network = MLPClassifier(hidden_layer_sizes=(width, width), max_iter=1000, random_state=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(cross_val_score(network, x, y, cv=KFold(5, shuffle=True, random_state=1)).mean())


def measured(part: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one training."""
    task, _, method = part.partition("/")
    simulations = simulated(task, arguments.simulations, seed)
    if method == "calibration":
        return calibrated(simulations, seed, arguments)
    observed = references(task, arguments.observations, arguments.draws, arguments.data)
    if method == "sbi":
        draws, figures = by_sbi(simulations, observed, seed, arguments)
    else:
        draws, figures = by_ours(simulations, observed, method, seed, arguments)
    scores = []
    for one, (_, reference) in zip(draws, observed, strict=True):
        scores.append(c2st(one, reference))
        print(f"  {part} seed {seed}: {scores[-1]:.3f}", flush=True)
    return {
        "c2st": round(float(np.mean(scores)), 4) if scores else None,
        "each": [round(score, 4) for score in scores],
        **figures,
        "c2st_draws": arguments.draws,
        "simulations": arguments.simulations,
    }


def by_ours(
    simulations: Observations, observed: list[tuple[np.ndarray, np.ndarray]], method: str, seed: int, arguments: argparse.Namespace
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Return (draws, p) draws for each observation, and what they cost, by a stage of astrosurvey."""
    stage = NeuralLikelihood if method == "nle" else NeuralPosterior
    settings: dict[str, Any] = {"members": 1} if method == "single" else {}
    config = stage.Config(**settings, **dict(arguments.set))
    found = Simulations(Tiles(["t0"], lambda name: simulations))
    split, of_data = found.split(config.keep_back), method == "nle"
    rng = np.random.default_rng(seed)
    with threads(1):
        began = time.process_time()
        parameters, data = ParameterScaling(found.prior), DataScaling.learnt(found.sample(split.training))
        trained = train(
            Pairs(found, parameters, data, rng, "cpu"),
            split,
            settings_of(config, FLOW),
            of_data=of_data,
            seed=int(rng.integers(2**31)),
            device="cpu",
            progress=lambda done, total: None,
            log=lambda line: None,
            build=ZukoEnsemble if method == "zuko" else FlowEnsemble,
        )
        seconds = time.process_time() - began
        estimator = (LikelihoodFlow if of_data else PosteriorFlow)(trained.network, parameters, data, "cpu")
        began = time.process_time()
        draws = [estimator.sample(x, len(reference), np.random.default_rng(5))[0] for x, reference in observed]
        drawing = time.process_time() - began
    return draws, {
        "train_cpu_s": round(seconds, 1),
        "draw_cpu_s": round(drawing / max(len(observed), 1), 3),
        "surprise": round(trained.history.best[0], 4),
        "steps": trained.history.stopped,
    }


def by_sbi(
    simulations: Observations, observed: list[tuple[np.ndarray, np.ndarray]], seed: int, arguments: argparse.Namespace
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the same by the package sbi, on the same simulations and observations."""
    marginals = Prior.of(simulations.parameters).marginals
    given = {"theta": simulations.parameters.draws, "x": simulations.data, "observed": np.concatenate([x for x, _ in observed])}
    prior = {"kinds": [m.kind for m in marginals], "args": [m.args for m in marginals]}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "given.npz", Path(folder) / "made.npz"
        np.savez(source, **given, **prior, draws=arguments.draws, seed=seed)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONPATH", None)
        # -P, for this file is called like the package.
        subprocess.run([arguments.sbi_python, "-P", HERE / "sbi_package.py", source, target], check=True, env=environment, cwd=folder)
        made = dict(np.load(target))
    return made["draws"], {
        "train_cpu_s": round(float(made["train_cpu_s"]), 1),
        "draw_cpu_s": round(float(made["draw_cpu_s"]), 3),
        "epochs": int(made["epochs"]),
    }


def calibrated(simulations: Observations, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what `sbi.npe` finds of its own calibration."""
    config = NeuralPosterior.Config(**dict(arguments.set))
    with tempfile.TemporaryDirectory() as scratch:
        _, metrics = infer(context(seed, Path(scratch)), Tiles(["t0"], lambda name: simulations), config, "sbi.npe")
    card = metrics.meta[CARD]
    return {
        "sbc_p": [marginal["ks_p"] for marginal in card["marginals"].values()],
        **{name: card[name] for name in ("covered", "tarp", "signed", "p", "verdict", "tests", "draws")},
        "simulations": arguments.simulations,
    }


def compared(figures: dict[str, dict[str, Any]]) -> list[str]:
    """Return a Markdown table of one flow of ours beside the one of sbi: means over the seeds that both have."""
    rows = ["| task | C2ST, ours | sbi | difference | CPU s, ours | sbi | ratio | seeds |", "| --- " * 8 + "|"]
    for task in BESIDE:
        ours, sbi = figures.get(f"{task}/single", {}), figures.get(f"{task}/sbi", {})
        if not (seeds := sorted(ours.keys() & sbi.keys())):
            continue
        mean = {key: [float(np.mean([one[s][key] for s in seeds])) for one in (ours, sbi)] for key in ("c2st", "train_cpu_s")}
        (good, theirs), (quick, slow) = mean["c2st"], mean["train_cpu_s"]
        scores = f"{good:.3f} | {theirs:.3f} | {good - theirs:+.3f}"
        rows.append(f"| {task} | {scores} | {quick:.1f} | {slow:.1f} | {quick / slow:.2f} | {len(seeds)} |")
    return rows


def speed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return draws per CPU second of `sbi.posterior` with its tables, 100 draws for each of many observations, six parameters."""
    rng = np.random.default_rng(1)
    prior = Prior.declared({f"theta_{k}": {"uniform": [-1, 1]} for k in range(6)})
    theta = prior.draw(rng, 2000)
    data = (theta + 0.3 * rng.standard_normal(theta.shape)).astype(np.float32)
    simulations = {"t0": Observations(data, np.arange(2000, dtype=np.int64), "", (), prior.samples(theta), {})}
    with tempfile.TemporaryDirectory() as scratch:
        config = NeuralPosterior.Config(epochs=2, calibration="off")
        model, _ = infer(context(1, Path(scratch)), Tiles(["t0"], simulations.__getitem__), config, "sbi.npe")
        observed = Observations(np.resize(data, (arguments.rows, 6)), np.arange(arguments.rows, dtype=np.int64))
        stage, best = Posterior(Posterior.Config(draws=100)), np.inf
        stage.run(context(1, Path(scratch)), posterior_model=model, observations=replace(observed, data=data, ids=np.arange(len(data))))
        for _ in range(3):
            began = time.process_time()
            stage.run(context(1, Path(scratch)), posterior_model=model, observations=observed)
            best = min(best, time.process_time() - began)
    return {"rows": len(observed), "draws": 100, "draws_per_cpu_s": round(100 * len(observed) / best)}


def main() -> None:
    """Measure the parts that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ASTROSURVEY_TEST_DATA", ".")) / "sbibm", metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "sbi.json", metavar="FILE.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--observations", type=int, default=5)
    parser.add_argument("--draws", type=int, default=10_000, help="of each posterior, for the C2ST")
    parser.add_argument("--rows", type=int, default=100_000, help="observations, for the speed")
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("SETTING", "VALUE"), help="another setting of the stage")
    parser.add_argument("--again", action="store_true", help="forget the chosen parts")
    parser.add_argument("--sbi-python", default=sys.executable, metavar="PYTHON", help="an interpreter that has sbi, for TASK/sbi")
    parser.add_argument("--compare", action="store_true", help="print ours beside sbi, of what FILE.json holds")
    arguments = parser.parse_args()
    arguments.set = [(name, json.loads(value)) for name, value in arguments.set]
    figures: dict[str, dict[str, Any]] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    if arguments.compare:
        print("\n".join(compared(figures)))
        return
    for part in arguments.part:
        if arguments.again:
            figures.pop(part, None)
        for seed in arguments.seeds if part != "speed" else [1]:
            if str(seed) in figures.get(part, {}):
                continue
            figures.setdefault(part, {})[str(seed)] = speed(arguments) if part == "speed" else measured(part, seed, arguments)
            arguments.out.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
            print(part, seed, figures[part][str(seed)], flush=True)


if __name__ == "__main__":
    main()
