"""Numbers over all sources of a run: by magnitude, and by flag."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..catalog.flags import SOURCE
from .tables import Text, numbers

ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""
BIN = 0.25
_EDGES = np.arange(5.0, 35.0 + BIN / 2, BIN)


@dataclass
class Statistics:
    """What is counted while catalogues stream by.

    Attributes:
        sources: rows of the source table.
        flags: how many sources have each flag.
        flagged: how many have any.
        magnitudes: (method, band) -> sources in each magnitude bin.
        faint: (method, band) -> sources without a positive flux.
    """

    sources: int = 0
    flagged: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    magnitudes: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    faint: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add_flags(self, flags: np.ndarray) -> None:
        """Count sources by their (n,) integer flags."""
        self.sources += len(flags)
        self.flagged += int((flags != 0).sum())
        for flag in SOURCE.flags:
            number = int(((flags & flag.value) != 0).sum())
            if number:
                self.flags[flag.name] += number

    def add_fluxes(self, batch: dict[str, Any], counts: np.ndarray) -> None:
        """Count the rows of a batch of the photometry table for which (n,) `counts` is true."""
        band, method = batch["band"], batch["method"]
        if not isinstance(band, Text) or not isinstance(method, Text):
            return
        flux = numbers(batch, "flux")
        with np.errstate(divide="ignore", invalid="ignore"):
            magnitude = ZERO_POINT - 2.5 * np.log10(flux)
        for m, method_name in enumerate(method.names):
            for b, band_name in enumerate(band.names):
                mine = counts & (method.codes == m) & (band.codes == b)
                if not mine.any():
                    continue
                key = (method_name, band_name)
                self.magnitudes.setdefault(key, np.zeros(len(_EDGES) - 1, np.int64))
                self.magnitudes[key] += np.histogram(magnitude[mine & (flux > 0)], _EDGES)[0]
                self.faint[key] += int((mine & ~(flux > 0)).sum())

    def methods(self) -> list[str]:
        """Return the photometric methods, total fluxes before apertures."""
        found = dict.fromkeys(method for method, _ in self.magnitudes)
        return sorted(found, key=lambda method: (method.startswith("aperture"), list(found).index(method)))

    def histogram(self, method: str) -> tuple[list[float], dict[str, list[int]]]:
        """Return bin edges and, by band, the number of sources in each bin, without the empty ends."""
        counts = {band: heights for (m, band), heights in self.magnitudes.items() if m == method}
        filled = np.flatnonzero(sum(counts.values())) if counts else np.empty(0, int)
        if not len(filled):
            return [], {}
        first, last = int(filled[0]), int(filled[-1]) + 1
        return _EDGES[first : last + 1].tolist(), {band: heights[first:last].tolist() for band, heights in counts.items()}
