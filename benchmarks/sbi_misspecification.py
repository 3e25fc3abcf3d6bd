"""How many strange observations have a small p-value: `python benchmarks/sbi_misspecification.py [--seeds 20] [--out FILE.json]`.

Simulations are spectra of 100 pixels, linear in five parameters, with unit noise. Each seed learns from its own 8000, ranks by 1000 that it
keeps back, and is asked of 1000 others with nothing wrong, and of as many with each of `CASES`. Rows of FILE.json: by case, the mean over
seeds of the part with a p-value up to `level`, and the scatter of seeds, which holds that of their thresholds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import numpy as np

from astrosurvey.networks.determinism import threads
from astrosurvey.stages.sbi.calibration.misspecification import Seen, learn

PIXELS, LEARNT, KEPT, TESTS = 100, 8000, 1000, 1000
AT = np.arange(PIXELS)
WAVES = 3 * np.stack([np.cos(np.pi * k * AT / PIXELS + k) for k in range(5)])
Change = Callable[[np.ndarray, np.ndarray], np.ndarray]


def line(height: float, width: float, at: int = 60) -> np.ndarray:
    """Return a bell with a full width at half maximum in pixels."""
    return np.asarray(height * np.exp(-0.5 * ((AT - at) / (width / 2.3548)) ** 2))


def outlier(truth: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return spectra with one pixel each that is 4.5 standard deviations too high, every time another one."""
    found = truth + noise
    found[np.arange(len(found)), np.arange(len(found)) % PIXELS] += 4.5
    return np.asarray(found)


CASES: dict[str, Change] = {
    "nothing": lambda truth, noise: truth + noise,
    "a line of 5 pixels, 3 sigma": lambda truth, noise: truth + noise + line(3, 5),
    "a line of 9 pixels, 3 sigma": lambda truth, noise: truth + noise + line(3, 9.4),
    "a line of 2 pixels, 4.5 sigma": lambda truth, noise: truth + noise + line(4.5, 2),
    "a line of 18 pixels, 2 sigma": lambda truth, noise: truth + noise + line(2, 18),
    "two lines of 5 pixels, 2 sigma": lambda truth, noise: truth + noise + line(2, 5) + line(2, 5, 30),
    "a pixel, 4.5 sigma": outlier,
    "noise x 2": lambda truth, noise: truth + 2 * noise,
    "noise x 1.2": lambda truth, noise: truth + 1.2 * noise,
    "correlated noise": lambda truth, noise: truth + noise + 0.4 * np.roll(noise, 1, axis=1),
    "all x 1.5": lambda truth, noise: 1.5 * (truth + noise),
    "a step of .5": lambda truth, noise: truth + noise + 0.5 * (AT >= PIXELS // 2),
}


def spectra(rng: np.random.Generator, number: int, change: Change = CASES["nothing"]) -> Seen:
    """Return spectra, with what is changed in them."""
    return Seen(change(rng.normal(size=(number, len(WAVES))) @ WAVES, rng.normal(size=(number, PIXELS))).astype(np.float32))


def main() -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sbi_misspecification.json", metavar="FILE.json")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--level", type=float, default=0.02)
    arguments = parser.parse_args()
    began = time.process_time()
    rows = []
    with threads(1):
        for seed in range(arguments.seeds):
            rng = np.random.default_rng((9, seed))
            detector = learn(spectra(rng, LEARNT), spectra(rng, KEPT))
            rows.append([(detector.p_values(spectra(rng, TESTS, change)) <= arguments.level).mean() for change in CASES.values()])
    told = zip(CASES, np.mean(rows, axis=0).tolist(), np.std(rows, axis=0).tolist(), strict=True)
    flagged = {case: {"mean": round(mean, 4), "scatter": round(scatter, 4)} for case, mean, scatter in told}
    figures = {"level": arguments.level, "seeds": arguments.seeds, "cpu_s": round(time.process_time() - began, 1), "flagged": flagged}
    arguments.out.write_text(json.dumps(figures, indent=1) + "\n")
    for case, row in flagged.items():
        print(f"{case:32s} {row['mean']:.3f} +- {row['scatter']:.3f}")


if __name__ == "__main__":
    main()
