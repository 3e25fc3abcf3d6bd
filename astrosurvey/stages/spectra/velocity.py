"""Velocities in wavelengths: the speed of light, and the Earth's motion, applied when it is asked for, and never twice."""

from __future__ import annotations

import warnings

import numpy as np

LIGHT = 299792.458
"""km/s, the speed of light."""


def correction(ra: np.ndarray, dec: np.ndarray, mjd: np.ndarray, site: tuple[float, float, float], to: str) -> np.ndarray:
    """Return what wavelengths as measured must be multiplied with to be those of an observer at rest.

    Args:
        ra, dec: (n,) deg, ICRS.
        mjd: (n,) middle of the exposure, UTC.
        site: longitude (deg, east), latitude (deg) and altitude (m).
        to: "heliocentric" or "barycentric".

    Returns:
        (n,) float64: 1 + v/c.

    References: Wright & Eastman (2014), PASP 126, 838.
    """
    import astropy.units as u
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    place = EarthLocation.from_geodetic(site[0] * u.deg, site[1] * u.deg, site[2] * u.m)
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("iers_degraded_accuracy", "ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the Earth's rotation at a recent date is not known to the microsecond
        sky = SkyCoord(ra * u.deg, dec * u.deg)
        velocity = sky.radial_velocity_correction(to, obstime=Time(mjd, format="mjd", scale="utc"), location=place)
    return np.asarray(1 + velocity.to_value(u.km / u.s) / LIGHT, np.float64)
