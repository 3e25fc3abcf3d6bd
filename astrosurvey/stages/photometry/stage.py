"""Fluxes in Kron ellipses and in circles, in every band."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from ...core.product import optional
from ...core.stage import Bands, Context, DataError, Stage, StageConfig
from ...products import Catalog, Fractions, Image, Segmentation

NEIGHBOURS = (
    "pixels of other sources in the aperture: keep them, mask them, or correct them with the flux of the pixels opposite; "
    "fractions, where wired, replace all three"
)


class KronPhotometry(Stage):
    """Measure total fluxes in Kron ellipses, the same in every band.

    The ellipse has the shape of the source's second moments in the detection image and extends to a
    multiple of its Kron radius, the flux-weighted mean radius; half-light radii come from the growth
    curve inside it. Conventions are SExtractor's FLUX_AUTO. A Kron ellipse holds nearly all light of
    stars and exponential discs, but only 90 % of a de Vaucouleurs galaxy.

    References: Kron (1980), ApJS 43, 305; Bertin & Arnouts (1996), A&AS 117, 393; Graham & Driver (2005), PASA 22, 118.
    """

    name, version = "photometry.kron", 2
    inputs = {
        "image": Image,
        "segmentation": Segmentation,
        "sources": Catalog.of("source"),
        "photometry": optional(Catalog.of("photometry")),
        "fractions": optional(Fractions),
    }
    outputs = {
        "sources": Catalog.of("source", passes="sources"),
        "photometry": Catalog.of(
            "photometry",
            fills=("flux", "flux_err", "radius", "half_light_radius", "semi_major", "semi_minor", "theta", "masked_fraction"),
            passes="photometry",
        ),
    }

    class Config(StageConfig):
        """Settings of `photometry.kron`."""

        factor: float = Field(2.5, gt=0, description="semi-major axis of the aperture in Kron radii")
        minimum_radius: float = Field(3.5, gt=0, description="least semi-major axis, in units of the second-moment semi-major axis")
        neighbours: Literal["keep", "mask", "correct"] = Field("correct", description=NEIGHBOURS)
        bands: Bands | None = Field(None, description="bands whose mean gives shapes and radii; all when left out")
        fwhm: float | None = Field(None, ge=0, description="FWHM of the PSF in pixels; from the image's PSF or seeing when left out")

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
        """Return the sources, with flags about their shape added, and their Kron photometry."""
        from ...catalog.flags import SOURCE
        from ..detection.filter import FWHM_PER_SIGMA, detection_images, smoothing, warn_if_unknown
        from ..detection.linked import check_linked, check_shared
        from .apertures import Planes, Shares
        from .kron import ellipses, measure
        from .rows import photometry_rows

        check_linked(image, segmentation, sources)
        if fractions is not None:
            check_shared(image, fractions, sources)
        shares = Shares(fractions) if fractions is not None else None
        x, y = sources.column("x"), sources.column("y")
        fwhm, origin = smoothing(image, self.config.fwhm)
        warn_if_unknown(origin, ctx.log.warning)
        labels = segmentation.labels
        smooth, sharp = detection_images(image, self.config.bands, [[fwhm], [np.zeros_like(fwhm)]], device=ctx.device)
        shape = ellipses(labels, smooth.flux, x, y, max(float(fwhm.mean()), 1.0) / FWHM_PER_SIGMA)
        found = measure(
            Planes(image.data, image.variance, image.usable(), labels, shares),
            Planes(sharp.flux[None], None, np.isfinite(sharp.variance)[None], labels),
            x,
            y,
            shape,
            factor=self.config.factor,
            minimum=self.config.minimum_radius,
            neighbours=self.config.neighbours,
            progress=ctx.progress,
        )
        n, bands = len(sources), len(image.bands)
        per_source = {
            "source_id": sources.column("source_id"),
            "tile_id": sources.column("tile_id"),
            "radius": found["radius"],
            "semi_major": shape.semi_major,
            "semi_minor": shape.semi_minor,
            "theta": np.degrees(shape.theta),
        }
        columns = {
            **{name: np.repeat(values, bands) for name, values in per_source.items()},
            **{name: found[name].ravel() for name in ("flux", "flux_err", "half_light_radius", "masked_fraction", "flags")},
            "band": np.tile(np.array(image.bands, dtype=object), n),
            "method": np.full(n * bands, "kron", dtype=object),
        }
        about_shape = SOURCE["NO_SHAPE"] | SOURCE["APERTURE_TRUNCATED"] | SOURCE["BLENDED"]
        flags = sources.column("flags") | (np.bitwise_or.reduce(found["flags"], axis=1, initial=0) & about_shape)
        return {"sources": sources.replace(flags=flags), "photometry": photometry_rows(sources, photometry, columns)}


class Annulus(StageConfig):
    """A ring about each source in which its local sky is measured."""

    inner: float = Field(description="inner radius, in the unit of the aperture radii", gt=0)
    outer: float = Field(description="outer radius, in the unit of the aperture radii", gt=0)
    clip: float = Field(3.0, ge=1.5, description="values beyond so many standard deviations from the median are clipped")

    @model_validator(mode="after")
    def _ordered(self) -> Annulus:
        if self.outer <= self.inner:
            raise ValueError(f"the outer radius {self.outer:g} must exceed the inner radius {self.inner:g}")
        return self


class AperturePhotometry(Stage):
    """Measure fluxes in circles of fixed radii, at the same positions in every band.

    Pixels count by the exact part of their area inside the circle. No aperture correction is applied.
    The method of a row is `aperture_<radius>`, with the unit where that is arcsec.
    """

    name = "photometry.aperture"
    inputs = {
        "image": Image,
        "sources": Catalog.of("source"),
        "segmentation": optional(Segmentation),
        "photometry": optional(Catalog.of("photometry")),
        "fractions": optional(Fractions),
    }
    outputs = {
        "sources": Catalog.of("source", passes="sources"),
        "photometry": Catalog.of("photometry", fills=("flux", "flux_err", "radius", "masked_fraction"), passes="photometry"),
    }

    class Config(StageConfig):
        """Settings of `photometry.aperture`."""

        radii: tuple[float, ...] = Field((3.0, 5.0, 8.0), min_length=1, description="radii of the apertures")
        unit: Literal["pixel", "arcsec"] = Field("pixel", description="unit of all radii; arcsec needs world coordinates")
        annulus: Annulus | None = Field(None, description="subtract the local sky of this ring: {inner: …, outer: …}")
        neighbours: Literal["keep", "mask", "correct"] = Field("keep", description=NEIGHBOURS + "; all but keep need a segmentation")

        @field_validator("radii")
        @classmethod
        def _distinct(cls, value: tuple[float, ...]) -> tuple[float, ...]:
            if min(value) <= 0:
                raise ValueError("must be positive")
            if len({f"{radius:g}" for radius in value}) != len(value):
                raise ValueError("must differ from each other")
            return value

    def run(
        self,
        ctx: Context,
        *,
        image: Image,
        sources: Catalog,
        segmentation: Segmentation | None,
        photometry: Catalog | None,
        fractions: Fractions | None = None,
    ) -> Mapping[str, Any]:
        """Return the sources as they came and their aperture photometry."""
        from ..detection.linked import check_linked, check_shared
        from .apertures import Planes, Shares
        from .circular import Ring, measure
        from .rows import photometry_rows

        config = self.config
        if segmentation is not None:
            check_linked(image, segmentation, sources)
        elif config.neighbours != "keep":
            raise DataError(
                f"`neighbours: {config.neighbours}` needs to know whose each pixel is: wire a segmentation, or set `neighbours: keep`"
            )
        if fractions is not None:
            check_shared(image, fractions, sources)
        shares = Shares(fractions) if fractions is not None else None
        scale = self._scale(image)
        radii = [radius / scale for radius in config.radii]
        ring = Ring(config.annulus.inner / scale, config.annulus.outer / scale, config.annulus.clip) if config.annulus else None
        found = measure(
            Planes(image.data, image.variance, image.usable(), segmentation.labels if segmentation is not None else None, shares),
            sources.column("x"),
            sources.column("y"),
            radii,
            neighbours=config.neighbours,
            ring=ring,
            progress=ctx.progress,
        )
        n, bands = len(sources), len(image.bands)
        suffix = "arcsec" if config.unit == "arcsec" else ""
        methods = np.array([f"aperture_{radius:g}{suffix}" for radius in config.radii], dtype=object)
        columns = {
            **{name: np.repeat(sources.column(name), bands * len(radii)) for name in ("source_id", "tile_id")},
            **{name: values.ravel() for name, values in found.items()},
            "radius": np.tile(np.repeat(radii, bands), n),
            "method": np.tile(np.repeat(methods, bands), n),
            "band": np.tile(np.array(image.bands, dtype=object), n * len(radii)),
        }
        return {"sources": sources, "photometry": photometry_rows(sources, photometry, columns, ", or give it other `radii`")}

    def _scale(self, image: Image) -> float:
        """Return how much of `unit` a pixel is."""
        from ..sky import pixel_scale

        if self.config.unit == "pixel":
            return 1.0
        if image.wcs is None:
            raise DataError("radii in arcsec need world coordinates, which this image does not have: set `unit: pixel`")
        return pixel_scale(image.wcs)
