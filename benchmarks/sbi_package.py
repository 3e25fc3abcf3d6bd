"""What the package sbi makes of given simulations, as a process of its own: `python -P benchmarks/sbi_package.py IN.npz OUT.npz`.

`sbi.py` starts it, with an interpreter that has sbi (0.27). NPE with the neural spline flow and nothing else changed: minibatches of
200, a learning rate of 5e-4, and an end after 20 epochs without gain.

IN.npz: theta (n, p), x (n, feature), observed (m, feature), draws (how many for each), seed, kinds (p,) and args (p, 2) of the prior.
OUT.npz: draws (m, draw, p), train_cpu_s, draw_cpu_s, epochs.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import torch
from sbi.inference import NPE
from sbi.utils import MultipleIndependent
from torch.distributions import Distribution, LogNormal, Normal, Uniform

KINDS = {"uniform": Uniform, "normal": Normal, "log_normal": LogNormal}
"""The prior's distributions, by how `sbi.prior` calls them."""


class Untold:
    """Hears the figures of a training and keeps none; by default they would be written into the folder that one is in."""

    log_dir = None

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def prior(kinds: np.ndarray, args: np.ndarray) -> Distribution:
    """Return the prior as sbi takes it."""
    one = [KINDS[str(kind)](*(torch.tensor([float(value)]) for value in row)) for kind, row in zip(kinds, args, strict=True)]
    return MultipleIndependent(one)


def main(source: str, target: str) -> None:
    """Train, and draw from the posterior of each observation."""
    torch.set_num_threads(1)
    given = np.load(source)
    torch.manual_seed(int(given["seed"]))
    theta, x, observed = (torch.from_numpy(given[name]).float() for name in ("theta", "x", "observed"))
    began = time.process_time()
    trainer = NPE(prior(given["kinds"], given["args"]), density_estimator="nsf", tracker=Untold(), show_progress_bars=False)
    trainer.append_simulations(theta, x).train()
    trained = time.process_time()
    posterior = trainer.build_posterior()
    count = int(given["draws"])
    drawn = [posterior.sample((count,), x=one[None], show_progress_bars=False, max_sampling_time=300).numpy() for one in observed]
    ended = time.process_time()
    costs = {"train_cpu_s": trained - began, "draw_cpu_s": (ended - trained) / max(len(observed), 1)}
    np.savez(target, draws=np.stack(drawn), epochs=trainer.summary["epochs_trained"][-1], **costs)


if __name__ == "__main__":
    main(*sys.argv[1:])
