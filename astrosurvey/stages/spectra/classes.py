"""The classes of spectra: five coarse ones, and thirteen fine ones in SDSS's spelling.

References:
    Bolton et al. (2012), arXiv:1207.7326 (SDSS's classes and subclasses); Zhong et al. (2024), arXiv:2311.04146 (these thirteen).
"""

from __future__ import annotations

import re
from collections.abc import Callable

COARSE = ("star", "galaxy", "quasar", "sky", "unknown")
"""Coarse classes, in the order in which networks and tables hold them."""

FINE = (
    "GALAXY",
    "GALAXY_AGN",
    "GALAXY_STARFORMING",
    "GALAXY_STARBURST",
    "QSO",
    "QSO_BROADLINE",
    "STAR_A0",
    "STAR_F5",
    "STAR_F9",
    "STAR_G2",
    "STAR_K1",
    "STAR_K3",
    "STAR_K5",
)
"""Fine classes, in the order in which networks and tables hold them: SDSS's CLASS and SUBCLASS."""

COARSE_OF_PREFIX = {"STAR": "star", "GALAXY": "galaxy", "QSO": "quasar"}
"""SDSS's CLASS -> coarse class."""


def coarse_of(label: str) -> str:
    """Return the coarse class of a fine one or of SDSS's CLASS.

    Raises:
        KeyError: it is neither.
    """
    return COARSE_OF_PREFIX[label.split("_", maxsplit=1)[0]]


def named_beside(own: str) -> Callable[[str], str]:
    """Return the check of a setting that names a stage's answers: it must not look as if it chose another model than its own."""

    def check(name: str) -> str:
        if name.startswith("builtin:") or (name != own and re.fullmatch(r"(spectra|combine|anomaly)-v\d+", name)):
            raise ValueError(f"it names the answers and chooses no model: for {name}, wire a model to the port `model`")
        return name

    return check
