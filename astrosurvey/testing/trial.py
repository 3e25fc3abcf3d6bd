"""Running a stage on an example: directly, as a run would, and in another process."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from ..core.digests import digest_path
from ..core.product import Port, Tiles
from ..core.settings import validate
from ..core.stage import Context, Stage, ports
from ..core.store import Store
from ..core.task import Order, Outcome, execute
from .examples import TILE, Example


class Trial:
    """An example laid out on disk as a run would find it, on which its stage can be run many times.

    Args:
        stage: the stage's class.
        example: what it is tried on.
        folder: an empty folder.
        executor: runs things in another process.
    """

    def __init__(self, stage: type[Stage], example: Example, folder: Path, executor: Executor) -> None:
        self.stage, self.example, self.folder, self._executor = stage, example, folder, executor
        self._runs = 0

    @cached_property
    def ports(self) -> dict[str, Port]:
        """The stage's input ports."""
        return ports(self.stage, "inputs")

    @cached_property
    def config(self) -> Any:
        """The example's settings, validated as those of a pipeline file are."""
        problems: list[str] = []
        config = validate(
            self.stage.Config, self.example.config, lambda place, message, hint: problems.append(f"{place}: {message}; {hint}")
        )
        assert config is not None, f"the example's settings are wrong: {problems}"
        return config

    def with_example(self, example: Example) -> Trial:
        """Return a trial of the same stage on another example."""
        folder = self.folder / f"more-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        return Trial(self.stage, example, folder, self._executor)

    def direct(self) -> Mapping[str, Any]:
        """Return what `run` returns for the example's products as they are in memory."""
        self._runs += 1
        scratch = self.folder / f"scratch-{self._runs}"
        scratch.mkdir()
        context = make_context(scratch, self.tile)
        stage = self.stage(self.config)
        stage.setup(context)
        return stage.run(context, **self.in_memory())

    def in_memory(self) -> dict[str, Any]:
        """Return the keyword arguments of `run`, with None for ports that are not wired."""
        inputs: dict[str, Any] = {}
        for name, port in self.ports.items():
            value = self.example.inputs.get(name)
            if port.gather and value is not None:
                products = dict(zip(self._names(value), value, strict=True))
                value = Tiles(list(products), products.__getitem__)
            inputs[name] = value
        return inputs

    def _names(self, products: Any) -> list[str]:
        return [f"t{index}" for index in range(len(products))]

    @property
    def tile(self) -> Any:
        """The tile that the stage works on; None at survey scope."""
        return self.example.tile if self.stage.scope == "tile" else None

    @cached_property
    def stored(self) -> dict[str, Any]:
        """The inputs' stored forms: a path, or (tile, path) pairs for a gather, by port."""
        stored: dict[str, Any] = {}
        for name, port in self.ports.items():
            value = self.example.inputs.get(name)
            if value is None:
                assert port.optional, f"the example gives nothing for the port {name!r}, which is not optional"
                stored[name] = None
            elif port.gather:
                stored[name] = [(tile, self._write(product, name, tile)) for tile, product in zip(self._names(value), value, strict=True)]
            else:
                stored[name] = self._write(value, name, "one")
        unknown = set(self.example.inputs) - set(self.ports)
        assert not unknown, f"the example names ports that the stage does not have: {sorted(unknown)}"
        return stored

    def _write(self, product: Any, port: str, name: str) -> str:
        self.ports[port].contract.check(product)
        path = self.folder / "inputs" / port / f"{name}{product.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        product.write(path)
        return str(path)

    def input_digests(self) -> dict[str, str]:
        """Return a digest of every input product as it is in memory now."""
        self._runs += 1
        folder = self.folder / f"digests-{self._runs}"
        folder.mkdir()
        digests = {}
        for index, product in enumerate(self.example.products()):
            path = folder / f"{index}{product.suffix}"
            product.write(path)
            digests[str(index)] = digest_path(path)[0]
        return digests

    @cached_property
    def plain(self) -> Run:
        """The first run, for all laws that only look at what comes out."""
        return self.run()

    def run(self, *, batch: float = 1.0, elsewhere: bool = False) -> Run:
        """Run the stage as a run does: inputs read from their files, outputs checked and stored.

        Args:
            batch: what `ctx.batch` is.
            elsewhere: in another process.
        """
        self._runs += 1
        order = Order(
            run=str(self.folder / f"run-{self._runs}"),
            name=self.stage.name.rpartition(".")[2],
            stage=f"{self.stage.__module__}:{self.stage.__qualname__}",
            config=self.config.model_dump(mode="json"),
            tile=self.tile,
            inputs=self.stored,
            key="",
            fields={},
            seed=11,
            device="cpu",
            batch=batch,
        )
        return Run(self.stage, self._executor.submit(execute, order).result(timeout=600) if elsewhere else execute(order))


class Run:
    """How a stage's run on an example ended."""

    def __init__(self, stage: type[Stage], outcome: Outcome) -> None:
        self.stage, self.outcome = stage, outcome
        self.failure = outcome.failure

    @property
    def state(self) -> str:
        """ "done", "empty" or "failed"."""
        return self.outcome.record.state if self.outcome.record else "failed"

    def sound(self) -> Run:
        """Return itself; fail with the stage's traceback when the stage failed."""
        assert self.failure is None, f"{self.stage.name} failed: {self.failure.message}\n{self.failure.traceback}"
        return self

    @property
    def digests(self) -> dict[str, str]:
        """The sha256 of every output's stored form, by port."""
        record = self.sound().outcome.record
        assert record is not None
        return {port: stored.sha256 for port, stored in record.outputs.items()}

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs, read back from their stored forms."""
        return {port: ports(self.stage, "outputs")[port].contract.product.read(path) for port, path in self.paths.items()}

    @property
    def paths(self) -> dict[str, Path]:
        """Where the outputs are stored."""
        record, order = self.sound().outcome.record, self.outcome.order
        assert record is not None
        return {port: Store(order.run).path(*order.task, port, record) for port in record.outputs}


def make_context(scratch: Path, tile: Any = TILE) -> Context:
    """Return the context of a task on the CPU, with a generator that is always the same."""
    import numpy as np

    generator = np.random.Generator(np.random.Philox(11))
    return Context(tile, generator, "cpu", logging.getLogger("astrosurvey.task.test"), lambda done, total: None, scratch)


def start_process() -> Executor:
    """Return an executor of one new process, with a hash seed and a number of threads of its own."""
    threads = "2" if os.environ.get("OMP_NUM_THREADS") == "1" else "1"
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _set_up, (threads,))


def _set_up(threads: str) -> None:
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), threads))
    from ..plugins import load

    load()
