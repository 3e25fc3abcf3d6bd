"""A small set of templates made by formulas, for where no published ones are at hand."""

from __future__ import annotations

from functools import cache

from ..library import TemplateSet
from .galaxies import eigen_galaxies, populations
from .quasars import eigen_quasars
from .stars import main_sequence, white_dwarfs


@cache
def analytic_library() -> dict[str, TemplateSet]:
    """Return the analytic sets, by their names in `Library`; made once in a process."""
    stars, dwarfs = main_sequence(), white_dwarfs()
    return {
        "stars": stars,
        "white_dwarfs": dwarfs,
        "eigen_stars": _joined(stars, dwarfs),
        "galaxies": populations(),
        "eigen_galaxies": eigen_galaxies(),
        "eigen_quasars": eigen_quasars(),
    }


def _joined(first: TemplateSet, second: TemplateSet) -> TemplateSet:
    import numpy as np

    flux = np.concatenate([first.flux, second.flux])
    return TemplateSet(flux, first.first, first.names + second.names, first.kinds + second.kinds, origin=first.origin)
