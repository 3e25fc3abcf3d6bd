"""Gathering a run of job arrays into what `run` would have left: run.json, events.jsonl, and how it all ended."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ... import plugins
from ...core.digests import FileDigests
from ...core.events import Event, Events, JsonLog, Listener
from ...core.lock import RunLock
from ...core.pipeline import Pipeline
from ...core.plan import State
from ...core.run import ExitCode, RunResult
from ...core.run_record import write_run
from ...core.store import Store
from ...core.task import Failure
from .gather import Element, ended_for_memory, numbers, read_element, read_elements, start_of
from .jobs import queued_elements, read_jobs
from .layout import ArrayError, ArrayPlan, read_plan
from .submit import submit


@dataclass
class Collected:
    """What a run of job arrays has come to.

    Attributes:
        result: how it ended, as `run` would say it; None while there are elements in the queue.
        queued: the elements in the queue.
        open: those that are not, and have not settled all their tasks.
        hungry: those of them that were ended for their memory.
        settled: how many tasks are settled.
        where: at which tasks open elements were, in words.
    """

    result: RunResult | None
    queued: list[int]
    open: list[int]
    hungry: list[int]
    settled: int
    where: list[str] = field(default_factory=list)


def collect(root: Path, *, resubmit: bool = False, listeners: Sequence[Listener] = ()) -> Collected:
    """Gather what the elements of a run have done, from files; the queue is asked only who is still at work.

    Args:
        root: the run directory.
        resubmit: submit the elements again that have not settled all their tasks.
        listeners: called with each event of the run, as `run` would.

    Raises:
        ArrayError: there is no plan, it was never submitted, or the queue cannot be asked.
        LockHeld: somebody works there.
    """
    plan = read_plan(root.absolute())
    jobs = read_jobs(plan.root)
    if not jobs.submitted:
        raise ArrayError(f"{plan.folder} was never submitted; run {plan.folder / 'submit.sh'}")
    _refuse_older(plan, jobs.submitted)
    elements = list(read_elements(plan))
    queued = set()
    if not all(element.ended for element in elements):
        queued = queued_elements(plan, jobs)
        # Those that are not in the queue have written their last: more, perhaps, than a moment ago.
        elements = [e if e.ended or e.number in queued else read_element(plan, e.number) for e in elements]
    open_ = [e.number for e in elements if not e.ended and e.number not in queued]
    hungry = [number for number in open_ if ended_for_memory(plan, number)]
    where = [f"element {e.number} was at {e.running}" for e in elements if e.running and e.number in open_]
    settled = sum(event.kind == "task_finished" and event.data["state"] != State.PENDING for e in elements for event in e.events)
    result = None
    if not queued:
        with RunLock(plan.root / "run.lock"):
            Store(plan.root).sweep()
            result = _write(plan, elements, open_, jobs.submitted, listeners)
            jobs.collected = True
            jobs.save()
        if resubmit and open_:
            submit(plan.root, elements=frozenset(open_), hungry=frozenset(hungry))
    elif resubmit:
        raise ArrayError(f"{len(queued)} elements are in the queue; wait until they have ended, or `astrosurvey cancel {plan.root}`")
    return Collected(result, sorted(queued), open_, hungry, settled, where)


def _refuse_older(plan: ArrayPlan, submitted: float) -> None:
    """Leave alone what somebody has gone on with since."""
    try:
        started = float(json.loads((plan.root / "run.json").read_text())["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if started > submitted:
        raise ArrayError(
            f"{plan.root} was run again after its job arrays were submitted; `astrosurvey status {plan.root}` says how it stands"
        )


def _write(plan: ArrayPlan, elements: list[Element], open_: list[int], started: float, listeners: Sequence[Listener]) -> RunResult:
    """Write the events and the record of the run, and return how it ended."""
    pipeline = Pipeline.load(plan.folder / "pipeline.yaml", plugins.load())
    store = Store(plan.root)
    events = sorted((event for element in elements for event in element.events), key=lambda event: event.time)
    digests = FileDigests(store.root / "digests.json")
    for element in elements:
        digests.learn(plan.digests(element.number))
    digests.save()
    states = _states(plan, pipeline, events)
    counts = Counter((stage, state) for (stage, _), state in states.items())
    failures = [(stage, tile, _failure(store, stage, tile)) for (stage, tile), state in states.items() if state is State.FAILED]
    code, stopped = ExitCode.OK, ""
    if open_:
        code = ExitCode.STOPPED
        stopped = (
            f"stopped: {len(open_)} elements have not ended: {numbers(open_)}; `astrosurvey collect {plan.root} --resubmit` submits them"
        )
    elif any(state in (State.FAILED, State.BLOCKED) for state in states.values()):
        code = ExitCode.SOME_FAILED
    device = next((element.device for element in elements if element.device == "cuda"), "cpu")
    ended = max((event.time for event in events), default=time.time())
    log = JsonLog(store.root / "events.jsonl")
    try:
        out = Events(log, *listeners)
        said = {f"{stage}/{state}": number for (stage, state), number in counts.items()}
        about = {"exit_code": int(code), "counts": said, "seconds": round(ended - started, 2), "stopped": stopped}
        for event in [start_of(plan, started, device), *events, Event("run_finished", ended, data=about)]:
            out.pass_on(event)
    finally:
        log.close()
    command = ["astrosurvey", "collect", str(plan.root)]
    write_run(
        store.root,
        pipeline,
        plan.tiles,
        started=started,
        finished=ended,
        device=device,
        command=command,
        code=int(code),
        counts=counts,
        stopped=stopped,
        retries=sum(event.kind == "task_retried" for event in events),
    )
    return RunResult(store, code, counts, states, failures, stopped, ended - started)


def _states(plan: ArrayPlan, pipeline: Pipeline, events: list[Event]) -> dict[tuple[str, str | None], State]:
    """Return the state of every task; what nothing is known of is pending."""
    states: dict[tuple[str, str | None], State] = {}
    with (plan.folder / "tiles.jsonl").open(encoding="utf-8") as lines:
        tiles = [json.loads(line)["name"] for line in lines]
    for name, node in pipeline.nodes.items():
        for tile in tiles if node.cls.scope == "tile" else [None]:
            states[name, tile] = State.PENDING
    for event in events:
        if event.kind == "task_finished":
            states[event.stage, event.tile] = State(event.data["state"])
    return states


def _failure(store: Store, stage: str, tile: str | None) -> Failure:
    """Return what is recorded of a failure."""
    try:
        values = json.loads((store.failure_folder(stage, tile) / "error.json").read_text())
        values.pop("attempts")
        return Failure(**values)
    except (OSError, ValueError, TypeError, KeyError):
        return Failure("unknown", "what was recorded of the failure cannot be read")
