"""The sky, by sep.Background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import sep

from astrosurvey import Context, Image

if TYPE_CHECKING:
    from .stage import SepBackground


def subtract(ctx: Context, image: Image, config: SepBackground.Config) -> Mapping[str, Any]:
    """Return the sky-subtracted image and the background."""
    good = image.usable()
    level, noise = np.zeros(image.data.shape, np.float32), np.full(image.data.shape, np.inf, np.float32)
    for b, name in enumerate(image.bands):
        if not good[b].any():
            ctx.log.warning("band %s has no usable pixel, so it has no sky", name)
            continue
        side = min(config.box, *image.data.shape[1:])
        sky = sep.Background(
            np.where(good[b], image.data[b], np.float32(0)),
            mask=~good[b],
            bw=side,
            bh=side,
            fw=config.filter_size,
            fh=config.filter_size,
            fthresh=config.filter_threshold,
        )
        level[b], noise[b] = sky.back(dtype=np.float32), sky.rms(dtype=np.float32)
        ctx.progress(b + 1, len(image.bands))
    measured = np.where(np.isfinite(noise), noise.astype(np.float64) ** 2, np.inf).astype(np.float32)
    data = image.data - level
    variance = measured if image.variance is None or config.variance == "measure" else image.variance
    variance = np.where(np.isfinite(data), variance, np.float32(np.inf))
    background = Image(data=level, bands=image.bands, variance=measured, wcs=image.wcs, unit=image.unit, meta=image.meta)
    return {"image": replace(image, data=data, variance=variance), "background": background}
