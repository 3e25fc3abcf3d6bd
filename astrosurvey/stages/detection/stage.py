"""Detection of sources as connected pixels above a threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from ...core.product import optional
from ...core.stage import Bands, Context, Stage, StageConfig
from ...products import Catalog, Image, Segmentation

if TYPE_CHECKING:
    import numpy as np

    from .filter import DetectionImage

SOURCE_COLUMNS = ("ra", "dec", "x_var", "y_var", "xy_cov")


class SegmentDetection(Stage):
    """Find sources as connected pixels above a threshold in the matched-filtered image.

    The bands are filtered with their PSFs and combined by inverse variance (or by chi). The threshold
    counts standard deviations of that smoothed image, so 4 is a firm detection, unlike the thresholds
    of tools that count the noise of single pixels. Label i of the segmentation is row i - 1 of the
    sources, which are in (y, x) order. A tile without sources gives an empty catalogue.

    References: Bertin & Arnouts (1996), A&AS 117, 393; Szalay, Connolly & Szokoly (1999), AJ 117, 68.
    """

    name, version = "detection.segment", 2
    inputs = {"image": Image}
    outputs = {"segmentation": Segmentation, "sources": Catalog.of("source", fills=SOURCE_COLUMNS)}

    class Config(StageConfig):
        """Settings of `detection.segment`."""

        threshold: float = Field(4.0, gt=0, description="standard deviations of the smoothed image above which pixels belong to a source")
        min_pixels: int = Field(5, ge=1, description="connected pixels (edges or corners) a source must have above the threshold")
        bands: Bands | None = Field(None, description="bands to detect in; all of the image's when left out")
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
        from .filter import detection_image
        from .rows import source_rows

        assert ctx.tile is not None
        config = self.config
        fwhm = _smoothing(ctx, image, config.fwhm)
        detection = detection_image(image, config.bands, fwhm, config.combine, ctx.device)
        if not detection.snr.any():
            ctx.log.warning("no usable pixel to detect in: the catalogue of this tile is empty")
        labels = footprints.label(detection.snr, config.threshold, config.min_pixels, ctx.device)
        labels, measured = footprints.in_raster_order(labels, footprints.measure(labels, detection))
        sources = source_rows(ctx.tile, image, measured, source_id=object_ids(ctx.tile.number, len(measured["x"])))
        return {"segmentation": Segmentation(labels), "sources": sources}


class MatchedDetection(Stage):
    """Find sources by the significance of their peaks in the matched-filtered image.

    The bands are filtered with their PSFs and somewhat wider, combined, and the greatest S/N of each pixel
    is taken. The threshold counts standard deviations by chance: that several widths are tried is allowed
    for. Positions are those of the peaks. Deblending comes after, in an image smoothed less. Seeds, the
    detections of another method such as a network, become sources down to a lower threshold and divide the
    islands they lie in. Label i of the segmentation is row i - 1 of the sources, in (y, x) order.

    References: Zackay & Ofek (2017), ApJ 836, 187; Szalay, Connolly & Szokoly (1999), AJ 117, 68;
    Owen (1956), Ann. Math. Stat. 27, 1075.
    """

    name = "detection.matched"
    inputs = {"image": Image, "seeds": optional(Catalog.of("source"))}
    outputs = {"segmentation": Segmentation, "sources": Catalog.of("source", fills=SOURCE_COLUMNS)}

    class Config(StageConfig):
        """Settings of `detection.matched`."""

        threshold: float = Field(4.3, gt=0, description="significance in standard deviations that a source's peak must exceed")
        floor: float | None = Field(
            None, gt=0, description="significance down to which a source's footprint extends; the threshold when left out"
        )
        scales: tuple[float, ...] = Field(
            (1.0, 1.4),
            min_length=1,
            max_length=8,
            description="widths of the filters, rising, in units of the PSF's; 1 alone is best for stars",
        )
        min_pixels: int = Field(1, ge=1, description="connected pixels (edges or corners) a footprint must have")
        bands: Bands | None = Field(None, description="bands to detect in; all of the image's when left out")
        combine: Literal["mean", "chi"] = Field(
            "mean",
            description="several bands: the inverse-variance mean, or chi, which keeps sources bright in one band only",
        )
        fwhm: float | None = Field(
            None, ge=0, description="FWHM of the PSF in pixels; from the image's PSF or seeing when left out; 0 does not smooth"
        )
        noise: Literal["predicted", "measured"] = Field(
            "predicted",
            description="what a standard deviation is: the variance plane's, or the scatter measured in the filtered image,"
            " larger where resampling has correlated the noise",
        )
        seed_threshold: float = Field(2.0, description="significance that the image must have at a seed, or the seed is dropped")
        smoothing: float = Field(
            0.5, ge=0, le=2, description="FWHM of the smoothing in which islands are divided among seeds, in units of the PSF's"
        )

        @model_validator(mode="after")
        def _consistent(self) -> Self:
            if list(self.scales) != sorted(set(self.scales)) or self.scales[0] <= 0:
                raise ValueError(f"`scales` must be positive and rise, such as [1, 1.4], not {list(self.scales)}")
            if self.floor is not None and self.floor > self.threshold:
                raise ValueError(f"`floor` must not be above `threshold` ({self.threshold:g}), but is {self.floor:g}")
            if self.noise == "measured" and self.combine == "chi":
                raise ValueError("`noise: measured` needs `combine: mean`: chi keeps nothing below zero to measure")
            return self

    def run(self, ctx: Context, *, image: Image, seeds: Catalog | None) -> Mapping[str, Any]:
        """Return the segmentation and the sources."""
        from ...catalog.ids import object_ids
        from . import footprints, significance
        from .filter import detection_images
        from .rows import source_rows

        assert ctx.tile is not None
        config = self.config
        fwhm = _smoothing(ctx, image, config.fwhm)
        scales = config.scales if fwhm.any() else config.scales[:1]
        banks = [[scale * fwhm for scale in scales], *([[config.smoothing * fwhm]] if seeds is not None else [])]
        detection, *sharp = detection_images(image, config.bands, banks, config.combine, ctx.device)
        if not detection.snr.any():
            ctx.log.warning("no usable pixel to detect in: the catalogue of this tile is empty")
        noise = 1.0
        if config.noise == "measured":
            noise = significance.noise_scale(detection.snr, scales)
            ctx.log.info("the filtered image scatters %.3f times as much as its variance says", noise)

        def level(sigmas: float) -> float:
            return significance.greatest_of(sigmas * noise, scales)

        floor = config.threshold if config.floor is None else config.floor
        labels = footprints.label(detection.snr, level(floor), config.min_pixels, ctx.device)
        if floor < config.threshold:
            labels = footprints.keep_peaks(labels, detection.snr, level(config.threshold))
        if seeds is None:
            measured = footprints.measure(labels, detection, at="peak")
        else:
            labels, measured = self._seeded(ctx, labels, detection, sharp[0], seeds, level)
        labels, measured = footprints.in_raster_order(labels, measured)
        measured["significance"] = significance.of_greatest(measured["significance"], scales) / noise
        more = {}
        if seeds is not None:
            from .seeds import judgements

            more = judgements(seeds, measured.pop("seed"))
        sources = source_rows(ctx.tile, image, measured, **more, source_id=object_ids(ctx.tile.number, len(measured["x"])))
        return {"segmentation": Segmentation(labels, {"noise_scale": noise}), "sources": sources}

    def _seeded(
        self,
        ctx: Context,
        labels: np.ndarray,
        detection: DetectionImage,
        sharp: DetectionImage,
        seeds: Catalog,
        level: Callable[[float], float],
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the labels after the seeds have had their share, and what is measured of them, with the row of each one's seed."""
        import numpy as np

        from ...catalog.flags import SOURCE
        from . import footprints
        from .seeds import divide

        config = self.config
        x, y = seeds.column("x"), seeds.column("y")
        labels, seed, crowded = divide(
            labels, detection.snr, sharp.flux, x, y, level(config.seed_threshold), max(1.0, 1.2 * detection.sigma), ctx.device
        )
        measured = footprints.measure(labels, detection, at="peak")
        mine = seed >= 0
        for name in ("x", "y", "x_var", "y_var", "xy_cov"):
            theirs = np.full(len(seed), np.nan)
            theirs[mine] = seeds.column(name)[seed[mine]]
            measured[name] = np.where(np.isfinite(theirs), theirs, measured[name])
        faint = mine & (measured["significance"] <= level(config.threshold))
        measured["flags"] = (measured["flags"] & ~(SOURCE["NO_CENTROID"] * mine)) | SOURCE["SEEDED"] * faint | SOURCE["BLENDED"] * crowded
        return labels, {**measured, "seed": seed}


def _smoothing(ctx: Context, image: Image, fwhm: float | None) -> np.ndarray:
    """Return the FWHM of each band's filter; warn if nothing tells it."""
    from .filter import smoothing, warn_if_unknown

    widths, origin = smoothing(image, fwhm)
    warn_if_unknown(origin, ctx.log.warning)
    return widths
