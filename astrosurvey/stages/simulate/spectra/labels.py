"""The fine class that a spectrum gets once its noise is known, by the rules of SDSS's pipeline.

Galaxies. Hα, Hβ, [O III]5007 and [N II]6584 are all detected at 3 sigma; else the galaxy is plain GALAXY. Then
log10([O III]/Hβ) > 0.22 - 1.2 log10([N II]/Hα) makes it GALAXY_AGN; the others are GALAXY_STARBURST if Hα's equivalent
width as observed exceeds 50 Å, and GALAXY_STARFORMING if not. SDSS appends BROADLINE where a line detected at 10 sigma is wider
than 200 km/s by 5 errors, the spectrograph's own width included; none of the thirteen classes is that, so such a galaxy
has no fine class.

Quasars. SDSS appends BROADLINE to a quasar by the same rule, for any line but Lyα. All their lines are wide enough; what counts is
that one of them is detected. An area known to 10 sigma, where centre and width are fitted with it, is a signal-to-noise ratio
of 12 in a Gaussian of known width; with a continuum that is fitted too, 14 divides the training side of
`examples/sdss-split.csv` best. Here the lines are Hα, Hβ, Mg II, C III] and C IV, and the width is 1700 km/s.

Ratios and widths are those drawn, without noise; the noise decides only what is detected.

References: SDSS's `idlspec2d`, pro/spec1d/spreduce1d.pro and linebackfit.pro; Bolton et al. (2012), arXiv:1207.7326; Baldwin,
    Phillips & Terlevich (1981), PASP 93, 5.
"""

from __future__ import annotations

from typing import Any

import torch

from ...spectra.classes import COARSE, FINE
from .grid import LIGHT

DETECTED, BRIGHT, SURE = 3.0, 10.0, 5.0
"""Sigma, of a narrow line: in a ratio; for its width to count; and of the width, beyond `WIDE`."""
BROAD_DETECTED = 14.0
"""Sigma, of a quasar's broad line."""
WIDE = 200.0
"""km/s."""
STARBURST = 50.0
"""Å, equivalent width of Hα as observed: (1 + z) times the one at rest."""
_REACH = 5000.0 / LIGHT
"""Half-width of the window of a line, as a part of its wavelength; narrow lines end sooner by themselves."""


def line_snr(lines: Any, log_start: float, log_step: float, ivar: Any, response: Any) -> Any:
    """Return the signal-to-noise ratios of lines: height over error of the best fit of a Gaussian of known place and width.

    Args:
        lines: (n, line, 3) tensor, as `Drawn.lines`.
        log_start: log10 of the first pixel's wavelength.
        log_step: between pixels, in log10.
        ivar: (n, pixel) of the observed flux.
        response: (n, pixel) observed over drawn flux, without noise.

    Returns:
        (n, line) tensor; 0 of lines that there are not or that lie outside.
    """
    place = (torch.nan_to_num(lines[..., 0], nan=0.0).double() - log_start) / log_step
    sigma = torch.nan_to_num(lines[..., 1], nan=1.0).clamp(min=1e-9) / log_step
    reach = int(_REACH / 2.302585 / log_step) + 1
    nearest = place.round().long()
    pixel = nearest[..., None] + torch.arange(-reach, reach + 1, device=ivar.device)
    inside = (pixel >= 0) & (pixel < ivar.shape[1])
    n, count = lines.shape[:2]
    index = pixel.clamp(0, ivar.shape[1] - 1).reshape(n, -1)
    weight = torch.gather(ivar, 1, index).reshape(n, count, -1) * inside
    profile = torch.exp(-0.5 * ((pixel - place[..., None]).to(ivar.dtype) / sigma[..., None]) ** 2)
    through = torch.gather(response, 1, nearest.clamp(0, ivar.shape[1] - 1))
    height = torch.nan_to_num(lines[..., 2], nan=0.0) * through
    seen = (nearest >= 0) & (nearest < ivar.shape[1])
    return height * torch.sqrt((profile**2 * weight).sum(dim=-1)) * seen


def fine_labels(spectral_class: Any, fine: Any, lines: Any, equivalent_width: Any, sigma: Any, snr: Any) -> Any:
    """Return the fine class of each spectrum.

    Args:
        spectral_class: (n,) int64 tensor, index into `COARSE`.
        fine: (n,) int64, a star's fine class.
        lines: (n, line, 3), as `Drawn.lines`.
        equivalent_width: (n,) Å, of Hα as observed.
        sigma: (n,) km/s, of a galaxy's lines as the spectrograph shows them.
        snr: (n, line), from `line_snr`.

    Returns:
        (n,) int64 tensor, index into `FINE`; -1 where there is none.
    """
    number = {name: FINE.index(name) for name in FINE}
    flux = lines[:, :4, 2] * lines[:, :4, 1] * 10 ** lines[:, :4, 0]
    alpha, nitrogen, beta, oxygen = flux.clamp(min=1e-30).unbind(dim=1)
    active = torch.log10(oxygen / beta) > 0.22 - 1.2 * torch.log10(nitrogen / alpha)
    lit = torch.where(equivalent_width > STARBURST, number["GALAXY_STARBURST"], number["GALAXY_STARFORMING"])
    lit = torch.where(active, number["GALAXY_AGN"], lit)
    galaxy = torch.where((snr[:, :4] > DETECTED).all(dim=1), lit, number["GALAXY"])
    best = snr[:, :4].amax(dim=1)
    wide = (best > BRIGHT) & (sigma * (1 - SURE / best.clamp(min=1e-6)) > WIDE)
    galaxy = torch.where(wide, -1, galaxy)
    quasar = torch.where((snr > BROAD_DETECTED).any(dim=1), number["QSO_BROADLINE"], number["QSO"])
    out = torch.where(spectral_class == COARSE.index("star"), fine, torch.full_like(fine, -1))
    out = torch.where(spectral_class == COARSE.index("galaxy"), galaxy, out)
    return torch.where(spectral_class == COARSE.index("quasar"), quasar, out)
