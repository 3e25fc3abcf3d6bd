"""Retries, losses, memory and pools, as the coordinator sees them: an engine whose workers fail as told."""

from __future__ import annotations

import dataclasses
import signal

import pytest

from astrosurvey.core.engine import InlineEngine
from astrosurvey.core.plan import State
from astrosurvey.core.run import ExitCode, run_pipeline
from astrosurvey.core.task import WORKER_DIED, Failure, Order, Outcome
from astrosurvey.engines.exits import Exit, failure_of

LOST = Failure("worker lost", "worker lost: its job has ended", lost=True)
KILLED = Failure(WORKER_DIED, "worker died: out of memory; it held 9 MB, and its limit is 8 MB", memory=True)
STAGES = {"make": {"use": "toy.make"}, "add": {"use": "toy.add", "in": "make"}}


class Failing(InlineEngine):
    """Fails the attempts at `add` on one tile as listed, and remembers the orders."""

    def __init__(self, *failures, tile="t0001", most=1.0):
        super().__init__()
        self.failures, self.tile, self.most = list(failures), tile, most
        self.orders = []

    def as_completed(self, timeout):
        for order in [order for order in self._waiting if order.task == ("add", self.tile)]:
            self.orders.append(order)
            if self.failures:
                self._waiting.remove(order)
                yield Outcome(order, failure=self.failures.pop(0))
        yield from super().as_completed(timeout)

    def more_memory(self, use, memory):
        return min(2 * memory, self.most)


@pytest.fixture
def run(toy_pipeline, tmp_path):
    return lambda engine, **options: run_pipeline(
        toy_pipeline(tiles={"count": 3}, stages=STAGES, run=options), tmp_path, engine=lambda: engine
    )


def test_losses_use_up_no_retries_until_they_are_too_many(run):
    assert run(Failing(*[LOST] * 5), retries=0).exit_code == ExitCode.OK
    poisoned = Failing(*[LOST] * 6, tile="t0002")
    ended = run_again(run, poisoned)
    assert [(stage, tile) for stage, tile, _ in ended.failures] == [("add", "t0002")]
    assert len(poisoned.orders) == 6


def run_again(run, engine):
    """Run with the failing tile's product out of the way."""
    folder = run(InlineEngine()).store.folder("add", engine.tile)
    (folder / "task.json").unlink()
    return run(engine, retries=0)


def test_a_task_killed_for_its_memory_gets_more_once(run):
    engine = Failing(KILLED, KILLED, most=4.0)
    ended = run(engine, retries=5)
    assert [(order.memory, order.batch) for order in engine.orders] == [(1.0, 1.0), (2.0, 1.0)]
    assert ended.failures[0][2].message == KILLED.message
    assert ended.counts["add", State.DONE] == 2


def test_where_there_is_no_more_memory_the_batch_is_halved(run):
    engine = Failing(KILLED)
    assert run(engine).exit_code == ExitCode.OK
    assert [(order.memory, order.batch) for order in engine.orders] == [(1.0, 1.0), (1.0, 0.5)]


class TwoPools(InlineEngine):
    """Has a pool for `toy.add`, which is full until everything else is done, and one for the rest."""

    def __init__(self):
        super().__init__()
        self.made = 0

    def pool(self, use, memory):
        return "gpu" if use == "toy.add" else ""

    def free(self, pool):
        return int(pool == "" or self.made == 3)

    def submit(self, order):
        self.made += order.name == "make"
        super().submit(order)


def test_a_full_pool_does_not_hold_up_the_others(run):
    ended = run(TwoPools())
    assert ended.exit_code == ExitCode.OK
    assert ended.counts == {("make", State.DONE): 3, ("add", State.DONE): 3}


ORDER = Order("run", "hang", "toy:Break", {}, None, {}, "", {}, 0, "cpu", time_limit=8)
GONE = Exit("tcp://somewhere", peak=500, limit=1000)


@pytest.mark.parametrize(
    ("known", "kind", "memory", "lost"),
    [
        (None, "worker lost", False, True),
        ({"code": None, "peak": 900}, WORKER_DIED, True, False),
        ({"code": None, "peak": 0}, "worker lost", False, True),
        ({"code": -signal.SIGKILL, "peak": 900}, WORKER_DIED, True, False),
        ({"code": -signal.SIGKILL}, WORKER_DIED, False, False),
        ({"code": -signal.SIGKILL, "memory": True}, WORKER_DIED, True, False),
        ({"code": -signal.SIGTERM, "leaving": True}, "worker lost", False, True),
        ({"code": 1, "traceback": "Timeout (0:00:08)!"}, "time limit", False, False),
        ({"code": 7}, WORKER_DIED, False, False),
    ],
)
def test_the_end_of_a_worker_is_understood(known, kind, memory, lost):
    ended = None if known is None else dataclasses.replace(GONE, **known)
    failure = failure_of(ORDER, ended, "Dask's words")
    assert (failure.kind, failure.memory, failure.lost) == (kind, memory, lost)
