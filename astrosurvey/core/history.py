"""What the events of a run tell, kept in a size that does not grow with how much was said."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from .events import Event
from .tiling import SURVEY


@dataclass
class History:
    """The state of a run's tasks, named (stage, tile) with "survey" in the tile's place at survey scope.

    Attributes:
        expected: how many tasks each stage has.
        states: the tasks that are settled, in the order in which they were.
        running: when the tasks that are at work were started, seconds since the epoch.
        failed: what was said of those that have failed.
        retries: how often tasks of each stage were tried again.
        worked: how many settled tasks have been run, and not found done.
        exit_code: of the run; None while it has not come to its end.
    """

    expected: dict[str, int] = field(default_factory=dict)
    states: dict[tuple[str, str], str] = field(default_factory=dict)
    running: dict[tuple[str, str], float] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    retries: Counter[str] = field(default_factory=Counter)
    worked: int = 0
    exit_code: int | None = None

    @classmethod
    def of(cls, events: Iterable[Event]) -> History:
        """Return what events tell together."""
        history = cls()
        for event in events:
            history.add(event)
        return history

    def add(self, event: Event) -> None:
        """Take note of one more event."""
        stage = sys.intern(event.stage)
        name = (stage, event.tile or SURVEY)
        match event.kind:
            case "run_started":
                tasks = event.data.get("tasks")
                self.expected = {str(stage): int(number) for stage, number in tasks.items()} if isinstance(tasks, dict) else {}
            case "task_started":
                self.running[name] = event.time
            case "task_retried":
                self.running.pop(name, None)
                self.retries[stage] += 1
            case "task_finished":
                state = sys.intern(str(event.data.get("state")))
                self.states[name] = state
                self.worked += self.running.pop(name, None) is not None
                if state == "failed":
                    self.failed[name] = str(event.data.get("message", ""))
            case "run_finished":
                code = event.data.get("exit_code")
                self.exit_code = code if isinstance(code, int) else None

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many tasks of each stage are in each state; those that are not settled are pending."""
        counts: dict[str, Counter[str]] = {stage: Counter() for stage in self.expected}
        for (stage, _), state in self.states.items():
            counts.setdefault(stage, Counter())[state] += 1
        for stage, number in self.expected.items():
            counts[stage]["pending"] = max(number - counts[stage].total(), 0)
        return {stage: {state: n for state, n in counter.items() if n} for stage, counter in counts.items()}
