"""Split labelled SDSS spectra by object, once: `python tools/split_spectra.py sdss_labelled.fits.gz > examples/sdss-split.csv`.

Rows are of one object if they lie within 2", or have no position and are one plate, night and fibre, or if their spectra are
the same to the noise (copies reached the collection on several ways). Of every label, 30 % of the objects go to the side
that may be learnt from; a label with a single object is tested.
"""

from __future__ import annotations

import sys

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Table
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

TRAIN = 0.3
SEED = 20261126


def objects(rows: Table) -> np.ndarray:
    """Return (n,) numbers of objects, counted in the order of their first row."""
    n = len(rows)
    same = np.eye(n, dtype=bool)
    ra, dec = (np.asarray(rows[name].filled(np.nan) if hasattr(rows[name], "filled") else rows[name], float) for name in ("RA", "DEC"))
    placed = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    sky = SkyCoord(ra[placed], dec[placed], unit="deg")
    one, other, _, _ = sky.search_around_sky(sky, 2 * units.arcsec)
    same[placed[one], placed[other]] = True
    fibre = np.array([f"{row['PLATE']}-{row['MJD']}-{row['FIBERID']}" for row in rows])
    known = np.array([str(row["PLATE"]).strip() not in ("", "--", "0", "-1") for row in rows])
    same |= (fibre[:, None] == fibre[None, :]) & known[:, None] & known[None, :]
    same |= _alike(np.asarray(rows["FLUX"], float), np.asarray(rows["IVAR"], float))
    _, number = connected_components(coo_array(same), directed=False)
    _, first, number = np.unique(number, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


def _alike(flux: np.ndarray, ivar: np.ndarray) -> np.ndarray:
    """Return which pairs of spectra differ by less than a thousandth, pixel by pixel, apart from a factor."""
    good = np.isfinite(flux) & (ivar > 0)
    clean = np.where(good, flux, 0.0)
    power = (clean**2) @ good.T
    cross = clean @ clean.T
    both = good.astype(float) @ good.T > 1000
    with np.errstate(invalid="ignore", divide="ignore"):
        return both & (1 - cross**2 / (power * power.T) < 1e-6)


def main() -> None:
    """Print the split as CSV."""
    rows = Table.read(sys.argv[1])
    names = rows["LABEL13"].filled("") if hasattr(rows["LABEL13"], "filled") else rows["LABEL13"]
    label = np.array([str(fine).strip() or str(coarse).strip() for fine, coarse in zip(names, rows["CLASS"], strict=True)])
    number = objects(rows)
    side = np.full(len(rows), "test ")
    rng = np.random.default_rng(SEED)
    for name in np.unique(label):
        members = np.array([k for k in np.unique(number[label == name]) if (label[number == k] == name).all()], int)
        chosen = rng.permutation(members)[: round(TRAIN * len(members))] if len(members) > 1 else []
        side[np.isin(number, chosen)] = "train"
    print("row,object,side")
    for row, (k, where) in enumerate(zip(number, side, strict=True)):
        print(f"{row},{k},{where.strip()}")


if __name__ == "__main__":
    main()
