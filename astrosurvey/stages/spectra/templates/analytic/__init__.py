"""A small set of templates made by formulas, for where no published ones are at hand."""

from __future__ import annotations

from functools import cache

import numpy as np

from ..library import TemplateSet
from .galaxies import eigen_galaxies, populations
from .quasars import eigen_quasars
from .stars import main_sequence, white_dwarfs


def _all_stars() -> TemplateSet:
    first, second = analytic_set("stars"), analytic_set("white_dwarfs")
    flux = np.concatenate([first.flux, second.flux])
    return TemplateSet(flux, first.first, first.names + second.names, first.kinds + second.kinds, origin=first.origin)


SETS = {
    "stars": main_sequence,
    "white_dwarfs": white_dwarfs,
    "eigen_stars": _all_stars,
    "galaxies": populations,
    "eigen_galaxies": eigen_galaxies,
    "eigen_quasars": eigen_quasars,
}
"""How the sets that can be made by formulas are made, by their names in `Library`."""


@cache
def analytic_set(name: str) -> TemplateSet:
    """Return one of the analytic sets, made once in a process."""
    return SETS[name]()
