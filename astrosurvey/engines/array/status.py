"""How a run of job arrays is going, before it is collected: from files alone, on any host that sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...core.events import Event
from .gather import read_elements, start_of
from .jobs import read_jobs
from .layout import ArrayPlan, is_array, read_plan


@dataclass
class Current:
    """A run of job arrays whose outcome has not been gathered.

    Attributes:
        ended: how many of its elements have ended, once all events have been read.
    """

    plan: ArrayPlan
    submitted: float
    ended: int = 0

    def events(self) -> Iterator[Event]:
        """Yield the run's events, one element's after the other's."""
        yield start_of(self.plan, self.submitted, "")
        for element in read_elements(self.plan):
            self.ended += element.ended
            yield from element.events

    @property
    def state(self) -> str:
        """How it stands, in words."""
        if self.ended == len(self.plan.elements):
            return f"all {self.ended} elements have ended; `astrosurvey collect` gathers them"
        return f"submitted to Slurm, {self.ended} of {len(self.plan.elements)} elements have ended"


def current(root: Path) -> Current | None:
    """Return the run of job arrays in a run directory, None where there is none that has to be collected.

    Raises:
        ArrayError: its plan cannot be read.
    """
    jobs = read_jobs(root)
    return Current(read_plan(root.absolute()), jobs.submitted) if is_array(root) and jobs.open else None
