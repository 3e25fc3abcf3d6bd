"""Templates of stars, galaxies and quasars: published ones from a folder, or a small analytic set."""

from __future__ import annotations

from .library import LOG_STEP, Library, TemplateSet
from .read import read_library

__all__ = ["LOG_STEP", "Library", "TemplateSet", "read_library"]
