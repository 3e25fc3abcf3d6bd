"""Marginals by truncated rounds beside one training for all: `python benchmarks/sbi_rounds.py [--part usual wide] [--out FILE.json]`.

The simulator is `simulate.stream`. In `usual` the prior is its usual one, of which a stream's posterior fills most in five parameters of
six; in `wide` it is the one below, of somebody who knows less. What is observed are draws of the usual prior in both. All is done SEEDS
times, with other simulations and first weights.

- `round`: `sbi.tmnre` learns from FIRST simulations, and cuts the prior for each of 100 fresh simulations as if that had been observed. How
  often is the truth within the box, and how much of the prior is left?
- `npe N`: `sbi.npe` learns from as many simulations as LARGE, from as many as all rounds have together, and, once, from REFERENCE.
- `tmnre`: for each of a few observations, further rounds of SECOND simulations within the box of the round before, pooled with those of
  earlier rounds that lie in it.
- `widths`: standard deviations of the marginal posteriors of the same observations, of rounds in those of NPE (geometric means).

Of every estimator it is asked whether it is overconfident, by fresh simulations of the prior that it was trained under: how many truths
lie in the central intervals of 68, 90 and 95 per cent, over all parameters, and how far truths scatter in widths of the posterior
(`spread`; more than 1 is overconfident). `calibrated` compares widths times that scatter, what they would be at the same calibration.

Seconds are CPU seconds of one thread. What is in FILE.json already is passed over.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
import numpy as np

from astrosurvey import Context
from astrosurvey.core.product import Tiles
from astrosurvey.networks.determinism import threads
from astrosurvey.products import Observations
from astrosurvey.stages.sbi.estimator import Estimator
from astrosurvey.stages.sbi.model import opened
from astrosurvey.stages.sbi.priors import Prior
from astrosurvey.stages.sbi.rounds.box import Box, of_card
from astrosurvey.stages.sbi.rounds.marginals import MarginalRatio
from astrosurvey.stages.sbi.rounds.pool import pooled
from astrosurvey.stages.sbi.rounds.stage import TruncatedMarginals
from astrosurvey.stages.sbi.simulators.stream import Stream
from astrosurvey.stages.sbi.stage import NeuralPosterior

HERE = Path(__file__).parent
WIDE: dict[str, dict[str, Any]] = {
    "age": {"uniform": [0.5, 12], "unit": "Gyr"},
    "dispersion": {"log_uniform": [0.05, 5], "unit": "km/s"},
    "log_mass": {"uniform": [4, 9]},
    "encounter": {"uniform": [0.1, 4], "unit": "Gyr"},
    "place": {"uniform": [2, 35], "unit": "deg"},
    "background": {"log_uniform": [0.1, 300], "unit": "deg**-1"},
}
TESTS = 100
"""Fresh simulations that each question rests on."""
DRAWS = 2000
LEVELS = (0.68, 0.9, 0.95)


def context(seed: int, scratch: Path) -> Context:
    """Return the surroundings of a task outside of any run."""
    return Context(None, np.random.default_rng(seed), "cpu", logging.getLogger("benchmark"), lambda done, total: None, scratch)


def tiles(part: Observations) -> Tiles[Observations]:
    """Return one tile that holds these."""
    return Tiles(["t0"], lambda name: part)


def simulated(simulator: Stream, prior: Prior, number: int, seed: int) -> Observations:
    """Return simulations of draws of a prior."""
    theta = prior.draw(np.random.default_rng((7, seed)), number)
    ids = np.arange(number, dtype=np.int64)
    return Observations(simulator.draw(theta, seed), ids, "", simulator.feature_names(), prior.samples(theta))


def widths(estimator: Estimator, x: np.ndarray) -> np.ndarray:
    """Return (m, p) standard deviations of posteriors."""
    with threads(1):
        drawn = estimator.posterior(x, DRAWS, np.random.default_rng(5))
    return drawn.moments.std if drawn.moments is not None else np.nanstd(drawn.theta, axis=1)


def confidence(simulator: Stream, estimator: Estimator, seed: int) -> dict[str, Any]:
    """Return whether posteriors of fresh simulations hold the truth as often as they say, and by parameter how far truths scatter."""
    tests = simulated(simulator, estimator.prior, TESTS, seed)
    assert tests.parameters is not None
    with threads(1):
        drawn = estimator.sample(tests.data, 400, np.random.default_rng(5))
    truth = tests.parameters.draws
    found: dict[str, Any] = {}
    for level in LEVELS:
        low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=1)
        found[f"covered_{100 * level:.0f}"] = round(float(((truth >= low) & (truth <= high)).mean()), 3)
    pulls = (truth - np.nanmean(drawn, axis=1)) / np.nanstd(drawn, axis=1)
    return {**found, "spread": [round(float(value), 3) for value in np.sqrt((pulls**2).mean(axis=0))]}


def together(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means over several estimators of what `confidence` says of each."""
    names = [*(f"covered_{100 * level:.0f}" for level in LEVELS), "spread", "train_cpu_s"]
    return {name: np.round(np.mean([one[name] for one in each], axis=0), 3).tolist() for name in names}


def compared(rounds: np.ndarray, npe: np.ndarray) -> dict[str, Any]:
    """Return the geometric mean of (seed, observation, p) widths in others, of all parameters and by parameter."""
    log = np.log(rounds / npe)
    each = np.exp(log.mean(axis=(0, 1)))
    return {"all": round(float(np.exp(log.mean())), 3), "by_parameter": np.round(each, 3).tolist()}


class Measurement:
    """What is measured under one prior with one seed.

    Args:
        prior: of the simulations.
        arguments: of the command line.
        scratch: a folder.
        seed: of the simulations and of all trainings.
    """

    def __init__(self, prior: Prior, arguments: argparse.Namespace, scratch: Path, seed: int) -> None:
        self._arguments, self._scratch, self._seed = arguments, scratch, seed
        self._simulator, self._prior = Stream(), prior
        self._config = TruncatedMarginals.Config(pairs=[], calibration="off", keep=2, **dict(arguments.set))
        self._first = simulated(self._simulator, prior, arguments.first, 10_000 * seed + 1)
        self.observed = simulated(self._simulator, self._simulator.usual_prior(), arguments.observations, 2)

    def first(self) -> tuple[dict[str, Any], MarginalRatio]:
        """Return how often the first round keeps the truth in the box of its own data, and its estimator."""
        _, estimator, seconds = self._round(self._first, self.observed, 1)
        tests = simulated(self._simulator, self._prior, TESTS, 4)
        assert tests.parameters is not None
        with threads(1):
            box = Box.of(estimator.log_ratios(tests.data), self._config.threshold)
        held, volume = box.holds(self._prior.probability(tests.parameters.draws)), box.kept.prod(axis=1)
        kept = {"truth_kept": round(float(held.mean()), 3), "volume_median": float(f"{np.median(volume):.3g}")}
        return {**kept, **confidence(self._simulator, estimator, 3), "train_cpu_s": seconds}, estimator

    def npe(self, number: int) -> tuple[dict[str, Any], np.ndarray]:
        """Return whether `sbi.npe` of so many simulations can be trusted, and its widths of the observations."""
        simulations = simulated(self._simulator, self._prior, number, 10_000 * self._seed + 5)
        began = time.process_time()
        stage = NeuralPosterior(NeuralPosterior.Config(calibration="off"))
        model = stage.run(context(self._seed, self._scratch), observations=tiles(simulations))["posterior_model"]
        seconds, estimator = round(time.process_time() - began, 1), opened(model, "cpu").estimator
        return {**confidence(self._simulator, estimator, 3), "train_cpu_s": seconds}, widths(estimator, self.observed.data)

    def rounds(self, row: int, first: MarginalRatio) -> dict[str, Any]:
        """Return the marginal widths of one observation after all rounds, and what the rounds after the first were."""
        observed = self.observed
        assert observed.parameters is not None
        theta = np.ascontiguousarray(observed.parameters.draws[row : row + 1])
        target = Observations(np.ascontiguousarray(observed.data[row : row + 1]), np.array([row]), "", observed.names)
        prior, estimator = Box.of(first.log_ratios(target.data), self._config.threshold).around().cut(self._prior), first
        pool, volumes, seconds = self._first, list[float](), 0.0
        for number in range(2, self._arguments.rounds + 1):
            volumes.append(float(f"{np.exp(self._prior.log_density(theta) - prior.log_density(theta))[0]:.3g}"))
            fresh = simulated(self._simulator, prior, self._arguments.second, 10_000 * self._seed + 100 * number + row)
            scratch = self._scratch / f"{row}-{number}"
            scratch.mkdir()
            pool = pooled(context(1, scratch), fresh, pool)
            prior, estimator, more = self._round(pool, target, number)
            seconds += more
        found = {
            "volumes": volumes,
            "pooled": len(pool),
            "truth_kept": bool(prior.inside(theta)[0]),
            "std": [float(f"{value:.4g}") for value in widths(estimator, target.data)[0]],
            **confidence(self._simulator, estimator, 6 + row),
            "train_cpu_s": round(seconds, 1),
        }
        print(row, found, flush=True)
        return found

    def _round(self, simulations: Observations, target: Observations, number: int) -> tuple[Prior, MarginalRatio, float]:
        """Return the prior that a round leaves, its estimator, and seconds."""
        began = time.process_time()
        surroundings = context(100 * self._seed + number, self._scratch)
        made = TruncatedMarginals(self._config).run(surroundings, observations=tiles(simulations), target=tiles(target))
        model = made["posterior_model"]
        estimator = opened(model, "cpu").estimator
        assert isinstance(estimator, MarginalRatio)
        return of_card(model.card), estimator, round(time.process_time() - began, 1)


def figures(prior: Prior, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all figures under one prior."""
    total = arguments.first + arguments.second * (arguments.rounds - 1)
    names = ("first", "second", "rounds", "large", "reference", "observations", "seeds")
    found: dict[str, Any] = {"settings": {name: getattr(arguments, name) for name in names} | dict(arguments.set)}
    sizes = dict.fromkeys((arguments.large, total, arguments.reference))
    firsts, each, flows = list[dict[str, Any]](), list[list[dict[str, Any]]](), {number: list[Any]() for number in sizes if number}
    for seed in range(1, arguments.seeds + 1):
        with tempfile.TemporaryDirectory() as scratch:
            measurement = Measurement(prior, arguments, Path(scratch), seed)
            for number, done in flows.items():
                if number != arguments.reference or not done:
                    done.append(measurement.npe(number))
                    print(f"npe {number}", done[-1][0], flush=True)
            one, estimator = measurement.first()
            firsts.append(one)
            print("round", one, flush=True)
            each.append([measurement.rounds(row, estimator) for row in range(arguments.observations)])
    found["round"] = {**together(firsts), **{name: [one[name] for one in firsts] for name in ("truth_kept", "volume_median")}}
    last = together([one for row in each for one in row])
    found["tmnre"] = {"simulations": total, "each": each, **last}
    std, spread, found["widths"] = np.array([[one["std"] for one in row] for row in each]), np.array(last["spread"]), {}
    for number, done in flows.items():
        found[f"npe {number}"] = together([said for said, _ in done])
        by_npe, theirs = np.array([width for _, width in done]), np.array(found[f"npe {number}"]["spread"])
        found["widths"][f"tmnre {total} / npe {number}"] = {
            **compared(std, by_npe),
            "calibrated": compared(std * spread, by_npe * theirs),
        }
    return found


def main() -> None:
    """Measure what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=("usual", "wide"), default=["usual", "wide"])
    parser.add_argument("--first", type=int, default=1000, help="simulations of the first round")
    parser.add_argument("--second", type=int, default=1000, help="simulations of each further one")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--large", type=int, default=6000, help="simulations of sbi.npe")
    parser.add_argument("--reference", type=int, default=30_000, help="simulations of sbi.npe that show what there is to know; 0 for none")
    parser.add_argument("--observations", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("SETTING", "VALUE"), help="another setting of sbi.tmnre")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "sbi_rounds.json", metavar="FILE.json")
    arguments = parser.parse_args()
    arguments.set = [(name, json.loads(value)) for name, value in arguments.set]
    measured: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for part in arguments.part:
        if part not in measured:
            measured[part] = figures(Stream.usual_prior() if part == "usual" else Prior.declared(WIDE), arguments)
            arguments.out.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")
            print(part, measured[part]["widths"], flush=True)


if __name__ == "__main__":
    main()
