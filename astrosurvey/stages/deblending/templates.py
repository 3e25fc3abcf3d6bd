"""Template deblending from end to end: planes, scene, bands, products."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...catalog.flags import SOURCE
from ...products import Fractions
from ..detection.filter import smoothing, warn_if_unknown
from ..photometry.rows import photometry_rows
from . import members
from .bands import Band
from .scene import POOR, Scene

if TYPE_CHECKING:
    from ...core.stage import Context
    from ...products import Catalog, Image, Segmentation


def deblend(
    ctx: Context,
    image: Image,
    segmentation: Segmentation,
    sources: Catalog,
    before: Catalog | None,
    bands: tuple[str, ...] | None,
    rounds: int,
    method: str = "templates",
    solve: Callable[[Scene, members.Planes], Sequence[Band]] | None = None,
) -> Mapping[str, Any]:
    """Return the outputs of `deblending.templates`, or of a stage that shares pixels in a way of its own.

    Args:
        ctx: the task's surroundings.
        image: with variance, sky subtracted.
        segmentation: label i + 1 is row i of the sources.
        sources: one row a source.
        before: photometry of earlier stages, passed on in front.
        bands: bands in whose mean shapes are fitted; None for all.
        rounds: how often each source is fitted.
        method: of the rows of photometry.
        solve: returns the bands of the scene, which share the pixels; None for shares in proportion to the templates.
    """
    _, origin = smoothing(image, None)
    warn_if_unknown(origin, ctx.log.warning)
    planes = members.Planes.of(image, bands)
    layout = members.layout(planes, sources, members.REACH, ctx.device)
    scene = Scene(planes.mean, planes.sigma, sources.column("x"), sources.column("y"), layout)
    scene.fit(rounds, ctx.progress)
    solved = solve(scene, planes) if solve else [Band(scene, plane, planes.single) for plane in planes.bands]
    n, count = len(sources), len(solved)

    residual = np.stack([layout.image(b.residual) * np.float32(p.unit) for b, p in zip(solved, planes.bands, strict=True)])
    residual = np.where(image.usable(), residual, np.where(np.isfinite(image.data), image.data, np.nan)).astype(np.float32)
    share = members.blendedness(scene, segmentation.labels)

    measured = [band.measure() for band in solved]
    flux, error = (np.stack([m[k] * p.unit for m, p in zip(measured, planes.bands, strict=True)], 1).reshape(n, count) for k in (0, 1))
    masked = np.stack([m.masked_fraction for m in measured], 1).reshape(n, count)
    flags = SOURCE["NO_FLUX"] * ~np.isfinite(flux) | SOURCE["DEBLEND_NO_FLUX"] * (flux == 0)
    misfit = scene.misfit.cpu().numpy()
    about = SOURCE["DEBLEND_POOR"] * ((misfit > POOR) | layout.cut_short) | np.bitwise_and.reduce(
        flags & SOURCE["DEBLEND_NO_FLUX"], axis=1, initial=SOURCE["DEBLEND_NO_FLUX"]
    ) * (count > 0)
    major, minor, theta = members.ellipses(scene.seen)
    columns = {
        **{name: np.repeat(sources.column(name), count) for name in ("source_id", "tile_id")},
        **{name: np.repeat(v, count) for name, v in (("semi_major", major), ("semi_minor", minor), ("theta", theta))},
        "flux": flux.ravel(),
        "flux_err": error.ravel(),
        "masked_fraction": masked.ravel(),
        "flags": (flags | about[:, None]).ravel(),
        "band": np.tile(np.array(image.bands, dtype=object), n),
        "method": np.full(n * count, method, dtype=object),
    }
    names = image.bands if count > 1 else ()
    parts: Fractions = members.fractions(scene, solved, names, {"method": method})
    return {
        "sources": members.flagged(sources, share, about),
        "photometry": photometry_rows(sources, before, columns),
        "fractions": parts,
        "residual": replace(image, data=residual),
    }
