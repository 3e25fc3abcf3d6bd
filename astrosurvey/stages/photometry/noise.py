"""By how much the noise of a flux exceeds what independent pixels would give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...kernels import posterior, radial
from ...kernels._pixels import Places, Planes, nodes_within
from . import profiles
from .fitting import TRUST, Device, forms
from .frame import Frame

SAMPLES = 2500
FEWEST = 50
"""Places on a square image where stars are fitted to the sky, and how many it takes to trust their scatter."""


def noise_factor(field: Frame, planes: Planes, labels: np.ndarray, device: Device) -> np.ndarray:
    """Return by how much the noise of a star's flux exceeds what independent pixels would give, (band,).

    Stars are fitted where there are none, on a lattice of sky pixels. The scatter of flux over error is what
    correlated noise and undetected sources make of it.

    Args:
        field: the image.
        planes: it, with the sources' models.
        labels: (y, x) footprints, which are avoided.
        device: where to calculate.

    Returns:
        1 where fewer than fifty places are free.
    """
    ny, nx = labels.shape
    gap = int(np.ceil(field.fwhm))
    step = max(int(np.sqrt(labels.size / SAMPLES)), gap)
    y, x = (a.ravel() for a in np.meshgrid(np.arange(gap, ny - gap, step), np.arange(gap, nx - gap, step), indexing="ij"))
    for dy in (-gap, 0, gap):
        for dx in (-gap, 0, gap):
            free = labels[y + dy, x + dx] == 0
            y, x = y[free], x[free]
    factor = np.ones(len(field.psf))
    if len(x) < FEWEST:
        return factor
    reach = 2 * field.fwhm
    n_nodes = int(nodes_within(field.core, np.array(reach)))
    stars = np.stack([profiles.build(stamp, field.point, field.core, n_nodes, np.zeros(0), field.rounding).values for stamp in field.psf])
    counts = np.full(len(x), n_nodes, np.int32)
    round_ones = np.zeros(len(x), np.int32)
    places = Places.at(x.astype(float), y.astype(float), len(field.psf), field.core)
    places = replace(places, form=forms(field, round_ones, np.zeros(len(x))))
    *sums, _ = radial.KERNEL.on(device)(planes, places, counts, n_nodes, TRUST)
    for b in range(len(factor)):
        one = tuple(s[:, b : b + 1] for s in sums)
        flux, error, _, _ = posterior.KERNEL.on(device)(
            one,
            counts,
            stars[b : b + 1].astype(np.float32),
            np.zeros(1, bool),
            round_ones,
            np.zeros(1),
            np.ones(1, bool),
            np.array([1e12]),
            0.0,
        )
        pull = (flux / error)[np.isfinite(flux) & (error > 0)]
        if pull.size >= FEWEST:
            low, high = np.percentile(pull, [15.865, 84.135])
            factor[b] = max((high - low) / 2, 0.1)
    return factor
