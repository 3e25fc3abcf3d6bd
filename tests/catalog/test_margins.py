"""Parts of the sky with margins: nothing near a border is missing, and every row is in one part itself."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy.coordinates import SkyCoord

from astrosurvey.catalog.healpix import ORDER, healpix_29
from astrosurvey.catalog.margins import Spread, between, beyond
from astrosurvey.catalog.partitions import Partition


def test_margins_hold_whatever_is_near_a_border():
    rng = np.random.default_rng(8)
    cells = sorted(
        [Partition(0, p) for p in range(1, 12)] + [Partition(1, p) for p in range(3)] + [Partition(3, 48 + p) for p in range(16)],
        key=lambda p: p.span,
    )
    spans = np.array([cell.span for cell in cells])
    xyz = rng.normal(size=(2500, 3))
    xyz[:800] *= [0.02, 0.02, 1]
    ra, dec = np.degrees(np.arctan2(xyz[:, 1], xyz[:, 0])) % 360, np.degrees(np.arctan2(xyz[:, 2], np.hypot(xyz[:, 0], xyz[:, 1])))
    for margin in (3600.0, 36000.0):
        row, cell = beyond(healpix_29(ra, dec).data, spans, margin)
        there = set(zip(row.tolist(), cell.tolist(), strict=True))
        assert len(there) == len(row)
        own = np.searchsorted(spans[:, 0], healpix_29(ra, dec).data, side="right") - 1
        coords = SkyCoord(ra, dec, unit="deg")
        i, j, _, _ = coords.search_around_sky(coords, margin * u.arcsec)
        apart = own[i] != own[j]
        assert apart.sum() > 100
        assert {(a, c) for a, c in zip(i[apart].tolist(), own[j[apart]].tolist(), strict=True)} <= there


def test_cells_between_others_are_the_largest_that_cover_the_rest():
    some = [Partition(1, 2), Partition(0, 5), Partition(3, 700)]
    rest = between(some)
    spans = sorted(cell.span for cell in [*some, *rest])
    assert [first for first, _ in spans] == [0, *(last for _, last in spans[:-1])]
    assert spans[-1][1] == 12 << 2 * ORDER
    assert {Partition(1, 0), Partition(1, 1), Partition(1, 3), Partition(0, 4), Partition(3, 701)} <= set(rest)
    assert between([]) == [Partition(0, pixel) for pixel in range(12)]


def test_every_row_is_in_one_cell_and_cells_hold_no_more_than_they_may(tmp_path):
    rng = np.random.default_rng(1)
    ra, dec = (
        np.append(rng.normal(0, 0.1, 800) % 360, rng.uniform(0, 360, 200)),
        np.append(rng.normal(0, 0.1, 800), rng.uniform(-90, 90, 200)),
    )
    spread = Spread(("stars", "galaxies"), 100, tmp_path)
    for first in range(0, 1000, 90):
        rows = slice(first, first + 90)
        spread.add("stars", pa.table({"id": np.arange(1000)[rows], "ra": ra[rows], "dec": dec[rows]}))
    spread.add("galaxies", pa.table({"id": [7], "ra": [0.0], "dec": [0.0]}))
    seen, last = [], -1
    for cell, part in spread.parts(10.0):
        stars, core = part["stars"]
        index = stars.column("_healpix_29").to_numpy()
        assert cell.span[0] > last
        assert ((index >= cell.span[0]) & (index < cell.span[1]) == core).all()
        assert core.sum() <= 100
        seen += stars.column("id").to_numpy()[core].tolist()
        last = cell.span[0]
    assert sorted(seen) == [*range(1000)]


def test_few_rows_are_one_part(tmp_path):
    spread = Spread(("stars",), 100, tmp_path)
    spread.add("stars", pa.table({"ra": [0.0, 90.0], "dec": [0.0, 0.0]}))
    ((cell, part),) = spread.parts(10.0)
    assert cell is None
    assert part["stars"][1].tolist() == [True, True]
