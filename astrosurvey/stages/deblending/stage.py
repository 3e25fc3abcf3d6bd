"""Splitting blended sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ...catalog.flags import SOURCE
from ...core.stage import Bands, Context, Stage, StageConfig
from ...products import Catalog, Image, Segmentation


class WatershedDeblending(Stage):
    """Split islands into sources wherever both sides of a saddle stand out enough.

    Multi-threshold deblending on a watershed, in an image smoothed less than that of the detection. An
    island that is split gives way to its pieces: they carry its `source_id` as `parent_source_id`, get
    ids of their own after all ids of the detection, and the flag BLENDED; sources left whole keep their
    rows. Label i of the segmentation is row i - 1 of the sources, in (y, x) order.

    References: Bertin & Arnouts (1996), A&AS 117, 393.
    """

    name, version = "deblending.watershed", 2
    inputs = {"image": Image, "segmentation": Segmentation, "sources": Catalog.of("source")}
    outputs = {"segmentation": Segmentation, "sources": Catalog.of("source", passes="sources")}

    class Config(StageConfig):
        """Settings of `deblending.watershed`."""

        contrast: float = Field(
            0.001, ge=0, le=1, description="fraction of the island's flux a piece must hold above the saddle; 1 never splits"
        )
        dip: float = Field(
            0.1,
            ge=0,
            le=1,
            description="a piece also stands when the saddle is at most this fraction of its peak, however faint it is; 0: never",
        )
        prominence: float = Field(
            4.0, ge=0, description="height of a piece's peak above the saddle, in standard deviations of the smoothed noise"
        )
        min_pixels: int = Field(3, ge=1, description="pixels a piece must have above the saddle")
        levels: int = Field(32, ge=1, le=1024, description="thresholds between an island's faintest and brightest pixel")
        mode: Literal["exponential", "linear", "sinh"] = Field("exponential", description="how the thresholds are spaced")
        bands: Bands | None = Field(None, description="bands to deblend in; all of the image's when left out")
        fwhm: float | None = Field(None, ge=0, description="FWHM of the PSF in pixels; from the image's PSF or seeing when left out")
        smoothing: float = Field(0.5, ge=0, le=2, description="FWHM of the smoothing for deblending, in units of the PSF's")
        max_pixels: int = Field(
            4_000_000, ge=1, description="larger islands are kept whole and flagged DEBLEND_SKIPPED; memory is about 150 bytes a pixel"
        )

    def run(self, ctx: Context, *, image: Image, segmentation: Segmentation, sources: Catalog) -> Mapping[str, Any]:
        """Return the segmentation and the sources after splitting."""
        from ..detection import filter as matched
        from ..detection.linked import check_linked
        from .children import Children, replace_islands
        from .watershed import Criteria, deblend

        check_linked(image, segmentation, sources)
        if len(sources) == 0:
            return {"segmentation": segmentation, "sources": sources}
        config = self.config
        fwhm, origin = matched.smoothing(image, config.fwhm)
        matched.warn_if_unknown(origin, ctx.log.warning)
        sharp, detection = matched.detection_images(image, config.bands, [[config.smoothing * fwhm], [fwhm]], device=ctx.device)
        noise = np.full(sharp.flux.shape, np.inf, np.float32)
        np.divide(sharp.flux, sharp.snr, out=noise, where=sharp.snr != 0)

        labels = segmentation.labels
        sizes = np.bincount(labels.ravel(), minlength=len(sources) + 1)
        skipped = sizes > config.max_pixels
        skipped[0] = True
        criteria = Criteria(config.contrast, config.dip, config.prominence, config.min_pixels, config.levels, config.mode)
        pieces, parent = deblend(np.where(skipped[labels], 0, labels), sharp.flux, noise, criteria)
        skipped[0] = False
        if skipped.any():
            ctx.log.warning("%d islands of more than %d pixels are kept whole; see `max_pixels`", skipped.sum(), config.max_pixels)
        flagged = sources.replace(flags=sources.column("flags") | SOURCE["DEBLEND_SKIPPED"] * skipped[1:])
        assert ctx.tile is not None
        children = Children.of(pieces, parent, detection)
        segmentation, sources = replace_islands(ctx.tile, image, segmentation, flagged, children)
        return {"segmentation": segmentation, "sources": sources}
