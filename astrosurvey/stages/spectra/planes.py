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
"""Pixels over which errors are measured when the file has none."""

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
            ivar = measured(np.where(good, flux, np.nan))
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


def measured(flux: np.ndarray) -> np.ndarray:
    """Return inverse variances from the scatter of each pixel against its neighbours but one.

    The median of |2 f(i) - f(i-2) - f(i+2)| is blind to what changes slowly, and to noise that neighbours share.
    It is taken in windows and interpolated between their middles.

    Args:
        flux: (n, pixel); NaN where there is none.

    Returns:
        (n, pixel) float64; NaN where nothing could be measured.

    References: Stoehr et al. (2008), ASP Conf. Ser. 394, 505 (DER_SNR).
    """
    n, pixels = flux.shape
    if pixels < 5:
        return np.full(flux.shape, np.nan)
    change = np.abs(2 * flux[:, 2:-2] - flux[:, :-4] - flux[:, 4:])
    edges = np.linspace(0, change.shape[1], max(change.shape[1] // WINDOW, 1) + 1).astype(int)
    middles = 0.5 * (edges[:-1] + edges[1:]) + 2
    ivar = np.full(flux.shape, np.nan)
    for row in range(n):
        pieces = [change[row, a:b][np.isfinite(change[row, a:b])] for a, b in pairwise(edges)]
        sigma = np.array([1.482602 / np.sqrt(6) * np.median(piece) if len(piece) else np.nan for piece in pieces])
        known = np.isfinite(sigma) & (sigma > 0)
        if known.any():
            ivar[row] = np.interp(np.arange(pixels), middles[known], sigma[known]) ** -2.0
    return ivar


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
