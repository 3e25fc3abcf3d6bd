"""How good the simulators' own reference posteriors are: `python benchmarks/sbi_references.py [--draws N] [--data FOLDER]`.

Of two_moons and slcp, our draws are told from sbibm's published ones by the C2ST of `sbi.py`: 0.5 is what equal distributions give.
Of those whose reference is drawn by importance, the effective share of the proposals is given, for observations that are simulated.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
import numpy as np
from sbi import PUBLISHED, c2st, references

from astrosurvey.stages.sbi.simulators.lightcone import LightCone
from astrosurvey.stages.sbi.simulators.lotka_volterra import LotkaVolterra
from astrosurvey.stages.sbi.simulators.sir import Sir
from astrosurvey.stages.sbi.simulators.slcp import Slcp
from astrosurvey.stages.sbi.simulators.two_moons import TwoMoons


def main() -> None:
    """Print one line for each observation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ASTROSURVEY_TEST_DATA", ".")) / "sbibm", metavar="FOLDER")
    parser.add_argument("--draws", type=int, default=3000)
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    for simulator in (TwoMoons(), Slcp()):
        task = simulator.name.partition(".")[2]
        for k, (x, published) in enumerate(references(task, PUBLISHED, arguments.draws, arguments.data), start=1):
            began = time.process_time()
            ours = simulator.reference(x[0].astype(float), arguments.draws, rng)
            seconds = time.process_time() - began
            share = f"  effective {Slcp().weighted(x[0], 100_000, rng).effective / 1e5:.3f}" if task == "slcp" else ""
            print(f"{task} {k}: C2ST {c2st(ours, published):.3f}  {seconds:.2f} CPU s{share}", flush=True)
    for simulator in (Sir(), LotkaVolterra(), LightCone()):
        theta = simulator.usual_prior().draw(rng, 3)
        for k, x in enumerate(simulator.draw(theta, 1).astype(float), start=1):
            began = time.process_time()
            proposal = simulator.proposal(x, rng)
            share = proposal.weighted(arguments.draws, rng).effective / arguments.draws
            print(f"{simulator.name} {k}: effective {share:.3f}  {time.process_time() - began:.2f} CPU s", flush=True)


if __name__ == "__main__":
    main()
