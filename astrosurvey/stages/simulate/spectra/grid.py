"""The wavelength grid that spectra are drawn on, and how rest-frame templates come onto it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...spectra.templates import LOG_STEP
from ...spectra.velocity import LIGHT as LIGHT

PIXEL = LIGHT * np.log(10) * LOG_STEP
"""km/s from one pixel of 1e-4 to the next: 69.03."""


@dataclass(frozen=True)
class LogGrid:
    """Pixels even in log10 of the wavelength.

    Attributes:
        start: Å, centre of the first pixel.
        pixels: how many.
        bins: how many steps of 1e-4 a pixel is wide. Spectra are drawn in those steps and averaged, so that a
            coarser grid holds what a finer one holds.
    """

    start: float
    pixels: int
    bins: int = 1

    @property
    def wave(self) -> np.ndarray:
        """(pixel,) float64, centres in Å in vacuum."""
        wave: np.ndarray = self.start * 10 ** (LOG_STEP * self.bins * np.arange(self.pixels))
        return wave

    @property
    def fine(self) -> LogGrid:
        """The grid in steps of 1e-4 whose groups of `bins` pixels are this grid's pixels."""
        return LogGrid(self.start * 10 ** (-LOG_STEP * (self.bins - 1) / 2), self.pixels * self.bins)

    @property
    def place(self) -> float:
        """log10 of `start` in steps of 1e-4, as templates count their pixels."""
        return float(np.log10(self.start)) / LOG_STEP

    def binned(self, flux: np.ndarray) -> np.ndarray:
        """Return (n, pixels) fluxes of this grid from those of `fine`."""
        return flux if self.bins == 1 else flux.reshape(len(flux), self.pixels, self.bins).mean(axis=2)


def span(grid: LogGrid, lowest: float, highest: float, reach: float = 0.0, margin: int = 24) -> tuple[int, int]:
    """Return the first pixel and the number of pixels, as templates count, that redshifts between two values show of the rest frame.

    Args:
        grid: with `bins` of 1.
        lowest: the lowest redshift.
        highest: the highest.
        reach: Å at rest; the pixels go on at least to here, seen or not.
        margin: pixels more at both ends.
    """
    first = int(np.floor(grid.place - np.log10(1 + highest) / LOG_STEP)) - margin
    last = int(np.ceil(grid.place + grid.pixels - np.log10(1 + lowest) / LOG_STEP)) + margin
    return first, max(last, int(np.log10(max(reach, 1.0)) / LOG_STEP) + margin) - first


def shifted(flux: np.ndarray, first: int, z: np.ndarray, grid: LogGrid) -> np.ndarray:
    """Return spectra as they arrive: at redshift z, on a grid in steps of 1e-4, by cubic interpolation.

    The flux density per Å keeps its values; the factor 1 / (1 + z) is the same for all wavelengths and left out.

    Args:
        flux: (n, pixel) at rest.
        first: number of the first pixel of `flux`.
        z: (n,) redshifts for which `span` lies within `flux`.
        grid: with `bins` of 1.

    Returns:
        (n, grid.pixels) of the type of `flux`.
    """
    place = grid.place - np.log10(1 + z) / LOG_STEP - first
    whole = np.floor(place).astype(int)
    t = (place - whole).astype(flux.dtype)
    taps = np.stack([-t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2, -(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6])
    out = np.empty((len(flux), grid.pixels), flux.dtype)
    for i, start in enumerate(whole - 1):
        row = flux[i]
        np.multiply(row[start : start + grid.pixels], taps[0, i], out=out[i])
        for k in range(1, 4):
            out[i] += taps[k, i] * row[start + k : start + k + grid.pixels]
    return out


def broadened(flux: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return spectra convolved with a Gaussian of each row's own width.

    Args:
        flux: (n, pixel) in steps of 1e-4.
        sigma: (n,) km/s.

    Returns:
        (n, pixel) of the type of `flux`. The ends are continued with their last value.
    """
    from scipy import fft

    n, pixels = flux.shape
    margin = 32
    length = fft.next_fast_len(pixels + 2 * margin, real=True)
    padded = np.empty((n, length), flux.dtype)
    padded[:, margin : margin + pixels] = flux
    padded[:, :margin] = flux[:, :1]
    padded[:, margin + pixels :] = flux[:, -1:]
    frequency = fft.rfftfreq(length).astype(flux.dtype)
    width = (sigma / PIXEL).astype(flux.dtype)
    spectrum = fft.rfft(padded, axis=1)
    spectrum *= np.exp(-2 * np.pi**2 * np.square(width)[:, None] * np.square(frequency))
    return np.ascontiguousarray(fft.irfft(spectrum, length, axis=1)[:, margin : margin + pixels].astype(flux.dtype))
