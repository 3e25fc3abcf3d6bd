"""The likeliest latent vector of a spectrum, and how well the spectrum is then explained.

A spectrum is explained as what the decoder makes of a latent vector, times a low polynomial in log wavelength, which takes up the flux
scale and errors of the flux calibration. Latent vector and polynomial are found together, from where the encoder points, by a damped
Gauss-Newton iteration; the curvature there gives their covariance (Laplace's approximation).

References:
    Böhm & Seljak (2020), arXiv:2006.05479; Levenberg (1944), Quarterly of Applied Mathematics 2, 164; MacKay (2003),
    Information Theory, Inference, and Learning Algorithms, ch. 27 (Laplace's method).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ....networks.spectral_autoencoder import SpectralAutoencoder

ORDER = 8
"""Of the polynomial."""
TILT = 0.3
"""Standard deviation of the polynomial's linear term relative to its constant: how far flux calibrations are off; of the k-th, TILT / k."""
CALIBRATION = 0.02
"""Relative error that every pixel may have beyond its noise: no survey's flux calibration and no template is better."""
STEPS = 5
"""Evaluations of the decoder; one less is moved."""


@dataclass(frozen=True)
class Decoded:
    """Spectra as the autoencoder explains them; all tensors on one device.

    Attributes:
        latent: (row, latent) the likeliest latent vectors.
        model: (row, pixel) the reconstruction, over the whole rest-frame grid.
        variance: (row, pixel) of the reconstruction: from the latent vector's and the polynomial's covariance.
        floor: (row, pixel) variance of a noiseless spectrum about the model.
    """

    latent: Tensor
    model: Tensor
    variance: Tensor
    floor: Tensor


def channels(flux: Tensor, ivar: Tensor) -> Tensor:
    """Return (row, 3, pixel) what the encoder looks at: flux over its mean and the mean over the noise, both as asinh, and where data are.

    Args:
        flux, ivar: (row, pixel) in the rest frame, 0 where there are no data.
    """
    total = ivar.sum(dim=1, keepdim=True).clamp_min(torch.finfo(ivar.dtype).tiny)
    mean = (flux * ivar).sum(dim=1, keepdim=True) / total
    level = (mean.square() + 1.0 / total).sqrt()
    good = (ivar > 0).to(flux.dtype)
    return torch.stack([torch.asinh(flux / level), torch.asinh(level * ivar.sqrt()), good], dim=1)


def legendre(ivar: Tensor, order: int = ORDER) -> Tensor:
    """Return (row, order + 1, pixel) Legendre polynomials, -1 and 1 at the ends of each spectrum's data, and constant beyond."""
    good = ivar > 0
    pixel = torch.arange(ivar.shape[1], device=ivar.device, dtype=ivar.dtype)
    first = torch.where(good, pixel, torch.inf).amin(dim=1, keepdim=True).nan_to_num(posinf=0.0)
    last = torch.where(good, pixel, -torch.inf).amax(dim=1, keepdim=True).nan_to_num(neginf=1.0)
    x = ((2 * pixel - first - last) / (last - first).clamp_min(1.0)).clamp(-1.0, 1.0)
    terms = [torch.ones_like(x), x]
    for n in range(1, order):
        terms.append(((2 * n + 1) * x * terms[n] - n * terms[n - 1]) / (n + 1))
    return torch.stack(terms, dim=1)


def scaled(template: Tensor, flux: Tensor, weight: Tensor, terms: Tensor) -> Tensor:
    """Return (row, terms) the polynomials with which templates fit best, in closed form; 0 where the flux would be negative.

    Args:
        template, flux, weight: (row, pixel).
        terms: see `legendre`.
    """
    parts = terms * template[:, None]
    heavy = parts * weight[:, None]
    normal = heavy @ parts.transpose(1, 2)
    right = (heavy @ flux[..., None])[..., 0]
    constant = right[:, 0] / normal[:, 0, 0].clamp_min(1e-30)
    normal = normal + torch.diag_embed(_tightness(constant, normal[:, 0, 0], terms.shape[1] - 1))
    found = torch.linalg.solve(normal.double(), right.double()).to(flux.dtype)
    return found * (constant > 0)[:, None]


def _tightness(constant: Tensor, most: Tensor, order: int) -> Tensor:
    """Return (row, order + 1) inverse variances of the polynomial's terms before a spectrum is seen; next to none of the constant."""
    k = torch.arange(1, order + 1, device=constant.device, dtype=constant.dtype)
    tilt = (TILT / k * constant[:, None]).square().reciprocal().clamp_max(1e12)
    # Never wholly without, so that even an empty spectrum's equations have a solution.
    return torch.cat([(1e-6 * most + 1e-20)[:, None], tilt], dim=1)


@torch.no_grad()
def decode(network: SpectralAutoencoder, flux: Tensor, ivar: Tensor, start: Tensor) -> Decoded:
    """Return the likeliest explanation of spectra.

    Args:
        network: in evaluation mode, in single precision.
        flux, ivar: (row, pixel) in the rest frame, 0 where there are no data.
        start: (row, latent) what the encoder says.
    """
    terms = legendre(ivar)
    # In units of each spectrum's own noise and level, all that follows is of order one.
    pixels = (ivar > 0).sum(dim=1, keepdim=True)
    unit = torch.where(pixels > 0, (ivar.sum(dim=1, keepdim=True) / pixels.clamp_min(1)).sqrt(), 1.0)
    flux, ivar = flux * unit, ivar / unit.square()
    relative = network.scatter.square() + CALIBRATION**2
    latent, damping = start, flux.new_full((len(flux),), 1e-3)
    template, slopes = network.decoder.with_slopes(latent)
    polynomial = scaled(template, flux, ivar, terms)
    for step in range(STEPS):
        curve = torch.einsum("rk,rkp->rp", polynomial, terms)
        model = curve * template
        floor = relative * model.square()
        weight = ivar / (1.0 + ivar * floor)
        tight = _tightness(polynomial[:, 0], weight.new_zeros(len(weight)), ORDER)
        design = torch.cat([curve[..., None] * slopes, (terms * template[:, None]).transpose(1, 2)], dim=2)
        normal, right = _equations(design, flux - model, weight, latent, polynomial, tight)
        if step == STEPS - 1:
            break
        diagonal = torch.diagonal(normal, dim1=1, dim2=2)
        move = torch.linalg.solve(normal + torch.diag_embed(damping[:, None] * diagonal), right).to(flux.dtype)
        tried = latent + move[:, : latent.shape[1]]
        new_template, new_slopes = network.decoder.with_slopes(tried)
        new_polynomial = scaled(new_template, flux, weight, terms)
        before = _cost(model, flux, weight, latent, polynomial, tight)
        after = _cost(torch.einsum("rk,rkp->rp", new_polynomial, terms) * new_template, flux, weight, tried, new_polynomial, tight)
        better = after <= before
        latent = torch.where(better[:, None], tried, latent)
        template = torch.where(better[:, None], new_template, template)
        slopes = torch.where(better[:, None, None], new_slopes, slopes)
        polynomial = torch.where(better[:, None], new_polynomial, polynomial)
        damping = torch.where(better, damping / 5, damping * 10).clamp(1e-6, 1e6)
    covariance = torch.linalg.inv(normal).to(flux.dtype)
    variance = ((design @ covariance) * design).sum(dim=2)
    return Decoded(latent, model / unit, variance / unit.square(), floor / unit.square())


def _equations(
    design: Tensor, residual: Tensor, weight: Tensor, latent: Tensor, polynomial: Tensor, tight: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the normal matrix and the right side of the step in latent vector and polynomial, in double precision."""
    n = latent.shape[1]
    heavy = (design * weight[..., None]).transpose(1, 2)
    normal = (heavy @ design).double()
    right = (heavy @ residual[..., None])[..., 0].double()
    # Latent vectors of the known are white.
    normal[:, :n, :n] += torch.eye(n, dtype=normal.dtype, device=normal.device)
    right[:, :n] -= latent.double()
    normal[:, n:, n:] += torch.diag_embed(tight.double())
    right[:, n:] -= tight.double() * polynomial.double()
    return normal, right


def _cost(model: Tensor, flux: Tensor, weight: Tensor, latent: Tensor, polynomial: Tensor, tight: Tensor) -> Tensor:
    """Return (row,) chi-square plus what the latent vector and the polynomial cost."""
    chi2 = (weight * (flux - model).square()).sum(dim=1)
    return chi2 + latent.square().sum(dim=1) + (tight * polynomial.square()).sum(dim=1)
