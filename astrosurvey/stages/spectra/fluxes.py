"""Flux densities of any unit, as surveys write it, in the product's unit."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np

UNIT = "1e-17 erg s-1 cm-2 Angstrom-1"
"""What every flux that has a physical unit is converted to: the unit of SDSS and DESI."""

_RELATIVE = re.compile(r"(relative|counts?|cts?|adu|dn|electrons?|photons?|normali[sz]ed|arbitrary|none|dimensionless)\b", re.IGNORECASE)
_ANGSTROM = re.compile(r"(?<![A-Za-z])(Angstroms|angstroms?|ANGSTROMS?|Ang|ang|AA|A|Å)(?![A-Za-z])")
_PER = re.compile(r"[/ ]*(spaxel|fib(er|re)|pix(el)?)(-1)?\s*$", re.IGNORECASE)
_TEN = re.compile(r"\b10\s*(\*\*|\^)?\s*\(?\s*([+-]\d+)\s*\)?")


class FluxError(ValueError):
    """A unit of flux that is unknown, or that is none of a flux density."""


def is_relative(text: str) -> bool:
    """Return whether a unit says that the flux has no physical scale."""
    return bool(_RELATIVE.match(text.strip()))


def factor(text: str, wave: np.ndarray) -> np.ndarray:
    """Return what a flux must be multiplied with to be in `UNIT`.

    Args:
        text: the unit, as a file or a person writes it: per wavelength, or per frequency (Jy and the like).
        wave: Å in vacuum, of any shape.

    Returns:
        float64, shaped as `wave`.

    Raises:
        FluxError: the unit is unknown or not of a flux density.
    """
    import astropy.units as u

    try:
        unit = _parsed(text)
        if unit.is_equivalent(u.Jy):
            return np.asarray(unit.to(u.Unit(UNIT), equivalencies=u.spectral_density(np.asarray(wave) * u.AA)), np.float64)
        return np.full(np.shape(wave), unit.to(u.Unit(UNIT)), np.float64)
    except (ValueError, TypeError, OverflowError, u.UnitsError) as error:
        raise FluxError(f"the flux unit {text.strip()[:80]!r} is unknown, or is none of a flux density") from error


def _parsed(text: str) -> Any:
    import astropy.units as u

    if len(text) > 80:
        raise ValueError("a unit of more than 80 characters")
    text = _PER.sub("", text.strip())
    text = _TEN.sub(lambda match: f"1e{int(match[2])}", text)
    text = _ANGSTROM.sub("Angstrom", text).replace("^", "**")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)  # such as two slashes: discouraged, but what everybody writes
        return u.Unit(text)


def to_angstrom(wave: np.ndarray, unit: str) -> np.ndarray:
    """Return wavelengths in Å, of wavelengths, their log10, frequencies, wave numbers or energies.

    Args:
        wave: of any shape.
        unit: such as "Angstrom", "nm", "um", "log10(Angstrom)", "GHz" or "eV".

    Raises:
        FluxError: the unit is unknown, or is none of these.
    """
    import astropy.units as u

    text = unit.strip()
    logarithm = re.match(r"(?:log10|log|dex)\s*[( ]\s*([^)]+?)\s*\)?$", text, re.IGNORECASE)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        values = 10.0**wave if logarithm else np.asarray(wave, np.float64)
        try:
            plain = _parsed(logarithm[1] if logarithm else text)
            if plain == u.AA:
                return values
            return np.asarray(plain.to(u.AA, values, equivalencies=u.spectral()), np.float64)
        except (ValueError, TypeError, u.UnitsError) as error:
            raise FluxError(f"the wavelength unit {text[:80]!r} is unknown") from error
