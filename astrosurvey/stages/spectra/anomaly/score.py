"""In what ways a spectrum may be strange: a few numbers for each, larger for stranger.

Residuals are looked at on several scales. Single pixels show lines that should not be there; wide bins show bumps and edges much
weaker than the noise of a pixel, as supernovae have them. The noise is measured from the residuals themselves, by their differences
over a few pixels, so that a survey that misjudges it does not make its spectra strange.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ....networks.spectral_autoencoder import SpectralAutoencoder
from .decode import CALIBRATION, Decoded

BINS = (1, 8, 32)
"""Widths, in pixels, on which residuals are looked at: 138, 1105 and 4420 km/s."""
LAG = 3
"""Pixels between those whose differences tell the noise; resampled neighbours share some."""
STRANGE = ("density", "forest", *(f"residual_{width}" for width in BINS))
"""What the explanation of a spectrum says."""
WIDE = BINS[-1]
"""Bins in which residuals of templates are looked at: broad bumps are what the explanation, whose errors are larger, cannot see."""


def statistics(network: SpectralAutoencoder, flux: Tensor, ivar: Tensor, best: Decoded, encoded: Tensor) -> dict[str, Tensor]:
    """Return what a spectrum's p-value is made of.

    Args:
        network: gives the density.
        flux, ivar: (row, pixel) in the rest frame, 0 where there are no data.
        best: the explanation.
        encoded: (row, latent) what the encoder says.

    Returns:
        latent: (row, latent) the likeliest latent vector.
        encoded: as given.
        snr: (row,) root mean square of the model over the noise.
        pixels: (row,) how many have data.
        density: (row,) minus the log of the latent vector's density.
        residual_1, ...: (row,) log of the mean square of the residuals, in bins of so many pixels, in units of their noise.
    """
    good = ivar > 0
    pixels = good.sum(dim=1)
    found = {
        "latent": best.latent,
        "encoded": encoded,
        "snr": (torch.where(good, best.model.square() * ivar, 0.0).sum(dim=1) / pixels.clamp_min(1)).sqrt(),
        "pixels": pixels.to(flux.dtype),
        "density": -network.flow(best.latent),
    }
    squares = _squares(flux, ivar, best.model, best.floor, BINS)
    return found | {f"residual_{width}": square for width, square in zip(BINS, squares, strict=True)}


def misfit(flux: Tensor, ivar: Tensor, fit: Tensor) -> Tensor:
    """Return (row,) what the best template leaves of a spectrum, as `residual_32` of `statistics`; NaN where there is no fit.

    Args:
        flux, ivar: (row, pixel) in the rest frame, 0 where there are no data.
        fit: (row, pixel) the template's flux, NaN where there is none.
    """
    there = torch.isfinite(fit)
    model = torch.where(there, fit, 0.0)
    (square,) = _squares(flux, torch.where(there, ivar, 0.0), model, (CALIBRATION * model).square(), (WIDE,))
    return torch.where(((ivar > 0) & there).any(dim=1), square, torch.nan)


def _squares(flux: Tensor, ivar: Tensor, model: Tensor, floor: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """Return, for each width, (row,) the log of the mean square of residuals in bins of so many pixels, in units of their noise.

    Args:
        flux, ivar, model: (row, pixel).
        floor: (row, pixel) variance of the truth about the model.
        widths: of the bins.
    """
    good = ivar > 0
    safe = torch.where(good, ivar, 1.0)
    residual = torch.where(good, (flux - model) * safe.sqrt(), 0.0)
    noise = _noise(residual, good)
    # Errors of the model count per bin, since neighbouring pixels share them; noise averages down.
    shared = torch.where(good, floor * safe, 0.0) / noise.square()
    residual = residual / noise
    out = []
    for width in widths:
        # Weighted with the signal's own noise: the sum of r over n pixels has variance n, and what the model may be off adds coherently.
        count = functional.avg_pool1d(good[:, None].to(flux.dtype), width)[:, 0] * width
        total = functional.avg_pool1d(residual[:, None], width)[:, 0] * width
        coherent = (functional.avg_pool1d(shared.sqrt()[:, None], width)[:, 0] * width).square()
        used = count >= max(1, width // 2)
        square = torch.where(used, total.square() / (count + coherent).clamp_min(1e-6), 0.0)
        out.append((square.sum(dim=1) / used.sum(dim=1).clamp_min(1)).clamp_min(1e-3).log())
    return out


def _noise(residual: Tensor, good: Tensor) -> Tensor:
    """Return (row, 1) the scatter of residuals from their differences; between half and twice what is claimed."""
    both = good[:, LAG:] & good[:, :-LAG]
    difference = torch.where(both, (residual[:, LAG:] - residual[:, :-LAG]).abs(), torch.nan)
    middle = difference.nanmedian(dim=1, keepdim=True).values
    return (middle / (0.6745 * 2**0.5)).nan_to_num(1.0).clamp(0.5, 2.0)
