"""Redshifts and classes by templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from ....core.product import optional
from ....core.stage import Context, DataError, FilePath, Stage, StageConfig
from ....products import Catalog, Spectra

if TYPE_CHECKING:
    from .sets import ScanSet

SetName = Literal[
    "stars",
    "white_dwarfs",
    "eigen_stars",
    "star_archetypes",
    "cataclysmic",
    "library_stars",
    "galaxies",
    "eigen_galaxies",
    "eigen_quasars",
    "eigen_quasars_low",
    "eigen_quasars_high",
    "quasar_archetypes",
]


class MeasureRedshift(Stage):
    """Measure redshifts by fitting templates of stars, galaxies and quasars at every redshift.

    Chi-square is evaluated at every shift by one pixel of the grid log10(wavelength) in steps of 1e-4, in Fourier space. Galaxies and
    quasars are sums of basis vectors and a polynomial; stars single templates times a polynomial, which takes up a
    calibration that is wrong. The best peaks of each class are fitted exactly. Every spectrum gets up to five
    distinct solutions, the best of each class among them, with their errors and warnings, and more where `seeds` say so. Blueward
    of Lyα, quasars are multiplied by the mean transmission of the forest at the observed wavelength.

    References: Glazebrook, Offer & Deeley (1998), ApJ 492, 98; Bolton et al. (2012), AJ 144, 144;
    Faucher-Giguère et al. (2008), ApJ 681, 831; Guy et al. (2023), AJ 165, 144.
    """

    name = "spectra.redshift"
    version = 2
    inputs = {"spectra": Spectra, "catalog": optional(Catalog.of("spectrum")), "seeds": optional(Catalog.of("redshift"))}
    outputs = {
        "redshifts": Catalog.of("redshift", fills=("z", "z_err", "chi2", "delta_chi2", "spectral_class", "template")),
        "fits": Spectra,
    }

    class Config(StageConfig):
        """Settings of `spectra.redshift`."""

        templates: FilePath | None = Field(
            None, description="folder of published templates; what it lacks, or all when left out, is a small analytic set"
        )
        sets: tuple[SetName, ...] = Field(
            ("eigen_stars", "eigen_galaxies", "eigen_quasars"),
            min_length=1,
            description="sets of templates to fit; what the folder lacks is replaced by a small analytic set, or else left out",
        )
        galaxies: tuple[float, float] = Field((0.0, 1.7), description="redshifts of galaxies to try, from and to")
        quasars: tuple[float, float] = Field((0.05, 7.0), description="redshifts of quasars to try, from and to")
        velocity: float = Field(1000.0, gt=0, le=10000, description="km/s; stars are tried from minus to plus this")
        additive: int = Field(3, ge=1, le=10, description="terms of the polynomial that is added to galaxies and quasars")
        multiplicative: int = Field(7, ge=1, le=7, description="terms of the polynomial that multiplies stars")
        peaks: int = Field(3, ge=1, le=10, description="peaks of each set that are fitted exactly; of stars one fewer")
        mates: int = Field(2, ge=0, le=5, description="other templates that may join the best star's")

        sky_weight: float = Field(
            0.1,
            gt=0,
            le=1,
            description="by what the inverse variances of pixels on sky lines and in telluric bands are multiplied; not measured errors",
        )

        @field_validator("galaxies", "quasars")
        @classmethod
        def _range(cls, value: tuple[float, float]) -> tuple[float, float]:
            if not -0.5 < value[0] < value[1] <= 20:
                raise ValueError("needs a redshift above -0.5 and a greater one up to 20")
            return value

    _sets: list[ScanSet] | None = None
    """The templates, kept from tile to tile."""

    def run(self, ctx: Context, *, spectra: Spectra, catalog: Catalog | None, seeds: Catalog | None) -> Mapping[str, Any]:
        """Return the redshifts and the best fits."""
        from pathlib import Path

        from ..templates import read_library
        from .refine import Orders
        from .run import measure
        from .scan import Choices
        from .sets import scan_sets

        config = self.config
        if self._sets is None:
            library = read_library(Path(config.templates) if config.templates else None)
            self._sets = scan_sets(library, config.sets, config.galaxies, config.quasars, config.velocity)
            stand_ins = [name for name in config.sets if getattr(library, name).origin == "analytic"]
            if stand_ins:
                ctx.log.warning(
                    "%s: small analytic sets, for trials and not for science; name a folder of published templates in `templates`",
                    ", ".join(stand_ins),
                )
            if not self._sets:
                raise DataError(f"none of the sets {', '.join(config.sets)} is in the folder; put their files there or name other sets")
        orders = Orders(multiplicative=config.multiplicative, additive=config.additive)
        redshifts, fits = measure(ctx, spectra, self._sets, Choices(orders, config.peaks, config.mates, config.sky_weight), catalog, seeds)
        return {"redshifts": redshifts, "fits": fits}
