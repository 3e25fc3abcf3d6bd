"""io.spectra: spectra of any survey, in one product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from ...core.stage import Context, FilePath, Stage, StageConfig
from ...core.tiles import Tile
from ...products import Catalog, Spectra

FORMAT_NAMES = (
    "lamost", "lamost-table", "sdss", "desi", "marz", "sdss-image", "eso", "planes", "rows", "parquet", "gaia", "table", "specutils",
)  # fmt: skip
"""The formats by name; `readers.FORMATS` has the readers, whose modules are not imported to list the stage's settings."""

Column = Literal["wave", "loglam", "flux", "ivar", "error", "variance", "mask", "name"]


class ReadSpectra(Stage):
    """Read spectra of any survey into one unit, vacuum wavelengths, inverse variances and one set of mask bits.

    What a file leaves open (air or vacuum, a unit, errors) is never guessed: it is a setting, or an error that names the setting.

    References: Ciddor (1996), Applied Optics 35, 1566 (air and vacuum); Wright & Eastman (2014), PASP 126, 838
    (the Earth's motion); Stoehr et al. (2008), ASP Conf. Ser. 394, 505 (errors from scatter).
    """

    name, version, scope = "io.spectra", 2, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, Any]] = {"spectra": Spectra, "catalog": Catalog.of("spectrum", fills=["name"])}

    class Config(StageConfig):
        """Settings; where a file says something else, the setting holds."""

        path: FilePath = Field(
            "{path}", description="template of the file, or a pattern such as `{tile}/spec-*.fits` for all files of a folder in one tile"
        )
        format: str = Field(
            "auto", description=f"auto, or one of {', '.join(FORMAT_NAMES)}; `specutils:LOADER` names one of specutils' loaders"
        )
        medium: Literal["air", "vacuum"] | None = Field(None, description="what the wavelengths are measured in; unset: as the file says")
        frame: Literal["topocentric", "heliocentric", "barycentric", "source"] | None = Field(
            None, description="whose rest frame the wavelengths are in; unset: as the file says, or unknown"
        )
        correct: Literal["heliocentric", "barycentric"] | None = Field(
            None, description="take the Earth's motion out of topocentric wavelengths; unset: leave them as they are"
        )
        unit: str | None = Field(
            None, description="of the fluxes, such as `1e-17 erg/s/cm2/Angstrom`, Jy or relative; unset: as the file says"
        )
        wave_unit: str | None = Field(
            None, description="of the wavelengths, such as Angstrom, nm, log10(Angstrom) or GHz; unset: as the file says"
        )
        columns: dict[Column, str] = Field(
            {}, description="what the file calls its wave, loglam, flux, ivar, error, variance, mask or name, where it is unusual"
        )
        mask: Literal["sdss", "desi", "lamost", "nonzero", "zero", "ignore"] | None = Field(
            None, description="what the mask means: a survey's bits, `nonzero` or `zero` is bad, or `ignore` it; unset: the format's own"
        )
        errors: Literal["required", "measured"] = Field(
            "required", description="what to do with a file without errors: refuse it, or measure them from the scatter between pixels"
        )
        checksum: bool = Field(True, description="refuse an HDU read as a whole that disagrees with its own DATASUM")

        @field_validator("frame", mode="before")
        @classmethod
        def _not_the_medium(cls, value: Any) -> Any:
            if value in ("air", "vacuum"):
                raise ValueError(f"`frame` is whose rest frame the wavelengths are in; for {value}, set `medium: {value}`")
            return value

        @field_validator("format")
        @classmethod
        def _known(cls, value: str) -> str:
            if value != "auto" and value.partition(":")[0] not in FORMAT_NAMES:
                raise ValueError(f"there is no format {value!r}; there are auto, {', '.join(FORMAT_NAMES)}")
            if ":" in value and not value.startswith("specutils:"):
                raise ValueError("only `specutils:LOADER` takes a name behind a colon")
            return value

    @classmethod
    def external_files(cls, config: Any, tile: Tile | None) -> list[str]:
        """Return the file, or what the pattern matches."""
        from .read import files_of

        return files_of(config.path, tile)

    @classmethod
    def count_rows(cls, config: Any, path: str) -> int:
        """Return how many spectra a file holds."""
        from .read import opened
        from .readers import format_of

        with opened(config, path) as file:
            return format_of(file, config.format.partition(":")[0]).count(file)

    def run(self, ctx: Context) -> Mapping[str, Any]:
        """Read the tile's spectra."""
        from .read import read_spectra

        spectra, catalog = read_spectra(self.config, ctx.tile, ctx.log)
        return {"spectra": spectra, "catalog": catalog}
