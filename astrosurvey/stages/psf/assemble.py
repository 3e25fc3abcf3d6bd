"""From bands, measured or not, to one model of all bands on common nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...core.stage import DataError
from ...products.psf import STAR, PsfModel
from ..sky import pixel_scale
from .measure import LARGEST_HALF, Measured
from .moffat import Moffat
from .moments import fwhm_of, shape_of
from .spline import normalised_basis, spline_coefficients

if TYPE_CHECKING:
    from ...products import Image

UNKNOWN_FWHM = 2.5
"""Stands in where nothing is known and no pixel needs to know it."""


def fallback(image: Image, band: int, fwhm: float | None, radius: float, measured: Sequence[Measured | None], usable: bool) -> Measured:
    """Return the PSF of a band without a star: from the settings, the image's PSF, its seeing, or its other bands.

    Args:
        image: the image.
        band: its place.
        fwhm: from the settings, in pixels.
        radius: of the stamp, in FWHM.
        measured: what the bands gave.
        usable: whether the band has a usable pixel.

    Raises:
        DataError: the band has usable pixels, but nobody knows its PSF.
    """
    name = image.bands[band]
    if fwhm is None and image.psf is not None:
        stamp = image.psf[band].astype(float)
        return Measured((stamp / stamp.sum())[None], 1, origin="image")
    origin = "settings"
    if fwhm is None:
        seeing, origin = image.meta.get("seeing"), "seeing"
        if isinstance(seeing, dict):
            seeing = seeing.get(name)
        if seeing is not None and image.wcs is not None:
            fwhm = float(seeing) / pixel_scale(image.wcs)
    if fwhm is None:
        widths = [one.fwhm for one in measured if one is not None]
        fwhm, origin = (float(np.median(widths)), "other bands") if widths else (None, "unknown")
    if fwhm is None:
        if usable:
            raise DataError(
                f"band {name} has no star to measure its PSF on, and the image says nothing of it: "
                "set `fwhm` to the seeing in pixels, or lower `min_snr`"
            )
        fwhm = UNKNOWN_FWHM
    half = int(min(max(np.ceil(radius * fwhm), 3), LARGEST_HALF))
    return Measured(Moffat(fwhm).nodes(half, 1)[None], 1, origin=origin)


def model_of(image: Image, bands: Sequence[Measured]) -> PsfModel:
    """Return the model of all bands: on the finest nodes and the largest stamp of any, with the most coefficients of any.

    Args:
        image: what it was measured on.
        bands: one for each band of the image.
    """
    oversampling = max(one.oversampling for one in bands)
    finer = [_resampled(one.basis, one.oversampling, oversampling) for one in bands]
    terms = max(len(basis) for basis in finer)
    side = tuple(max(basis.shape[axis] for basis in finer) for axis in (1, 2))
    whole = np.zeros((len(bands), terms, *side), np.float32)
    for to, basis in zip(whole, finer, strict=True):
        y, x = ((large - small) // 2 for large, small in zip(side, basis.shape[1:], strict=True))
        to[: len(basis), y : y + basis.shape[1], x : x + basis.shape[2]] = basis
    stars = np.concatenate([np.zeros(0, STAR), *(one.stars for one in bands)])
    counts = np.array([len(one.stars) for one in bands])
    stars["band"] = np.repeat(np.arange(len(bands)), counts)
    quality = {
        name: {"origin": one.origin, "residual": _json(one.residual), "chi2": _json(one.chi2)}
        for name, one in zip(image.bands, bands, strict=True)
    }
    ny, nx = image.data.shape[1:]
    model = PsfModel(
        whole, image.bands, oversampling, (ny, nx), np.ones(len(bands)), np.zeros(len(bands)), counts.astype(np.int64), stars, quality
    )
    centre = model.nodes((nx - 1) / 2, (ny - 1) / 2)
    fwhm = np.array([fwhm_of(nodes, oversampling) for nodes in centre])
    ellipticity = np.array([min(float(np.hypot(*shape_of(nodes))), 0.99) for nodes in centre])
    return PsfModel(whole, image.bands, oversampling, (ny, nx), fwhm, ellipticity, model.n_star, stars, quality)


def model_from_image(image: Image) -> PsfModel:
    """Return the image's own PSF as a model that does not drift.

    Raises:
        DataError: it has none.
    """
    if image.psf is None:
        raise DataError("there is no PSF: wire the output `psf` of a psf.measure stage, or read the image with its PSF")
    return model_of(image, [fallback(image, band, None, 4.0, [], usable=False) for band in range(len(image.bands))])


def _json(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _resampled(basis: np.ndarray, old: int, new: int) -> np.ndarray:
    """Return a basis on finer nodes, by its splines, normalised as before."""
    from scipy import ndimage

    if old == new:
        return basis
    axes = [np.arange(((side - 1) // old) * new + 1) * (old / new) for side in basis.shape[1:]]
    grid = np.meshgrid(*axes, indexing="ij")
    finer = np.stack([ndimage.map_coordinates(spline_coefficients(one), grid, order=3, mode="mirror", prefilter=False) for one in basis])
    return normalised_basis(finer, new)
