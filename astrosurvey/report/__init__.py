"""The HTML report of a run: one self-contained file, made from the run directory alone."""

from __future__ import annotations

from pathlib import Path


def write(root: Path) -> Path:
    """Write `<root>/report/index.html` and return its path.

    Works for finished, failed, partial and running runs. A product that cannot be shown is named in the
    page and does no harm to the rest of it.

    Args:
        root: the run directory.

    Raises:
        OSError: the page cannot be written.
    """
    from .render import write_report

    return write_report(Path(root))
