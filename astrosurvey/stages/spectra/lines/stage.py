"""spectra.lines: what the emission lines of spectra measure, and what they say of the objects."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ....core.product import optional
from ....core.stage import Context, FilePath, NoWork, Stage, StageConfig
from ....products import Catalog, Spectra

if TYPE_CHECKING:
    from .stars import Populations


class MeasureLines(Stage):
    """Measure emission lines, spectral indices and the BPT class.

    Fluxes, equivalent widths, widths and velocities come with errors, which allow for each other and for the continuum. Lines of one
    kind share a velocity and a width, doublets from one level keep their ratio, lines that overlap are fitted at once, and Balmer lines
    get a broad component where the data ask for one. Every spectrum with a redshift has a row for every line; what could not be measured is
    NaN, and a flag says why.

    References: Bolton et al. (2012), arXiv:1207.7326; Golub & Pereyra (1973), SIAM J. Numer. Anal. 10, 413; Cid Fernandes et al.
    (2005), MNRAS 358, 363; Baldwin, Phillips & Terlevich (1981), PASP 93, 5; Kewley et al. (2001), ApJ 556, 121; Kauffmann et al.
    (2003), MNRAS 346, 1055; Trager et al. (1998), ApJS 116, 1; Worthey & Ottaviani (1997), ApJS 111, 377; Balogh et al. (1999),
    ApJ 527, 54.
    """

    name, version = "spectra.lines", 1
    inputs = {
        "spectra": Spectra,
        "redshifts": Catalog.of("redshift"),
        "catalog": optional(Catalog.of("spectrum")),
    }
    outputs = {
        "lines": Catalog.of("spectral_line"),
        "indices": Catalog.of("spectral_index"),
        "classes": Catalog.of("classification"),
    }

    class Config(StageConfig):
        """Settings of `spectra.lines`."""

        resolution: float | None = Field(
            None,
            gt=0,
            description="resolving power, λ over the full width at half maximum; unset: the catalogue's, where that is wired",
        )
        broad: bool = Field(True, description="try broad components of Balmer lines")
        templates: FilePath | None = Field(
            None,
            description="folder of published templates, whose stellar populations are fitted to galaxies; unset: smooth continua for all",
        )

    def run(self, ctx: Context, *, spectra: Spectra, redshifts: Catalog, catalog: Catalog | None) -> Mapping[str, Any]:
        """Return lines, indices and classes."""
        from .rows import Options, measured

        if spectra.wave.shape[-1] < 2:
            raise NoWork("spectra of a single pixel have no lines")
        config = self.config
        options = Options(config.resolution, config.broad, _populations(config.templates) if config.templates else None)
        return measured(ctx, spectra, redshifts, catalog, options)


@cache
def _populations(folder: str) -> Populations | None:
    from ..templates import read_library
    from .stars import prepared

    return prepared(read_library(Path(folder)).galaxies)
