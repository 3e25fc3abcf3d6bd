"""`simulate.spectra`: spectra that do not exist, with the truth about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ....core.stage import Context, FilePath, Stage, StageConfig
from ....products import Catalog, Spectra

ClassName = Literal["star", "galaxy", "quasar", "sky", "unknown"]
Share = Annotated[float, Field(ge=0)]
Redshift = Annotated[float, Field(ge=0)]

SHARES: dict[ClassName, float] = {"star": 0.32, "galaxy": 0.32, "quasar": 0.27, "sky": 0.05, "unknown": 0.04}
GALAXY_Z, QUASAR_Z = (0.0, 1.7), (0.03, 6.9)
STEPS = 20
"""How many steps of 1e-4 a pixel may be wide."""


class SimulateSpectra(Stage):
    """Draw spectra of stars, galaxies, quasars, empty sky and nothing there is, and observe them.

    Each spectrum gets an object, a redshift and an instrument of its own. The fine class of a galaxy or quasar follows
    from its lines and its noise by the rules of SDSS's pipeline, so the labels are exact.

    References: Bolton et al. (2012), arXiv:1207.7326; Vanden Berk et al. (2001), AJ 122, 549;
    Faucher-Giguère et al. (2008), ApJ 681, 831; Kewley et al. (2013), ApJ 774, 100.
    """

    name, version, scope = "simulate.spectra", 2, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, Any]] = {
        "spectra": Spectra,
        "catalog": Catalog.of("spectrum", fills=["name"]),
        "truth": Catalog.of("spectrum_truth"),
    }

    class Config(StageConfig):
        """What is drawn, and how it is observed."""

        number: int = Field(500, ge=1, le=20_000, description="spectra in each tile; take more tiles for more")
        classes: dict[ClassName, Share] = Field(
            SHARES, description="how often each coarse class is drawn, in any unit; those left out never"
        )
        snr: tuple[float, float] = Field(
            (1.0, 50.0), description="least and greatest mean signal-to-noise ratio of a pixel; even in the logarithm"
        )
        galaxy_z: tuple[Redshift, Redshift] = Field(GALAXY_Z, description="lowest and highest redshift of galaxies; even in ln(1 + z)")
        quasar_z: tuple[Redshift, Redshift] = Field(QUASAR_Z, description="lowest and highest redshift of quasars; even in ln(1 + z)")
        templates: FilePath | None = Field(None, description="folder of published templates; unset: the analytic set of the package")
        noise_from: FilePath | None = Field(
            None, description="file of real spectra that lend their errors, and their quasars' shapes; unset: an analytic sky"
        )
        split: FilePath | None = Field(
            None, description="CSV with the columns row and side: only rows of the side `train` of `noise_from` are looked at"
        )
        start: float = Field(3600.0, ge=2500, le=12000, description="Å in vacuum; the centre of the first pixel")
        stop: float = Field(9824.0, ge=2500, le=12000, description="Å in vacuum; the centre of the last pixel is not beyond this")
        log_step: float = Field(1e-4, description="from pixel to pixel in log10(wavelength): a multiple of 1e-4")
        calibrated: bool = Field(True, description="fluxes in 1e-17 erg/s/cm2/Å as of a telescope of 2.5 m; else relative ones, around 1")
        tilt: float = Field(0.2, ge=0, lt=1, description="largest tilt that the flux calibration has from one end to the middle, as a part")
        distorted: float = Field(0.3, ge=0, le=1, description="share of spectra without flux calibration on large scales, such as LAMOST's")
        sky_residual: float = Field(0.3, ge=0, le=10, description="typical residual of a subtracted sky line, in errors")
        cut: float = Field(
            0.7, ge=0, le=1, description="share of spectra with the range of SDSS, BOSS, LAMOST or DESI instead of the whole grid"
        )

        @model_validator(mode="after")
        def _makes_sense(self) -> Self:
            if not 0 < self.snr[0] <= self.snr[1]:
                raise ValueError("`snr` must be two positive numbers in order")
            for name, most in (("galaxy_z", 2.0), ("quasar_z", 6.95)):
                low, high = getattr(self, name)
                if not low <= high <= most:
                    raise ValueError(f"`{name}` must be two redshifts in order, up to {most}")
            if not any(self.classes.values()):
                raise ValueError("`classes` draws nothing; give one of them a share")
            bins = round(self.log_step / 1e-4)
            if not 1 <= bins <= STEPS or abs(self.log_step - bins * 1e-4) > 1e-9:
                raise ValueError(f"`log_step` must be a multiple of 1e-4 up to {STEPS * 1e-4:g}")
            if self.stop < self.start * 1.1:
                raise ValueError("`stop` must be at least 10 % beyond `start`")
            if self.split is not None and self.noise_from is None:
                raise ValueError("`split` divides the rows of `noise_from`, which is not set")
            return self

    def setup(self, ctx: Context) -> None:
        """Read templates and real spectra, and bring them to the grid."""
        from .simulate import Simulator

        self._simulator = Simulator(self.config)

    def run(self, ctx: Context) -> Mapping[str, Any]:
        """Return spectra, their rows of the table `spectrum`, and the truth."""
        return self._simulator.tile(ctx)
