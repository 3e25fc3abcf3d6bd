"""Marginals by truncated rounds beside one training for all: `python benchmarks/sbi_rounds.py [--part usual wide] [--out FILE.json]`.

The simulator is `simulate.stream`. In `usual` the prior is its usual one, of which a stream's posterior fills most in five parameters of
six; in `wide` it is the one below, of somebody who knows less. What is observed are draws of the usual prior in both.

- `round`: `sbi.tmnre` learns from FIRST simulations, and cuts the prior for each of 100 fresh simulations as if that had been observed. How
  often is the truth within the box, and how much of the prior is left?
- `npe N`: `sbi.npe` learns from as many simulations as LARGE, and from as many as all rounds have together.
- `tmnre`: for each of a few observations, further rounds of SECOND simulations within the box of the round before, pooled with those of
  earlier rounds that lie in it.
- `widths`: standard deviations of the marginal posteriors of the same observations, of rounds in those of NPE (geometric means).

Of every estimator it is asked whether it is overconfident, by fresh simulations of the prior that it was trained under: how many truths
lie between the quantiles of 5 and 95 per cent, over all parameters, and how far truths scatter in widths of the posterior.

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
    """Return whether posteriors of fresh simulations hold the truth as often as they say, by parameter."""
    tests = simulated(simulator, estimator.prior, TESTS, seed)
    assert tests.parameters is not None
    with threads(1):
        drawn = estimator.sample(tests.data, 400, np.random.default_rng(5))
    truth = tests.parameters.draws
    low, high = np.nanquantile(drawn, [0.05, 0.95], axis=1)
    pulls = (truth - np.nanmean(drawn, axis=1)) / np.nanstd(drawn, axis=1)
    return {
        "covered_90": round(float(((truth >= low) & (truth <= high)).mean()), 3),
        "spread": [round(float(value), 2) for value in pulls.std(axis=0)],
    }


class Measurement:
    """What is measured under one prior.

    Args:
        prior: of the simulations.
        arguments: of the command line.
        scratch: a folder.
    """

    def __init__(self, prior: Prior, arguments: argparse.Namespace, scratch: Path) -> None:
        self._arguments, self._scratch = arguments, scratch
        self._simulator, self._prior = Stream(), prior
        self._first = simulated(self._simulator, prior, arguments.first, 1)
        self._observed = simulated(self._simulator, self._simulator.usual_prior(), arguments.observations, 2)

    def figures(self) -> dict[str, Any]:
        """Return all figures."""
        a = self._arguments
        total = a.first + a.second * (a.rounds - 1)
        _, first, seconds = self._round(self._first, self._observed, 1)
        settings = {name: getattr(a, name) for name in ("first", "second", "rounds", "large", "observations")}
        found: dict[str, Any] = {"settings": settings, "round": {**self._kept(first), "train_cpu_s": seconds}}
        print(found, flush=True)
        by_npe = {}
        for number in (a.large, total):
            estimator, seconds = self._npe(number)
            by_npe[number] = widths(estimator, self._observed.data)
            found[f"npe {number}"] = {"train_cpu_s": seconds, **confidence(self._simulator, estimator, 3)}
            print(f"npe {number}", found[f"npe {number}"], flush=True)
        each = [self._rounds(row, first) for row in range(a.observations)]
        by_rounds = np.array([one["std"] for one in each])
        found["tmnre"] = {"simulations": total, "each": each}
        found["widths"] = {
            f"tmnre {total} / npe {number}": {
                "all": round(float(np.exp(np.log(by_rounds / std).mean())), 3),
                "by_parameter": [round(float(value), 3) for value in np.exp(np.log(by_rounds / std).mean(axis=0))],
            }
            for number, std in by_npe.items()
        }
        return found

    def _round(self, simulations: Observations, target: Observations, seed: int) -> tuple[Prior, MarginalRatio, float]:
        """Return the prior that a round leaves, its estimator, and seconds."""
        began = time.process_time()
        config = TruncatedMarginals.Config(pairs=[], calibration="off", keep=2, **dict(self._arguments.set))
        stage = TruncatedMarginals(config)
        model = stage.run(context(seed, self._scratch), observations=tiles(simulations), target=tiles(target))["posterior_model"]
        estimator = opened(model, "cpu").estimator
        assert isinstance(estimator, MarginalRatio)
        return of_card(model.card), estimator, round(time.process_time() - began, 1)

    def _kept(self, estimator: MarginalRatio) -> dict[str, Any]:
        """Return how often the truth is in the box of its own data."""
        tests = simulated(self._simulator, self._prior, TESTS, 4)
        assert tests.parameters is not None
        with threads(1):
            box = Box.of(estimator.log_ratios(tests.data), TruncatedMarginals.Config().threshold)
        held = box.holds(self._prior.probability(tests.parameters.draws))
        volume = box.kept.prod(axis=1)
        return {
            "simulations": self._arguments.first,
            "tests": TESTS,
            "truth_kept": round(float(held.mean()), 3),
            "volume_median": float(f"{np.median(volume):.3g}"),
            **confidence(self._simulator, estimator, 3),
        }

    def _npe(self, number: int) -> tuple[Estimator, float]:
        simulations = simulated(self._simulator, self._prior, number, 5)
        began = time.process_time()
        stage = NeuralPosterior(NeuralPosterior.Config(calibration="off"))
        model = stage.run(context(1, self._scratch), observations=tiles(simulations))["posterior_model"]
        return opened(model, "cpu").estimator, round(time.process_time() - began, 1)

    def _rounds(self, row: int, first: MarginalRatio) -> dict[str, Any]:
        """Return the marginal widths of one observation after all rounds, and what the rounds after the first were."""
        observed = self._observed
        assert observed.parameters is not None
        theta = np.ascontiguousarray(observed.parameters.draws[row : row + 1])
        target = Observations(np.ascontiguousarray(observed.data[row : row + 1]), np.array([row]), "", observed.names)
        threshold = TruncatedMarginals.Config().threshold
        prior, estimator = Box.of(first.log_ratios(target.data), threshold).around().cut(self._prior), first
        pool, volumes, seconds = self._first, list[float](), 0.0
        for number in range(2, self._arguments.rounds + 1):
            volumes.append(float(f"{np.exp(self._prior.log_density(theta) - prior.log_density(theta))[0]:.3g}"))
            fresh = simulated(self._simulator, prior, self._arguments.second, 100 * number + row)
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
            "train_cpu_s": round(seconds, 1),
            **confidence(self._simulator, estimator, 6 + row),
        }
        print(row, found, flush=True)
        return found


def main() -> None:
    """Measure what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=("usual", "wide"), default=["usual", "wide"])
    parser.add_argument("--first", type=int, default=1000, help="simulations of the first round")
    parser.add_argument("--second", type=int, default=1000, help="simulations of each further one")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--large", type=int, default=6000, help="simulations of sbi.npe")
    parser.add_argument("--observations", type=int, default=3)
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("SETTING", "VALUE"), help="another setting of sbi.tmnre")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "sbi_rounds.json", metavar="FILE.json")
    arguments = parser.parse_args()
    arguments.set = [(name, json.loads(value)) for name, value in arguments.set]
    figures: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for part in arguments.part:
        if part not in figures:
            prior = Stream.usual_prior() if part == "usual" else Prior.declared(WIDE)
            with tempfile.TemporaryDirectory() as scratch:
                figures[part] = Measurement(prior, arguments, Path(scratch)).figures()
            arguments.out.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
            print(part, figures[part]["widths"], flush=True)


if __name__ == "__main__":
    main()
