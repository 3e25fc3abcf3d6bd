"""Flux, inverse variance and mask in the product's units and conventions, and what the catalogue says about each spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...catalog.flags import SPECTRUM, SPECTRUM_PIXEL, SPECTRUM_UNUSABLE
from ...products import Spectra
from ...products._fits import escape
from .fluxes import UNIT, FluxError, factor, is_relative
from .grids import Gridded
from .skylines import marks

if TYPE_CHECKING:
    from .readers import SpectrumFile

WINDOW = 256
"""Pixels over which errors are measured when the file has none,"""
PIECE = 16
"""and on the sky up to this many."""
LEAST_SHARED, FEWEST = 0.1, 4
"""A correlation of neighbours below this is taken for none; and windows, fewer than which tell no slope of it."""

_SAMPLE = 10_000
_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST = float(np.finfo(np.float32).tiny)


class Planes(NamedTuple):
    """`flux`, `ivar` (float32) and `mask` (int32), (n, pixel), and the flux's unit."""

    flux: np.ndarray
    ivar: np.ndarray
    mask: np.ndarray
    unit: str


def finished(file: SpectrumFile, given: Gridded, said: Mapping[str, Any], *, in_sky_frame: bool) -> Planes:
    """Return the planes of the product.

    Args:
        file: names the file in errors.
        given: with wavelengths in Å in vacuum.
        said: "unit", and "errors": "ivar", "error", "variance" or "measured".
        in_sky_frame: whether lines of the night sky are where they belong.

    Returns:
        Planes in which ivar is 0 wherever the mask makes a pixel unusable, and the mask says so wherever ivar is 0.

    Raises:
        BadInput: the unit is unknown, or the numbers are beyond what float32 can hold.
    """
    relative = is_relative(said["unit"])
    try:
        scale = np.ones(()) if relative else factor(said["unit"], given.wave)
    except FluxError as error:
        raise file.bad(escape(error), "set `unit`, or `unit: relative`") from error
    flux = given.flux * scale
    mask = np.zeros(flux.shape, np.int32) if given.mask is None else given.mask.astype(np.int32)
    good = np.isfinite(flux) & ((mask & SPECTRUM_UNUSABLE) == 0)
    with np.errstate(all="ignore"):
        if given.noise is None:
            ivar = measured(np.where(good, flux, np.nan), marks(given.wave) != 0 if in_sky_frame else None)
        else:
            ivar = _inverse_variance(np.asarray(given.noise, np.float64), said["errors"]) / np.square(scale)
    good &= np.isfinite(ivar) & (ivar > 0)
    _require_range(file, flux[good], ivar[good])
    with np.errstate(over="ignore"):
        small = flux.astype(np.float32), np.where(good, ivar, 0).astype(np.float32)
    good &= np.isfinite(small[0]) & np.isfinite(small[1]) & (small[1] > 0)
    small[0][~np.isfinite(small[0])] = np.nan
    small[1][~good] = 0
    mask[~good & ((mask & SPECTRUM_UNUSABLE) == 0)] |= SPECTRUM_PIXEL["NO_DATA"]
    if in_sky_frame:
        mask |= marks(given.wave)
    return Planes(np.ascontiguousarray(small[0]), np.ascontiguousarray(small[1]), np.ascontiguousarray(mask), "" if relative else UNIT)


def _inverse_variance(noise: np.ndarray, kind: str) -> np.ndarray:
    if kind == "error":
        return np.where(noise > 0, noise, np.nan) ** -2.0
    return 1 / noise if kind == "variance" else noise


def _require_range(file: SpectrumFile, flux: np.ndarray, ivar: np.ndarray) -> None:
    """Raise unless most numbers can be held as float32; single ones that cannot are marked as NO_DATA."""
    flux, ivar = flux[:: len(flux) // _SAMPLE + 1], ivar[:: len(ivar) // _SAMPLE + 1]
    if len(flux) and not (np.median(np.abs(flux)) < _LARGEST and _SMALLEST < np.median(ivar) < _LARGEST):
        size = f"{np.median(np.abs(flux)):.3g} with errors of {np.median(ivar) ** -0.5:.3g}"
        raise file.bad(f"has fluxes of about {size}, beyond what float32 can hold", "check `unit` and what the errors are (`columns`)")


def measured(flux: np.ndarray, sky: np.ndarray | None = None) -> np.ndarray:
    """Return inverse variances from the scatter of each pixel against its neighbours but one.

    The median of |2 f(i) - f(i-2) - f(i+2)| is blind to what changes slowly, and to noise that neighbours share. It is taken in windows and
    interpolated between their middles. Two things that it does not see are added:

    - What neighbours share, as after a resampling. With the correlation c, a sum over many pixels has 1 + 2 c times the variance
      of independent ones, and by so much variances are raised; c follows from the same median of immediate neighbours.
    - Residuals of sky lines, too few to move a median. On the pixels of `sky` the scatter is a root mean square over a few of them.

    So emission on a sky line counts as noise, and in bright spectra lines do that are as narrow as two pixels.

    Args:
        flux: (n, pixel); NaN where there is none.
        sky: (pixel,) or (n, pixel) bool, what lies on sky lines or in telluric bands; None: nothing.

    Returns:
        (n, pixel) float64; NaN where nothing could be measured.

    References: Stoehr et al. (2008), ASP Conf. Ser. 394, 505 (DER_SNR).
    """
    n, pixels = flux.shape
    if pixels < 5:
        return np.full(flux.shape, np.nan)
    change = 2 * flux[:, 2:-2] - flux[:, :-4] - flux[:, 4:]
    beside = 2 * flux[:, 2:-2] - flux[:, 1:-3] - flux[:, 3:-1]
    edges = np.linspace(0, change.shape[1], max(change.shape[1] // WINDOW, 1) + 1).astype(int)
    middles = 0.5 * (edges[:-1] + edges[1:]) + 2
    sky = np.broadcast_to(False if sky is None else sky, flux.shape)
    ivar = np.full(flux.shape, np.nan)
    for row in range(n):
        sigma, near = (np.array([_scatter(plane[row, a:b]) for a, b in pairwise(edges)]) for plane in (change, beside))
        known = np.isfinite(sigma) & (sigma > 0)
        if known.any():
            error = np.interp(np.arange(pixels), middles[known], sigma[known])
            shared = _shared(middles[known], near[known] / sigma[known], pixels)
            error[2:-2] *= _on_sky(change[row] / error[2:-2], sky[row, 2:-2])
            ivar[row] = 1 / (error**2 * (1 + 2 * shared))
    return ivar


def _scatter(change: np.ndarray) -> float:
    """Return the error of a pixel from second differences; NaN without any."""
    there = np.abs(change[np.isfinite(change)])
    return float(1.482602 / np.sqrt(6) * np.median(there)) if len(there) else np.nan


def _shared(middles: np.ndarray, ratio: np.ndarray, pixels: int) -> np.ndarray:
    """Return the correlation of neighbours, (pixel,): a straight line through that in windows, 0 if it is not clearly there.

    Args:
        middles: (window,) pixels.
        ratio: (window,) of the scatter against neighbours to that against the next but one: its square is 1 - 4/3 of the correlation.
        pixels: of the spectrum.
    """
    found = 0.75 * (1 - ratio**2)
    found = found[np.isfinite(found)]
    if not len(found) or found.mean() < LEAST_SHARED:
        return np.zeros(pixels)
    if len(found) < FEWEST or len(found) < len(middles):
        return np.full(pixels, found.mean())
    return np.clip(np.polynomial.Polynomial.fit(middles, found, 1)(np.arange(pixels)), 0, 0.75)


def _on_sky(change: np.ndarray, sky: np.ndarray) -> np.ndarray:
    """Return by what errors are to be multiplied, 1 or more: on the sky the root mean square of changes, in errors, over some pixels."""
    out = np.ones(len(change))
    bounds = np.flatnonzero(np.diff(np.r_[False, sky, False].astype(np.int8)))
    for start, stop in bounds.reshape(-1, 2):
        for piece in np.array_split(np.arange(start, stop), -(-(stop - start) // PIECE)):
            there = change[piece][np.isfinite(change[piece])]
            if len(there):
                out[piece] = max(1.0, float(np.sqrt(np.mean(there**2) / 6)))
    return out


def describe(
    spectra: Spectra, n_pixel: Any, names: Sequence[str], frame: str, columns: Mapping[str, np.ndarray], flags: np.ndarray
) -> dict[str, Any]:
    """Return (n,) columns of the table `spectrum`, without ids.

    Args:
        spectra: the finished block.
        n_pixel: (n,) pixels of each, without padding.
        names: (n,).
        frame: rest frame of the wavelengths.
        columns: what the file says: ra, dec, mjd, exposure, resolution; NaN where it says nothing.
        flags: (n,) SPECTRUM bits known so far.
    """
    n = len(spectra)
    usable = spectra.usable()
    wave = np.broadcast_to(spectra.wave, usable.shape)
    some = usable.any(axis=1)
    place = columns.get("ra", np.full(n, np.nan)), columns.get("dec", np.full(n, np.nan))
    on_sky = np.isfinite(place[0]) & np.isfinite(place[1]) & (np.abs(place[1]) <= 90)
    first, last = usable.argmax(axis=1), usable.shape[1] - 1 - usable[:, ::-1].argmax(axis=1)
    last = np.where(some, last, n_pixel - 1)
    snr = [_median(spectra.flux[k, good] * np.sqrt(spectra.ivar[k, good])) for k, good in enumerate(usable)]
    flags = flags | np.where(some, 0, SPECTRUM["NO_DATA"]) | np.where(on_sky, 0, SPECTRUM["NO_SKY_POSITION"])
    flags |= np.where(2 * usable.sum(axis=1) < last - first + 1, SPECTRUM["FEW_DATA"], 0)
    rows = np.arange(n)
    return {
        "name": list(names),
        "ra": _masked(np.mod(place[0], 360.0), on_sky),
        "dec": _masked(place[1], on_sky),
        **{name: _masked(columns.get(name, np.full(n, np.nan)), None) for name in ("mjd", "exposure", "resolution")},
        "frame": [frame] * n,
        "n_pixel": np.broadcast_to(n_pixel, n),
        "wave_min": wave[rows, first],
        "wave_max": wave[rows, last],
        "snr": np.asarray(snr, np.float32),
        "flags": flags,
    }


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else np.nan


def _masked(values: np.ndarray, known: np.ndarray | None) -> list[float | None]:
    """Return values for a nullable column: null, not NaN, where the file says nothing."""
    known = np.isfinite(values) if known is None else known
    return [float(value) if good else None for value, good in zip(values, known, strict=True)]
