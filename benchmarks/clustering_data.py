"""The data sets that `clustering.py` gives to every method, with what is known of them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

GAIA = "gaia_dr2_nearby_oc_members_xmatch.csv"
GAIA_COLUMNS = ("ra", "dec", "parallax", "pmra", "pmdec")
GAIA_FIELDS = ("normal", "disc")
SUN = np.array([-11.1, -12.24, -7.25])
"""km/s: by how much the stars lag behind the Sun, in the directions of the Galactic centre, of rotation, and of the pole."""
DISPERSION = np.array([35.0, 25.0, 18.0])
"""km/s: of the disc's stars, in these directions."""
KM_S = 4.740470
"""km/s of one au a year."""


def scaled(points: np.ndarray) -> np.ndarray:
    """Return (n, d) points whose columns have unit variance."""
    return np.ascontiguousarray((points - points.mean(axis=0)) / points.std(axis=0))


def gaia(folder: Path, field: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return members of nine open clusters with three times as many stars of a synthetic field.

    The members are the rows of the table with parallax and proper motion, each source once; none of the field's stars is real. Its
    directions are uniform over the sphere. `normal`: parallaxes and proper motions are independent normal numbers with the members'
    means and standard deviations. `disc`: stars fill the space from 40 to 300 pc evenly, with the velocities of the disc's stars
    (Schoenrich, Binney & Dehnen 2010, doi:10.1111/j.1365-2966.2010.16253.x) and parallax errors of 0.05 mas.

    Returns:
        (n, 5) the columns `GAIA_COLUMNS` (deg, mas, mas/yr) in random order, and (n,) labels, -1 for the field.
    """
    with (folder / GAIA).open(encoding="utf-8", newline="") as file:
        rows = {row["source_id"]: row for row in csv.DictReader(file) if all(row[name] for name in GAIA_COLUMNS)}
    members = np.array([[float(row[name]) for name in GAIA_COLUMNS] for row in rows.values()])
    labels = np.unique([row["Cluster"] for row in rows.values()], return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    n = 3 * len(members)
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    mean, spread = members[:, 2:].mean(axis=0), members[:, 2:].std(axis=0)
    motion = rng.normal(mean, spread, (n, 3)) if field == "normal" else _disc(rng, ra, dec)
    values = np.concatenate([members, np.column_stack([ra, dec, motion])])
    order = rng.permutation(len(values))
    return values[order], np.concatenate([labels, np.full(n, -1)])[order]


def _disc(rng: np.random.Generator, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return (n, 3) parallaxes and proper motions of stars of the disc in these directions."""
    from astropy import units
    from astropy.coordinates import SkyCoord

    distance = rng.uniform(0.04**3, 0.3**3, len(ra)) ** (1 / 3)
    velocity = rng.normal(size=(len(ra), 3)) * DISPERSION + SUN
    galactic = SkyCoord(ra * units.deg, dec * units.deg).galactic
    l, b = galactic.l.rad, galactic.b.rad  # noqa: E741
    along_l = np.stack([-np.sin(l), np.cos(l), np.zeros_like(l)], axis=1)
    along_b = np.stack([-np.sin(b) * np.cos(l), -np.sin(b) * np.sin(l), np.cos(b)], axis=1)
    motion = [(velocity * along).sum(axis=1) / KM_S / distance * units.mas / units.yr for along in (along_l, along_b)]
    icrs = SkyCoord(l=galactic.l, b=galactic.b, pm_l_cosb=motion[0], pm_b=motion[1], frame="galactic").icrs
    parallax = 1 / distance + 0.05 * rng.standard_normal(len(ra))
    return np.column_stack([parallax, icrs.pm_ra_cosdec.to_value("mas/yr"), icrs.pm_dec.to_value("mas/yr")])


def on_the_sphere(values: np.ndarray) -> np.ndarray:
    """Return (n, d + 1) points whose first three columns are the direction that `ra` and `dec` give, for methods that know no sphere."""
    ra, dec = np.radians(values[:, 0]), np.radians(values[:, 1])
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec), values[:, 2:]])


def many_clusterings(number: int, n: int, clusters: int, seed: int) -> list[list[tuple[str, np.ndarray]]]:
    """Return clusterings of n points into the same clusters, of which each draw loses and gains a tenth of the members."""
    rng = np.random.default_rng(seed)
    home = rng.integers(0, 2 * clusters, n)
    made = []
    for _ in range(number):
        moved = np.where(rng.random(n) < 0.1, rng.integers(0, 2 * clusters, n), home)
        made.append([(str(k + 1), np.flatnonzero(moved == k)) for k in range(clusters)])
    return made
