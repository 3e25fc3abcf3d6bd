"""Whether a clustering fits into the memory that there is: asked before any work starts, for a process that runs out of it is killed."""

from __future__ import annotations

from pathlib import Path

from ...core.stage import DataError

TABLES = 400
"""Bytes a row that it takes to make and to store the tables of a clustering, with half of the rows in a cluster; measured."""


def require_room(rows: int, bytes_a_row: int) -> None:
    """Raise a DataError if so many rows need more memory than there is.

    Args:
        rows: to be clustered.
        bytes_a_row: that the method needs for each at the worst moment before it makes the tables, besides what is in memory already.
    """
    bytes_a_row, there = max(bytes_a_row, TABLES), available()
    if rows * bytes_a_row > there:
        raise DataError(
            f"{rows} rows need {rows * bytes_a_row / 2**30:.1f} GiB of memory to be clustered, and {there / 2**30:.1f} GiB are free, which "
            f"are enough for {there // bytes_a_row} rows: cluster regions of the sky one by one, thin the catalogue, "
            "or take a machine with more memory"
        )


def available() -> int:
    """Return how many bytes of memory this process can have: what is free, and of a container's or a batch job's limit what is left."""
    import psutil

    left = [psutil.virtual_memory().available]
    for folder in _control_groups():
        limit, held = folder / "memory.max", folder / "memory.stat"
        if limit.is_file() and held.is_file() and (most := limit.read_text(encoding="ascii").strip()) != "max":
            # Files that are only cached do not count: they give way.
            in_use = dict(line.split() for line in held.read_text(encoding="ascii").splitlines())
            left.append(int(most) - int(in_use["anon"]))
    return max(min(left), 0)


def _control_groups() -> list[Path]:
    """Return the folders of the control groups (version 2) that limit this process, the innermost first; none elsewhere than on Linux."""
    mine = Path("/proc/self/cgroup")
    if not mine.is_file():
        return []
    name = next((line[3:] for line in mine.read_text(encoding="utf-8").splitlines() if line.startswith("0::")), "/")
    top = Path("/sys/fs/cgroup")
    innermost = top / name.strip("/")
    return [innermost, *(folder for folder in innermost.parents if folder.is_relative_to(top))]
