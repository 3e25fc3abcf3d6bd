"""Sharing the flux of blended pixels among their sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ...core.product import optional
from ...core.stage import Bands, Context, Stage, StageConfig
from ...products import Catalog, Fractions, Image, Segmentation

PHOTOMETRY = ("flux", "flux_err", "semi_major", "semi_minor", "theta", "masked_fraction")


class TemplateDeblending(Stage):
    """Share the flux of every pixel among its sources by templates fitted to all of them together.

    A source starts as a symmetric, monotone template, and becomes a sum of concentric Gaussians seen through the PSF,
    fitted to what its neighbours leave over. Amounts are found in every band by non-negative least squares over all
    sources. A pixel's flux is shared in proportion to the templates; the flux of a source is its share, summed with
    weights that fall off where it sinks in the noise, and completed by its template.

    References: Lupton (2005), SDSS deblender; Melchior et al. (2018), arXiv:1802.10157; Hogg & Lang (2013), PASP 125, 719.
    """

    name, version = "deblending.templates", 2
    inputs = {
        "image": Image,
        "segmentation": Segmentation,
        "sources": Catalog.of("source"),
        "photometry": optional(Catalog.of("photometry")),
    }
    outputs = {
        "sources": Catalog.of("source", passes="sources", fills=("blendedness",)),
        "photometry": Catalog.of("photometry", fills=PHOTOMETRY, passes="photometry"),
        "fractions": Fractions,
        "residual": Image,
    }

    class Config(StageConfig):
        """Settings of `deblending.templates`."""

        bands: Bands | None = Field(None, description="bands in whose mean the shapes are fitted; all of the image's when left out")

        rounds: int = Field(
            2, ge=1, le=50, description="how often each source is fitted to what its neighbours leave over; 6 where every source is blended"
        )

    def run(
        self, ctx: Context, *, image: Image, segmentation: Segmentation, sources: Catalog, photometry: Catalog | None
    ) -> Mapping[str, Any]:
        """Return sources with their blendedness, fluxes in every band, fractions, and what the templates leave over."""
        from ...networks.determinism import threads
        from ..detection.linked import check_linked
        from .templates import deblend

        check_linked(image, segmentation, sources)
        with threads(1):  # sums are rounded differently for each number
            return deblend(ctx, image, segmentation, sources, photometry, self.config.bands, self.config.rounds)
