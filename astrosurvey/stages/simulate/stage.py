"""`simulate.sky`: tiles of a sky that does not exist, with the truth about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from ...core.stage import Context, DataError, Stage, StageConfig
from ...products import Catalog, Image

BandName = Literal["u", "g", "r", "i", "z", "y"]

DEPTH: dict[BandName, float] = {"u": 25.8, "g": 26.5, "r": 26.1, "i": 25.9, "z": 25.1, "y": 24.4}
SEEING: dict[BandName, float] = {"u": 0.85, "g": 0.77, "r": 0.70, "i": 0.65, "z": 0.66, "y": 0.68}
SKY: dict[BandName, float] = {"u": 23.0, "g": 22.3, "r": 21.2, "i": 20.5, "z": 19.6, "y": 18.6}


class SimulateSky(Stage):
    """Render a tile of a simulated deep survey, and list what is in it.

    The settings define one sky; a tile shows the part of it that its window covers, so tiles that overlap
    agree pixel by pixel, noise included. Stars and bulge-plus-disk galaxies follow the counts, sizes,
    colours and redshifts of deep surveys; the images have a Moffat point-spread function that drifts across
    the field, an uneven sky, photon and read noise, saturated stars that bleed, cosmic rays and bad columns.

    References: Rowe et al. (2015), GalSim; LSST Science Book (2009); Aihara et al. (2018), HSC SSP.
    """

    name, version = "simulate.sky", 1
    outputs: ClassVar[Mapping[str, Any]] = {
        "image": Image,
        "truth": Catalog.of(
            "truth",
            fills=["redshift", "bulge_fraction", "half_light_radius", "semi_major", "semi_minor", "theta", "bulge_radius", "disk_radius"],
        ),
    }

    class Config(StageConfig):
        """One sky and the survey that observes it."""

        seed: int = Field(1, ge=0, description="which sky; the same seed is the same sky in every run and tile")
        center: tuple[float, float] = Field((150.1, 2.2), description="right ascension and declination (deg) of the sky's pixel (0, 0)")
        pixel_scale: float = Field(0.2, ge=0.1, le=1.0, description="arcsec per pixel")
        bands: tuple[BandName, ...] = Field(("g", "r", "i"), min_length=1, description="bands to observe, in the order of the image")
        depth: dict[BandName, Annotated[float, Field(ge=15, le=32)]] = Field(
            DEPTH, description="5 sigma depth for point sources (AB mag); bands not named keep their default"
        )
        seeing: dict[BandName, Annotated[float, Field(ge=0.2, le=5)]] = Field(
            SEEING, description="width of the PSF (arcsec FWHM); bands not named keep their default"
        )
        sky: dict[BandName, Annotated[float, Field(ge=10, le=30)]] = Field(
            SKY, description="sky brightness (AB mag per square arcsec); bands not named keep their default"
        )
        sky_gradient: float = Field(0.02, ge=0, le=0.3, description="scatter of the sky level across the field, as a fraction")
        psf_beta: float = Field(3.0, ge=2, le=6, description="Moffat exponent of the PSF")
        psf_variation: float = Field(0.04, ge=0, le=0.1, description="scatter of the PSF's width across the field, as a fraction")
        psf_ellipticity: float = Field(0.03, ge=0, le=0.1, description="scatter of each component of the PSF's (a-b)/(a+b)")
        galaxy_density: float = Field(1.0, ge=0, le=10, description="galaxies, relative to published counts")
        star_density: float = Field(2.0, ge=0, le=300, description="stars, relative to the galactic pole")
        faint_limit: float = Field(27.5, ge=17, le=30, description="r magnitude of the faintest objects in the sky")
        truth_depth: float = Field(27.5, description="r magnitude of the faintest objects that the truth table lists")
        exposures: int = Field(4, ge=1, description="exposures that make up the image")
        read_noise: float = Field(5.0, ge=0, description="electrons per exposure")
        full_well: float = Field(150_000.0, gt=0, description="electrons at which a pixel of one exposure saturates")
        cosmic_rays: float = Field(15.0, ge=0, description="cosmic rays left in a million pixels of each band")
        flag_cosmic_rays: bool = Field(True, description="mark cosmic rays in the mask, as a survey that found them all would")
        bad_columns: float = Field(2.0, ge=0, description="bad columns that begin in a million pixels of each band")

        @field_validator("depth", "seeing", "sky", mode="before")
        @classmethod
        def _complete(cls, value: Any, info: Any) -> Any:
            default = cls.model_fields[info.field_name].default
            return {**default, **value} if isinstance(value, Mapping) else value

        @field_validator("bands")
        @classmethod
        def _once(cls, value: tuple[BandName, ...]) -> tuple[BandName, ...]:
            if len(set(value)) != len(value):
                raise ValueError("a band may be named only once")
            return value

        @field_validator("center")
        @classmethod
        def _on_the_sphere(cls, value: tuple[float, float]) -> tuple[float, float]:
            if not (0.0 <= value[0] < 360.0 and -90.0 <= value[1] <= 90.0):
                raise ValueError("must be [ra, dec] with 0 <= ra < 360 and -90 <= dec <= 90")
            return value

    def run(self, ctx: Context) -> Mapping[str, Any]:
        """Return the tile's `image` and `truth`."""
        from .exposure import image_of, tangent_wcs
        from .scene import Scene
        from .survey import bands
        from .truth import truth_catalog

        tile = ctx.tile
        if tile is None or tile.window is None:
            name = tile.name if tile else "survey"
            raise DataError(
                f"simulate.sky renders a window of one sky, but tile {name} has none; write `tiles: {{count: 8, size: 1024, overlap: 128}}`"
            )
        scene = Scene(self.config, bands(self.config))
        wcs = tangent_wcs(self.config.center, self.config.pixel_scale, tile.window)
        return {"image": image_of(scene, tile.window, wcs, ctx.progress), "truth": truth_catalog(scene, tile, tile.window, wcs)}
