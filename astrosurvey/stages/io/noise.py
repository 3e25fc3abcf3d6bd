"""Variance planes of every convention, in nJy²."""

from __future__ import annotations

import numpy as np

from .planes import Located
from .stage import VariancePlane
from .units import parse

_POWER = {"variance": 2, "error": 1, "inverse_variance": -2}


def to_variance(values: np.ndarray, config: VariancePlane, factor: float) -> np.ndarray:
    """Return the variance in nJy²; inf where the plane says that nothing is known.

    Args:
        values: (y, x) float32, as stored.
        config: what they are.
        factor: nJy for one unit of the image.

    Returns:
        (y, x) float32; inf where the weight is zero or negative, or a value is NaN or no noise at all.
    """
    with np.errstate(all="ignore"):
        noise = values.astype(np.float64)
        if config.kind == "error":
            noise = np.where(noise > 0, noise, np.nan) ** 2
        elif config.kind != "variance":
            noise = 1 / (noise * (config.scale or 1.0))
        noise *= factor**2
        variance = noise.astype(np.float32)
        variance[~(np.isfinite(variance) & (variance > 0))] = np.inf
    return variance


def unit_factor(located: Located, config: VariancePlane, image_unit: str) -> float:
    """Return what a value must be multiplied with to be in the image's unit to the fitting power.

    Raises:
        BadInput: the plane's unit does not go with the image's.
    """
    stated = located.hdu.cards.text("BUNIT").strip() if config.unit is None else config.unit.strip()
    if not stated or config.kind == "weight":
        return 1.0
    if config.unit is None and stated == located.file.hdus[0].cards.text("BUNIT").strip() == image_unit and _POWER[config.kind] != 1:
        return _copied(located, stated)
    import astropy.units as u

    try:
        return float(parse(stated).to(parse(image_unit) ** _POWER[config.kind]))
    except (ValueError, TypeError, OverflowError, u.UnitsError) as error:
        if config.unit is None and stated == image_unit:
            return _copied(located, stated)
        reason = f"the unit {stated!r} does not fit {config.kind.replace('_', ' ')} of an image in {image_unit!r}"
        fix = 'set `variance.unit`; "" means the unit of the image to the fitting power'
        raise located.file.bad(reason, located.hdu, "BUNIT", fix) from error


def _copied(located: Located, stated: str) -> float:
    located.file.repairs.append(
        f"HDU {located.hdu}: BUNIT = {stated!r} is the image's own, copied; taken as that unit to the fitting power"
    )
    return 1.0
