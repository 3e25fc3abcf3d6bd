"""The batched C2ST beside scikit-learn's, as the benchmark of simulation-based inference defines it: values and CPU time.

OMP_NUM_THREADS=1 python benchmarks/c2st.py
"""

from __future__ import annotations

import time
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier

from astrosurvey.stages.sbi.calibration.c2st import c2st


def by_sklearn(reference, samples, seed):
    middle, scale = reference.mean(axis=0), reference.std(axis=0)
    x = (np.concatenate([reference, samples]) - middle) / scale
    y = np.repeat([0, 1], [len(reference), len(samples)])
    d = x.shape[1]
    network = MLPClassifier((10 * d, 10 * d), max_iter=1000, solver="adam", random_state=seed)
    return cross_val_score(network, x, y, cv=KFold(5, shuffle=True, random_state=seed), scoring="accuracy").mean()


def cases(rng, n):
    """Yield names and (reference, samples)."""
    for d in (2, 5, 10):
        yield f"{d}-d, the same", rng.normal(size=(n, d)), rng.normal(size=(n, d))
        yield f"{d}-d, shifted by 0.5", rng.normal(size=(n, d)), rng.normal(size=(n, d)) + 0.5
        yield f"{d}-d, wider by 1.4", rng.normal(size=(n, d)), 1.4 * rng.normal(size=(n, d))
    ring = rng.uniform(0, 2 * np.pi, n)
    moons = np.stack([np.cos(ring), np.sin(ring)], axis=1) + 0.05 * rng.normal(size=(n, 2))
    yield "ring against its Gaussian", moons, rng.multivariate_normal(moons.mean(axis=0), np.cov(moons.T), n)


def main(n=1000):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    spent = {"ours": 0.0, "scikit-learn": 0.0}
    for name, reference, samples in cases(np.random.default_rng(0), n):
        begun = time.process_time()
        ours = c2st(reference[None], samples[None], np.random.default_rng(1))[0]
        middle = time.process_time()
        theirs = by_sklearn(reference, samples, 1)
        ended = time.process_time()
        spent["ours"] += middle - begun
        spent["scikit-learn"] += ended - middle
        print(
            f"{name:28s} ours {ours:.3f} in {middle - begun:5.1f} CPU s, scikit-learn {theirs:.3f} in {ended - middle:5.1f} CPU s",
            flush=True,
        )
    print(spent)


if __name__ == "__main__":
    main()
