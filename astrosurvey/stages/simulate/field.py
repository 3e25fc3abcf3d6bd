"""`simulate.field`: random fields of known statistics, on which detection and deblending are measured and trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from ...core.stage import Bands, Context, DataError, FilePath, Stage, StageConfig
from ...products import Catalog, Fractions, Image, Segmentation

if TYPE_CHECKING:
    from .real import Templates


def _ordered(value: float | tuple[float, float]) -> float | tuple[float, float]:
    if isinstance(value, tuple) and value[0] > value[1]:
        raise ValueError("must be a number, or [lowest, highest]")
    return value


Span = Annotated[float | tuple[float, float], AfterValidator(_ordered)]
"""A number, or the ends of a range from which each tile draws."""

Between = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""The ends of a range from which each object draws."""


def _at_least(value: Span, lowest: float, *, open_end: bool = False) -> Span:
    least = value[0] if isinstance(value, tuple) else value
    if least < lowest or (open_end and least == lowest):
        raise ValueError(f"must be {'above' if open_end else 'at least'} {lowest:g}")
    return value


Positive = Annotated[Span, AfterValidator(lambda value: _at_least(value, 0.0, open_end=True))]
NotNegative = Annotated[Span, AfterValidator(lambda value: _at_least(value, 0.0))]


class SimulateField(Stage):
    """Render a random field of stars and galaxies in each tile, with the truth about every object and pixel.

    Each tile is a field of its own: objects are strewn at random, with counts that follow a power law of
    flux, and pairs of chosen separation and flux ratio are added to them. A setting that is a range is drawn
    anew for each tile, so that a network sees many skies. As set, this is the scene on which the project's
    detection is compared with other tools.

    References: Sérsic (1963); Moffat (1969); Rowe et al. (2015), GalSim, arXiv:1407.7676.
    """

    name, version = "simulate.field", 1
    outputs: ClassVar[Mapping[str, Any]] = {
        "image": Image,
        "truth": Catalog.of("truth", fills=["half_light_radius", "semi_major", "semi_minor", "theta", "n_sersic", "snr"]),
        "segmentation": Segmentation,
        "fractions": Fractions,
    }

    class Config(StageConfig):
        """The statistics of the fields. Densities are per million pixels, fluxes in nJy."""

        bands: Bands = Field(("r",), description="names of the bands")
        pixel_scale: float = Field(0.2, gt=0, description="arcsec per pixel")
        center: tuple[float, float] = Field(
            (150.1, 2.2), description="right ascension and declination (deg) of the first pixel of the grid of tiles"
        )
        seeing: Positive = Field(
            4.0, description="width of the PSF (pixel FWHM), or a range of which each tile draws, evenly in its logarithm"
        )
        psf_beta: Annotated[Span, AfterValidator(lambda value: _at_least(value, 1.5))] = Field(
            3.5, description="Moffat exponent of the PSF, or a range"
        )
        psf_ellipticity: Annotated[float | Between, AfterValidator(lambda value: _at_least(value, 0.0))] = Field(
            0.0, description="(a - b) / (a + b) of the PSF, in a random direction, or a range"
        )
        density: NotNegative = Field(715.3, description="objects in a million pixels, or a range")
        pairs: NotNegative = Field(89.4, description="pairs added in a million pixels, or a range")
        pair_separation: Between = Field((2.0, 20.0), description="least and greatest separation of a pair")
        pair_unit: Literal["pixel", "seeing"] = Field("pixel", description="unit of the separation: pixels or widths of the PSF")
        pair_ratio: Between = Field((0.1, 1.0), description="least and greatest flux ratio of a pair")
        pair_flux: Between = Field((1000.0, 10_000.0), description="least and greatest flux of the brighter of a pair, at depth 1")
        faint: float = Field(115.0, gt=0, description="flux of the faintest objects, at depth 1")
        bright: float = Field(1e5, gt=0, description="flux of the brightest objects, at depth 1")
        slope: float = Field(0.9, gt=0, description="objects brighter than F are as many as F to the power of minus this")
        depth: Positive = Field(1.0, description="factor on all fluxes, at the same noise, or a range")
        star_fraction: float = Field(0.3, ge=0, le=1, description="part of the objects without extent")
        sersic: Between = Field((0.5, 4.0), description="least and greatest Sérsic index of galaxies; within 0.5 and 6")
        sersic_median: float = Field(1.5, gt=0, description="median of the Sérsic index; its scatter is a factor 1.65")
        half_light: Between = Field((0.8, 10.0), description="least and greatest circularised half-light radius of galaxies (pixel)")
        half_light_median: float = Field(2.2, gt=0, description="median of the half-light radius (pixel); its scatter is a factor 1.65")
        axis_ratio: Between = Field((0.3, 1.0), description="least and greatest axis ratio of galaxies")
        real_galaxies: FilePath | None = Field(
            None, description="FITS file with the stamp of a real galaxy in each HDU, looks for some of the galaxies"
        )
        real_fraction: float = Field(0.3, ge=0, le=1, description="part of the galaxies that look like one of `real_galaxies`")
        real_keep: Literal["all", "training", "held out"] = Field(
            "all", description="which stamps to take; of every seven, the last two are held out of training"
        )
        colours: float = Field(0.3, ge=0, description="scatter of the colour between neighbouring bands (mag)")
        noise: float = Field(5.0, gt=0, description="standard deviation of the noise of a pixel")
        noise_correlation: NotNegative = Field(
            0.0, description="the noise is smoothed by a Gaussian of this sigma (pixel), its variance kept, or a range"
        )
        sky: float = Field(100.0, description="mean level of the sky per pixel")
        sky_gradient: NotNegative = Field(0.2, description="rise of the sky from edge to edge, as a part of its level, or a range")
        mask_level: float = Field(
            0.5, gt=0, description="an object owns the pixels in which it is the brightest and above this part of the noise"
        )

    templates: Templates | None = None

    def setup(self, ctx: Context) -> None:
        """Read the real galaxies."""
        if self.config.real_galaxies:
            from .real import read_templates

            self.templates = read_templates(self.config.real_galaxies, self.config.real_keep)

    def run(self, ctx: Context) -> Mapping[str, Any]:
        """Return the tile's `image`, `truth`, and true `segmentation` and `fractions`."""
        from .field_image import field

        tile = ctx.tile
        if tile is None or tile.window is None:
            name = tile.name if tile else "survey"
            raise DataError(
                f"simulate.field renders a tile of given size, but tile {name} has none; write `tiles: {{count: 8, size: 1024}}`"
            )
        made = field(self.config, tile, ctx.rng, ctx.progress, self.templates)
        return {"image": made.image, "truth": made.truth, "segmentation": made.segmentation, "fractions": made.fractions}
