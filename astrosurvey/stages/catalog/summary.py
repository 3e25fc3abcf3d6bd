"""What a cross-match found, in numbers: how many sources have a counterpart, how many would by chance, and how well the places agree."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from ...products.metrics import Metric

if TYPE_CHECKING:
    from .counterparts import Links


class Summary:
    """Numbers of a cross-match, added up part after part of the sky.

    Args:
        radius: of the match, arcsec.
    """

    def __init__(self, radius: float) -> None:
        self._radius = radius
        self._total = dict.fromkeys(("sources", "matched", "chance", "ambiguous", "shared", "mutual"), 0)
        self._offsets: list[np.ndarray] = []

    def add(self, core: np.ndarray, found: Links, offsets: np.ndarray, chance: int) -> None:
        """Add a part.

        Args:
            core: (n,) bool, the sources of the part itself.
            found: their pairs.
            offsets: (3, matched) separations and offsets of the best counterparts along right ascension and declination, arcsec.
            chance: how many sources, moved aside, have a counterpart.
        """
        best = core[found.source] & (found.rank == 0)
        more = {
            "sources": core.sum(),
            "matched": best.sum(),
            "chance": chance,
            "ambiguous": (found.n_other[core] > 1).sum(),
            "shared": (found.n_source[found.other[best]] > 1).sum(),
            "mutual": found.mutual[best].sum(),
        }
        for name, number in more.items():
            self._total[name] += int(number)
        self._offsets.append(offsets)

    def tell(self, log: logging.Logger, nowhere: int) -> None:
        """Log what was found; `nowhere` sources have no place on the sky."""
        total = self._total
        log.info(
            "%d of %d sources have a counterpart within %g arcsec, %d of them several; moved aside, %d have one by chance",
            total["matched"], total["sources"], self._radius, total["ambiguous"], total["chance"],
        )  # fmt: skip
        if nowhere:
            log.warning("%d sources have no place on the sky", nowhere)
        if not total["matched"]:
            log.warning("no source has a counterpart: are both catalogues of the same part of the sky? see `radius`")

    def values(self) -> tuple[Metric, ...]:
        """Return the numbers."""
        total = self._total
        separation, east, north = np.concatenate([np.zeros((3, 0)), *self._offsets], axis=1)
        counts = {
            "matched": (total["matched"], total["sources"], "sources that have a counterpart within reach"),
            "matched by chance": (total["chance"], total["sources"], "sources that have one when all are moved aside by thirty radii"),
            "ambiguous": (total["ambiguous"], total["matched"], "of the matched sources those with several counterparts within reach"),
            "shared": (total["shared"], total["matched"], "of the matched sources those whose counterpart other sources could have, too"),
            "mutual": (total["mutual"], total["matched"], "of the matched sources those that are their counterpart's best, too"),
        }
        fractions = [Metric(name, part / of if of else np.nan, description=text) for name, (part, of, text) in counts.items()]
        medians = {
            "separation": (separation, "median separation of the best counterparts"),
            "offset in right ascension": (east, "median offset of the best counterparts towards east"),
            "offset in declination": (north, "median offset of the best counterparts towards north"),
        }
        return (
            Metric("sources", float(total["sources"]), description="sources with a place on the sky"),
            *fractions,
            *(
                Metric(name, float(np.median(values)) if len(values) else np.nan, "arcsec", description=text)
                for name, (values, text) in medians.items()
            ),
        )
