"""The stages sep.background, sep.detection and sep.photometry, with the ports of astrosurvey's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from astrosurvey import Catalog, Context, Image, Segmentation, Stage, StageConfig, optional


class SepBackground(Stage):
    """Subtract the sky with Source Extractor's mesh: clipped statistics in boxes, a median filter, a spline.

    Has the ports of `background.mesh` and can stand in its place.

    References: Bertin & Arnouts (1996), A&AS 117, 393; Barbary (2016), JOSS 1, 58.
    """

    name = "sep.background"
    inputs = {"image": Image}
    outputs = {"image": Image, "background": Image}

    class Config(StageConfig):
        """Settings of `sep.background`."""

        box: int = Field(64, ge=4, description="side of a mesh box in pixels (BACK_SIZE)")
        filter_size: int = Field(3, ge=1, description="side, in boxes, of the median filter over the mesh (BACK_FILTERSIZE)")
        filter_threshold: float = Field(0.0, ge=0, description="boxes that differ less from their neighbours are not filtered, in nJy")
        variance: Literal["keep", "measure"] = Field("keep", description="keep the image's variance if it has one, or measure it")

    def run(self, ctx: Context, *, image: Image) -> Mapping[str, Any]:
        """Return the sky-subtracted image and the background: its level, with the squared noise as variance."""
        from .background import subtract

        return subtract(ctx, image, self.config)


class SepDetection(Stage):
    """Find and deblend sources with Source Extractor's thresholding and multi-threshold tree.

    Has the ports of `detection.segment` and can stand in its place; no deblending stage need follow. The
    bands are combined by inverse variance. Flags tell blends, edges and masked pixels.

    References: Bertin & Arnouts (1996), A&AS 117, 393; Barbary (2016), JOSS 1, 58.
    """

    name = "sep.detection"
    inputs = {"image": Image}
    outputs = {"segmentation": Segmentation, "sources": Catalog.of("source", fills=["ra", "dec", "x_var", "y_var", "xy_cov"])}

    class Config(StageConfig):
        """Settings of `sep.detection`."""

        threshold: float = Field(1.5, gt=0, description="standard deviations of the filtered image above the sky (DETECT_THRESH)")
        min_pixels: int = Field(5, ge=1, description="pixels a source must have above the threshold (DETECT_MINAREA)")
        filter: Literal["default", "psf", "none"] = Field(
            "default", description="matched filter: Source Extractor's default 3 x 3 kernel, the image's PSF, or none"
        )
        deblend_levels: int = Field(32, ge=1, le=1024, description="thresholds of the deblending tree (DEBLEND_NTHRESH)")
        deblend_contrast: float = Field(
            0.005, ge=0, le=1, description="share of the flux a branch must hold (DEBLEND_MINCONT); 1 never splits"
        )
        clean: float | None = Field(1.0, gt=0, description="drop what a neighbour's wings alone would make (CLEAN_PARAM); null keeps it")
        max_children: int = Field(1024, ge=1, description="peaks that one island may hold; more are an error")

    def run(self, ctx: Context, *, image: Image) -> Mapping[str, Any]:
        """Return the segmentation and the sources, label i being row i - 1."""
        from .detection import detect

        assert ctx.tile is not None
        return detect(ctx.tile, image, self.config)


class SepPhotometry(Stage):
    """Measure Source Extractor's automatic flux: in a Kron ellipse of at least a few times the source's width.

    Has the ports of `photometry.kron` and can stand in its place. Masked pixels in an aperture are replaced by
    the mean of its other pixels, as sep does it, so that a flux is not low but uncertain; the flag
    APERTURE_MASKED and the masked fraction tell where.

    References: Kron (1980), ApJS 43, 305; Bertin & Arnouts (1996), A&AS 117, 393; Barbary (2016), JOSS 1, 58.
    """

    name = "sep.photometry"
    inputs = {
        "image": Image,
        "segmentation": Segmentation,
        "sources": Catalog.of("source"),
        "photometry": optional(Catalog.of("photometry")),
    }
    outputs = {
        "sources": Catalog.of("source", passes="sources"),
        "photometry": Catalog.of(
            "photometry",
            fills=["flux", "flux_err", "radius", "half_light_radius", "semi_major", "semi_minor", "theta", "masked_fraction"],
            passes="photometry",
        ),
    }

    class Config(StageConfig):
        """Settings of `sep.photometry`."""

        factor: float = Field(2.5, gt=0, description="semi-major axis of the aperture in Kron radii (PHOT_AUTOPARAMS)")
        minimum_radius: float = Field(3.5, gt=0, description="least semi-major axis, in units of the second-moment one (PHOT_AUTOPARAMS)")
        neighbours: Literal["replace", "keep"] = Field(
            "replace", description="pixels of other sources: replace them by the mean of the aperture's other pixels, or keep them"
        )
        method: str = Field(
            "kron", pattern=r"^[a-z][a-z0-9_]*$", description="the rows' method; one of your own stands beside other stages'"
        )

    def run(
        self, ctx: Context, *, image: Image, segmentation: Segmentation, sources: Catalog, photometry: Catalog | None
    ) -> Mapping[str, Any]:
        """Return the sources as they came and their photometry."""
        from .photometry import measure

        return measure(ctx, image, segmentation, sources, photometry, self.config)
