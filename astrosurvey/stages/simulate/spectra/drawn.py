"""What is drawn: spectra without noise, and what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

NARROW = ("Ha", "NII_6584", "Hb", "OIII_5007")
"""Slots 0 to 3 of `Drawn.lines` of a galaxy."""
BROAD = {"Ha": 6564.6, "Hb": 4862.7, "MgII": 2799.1, "CIII": 1908.7, "CIV": 1549.1}
"""Slots 0 to 4 of `Drawn.lines` of a quasar: Å in vacuum at rest. Lyα is not among them: absorption eats one half of it."""
SLOTS = 5


@dataclass(frozen=True, eq=False)
class Drawn:
    """Spectra as a spectrograph without noise would record them.

    Attributes:
        flux: (n, pixel) float32 per Å; the mean of its absolute value is 1, or 0 in a spectrum of empty sky.
        spectral_class: (n,) int64, index into `classes.COARSE`.
        kind: (n,) text: a star's spectral type; what was drawn of other objects, such as `AGN` or `BAL`.
        fine: (n,) int64, index into `classes.FINE` of a star; -1: none, or `labels.fine_labels` says it once the noise is known.
        z: (n,) float64; NaN where there is none.
        template: (n,) text, what it was made of.
        lines: (n, SLOTS, 3) float32, log10 of the observed wavelength, sigma in log10, and height in units of `flux` of the
            lines that decide the fine class; NaN where there is none.
        equivalent_width: (n,) float32, Å, Hα of a galaxy as observed, (1 + z) times the one at rest; NaN for others.
        sigma: (n,) float32, km/s, width of a galaxy's emission lines as the spectrograph shows them; NaN for others.
    """

    flux: np.ndarray
    spectral_class: np.ndarray
    kind: np.ndarray
    fine: np.ndarray
    z: np.ndarray
    template: np.ndarray
    lines: np.ndarray
    equivalent_width: np.ndarray
    sigma: np.ndarray

    def __len__(self) -> int:
        return len(self.flux)

    def take(self, rows: np.ndarray) -> Drawn:
        """Return some of the spectra."""
        return Drawn(**{entry.name: getattr(self, entry.name)[rows] for entry in fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence[Drawn]) -> Drawn:
        """Return the spectra of several parts, one after the other."""
        return cls(**{entry.name: np.concatenate([getattr(part, entry.name) for part in parts]) for entry in fields(cls)})


def made(
    flux: np.ndarray,
    spectral_class: int,
    kind: Sequence[str] | np.ndarray,
    z: np.ndarray,
    template: Sequence[str] | np.ndarray,
    fine: np.ndarray | None = None,
    lines: np.ndarray | None = None,
    equivalent_width: np.ndarray | None = None,
    sigma: np.ndarray | None = None,
) -> Drawn:
    """Return spectra brought to a mean of 1, with what is not given filled in."""
    n = len(flux)
    level = np.mean(np.abs(flux), axis=1)  # not the median, which is 0 where the forest has taken the greater part
    level = np.where(level > 0, level, 1).astype(np.float32)
    slots = np.full((n, SLOTS, 3), np.nan, np.float32)
    if lines is not None:
        slots[:, : lines.shape[1]] = lines
        slots[:, :, 2] /= level[:, None]
    nothing = np.full(n, np.nan, np.float32)
    return Drawn(
        flux=(flux / level[:, None]).astype(np.float32),
        spectral_class=np.full(n, spectral_class),
        kind=np.asarray(kind, dtype="U24"),
        fine=np.full(n, -1) if fine is None else np.asarray(fine, np.int64),
        z=np.asarray(z, np.float64),
        template=np.asarray(template, dtype="U48"),
        lines=slots,
        equivalent_width=nothing if equivalent_width is None else np.asarray(equivalent_width, np.float32),
        sigma=nothing if sigma is None else np.asarray(sigma, np.float32),
    )
