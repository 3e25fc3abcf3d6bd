"""The point-spread function from the stars of a tile, and which sources it tells to be stars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...core.product import optional
from ...core.stage import Context, DataError, Stage, StageConfig
from ...products import Catalog, Image, PsfModel, Segmentation

if TYPE_CHECKING:
    import numpy as np


class MeasurePsf(Stage):
    """Measure the point-spread function and its drift over the tile on the tile's own stars.

    Stars are the sources of the smallest common size, bright, whole and alone. The PSF is fitted to all
    their pixels at once: splines on nodes as fine as its width asks for, times a polynomial of the position
    whose degree grows with the number of stars. With fewer than three stars it is a Moffat profile; without
    any, what the settings, the image or its other bands say, with a warning. The image comes back with
    the PSF at the tile's centre, and its seeing.

    References: Bertin (2011), ASP Conf. Ser. 442, 435; Anderson & King (2000), PASP 112, 1360.
    """

    name = "psf.measure"
    inputs = {"image": Image, "segmentation": Segmentation, "sources": Catalog.of("source")}
    outputs = {"image": Image, "psf": PsfModel}

    class Config(StageConfig):
        """Settings of `psf.measure`."""

        min_snr: float = Field(20.0, gt=0, description="signal-to-noise ratio a star must have")
        contamination: float = Field(
            0.02, gt=0, description="light of neighbours at a star's centre, as a part of its own, up to which it counts as alone"
        )
        max_stars: int = Field(200, ge=1, description="stars to fit in a band, the brightest first")
        max_degree: int = Field(
            2, ge=0, le=3, description="degree of the polynomial over the tile that many stars may ask for; 0: constant"
        )
        radius: float = Field(4.0, ge=1, le=20, description="half side of the PSF stamp, in FWHM")
        oversampling: int | None = Field(None, ge=1, le=5, description="nodes of the PSF per pixel; as its width asks for when left out")
        fwhm: float | None = Field(None, gt=0, description="FWHM in pixels to assume in a band without stars; from the image when left out")

    def run(self, ctx: Context, *, image: Image, segmentation: Segmentation, sources: Catalog) -> Mapping[str, Any]:
        """Return the image with its PSF and seeing, and the PSF model."""
        from ..detection.linked import check_linked
        from ..sky import pixel_scale
        from .assemble import fallback, model_of
        from .measure import Band, Measured, Rules, measure_band

        check_linked(image, segmentation, sources)
        config = self.config
        if image.variance is None:
            raise DataError("the image has no variance, so nothing says how much a pixel counts; put a background.mesh stage before")
        rules = Rules(config.min_snr, config.contamination, config.max_stars, config.max_degree, config.radius, config.oversampling)
        columns = (sources.column(name) for name in ("source_id", "x", "y", "significance"))
        ids, x, y, significance = columns
        good = image.usable()
        found: list[Measured | None] = []
        for b in range(len(image.bands)):
            band = Band(image.data[b], image.variance[b], good[b])
            found.append(measure_band(band, segmentation.labels, ids, x, y, significance, rules))
            ctx.progress(b + 1, len(image.bands))
        bands = [one or fallback(image, b, config.fwhm, config.radius, found, bool(good[b].any())) for b, one in enumerate(found)]
        model = model_of(image, bands)
        for name, one, fwhm in zip(image.bands, bands, model.fwhm, strict=True):
            if one.origin == "moffat":
                ctx.log.warning("band %s: only %d stars, so its PSF is a Moffat profile of %.2f px", name, len(one.stars), fwhm)
            elif one.origin != "stars":
                ctx.log.warning("band %s: no star to measure its PSF on; %.2f px FWHM is from: %s", name, fwhm, one.origin)
            else:
                ctx.log.info("band %s: FWHM %.2f px from %d stars, residual %.2g of the peak", name, fwhm, len(one.stars), one.residual)
        ny, nx = image.data.shape[1:]
        meta = dict(image.meta)
        if image.wcs is not None:
            scale = pixel_scale(image.wcs)
            meta["seeing"] = {name: round(float(width) * scale, 6) for name, width in zip(image.bands, model.fwhm, strict=True)}
        return {"image": replace(image, psf=model.at((nx - 1) / 2, (ny - 1) / 2), meta=meta), "psf": model}


class StarGalaxy(Stage):
    """Give every source the probability that it is a point source.

    The light under the PSF is compared with that under a slightly wider model, in every band, under
    inverse-variance weights; the bands are combined. Stars and galaxies of the tile are then told apart
    as a mixture in which both the noise and the part of stars depend on brightness, so the probability is
    calibrated on the tile itself, and near its mean for sources too faint to tell. Sources that cannot be judged
    have NaN and a flag.

    References: Desai et al. (2012), ApJ 757, 83; Sebok (1979), AJ 84, 1526; Henrion et al. (2011), MNRAS 412, 2286.
    """

    name = "psf.stargalaxy"
    inputs = {"image": Image, "segmentation": Segmentation, "sources": Catalog.of("source"), "psf": optional(PsfModel)}
    outputs = {"sources": Catalog.of("source", fills=["star_probability"], passes="sources")}

    def run(self, ctx: Context, *, image: Image, segmentation: Segmentation, sources: Catalog, psf: PsfModel | None) -> Mapping[str, Any]:
        """Return the sources with `star_probability` filled."""
        from ...catalog.flags import SOURCE
        from ..detection.linked import check_linked
        from .assemble import model_from_image
        from .mixture import fit
        from .spread import DOUBTFUL, measure_spread

        check_linked(image, segmentation, sources)
        if image.variance is None:
            raise DataError("the image has no variance, so nothing says how much a pixel counts; put a background.mesh stage before")
        model = psf or model_from_image(image)
        if model.bands != image.bands or tuple(model.shape) != image.data.shape[1:]:
            raise DataError(
                f"the PSF is of bands {', '.join(model.bands)} on {model.shape} pixels, the image of {', '.join(image.bands)} "
                f"on {image.data.shape[1:]}: wire both from the same tile's stages"
            )
        x, y = sources.column("x"), sources.column("y")
        found = measure_spread(image, segmentation.labels, x, y, model, ctx.batch, ctx.progress)
        probability = fit(found.value, found.error, found.snr).probability(found.value, found.error, found.snr)
        unknown = ~(probability >= 0)
        doubtful = ~unknown & (found.missing > DOUBTFUL)
        if psf is not None and (reason := _distrust(psf, x, y, probability)):
            ctx.log.warning("%s: every star probability is flagged as doubtful", reason)
            doubtful = ~unknown
        flags = sources.column("flags") | SOURCE["NO_STAR_PROBABILITY"] * unknown | SOURCE["STAR_DOUBTFUL"] * doubtful
        return {"sources": sources.replace(star_probability=probability, flags=flags)}


def _distrust(psf: PsfModel, x: np.ndarray, y: np.ndarray, probability: np.ndarray) -> str:
    """Return why no probability can be trusted under this PSF, or ""."""
    import numpy as np

    from .moffat import LEVEL

    if not psf.n_star.any():
        return "the PSF was not measured on stars"
    near = [np.hypot(x - star["x"], y - star["y"]) for star in psf.stars] if len(x) else []
    known = np.array([distance.min() < 1.0 for distance in near], bool)
    theirs = np.array([probability[distance.argmin()] for distance in near])[known]
    # The bright ones shape the PSF; what the faint ones are matters little to it.
    weight = 1.0 / (1.0 / np.square(np.asarray(psf.stars["snr"], float)[known]) + LEVEL**2)
    if theirs.size >= 5 and (weight * (theirs > 0.5)).sum() < 0.5 * weight.sum():
        return "most of the stars that the PSF was measured on do not look like stars under it (is the detector linear?)"
    return ""
