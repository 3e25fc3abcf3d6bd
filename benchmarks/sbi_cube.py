"""From a cube of 102 MB to posterior draws: `python benchmarks/sbi_cube.py [--shape Z Y X] [--draws N] [--symmetry torus]`.

Reads the cube, summarises it as `sbi.summarise` does and draws from a posterior of seven parameters as `sbi.posterior` does. What the
networks say is of no use, for they have been trained for a moment only; what it costs does not depend on that. Set OMP_NUM_THREADS for
the number of threads. Imports are counted apart.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import numpy as np

PARAMETERS = {f"theta_{k}": {"uniform": [0, 1]} for k in range(7)}
FEATURES = 16


def models(shape: tuple[int, ...], symmetry: str, context: Any) -> tuple[Any, Any]:
    """Return a moment network for cubes, and a flow on its summaries."""
    from astrosurvey.core.product import Tiles
    from astrosurvey.networks.summaries.build import moment_network
    from astrosurvey.products import Model, Observations
    from astrosurvey.stages.sbi.priors import Prior
    from astrosurvey.stages.sbi.stage import NeuralPosterior
    from astrosurvey.stages.sbi.summaries.model import ARCHITECTURE, TASK
    from astrosurvey.stages.sbi.summaries.scale import FieldScaling

    prior, rng = Prior.declared(PARAMETERS), np.random.default_rng(1)
    config = {"kind": "convolutions", "shape": list(shape), "features": FEATURES, "parameters": len(prior), "channels": False, "stem": None}
    weights = {name: tensor.numpy() for name, tensor in moment_network(**config).state_dict().items()}
    scaling = FieldScaling.learnt(rng.normal(size=(1, 1000)), None)
    card = {"task": TASK, "prior": prior.to_json(), "data": scaling.to_card(), "shape": list(shape), "symmetry": symmetry}
    theta = prior.draw(rng, 500)
    names = tuple(f"summary_{k}" for k in range(FEATURES))
    summaries = (theta @ rng.normal(size=(7, FEATURES)) + 0.1 * rng.normal(size=(500, FEATURES))).astype(np.float32)
    simulations = Observations(summaries, np.arange(500), "", names, prior.samples(theta), {})
    stage = NeuralPosterior(NeuralPosterior.Config(epochs=1, tests=20))
    flow = stage.run(context, observations=Tiles(("t",), lambda name: simulations))["posterior_model"]
    return Model(ARCHITECTURE, config, weights, card), flow


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(1300, 140, 140))
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--symmetry", default="none", choices=("none", "mirror", "square", "torus"))
    options = parser.parse_args()
    begin = time.perf_counter()
    from astrosurvey import Context
    from astrosurvey.core.tiles import Tile
    from astrosurvey.products import Observations
    from astrosurvey.stages.sbi.stage import Posterior
    from astrosurvey.stages.sbi.summaries.moments_stage import Summarise

    with tempfile.TemporaryDirectory() as folder:
        log = logging.getLogger("benchmark")
        tile = Tile(name="t", number=1, index=0)
        context = Context(tile, np.random.default_rng(2), "cpu", log, lambda done, total: None, Path(folder))
        summary, flow = models(tuple(options.shape), options.symmetry, context)
        cube = np.random.default_rng(3).normal(size=(1, *options.shape)).astype(np.float32)
        Observations(cube, np.zeros(1, np.int64), "tile").write(Path(folder) / "cube")
        size = cube.nbytes / 1e6
        del cube
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"imports and networks: {time.perf_counter() - begin:.2f} s")
        start, cpu = time.perf_counter(), time.process_time()
        observed = Observations.read(Path(folder) / "cube")
        seen = Summarise(Summarise.Config()).run(context, summary_model=summary, observations=observed)["observations"]
        between = time.perf_counter()
        stage = Posterior(Posterior.Config(draws=options.draws, keep=options.draws))
        samples = stage.run(context, posterior_model=flow, observations=seen)["posterior_sample"]
        end = time.perf_counter()
    print(f"{size:.0f} MB: read and summarised in {between - start:.2f} s, {len(samples)} draws in {end - between:.2f} s")
    print(f"together {end - start:.2f} s, {time.process_time() - cpu:.2f} CPU s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB, {before:.0f} of it before")


if __name__ == "__main__":
    main()
