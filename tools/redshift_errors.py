"""Learn what the errors of `spectra.redshift` are to be widened by: `python tools/redshift_errors.py DATA [--number 1600] [--seed 3]`.

DATA is a folder with published templates (`templates/`) and labelled spectra (`spectra/sdss_labelled.fits.gz`), which lend simulated
spectra their noise. Printed are the factor and the floor (km/s) under which redshifts that are right and without warning scatter
within one and two errors most nearly as often as a Gaussian does: `ERROR` in `redshift/answer.py`.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np

from astrosurvey import Context, Tile
from astrosurvey.stages.simulate.spectra.stage import SimulateSpectra
from astrosurvey.stages.spectra.redshift import answer
from astrosurvey.stages.spectra.redshift.sets import LIGHT
from astrosurvey.stages.spectra.redshift.stage import MeasureRedshift

SPLIT = Path(__file__).parents[1] / "examples" / "sdss-split.csv"
RIGHT = 0.0033
WANTED = 0.683, 0.954
WEIGHTS = 1.0, 4.0
"""How much a deviation from these counts: tails of errors that are too small mislead more than cores of errors that are too large."""
FACTORS = np.arange(1.0, 5.05, 0.1)
FLOORS = np.array([3, 5, 7, 9, 12, 15, 20, 25, 30, 40, 50, 70, 100, 130, 160, 200, 250, 300], float)


def context(seed: int) -> Context:
    """Return what stages that are run by hand need."""
    return Context(Tile("t0", 7, 0), np.random.default_rng(seed), "cpu", logging.getLogger("errors"), lambda done, total: None, Path())


def main() -> None:
    """Simulate, measure, and print the best factor and floor for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--number", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    templates = str(options.data / "templates")
    shares = {"star": 1.0, "galaxy": 1.0, "quasar": 2.0}
    labelled = str(options.data / "spectra" / "sdss_labelled.fits.gz")
    draw = SimulateSpectra(
        SimulateSpectra.Config(number=options.number, classes=shares, templates=templates, noise_from=labelled, split=str(SPLIT))
    )
    draw.setup(context(options.seed))
    made = draw.run(context(options.seed))
    answer.ERROR = dict.fromkeys(answer.ERROR, (1.0, 0.0))  # the fits' own errors
    table = MeasureRedshift(MeasureRedshift.Config(templates=templates)).run(
        context(options.seed), spectra=made["spectra"], catalog=None, seeds=None
    )["redshifts"]
    best = table.column("rank") == 0
    found = {name: table.column(name)[best] for name in ("spectral_class", "z", "z_err", "z_warning")}
    z = np.asarray(made["truth"].column("z"), float)
    off = np.abs(found["z"] - z) / (1 + z)
    right = (off < RIGHT) & (found["spectral_class"] == made["truth"].column("spectral_class")) & (found["z_warning"] == 0)
    kinds = np.array([answer.error_kind(str(kind), float(one)) for kind, one in zip(found["spectral_class"], found["z"], strict=True)])
    for kind in answer.ERROR:
        mine = right & (kinds == kind)
        fit, velocity = LIGHT * found["z_err"][mine] / (1 + found["z"][mine]), LIGHT * off[mine]
        print(f"{kind:12} {mine.sum():5} spectra", *_best(fit, velocity))


def _best(fit: np.ndarray, velocity: np.ndarray) -> tuple[str, ...]:
    tried = []
    for factor in FACTORS:
        for floor in FLOORS:
            within = [float(np.mean(velocity < k * np.hypot(factor * fit, floor))) for k in (1, 2)]
            cost = sum(w * (a - b) ** 2 for w, a, b in zip(WEIGHTS, within, WANTED, strict=True))
            tried.append((cost, factor, floor, *within))
    _, factor, floor, one, two = min(tried)
    return f"factor {factor:.1f}", f"floor {floor:.0f} km/s", f"within one {one:.3f}", f"within two {two:.3f}"


if __name__ == "__main__":
    main()
