"""Running one task where the engine puts it: read the inputs, run the stage, check and publish the outputs."""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import importlib
import io
import json
import logging
import os
import platform
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .digests import digest_path
from .fulldisk import DiskFull, disk_of, errno_of_full, noticing_full_disks, said_of, scratch_disk_of
from .inputs import open_inputs
from .memory import forget_peak, peak_bytes
from .product import ProductError
from .scratch import scratch_folder
from .stage import Context, DataError, NoWork, Stage, StageError, ports
from .store import RECORD, Record, Store, Stored
from .tiles import Tile

Progress = Callable[[int, int], None]
Note = Callable[[str], None]

WORKER_DIED = "worker died"
"""The kind of a failure that took its worker with it."""

NOTES = "astrosurvey.notes"
"""The logger for what a person should hear of at once, such as that a kernel is being compiled."""


@dataclass(frozen=True)
class Order:
    """All that a worker needs to run one task: plain data, so that it can travel.

    Attributes:
        run: the run directory.
        name: the stage's name in the pipeline.
        stage: the class, as "module:qualified name".
        use: the class's name for people, such as "detection.threshold".
        inputs: by port: the stored product's path, (tile, path) pairs for a gather, or None.
        batch: the share of its usual batch that the stage works on at once.
        memory: how much memory it gets, as a multiple of what its stage usually has.
        time_limit: seconds that it may take; an engine with workers ends the worker that takes longer.
        ident: tells this order from every other, of other attempts and other runs; recorded with the products.
    """

    run: str
    name: str
    stage: str
    config: dict[str, Any]
    tile: Tile | None
    inputs: dict[str, Any]
    key: str
    fields: dict[str, Any]
    seed: int
    device: str
    attempt: int = 1
    batch: float = 1.0
    use: str = ""
    memory: float = 1.0
    time_limit: float | None = None
    ident: str = ""

    @property
    def task(self) -> tuple[str, str | None]:
        """The stage's and the tile's name."""
        return self.name, self.tile.name if self.tile else None


@dataclass(frozen=True)
class Failure:
    """Why a task failed.

    Attributes:
        kind: the exception's class name, or "worker died".
        message: one line for people.
        traceback: for the author of the stage.
        final: a retry cannot mend it.
        memory: it ran out of memory; a retry gets more of it, or half the batch.
        lost: its worker went away through no fault of the task, which does not use up its retries.
        disk_full: what disk is full, and of what; "" if none is. The run stops.
    """

    kind: str
    message: str
    traceback: str = ""
    final: bool = False
    memory: bool = False
    disk_full: str = ""
    lost: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a task ended: its record, or its failure; and what was logged meanwhile."""

    order: Order
    record: Record | None = None
    failure: Failure | None = None
    log: list[str] = field(default_factory=list)


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.lines.append(f"{record.levelname.lower()}: {text}")
        if record.levelno >= logging.WARNING and len(self.warnings) < 20:
            self.warnings.append(text)


class _Notes(logging.Handler):
    def __init__(self, note: Note) -> None:
        super().__init__()
        self.note = note

    def emit(self, record: logging.LogRecord) -> None:
        self.note(record.getMessage())


class _Printed(io.TextIOBase):
    """Takes what a stage prints into the task's log: standard output belongs to the command."""

    def __init__(self, log: logging.Logger) -> None:
        self.log = log

    def write(self, text: str) -> int:
        """Log each line."""
        for line in filter(str.strip, text.splitlines()):
            self.log.info("%s", line)
        return len(text)


def execute(order: Order, progress: Progress | None = None, note: Note | None = None) -> Outcome:
    """Run a task and publish what it made; every exception but an interrupt becomes a Failure.

    What is logged meanwhile comes with the outcome; what is logged to `NOTES` goes to `note` at once, too.
    """
    lines = _Lines()
    notes, heard = logging.getLogger(NOTES), _Notes(note or (lambda text: None))
    notes.setLevel(logging.INFO)
    notes.addHandler(lines)
    notes.addHandler(heard)
    log = logging.getLogger(f"astrosurvey.task.{order.name}")
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(_Printed(log)):
            warnings.simplefilter("default")
            warnings.showwarning = lambda message, category, *_: log.warning("%s: %s", category.__name__, message)
            return Outcome(order, record=_run(order, log, lines, progress or (lambda done, total: None)), log=lines.lines)
    except (Exception, SystemExit) as error:
        return Outcome(order, failure=_failure(error, order), log=lines.lines)
    finally:
        log.removeHandler(lines)
        notes.removeHandler(lines)
        notes.removeHandler(heard)


def _run(order: Order, log: logging.Logger, lines: _Lines, progress: Progress) -> Record:
    store = Store(order.run)
    forget_peak()
    started, cpu = time.perf_counter(), time.process_time()
    with store.publishing(*order.task) as folder, scratch_folder(order.run) as scratch, _on_disks(order.run, folder, scratch):
        kept = store.checkpoint_folder(*order.task)
        checkpoint = kept / order.key[:16]
        context = Context(order.tile, _generator(order), order.device, log, progress, scratch, order.batch, checkpoint)  # type: ignore[arg-type]
        stage = _stage(order, context)
        try:
            with open_inputs(store, order.fields, scratch) as inputs:
                made: Mapping[str, Any] = stage.run(context, **inputs.read(stage, order.inputs))
            state, why = "done", {}
        except NoWork as nothing:
            log.info("no work: %s", nothing)
            made, state, why = {}, "empty", {"why": str(nothing)}
        outputs = _store(stage, made, folder) if state == "done" else {}
        facts = {
            "seconds": round(time.perf_counter() - started, 4),
            "cpu_seconds": round(time.process_time() - cpu, 4),
            "peak_bytes": peak_bytes(),
            "attempt": order.attempt,
            "batch": order.batch,
            "memory": order.memory,
            "order": order.ident,
            "device": order.device,
            "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
            "host": platform.node(),
            "pid": os.getpid(),
            "warnings": lines.warnings,
            "log": lines.lines[:200],
            **why,
        }
        record = Record(order.key, order.fields, state, outputs, facts)
        (folder / RECORD).write_bytes(record.as_json())
    if kept.exists():  # with what tasks of other settings left here
        shutil.rmtree(kept, ignore_errors=True)
    return record


def _on_disks(run: str, folder: Path, scratch: Path) -> contextlib.AbstractContextManager[None]:
    """Name the disk when it is full in the block: the run's, or that of scratch where it is another."""
    places = {disk_of(run): folder}
    if scratch.stat().st_dev != folder.stat().st_dev:
        places[scratch_disk_of(scratch)] = scratch
    return noticing_full_disks(places)


def _store(stage: Stage, made: Mapping[str, Any], folder: Path) -> dict[str, Stored]:
    """Check what a stage returned and write it."""
    declared = ports(type(stage), "outputs")
    if not isinstance(made, Mapping) or set(made) != set(declared):
        got = sorted(made) if isinstance(made, Mapping) else type(made).__name__
        raise StageError(f"{stage.name}.run must return a product for each of {sorted(declared)}, and returned {got}")
    stored = {}
    for port, product in made.items():
        try:
            declared[port].contract.check(product)
        except ProductError as error:
            raise ProductError(f"output {port!r} of {stage.name}: {error}") from None
        path = folder / f"{port}{product.suffix}"
        product.write(path)
        sha256, size = digest_path(path)
        stored[port] = Stored(path.name, product.kind, sha256, size, dict(product.summary()))
    return stored


def _generator(order: Order) -> Any:
    """Return the task's generator: the same for the same run seed, stage and tile, wherever it runs."""
    import numpy as np

    words = hashlib.sha256("\0".join([order.name, order.tile.name if order.tile else ""]).encode()).digest()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([order.seed, *np.frombuffer(words, "<u4").tolist()])))


_stages: dict[tuple[str, str, str], Stage] = {}


def _stage(order: Order, context: Context) -> Stage:
    """Return this worker's instance of the order's stage, made and set up when it is first wanted."""
    config = json.dumps(order.config, sort_keys=True)
    key = (order.stage, config, order.device)
    if key not in _stages:
        module, _, qualified = order.stage.partition(":")
        cls: Any = functools.reduce(getattr, qualified.split("."), importlib.import_module(module))
        stage: Stage = cls(cls.Config.model_validate_json(config))
        stage.setup(context)
        _stages[key] = stage
    return _stages[key]


def _failure(error: Exception | SystemExit, order: Order) -> Failure:
    text = "".join(traceback.format_exception(error))
    chain = []
    link: BaseException | None = error
    while link is not None:
        chain.append(link)
        link = link.__cause__ or link.__context__
    memory = any(isinstance(e, MemoryError) or type(e).__name__ == "OutOfMemoryError" for e in chain)
    full = next((str(e.strerror) for e in chain if isinstance(e, DiskFull)), "")
    if not full and (number := errno_of_full(error)):
        full = f"{said_of(number, Path(order.run))} {disk_of(order.run)}"
    if memory:
        gc.collect()
        _stages.clear()  # drops whatever setup() holds on the device
    final = isinstance(error, DataError | StageError | ProductError | SystemExit)
    message = f"the stage called exit({error.code!r})" if isinstance(error, SystemExit) else str(error) or type(error).__name__
    return Failure(type(error).__name__, message, text, final, memory, full)
