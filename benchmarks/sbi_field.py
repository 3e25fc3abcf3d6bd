"""Posteriors of random fields beside exact ones: `python benchmarks/sbi_field.py [--part cube/power ...] [--out FILE.json]`.

A Gaussian random field with a power law for its spectrum and white noise (`simulate.lightcone`, and the same of images) has a likelihood of
its modes' powers, so the posterior of amplitude, slope and mean is exact on a grid. Each part is a kind of data and what summarises them
before `sbi.npe`; all are the product's own stages:

- `cube/power`, `image/power`: `sbi.powerspectrum`;
- `cube/convolutions`, `image/convolutions`: `sbi.moments` and `sbi.summarise`;
- `image/scattering`: `sbi.scattering`;
- `cube/joint`: `sbi.moments`, whose network `sbi.npe` tunes together with the flow in the end; `untuned` are flow and network before that.

`offset` is the posterior's mean less the exact one in exact standard deviations, root mean square over the observations and, beside it, the
median of its size; `width` the ratio of standard deviations, its median and the range of the middle 80 % of observations; both in the order
of the parameters. `within` is the part of observations of which the offset is below 0.2 and the width within 15 % in a parameter.

Seconds are CPU seconds of one thread. Figures go to FILE.json at once; parts and seeds that are there are passed over.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

sys.path.append(str(Path(__file__).parents[1]))

import numpy as np
from scipy.stats import truncnorm

from astrosurvey import Context, Simulator
from astrosurvey.core.product import Tiles
from astrosurvey.networks.determinism import threads
from astrosurvey.products import Model, Observations
from astrosurvey.stages.sbi.model import opened
from astrosurvey.stages.sbi.rows import RowRandom
from astrosurvey.stages.sbi.simulators.lightcone import LightCone, wave_numbers
from astrosurvey.stages.sbi.stage import NeuralPosterior
from astrosurvey.stages.sbi.summaries.moments_stage import Summarise, TrainMoments
from astrosurvey.stages.sbi.summaries.power_stage import PowerSpectrum
from astrosurvey.stages.sbi.summaries.scattering_stage import Scattering

HERE = Path(__file__).parent
NOISE = 5.0
SHAPES = {"cube": (16, 16, 16), "image": (64, 64)}
PARTS = ("cube/power", "cube/convolutions", "image/power", "image/scattering", "image/convolutions", "cube/joint")
GRID, ZOOMS, REACH = 81, 6, 6.0
"""Points of the grid along amplitude and slope; times that it closes in on the posterior; and to how many standard deviations."""


class Field(Simulator):
    """Simulate images as `simulate.lightcone` does cubes: their spectrum is amplitude^2 k^slope at k radians per pixel."""

    name, version, scope = "benchmark.field", 1, "tile"
    parameters: ClassVar[Mapping[str, str]] = LightCone.parameters
    prior: ClassVar[Mapping[str, Mapping[str, Any]]] = LightCone.prior

    def simulate(self, theta: np.ndarray, random: RowRandom) -> np.ndarray:
        """Return (n, y, x) images."""
        shape = SHAPES["image"]
        amplitude, slope, mean = (theta[:, i, None, None] for i in range(3))
        waves = np.fft.fft2(random.normal(*shape)) * np.sqrt(power(wave_numbers(shape), amplitude, slope))
        return mean + np.fft.ifft2(waves).real + NOISE * random.normal(*shape)


def power(k: np.ndarray, amplitude: Any, slope: Any) -> np.ndarray:
    """Return the power of modes; none at k = 0, which is the mean."""
    return np.asarray(np.where(k > 0, amplitude**2 * np.where(k > 0, k, 1.0) ** slope, 0.0))


def exact(field: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (3,) mean and (3,) standard deviation of the posterior of amplitude, slope and mean, by a grid that closes in.

    The mean of a field is its own matter: normal about the mean of the pixels, with the noise's error, within the prior.

    Args:
        field: of any shape.
        bounds: (3, 2) of the priors, of which that of the amplitude is even in its logarithm.
    """
    k, shell, count = np.unique(wave_numbers(field.shape).round(9), return_inverse=True, return_counts=True)
    total = np.bincount(shell.ravel(), np.abs(np.fft.fftn(field.astype(float))).ravel() ** 2 / field.size)
    k, count, total = k[1:], count[1:], total[1:]
    ends = np.stack([np.log(bounds[0]), bounds[1]])
    low, high = ends.T
    for _ in range(ZOOMS):
        lines = [np.linspace(a, b, GRID) for a, b in zip(low, high, strict=True)]
        points = np.stack(np.meshgrid(*lines, indexing="ij")).reshape(2, -1)
        variance = power(k, np.exp(points[0])[:, None], points[1][:, None]) + NOISE**2
        log = -0.5 * (count * np.log(variance) + total / variance).sum(axis=1)
        weight = np.exp(log - log.max())
        weight /= weight.sum()
        mean = points @ weight
        spread = np.maximum(np.sqrt((points - mean[:, None]) ** 2 @ weight), 2 * (high - low) / GRID)
        low, high = np.maximum(ends[:, 0], mean - REACH * spread), np.minimum(ends[:, 1], mean + REACH * spread)
    points[0] = np.exp(points[0])
    mean = points @ weight
    spread = np.sqrt((points - mean[:, None]) ** 2 @ weight)
    middle, error = field.mean(dtype=float), NOISE / np.sqrt(field.size)
    of_mean = truncnorm(*(bounds[2] - middle) / error, loc=middle, scale=error)
    return np.array([*mean, of_mean.mean()]), np.array([*spread, of_mean.std()])


def context(seed: int, scratch: Path) -> Context:
    """Return the surroundings of a task outside of any run."""
    return Context(None, np.random.default_rng(seed), "cpu", logging.getLogger("benchmark"), lambda done, total: None, scratch)


def simulated(kind: str, number: int, seed: int) -> Observations:
    """Return simulations with their parameters."""
    simulator: Simulator = LightCone(LightCone.Config(shape=SHAPES["cube"], noise=NOISE)) if kind == "cube" else Field()
    prior = simulator.usual_prior()
    theta = prior.draw(np.random.default_rng((7, seed)), number)
    # Some at a time: in double precision all would be gigabytes.
    step = 1024
    data = np.concatenate([simulator.draw(theta[first : first + step], 10_000 * seed + first) for first in range(0, number, step)])
    return Observations(data, np.arange(number, dtype=np.int64), "", (), prior.samples(theta), {})


def pretrained(simulations: Observations, seed: int, folder: Path, settings: dict[str, Any]) -> Model:
    """Return a moment network."""
    config = TrainMoments.Config(symmetry="torus", **settings)
    made = TrainMoments(config).run(context(seed, folder), observations=Tiles(["t"], lambda name: simulations))
    print("  ", {metric.name: round(metric.value, 4) for metric in made["metrics"].values}, flush=True)
    return made["summary_model"]


def summariser(
    method: str, simulations: Observations, seed: int, folder: Path, settings: dict[str, Any]
) -> Callable[[Observations], Observations]:
    """Return what turns observations into summaries; trained on simulations, if it learns."""
    if method == "convolutions":
        model = pretrained(simulations, seed, folder, settings)
        return lambda seen: Summarise().run(context(seed, folder), summary_model=model, observations=seen)["observations"]
    stage = {"power": PowerSpectrum, "scattering": Scattering}[method]
    return lambda seen: stage(stage.Config(**settings)).run(context(seed, folder), observations=seen)["observations"]


def beside_exact(made: Mapping[str, Any], tests: Observations, seen: Observations, draws: int, folder: Path) -> dict[str, Any]:
    """Return how posteriors of tests compare with exact ones.

    Args:
        made: what `sbi.npe` has made.
        tests: fields.
        seen: the same as the model takes them.
        draws: from each posterior.
        folder: for temporary files.
    """
    ready = opened(made["posterior_model"], "cpu")
    x, _ = ready.heard(context(5, folder), seen.data)
    drawn = ready.estimator.sample(x, draws, np.random.default_rng(5))
    bounds = np.transpose(LightCone.usual_prior().bounds)
    mean, spread = (np.stack(rows) for rows in zip(*(exact(field, bounds) for field in tests.data), strict=True))
    offset, width = (drawn.mean(axis=1) - mean) / spread, drawn.std(axis=1) / spread
    within = (np.abs(offset) <= 0.2) & (np.abs(width - 1) <= 0.15)
    calibration = {metric.name: metric.value for metric in made["calibration"].values}
    return {
        "offset_rms": np.sqrt((offset**2).mean(axis=0)).round(3).tolist(),
        "offset_median": np.median(np.abs(offset), axis=0).round(3).tolist(),
        "width_median": np.median(width, axis=0).round(3).tolist(),
        "width_middle": np.quantile(width, [0.1, 0.9], axis=0).T.round(3).tolist(),
        "within": within.mean(axis=0).round(3).tolist(),
        "coverage_90": round(calibration["coverage_90"], 3),
        "calibration_p": round(calibration["calibration_p"], 4),
        "surprise": round(calibration["surprise"], 3),
    }


def measured(part: str, seed: int, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the figures of one training."""
    kind, _, method = part.partition("/")
    seconds = {}
    settings = dict(arguments.summary)

    def timed(name: str, began: float) -> None:
        seconds[name] = round(time.process_time() - began, 1)

    def npe(seen: Observations, **more: Any) -> Mapping[str, Any]:
        began = time.process_time()
        stage = NeuralPosterior(NeuralPosterior.Config.model_validate({**dict(arguments.set), **more.pop("settings", {})}))
        made = stage.run(context(seed, folder), observations=Tiles(["t"], lambda name: seen), **more)
        timed("train" if stage.config.tuning is None else "train and tune", began)
        return made

    with threads(1):
        began = time.process_time()
        simulations = simulated(kind, arguments.simulations, seed)
        tests = simulated(kind, arguments.observations, 991)
        timed("simulate", began)
        began = time.process_time()
        found: dict[str, Any] = {}
        if method == "joint":
            model = pretrained(simulations, seed, folder, settings)
            timed("summarise", began)
            untuned = npe(simulations, summary_model=model)
            found["untuned"] = beside_exact(untuned, tests, tests, arguments.draws, folder)
            made, seen = npe(simulations, summary_model=model, settings={"tuning": dict(arguments.tuning)}), tests
        else:
            summarise = summariser(method, simulations, seed, folder, settings)
            told = summarise(simulations)
            timed("summarise", began)
            made, seen = npe(told), summarise(tests)
        found |= beside_exact(made, tests, seen, arguments.draws, folder)
    return {
        **found,
        "cpu_s": seconds,
        "simulations": arguments.simulations,
        "observations": arguments.observations,
        "settings": {"summary": settings, "npe": dict(arguments.set), "tuning": dict(arguments.tuning)},
    }


def main() -> None:
    """Measure the parts that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "sbi_field.json", metavar="FILE.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--observations", type=int, default=100)
    parser.add_argument("--draws", type=int, default=2000)
    another = {"nargs": 2, "action": "append", "default": [], "metavar": ("SETTING", "VALUE")}
    parser.add_argument("--set", help="another setting of sbi.npe", **another)
    parser.add_argument("--summary", help="another setting of the stage that summarises", **another)
    parser.add_argument("--tuning", help="another setting of the joint tuning", **another)
    parser.add_argument("--again", action="store_true", help="forget the chosen parts")
    arguments = parser.parse_args()
    for options in ("set", "summary", "tuning"):
        setattr(arguments, options, [(name, json.loads(value)) for name, value in getattr(arguments, options)])
    figures: dict[str, dict[str, Any]] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for part in arguments.part:
        if arguments.again:
            figures.pop(part, None)
        for seed in arguments.seeds:
            if str(seed) in figures.get(part, {}):
                continue
            with tempfile.TemporaryDirectory() as folder:
                figures.setdefault(part, {})[str(seed)] = measured(part, seed, arguments, Path(folder))
            arguments.out.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
            print(part, seed, figures[part][str(seed)], flush=True)


if __name__ == "__main__":
    main()
