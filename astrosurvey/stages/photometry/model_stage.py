"""Fluxes by models of the light: total, and forced on other images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from ...core.product import optional
from ...core.stage import Bands, Context, Stage, StageConfig
from ...products import Catalog, Fractions, Image, Segmentation

FILLED = (
    "flux", "flux_err", "radius", "half_light_radius", "semi_major", "semi_minor", "theta", "sersic_radius", "n_sersic", "masked_fraction",
)  # fmt: skip


class TotalPhotometry(Stage):
    """Measure total fluxes, positions and shapes by fitting the growth of the light, neighbours subtracted.

    Positions become windowed centroids. Around them the light is summed over ellipses, and a family of
    Sérsic galaxies and the star, as the PSF of each band shows them, is fitted to the sums; the flux is the
    mean over the family, by probability. So it holds the light beyond any aperture, and the same shape in
    every band. Models of neighbours are subtracted in rounds; where a deblender's fractions are wired, these
    take the neighbours' light away instead. Errors count the correlation of the noise,
    which is measured on the sky.

    References: Sérsic (1963); Bertin & Arnouts (1996), A&AS 117, 393; Bernstein & Jarvis (2002), AJ 123, 583;
    Miller et al. (2007), MNRAS 382, 315.
    """

    name, version = "photometry.total", 2
    inputs = {
        "image": Image,
        "segmentation": Segmentation,
        "sources": Catalog.of("source"),
        "photometry": optional(Catalog.of("photometry")),
        "fractions": optional(Fractions),
    }
    outputs = {
        "sources": Catalog.of("source", fills=("ra", "dec", "x_var", "y_var", "xy_cov"), passes="sources"),
        "photometry": Catalog.of("photometry", fills=FILLED, passes="photometry"),
    }

    class Config(StageConfig):
        """Settings of `photometry.total`."""

        bands: Bands | None = Field(None, description="bands that positions and shapes are taken from; all when left out")
        galaxy_size: float = Field(
            0.5, gt=0, description="half-light radius expected of a galaxy before a look at its pixels, in FWHM of the PSF"
        )
        rounds: int = Field(
            1, ge=1, le=10, description="how often neighbours' models are subtracted and all sources measured again, without fractions"
        )
        apertures: tuple[float, ...] = Field((), description="radii in pixels of circles to measure as well, neighbours subtracted")

        @field_validator("apertures")
        @classmethod
        def _distinct(cls, value: tuple[float, ...]) -> tuple[float, ...]:
            if any(radius <= 0 for radius in value):
                raise ValueError("must be positive")
            if len({f"{radius:g}" for radius in value}) != len(value):
                raise ValueError("must differ from each other")
            return value

    def run(
        self,
        ctx: Context,
        *,
        image: Image,
        segmentation: Segmentation,
        sources: Catalog,
        photometry: Catalog | None,
        fractions: Fractions | None = None,
    ) -> Mapping[str, Any]:
        """Return the sources at their windowed centroids, and their photometry."""
        from ..detection.linked import check_linked, check_shared
        from .apertures import Shares
        from .fitting import measure
        from .frame import frame
        from .noise import noise_factor
        from .rows import photometry_rows
        from .total import aperture_columns, refined, total_columns

        check_linked(image, segmentation, sources)
        if fractions is not None:
            check_shared(image, fractions, sources)
        field = frame(image, segmentation.labels, self.config.bands, ctx.log.warning)
        found = measure(
            field,
            sources.column("x"),
            sources.column("y"),
            sources.column("n_pixels"),
            self.config.galaxy_size,
            self.config.rounds,
            ctx.device,
            ctx.progress,
            shares=Shares(fractions) if fractions is not None else None,
            room=max(self.config.apertures, default=0.0),
        )
        factor = noise_factor(field, found.planes, segmentation.labels, ctx.device)
        ctx.log.info(
            "noise of a star's flux over that of independent pixels: %s",
            ", ".join(f"{b} {f:.3f}" for b, f in zip(image.bands, factor, strict=True)),
        )
        columns = total_columns(image, sources, found, factor)
        moved = refined(ctx.tile, image, sources, found, factor, field.weights * field.noise**2, columns["flags"])
        rows = photometry_rows(sources, photometry, columns)
        if self.config.apertures:
            apertures = aperture_columns(image, sources, found, factor, self.config.apertures, ctx.device)
            rows = photometry_rows(sources, rows, apertures, ", or give it other `apertures`")
        return {"sources": moved, "photometry": rows}


class ForcedPhotometry(Stage):
    """Measure fluxes at given positions with given shapes, on the detection's image or any other.

    Sources are found on the image by right ascension and declination, or by x and y where either side has
    none. Each has the shape that `photometry.total` gave it, turned and scaled to this image's pixels and
    seen through its PSF, or is a star where there is none. All fluxes are fitted, negative ones as well;
    neighbours are subtracted in rounds.

    References: Lang, Hogg & Schlegel (2016), AJ 151, 36.
    """

    name = "photometry.forced"
    inputs = {"image": Image, "sources": Catalog.of("source"), "photometry": optional(Catalog.of("photometry"))}
    outputs = {
        "photometry": Catalog.of("photometry", fills=("flux", "flux_err", "radius", "masked_fraction"), passes="photometry"),
    }

    class Config(StageConfig):
        """Settings of `photometry.forced`."""

        method: str = Field("forced", pattern=r"^[a-z][a-z0-9_]{0,62}$", description="name of the method in the new rows")
        shapes: str = Field("total", description="method of the rows that shapes are taken from")
        shape_band: str | None = Field(None, description="band of these rows; the first that a source has when left out")
        rounds: int = Field(2, ge=0, le=10, description="how often neighbours' models are subtracted and all sources fitted again")

    def run(self, ctx: Context, *, image: Image, sources: Catalog, photometry: Catalog | None) -> Mapping[str, Any]:
        """Return the photometry with rows for every source in every band of the image."""
        from .forced import forced_columns
        from .frame import frame
        from .rows import photometry_rows

        config = self.config
        field = frame(image, None, None, ctx.log.warning)
        columns = forced_columns(
            field, image, sources, photometry, config.shapes, config.shape_band, config.rounds, ctx.device, ctx.log.warning
        )
        rows = photometry_rows(sources, photometry, {**columns, "method": config.method}, ", or name its rows otherwise with `method`")
        return {"photometry": rows}
