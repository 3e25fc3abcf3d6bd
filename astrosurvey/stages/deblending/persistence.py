"""`deblending.persistence`: splitting blended sources at the saddles of the image and of the sharpened image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ...core.stage import Bands, Context, Stage, StageConfig
from ...products import Catalog, Image, Segmentation


class PersistenceDeblending(Stage):
    """Split islands at the saddles between peaks that persist, in the image and once it is sharpened.

    Islands are flooded from their brightest pixel down, and a peak counts if it rises far enough above the
    saddle to the next: over the noise, and for the light of its piece and those around it. So it is in the image
    smoothed little, for close companions, and then with the PSF's width, for faint ones. What remains is flooded
    again in a sharpened image, where companions on the shoulder of another source have peaks of their own;
    those are flagged SHOULDER. An island that is split gives way to its pieces: they carry its `source_id`
    as `parent_source_id`, get ids of their own after all ids of the detection, and the flag BLENDED; sources
    left whole keep their rows. Label i of the segmentation is row i - 1 of the sources, in (y, x) order.

    References: Meyer (1994), Signal Processing 38, 113; Edelsbrunner, Letscher & Zomorodian (2002),
    Discrete Comput. Geom. 28, 511; Marr & Hildreth (1980), Proc. R. Soc. B 207, 187.
    """

    name, version = "deblending.persistence", 2
    inputs = {"image": Image, "segmentation": Segmentation, "sources": Catalog.of("source")}
    outputs = {"segmentation": Segmentation, "sources": Catalog.of("source", passes="sources")}

    class Config(StageConfig):
        """Settings of `deblending.persistence`."""

        significance: float = Field(
            2.2, gt=0, description="height of a peak above the saddle in the image, in standard deviations of the smoothed noise"
        )
        shoulder_significance: float = Field(
            3.2,
            gt=0,
            description="height of a peak above the saddle in the sharpened image, in standard deviations of noise; more in large pieces",
        )
        contrast: float = Field(
            0.01,
            ge=0,
            le=1,
            description="flux of a point source as high as the peak above the saddle, as a fraction of the light of its piece and of those"
            " that touch it: more keeps knotty galaxies whole",
        )
        min_pixels: int = Field(3, ge=1, description="pixels above the saddle that a piece must have")
        smoothing: float = Field(0.6, gt=0, le=2, description="FWHM of the smoothing for deblending, in units of the PSF's")
        sharpening: float = Field(
            1.25, ge=0, le=5, description="FWHM of the smoothing that is subtracted to sharpen, in units of the PSF's; 0 does not sharpen"
        )
        bands: Bands | None = Field(None, description="bands to deblend in; all of the image's when left out")
        fwhm: float | None = Field(None, ge=0, description="FWHM of the PSF in pixels; from the image's PSF or seeing when left out")

    def run(self, ctx: Context, *, image: Image, segmentation: Segmentation, sources: Catalog) -> Mapping[str, Any]:
        """Return the segmentation and the sources after splitting."""
        from ..detection.filter import smoothing, warn_if_unknown
        from ..detection.linked import check_linked
        from .children import replace_islands
        from .levels import Criteria, split

        check_linked(image, segmentation, sources)
        if len(sources) == 0:
            return {"segmentation": segmentation, "sources": sources}
        config = self.config
        fwhm, origin = smoothing(image, config.fwhm)
        warn_if_unknown(origin, ctx.log.warning)
        criteria = Criteria(
            config.significance,
            config.shoulder_significance,
            config.contrast,
            config.min_pixels,
            config.smoothing,
            config.sharpening,
        )
        children = split(image, config.bands, fwhm, segmentation.labels, criteria, ctx.device)
        assert ctx.tile is not None
        segmentation, sources = replace_islands(ctx.tile, image, segmentation, sources, children)
        return {"segmentation": segmentation, "sources": sources}
