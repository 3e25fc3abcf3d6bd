"""What whoever has taken the lock of a run does before anything else."""

from __future__ import annotations

from pathlib import Path

from .array.jobs import refuse_queued
from .jobs import cancel_left


def take_over(root: Path) -> None:
    """See that nobody else works in a run directory: give way to job arrays, and end the jobs of a coordinator that was killed.

    Raises:
        LockHeld: job arrays of the run may be at work.
    """
    refuse_queued(root)
    cancel_left(root)
