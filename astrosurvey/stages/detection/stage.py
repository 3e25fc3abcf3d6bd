"""Detection of sources as connected pixels above a threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from ...core.stage import Context, Stage, StageConfig
from ...products import Catalog, Image, Segmentation

SOURCE_COLUMNS = ("ra", "dec", "x_var", "y_var", "xy_cov")


class SegmentDetection(Stage):
    """Find sources as connected pixels above a threshold in the matched-filtered image.

    The bands are filtered with their PSFs and combined by inverse variance (or by chi). The threshold
    counts standard deviations of that smoothed image, so 4 is a firm detection, unlike the thresholds
    of tools that count the noise of single pixels. Label i of the segmentation is row i - 1 of the
    sources, which are in (y, x) order. A tile without sources gives an empty catalogue.

    References: Bertin & Arnouts (1996), A&AS 117, 393; Szalay, Connolly & Szokoly (1999), AJ 117, 68.
    """

    name = "detection.segment"
    inputs = {"image": Image}
    outputs = {"segmentation": Segmentation, "sources": Catalog.of("source", fills=SOURCE_COLUMNS)}

    class Config(StageConfig):
        """Settings of `detection.segment`."""

        threshold: float = Field(4.0, gt=0, description="standard deviations of the smoothed image above which pixels belong to a source")
        min_pixels: int = Field(5, ge=1, description="connected pixels (edges or corners) a source must have above the threshold")
        bands: tuple[str, ...] | None = Field(None, min_length=1, description="bands to detect in; all of the image's when left out")
        combine: Literal["mean", "chi"] = Field(
            "mean",
            description="several bands: the inverse-variance mean, or chi, which keeps sources bright in one band only",
        )
        fwhm: float | None = Field(
            None, ge=0, description="FWHM in pixels of the Gaussian filter; from the image's PSF or seeing when left out; 0 does not smooth"
        )

    def run(self, ctx: Context, *, image: Image) -> Mapping[str, Any]:
        """Return the segmentation and the sources."""
        from ...catalog.ids import object_ids
        from . import footprints
        from .filter import UNKNOWN_FWHM, detection_image, smoothing
        from .rows import source_rows

        assert ctx.tile is not None
        config = self.config
        fwhm, origin = smoothing(image, config.fwhm)
        if origin == "unknown":
            ctx.log.warning("the image has neither PSF nor seeing: smoothing with FWHM %g px; set `fwhm` to the seeing", UNKNOWN_FWHM)
        detection = detection_image(image, config.bands, fwhm, config.combine)
        if not detection.snr.any():
            ctx.log.warning("no usable pixel to detect in: the catalogue of this tile is empty")
        labels = footprints.label(detection.snr, config.threshold, config.min_pixels)
        labels, measured = footprints.in_raster_order(labels, footprints.measure(labels, detection))
        sources = source_rows(ctx.tile, image, measured, source_id=object_ids(ctx.tile.number, len(measured["x"])))
        return {"segmentation": Segmentation(labels), "sources": sources}
