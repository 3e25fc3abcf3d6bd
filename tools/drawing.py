"""What the tools that train on simulated spectra share: processes that draw spectra, and how long a step takes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn

from astrosurvey.networks.train import Recipe, fit
from astrosurvey.stages.simulate.spectra.draw import Drawer
from astrosurvey.stages.simulate.spectra.drawn import Drawn
from astrosurvey.stages.simulate.spectra.grid import LogGrid
from astrosurvey.stages.simulate.spectra.noise import Labelled

_of_process: dict[str, Drawer] = {}
"""What a process draws with."""


@dataclass(frozen=True)
class Drawing:
    """What is drawn.

    Attributes:
        grid: the pixels.
        shares: how often each coarse class is drawn.
        templates: folder of published ones; analytic ones when None.
        labelled: real spectra whose quasars lend their shapes.
        chunk: spectra that a process draws at a time; part of the recipe, since each chunk has randomness of its own.
        kept: what is kept of a chunk, a function of a module.
    """

    grid: LogGrid
    shares: Mapping[Any, float]
    templates: Path | None
    labelled: Labelled | None
    chunk: int
    kept: Callable[[Drawn], Any]

    def chunks(self, seed: int, total: int, workers: int) -> Iterator[Any]:
        """Yield `total` spectra without noise, a chunk at a time; the same for any number of processes."""
        jobs = [(seed, k, min(self.chunk, total - begin), self.shares, self.kept) for k, begin in enumerate(range(0, total, self.chunk))]
        start = (self.grid, self.templates, None if self.labelled is None else self.labelled.coefficients)
        if workers == 1:
            _prepare(*start)
            yield from map(_some, jobs)
            return
        with multiprocessing.get_context("spawn").Pool(workers, _prepare, start) as pool:
            yield from pool.imap(_some, jobs)


def seconds_a_step(
    network: nn.Module, batch: Callable[[int], Any], losses: Callable[[Any, Any], Mapping[str, torch.Tensor]], steps: int, device: str
) -> float:
    """Return how long a step of a training takes, measured with a network that is thrown away.

    Args:
        network: of the shape that is trained.
        batch: makes what step k learns from.
        losses: the terms of the loss on a batch.
        steps: in which it is measured, on a GPU; on a CPU it is three.
        device: "cpu" or "cuda".
    """
    times: list[float] = []

    def timed(step: int) -> Any:
        times.append(time.monotonic())
        return batch(step)

    recipe = Recipe(3 if device == "cpu" else steps, 1e-4)
    fit(network, timed, losses, recipe, device=cast(Literal["cpu", "cuda"], device))
    return float(np.median(np.diff(times)))


def device_name(device: str) -> str:
    """Return what a training runs on."""
    return torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"


def _prepare(grid: LogGrid, templates: Path | None, coefficients: Any) -> None:
    """Make the drawer of a process."""
    torch.set_num_threads(1)
    _of_process["drawer"] = Drawer(grid, templates, coefficients=coefficients)


def _some(job: tuple[int, int, int, Mapping[Any, float], Callable[[Drawn], Any]]) -> Any:
    seed, number, size, shares, kept = job
    return kept(_of_process["drawer"].draw(np.random.default_rng((seed, number)), size, shares))
