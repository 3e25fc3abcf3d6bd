"""Ids, footprints, and which tile a position belongs to."""

from __future__ import annotations

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from astrosurvey.catalog.footprint import describe, tile_columns
from astrosurvey.catalog.ids import object_ids, split_id
from astrosurvey.catalog.ownership import PixelCell, SkyCell, cells, owners, primary
from astrosurvey.catalog.schema import SchemaError
from astrosurvey.core.tiles import Box, Tile
from astrosurvey.products import Catalog


def tan_wcs(ra, dec, nx, ny, scale=0.2, angle=0.0, frame="ICRS", projection="TAN"):
    wcs = WCS(naxis=2)
    system = {"galactic": ("GLON", "GLAT")}.get(frame, ("RA--", "DEC-"))
    wcs.wcs.ctype = [f"{name}-{projection}" for name in system]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [(nx + 1) / 2, (ny + 1) / 2]
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[-cos, sin], [sin, cos]])
    if frame != "galactic":
        wcs.wcs.radesys = frame
    wcs.wcs.set()
    return wcs


def test_ids_are_exact_in_float64_and_split_again():
    ids = object_ids(2**26 - 1, 3)
    assert ids.dtype == np.int64
    assert int(ids[-1]) < 2**53
    assert all(float(i) == int(i) for i in ids)
    tile, counter = split_id(ids)
    assert tile.tolist() == [2**26 - 1] * 3
    assert counter.tolist() == [0, 1, 2]
    assert int(object_ids(1, 1)[0]) > int(object_ids(0, 10)[-1])
    assert len(object_ids(7, 0)) == 0


@pytest.mark.parametrize(("tile", "n"), [(2**26, 1), (-1, 1), (0, 2**27 + 1), (0, -1)])
def test_ids_that_do_not_fit_are_refused(tile, n):
    with pytest.raises(SchemaError):
        object_ids(tile, n)


def test_cores_share_out_every_position_exactly_once():
    rng = np.random.default_rng(0)
    size, step, overlap = 100, 30, 7
    x, y = rng.uniform(-0.5, size - 0.5, (2, 5000))
    edges = np.arange(-0.5, size, 0.5)  # pixel centres and the borders between pixels
    x, y = np.append(x, np.tile(edges[:-1], 2)), np.append(y, np.append(edges[:-1], edges[:-1][::-1]))
    count = np.zeros(len(x), int)
    for number, (y0, x0) in enumerate(np.ndindex(4, 4)):
        core = Box(x0 * step, y0 * step, min((x0 + 1) * step, size), min((y0 + 1) * step, size))
        window = Box(max(core.x0 - overlap, 0), max(core.y0 - overlap, 0), min(core.x1 + overlap, size), min(core.y1 + overlap, size))
        tile = Tile("t", number, number, window, core)
        mine = primary(tile, x - window.x0, y - window.y0)
        count += mine
        cell = cells([describe(tile, window.shape, None)])[number]
        assert isinstance(cell, PixelCell)
        place = cell.place({"x": x - window.x0, "y": y - window.y0})
        np.testing.assert_array_equal(cell.depth(place) >= 0, mine)
    assert (count == 1).all()


def test_a_tile_without_a_core_owns_all():
    assert primary(Tile("t", 1, 0), np.array([-5.0, 1e9]), np.array([0.0, 0.0])).all()


def test_depth_is_the_distance_to_the_border():
    cell = PixelCell(0, 0, (10, 10, 20, 30))
    depth = cell.depth(np.array([[12.5, 20.0], [10.0, 10.0], [9.0, 20.0], [6.5, 5.5], [30.0, 40.0]]))
    np.testing.assert_allclose(depth, [3.0, 0.5, -0.5, -5.0, -np.hypot(10.5, 10.5)])


@pytest.mark.parametrize(("frame", "centre"), [("ICRS", (0.01, 60.0)), ("FK5", (150.0, -30.0)), ("galactic", (120.0, 5.0))])
def test_a_footprint_says_where_the_tile_is(frame, centre):
    wcs = tan_wcs(*centre, 300, 200, frame=frame)
    footprint = describe(Tile("t1", 77, 0), (3, 200, 300), wcs)
    json.dumps(footprint, allow_nan=False)
    middle = SkyCoord(*centre, unit="deg", frame=frame.lower()).icrs
    assert middle.separation(SkyCoord(footprint["s_ra"], footprint["s_dec"], unit="deg")) < 1e-9 * u.deg
    assert footprint["pixel_scale"] == pytest.approx(0.2)
    assert footprint["s_fov"] == pytest.approx(np.hypot(300, 200) * 0.2 / 3600, rel=1e-6)
    assert (footprint["tile_id"], footprint["nx"], footprint["ny"], footprint["core"]) == (77, 300, 200, None)
    corners = SkyCoord(footprint["corners"], unit="deg")
    assert corners[0].separation(corners[1]).arcsec == pytest.approx(300 * 0.2, rel=1e-6)
    assert corners[1].separation(corners[2]).arcsec == pytest.approx(200 * 0.2, rel=1e-6)


@pytest.mark.parametrize("wcs", [None, WCS(naxis=2), tan_wcs(0, 0, 900, 900, scale=3600, projection="AIT")])
def test_a_tile_without_a_place_on_the_sky_has_nulls(wcs):
    footprint = describe(Tile("t1", 77, 0, Box(5, 6, 905, 906), Box(10, 11, 20, 21)), (900, 900), wcs)
    assert footprint["s_ra"] is footprint["corners"] is footprint["outline"] is None
    assert (footprint["x0"], footprint["y0"], footprint["core"]) == (5, 6, [10, 11, 20, 21])


def test_footprints_make_the_tile_table():
    one = describe(Tile("a", 1, 0), (200, 300), tan_wcs(10, 20, 300, 200))
    other = describe(Tile("b", 2, 1, Box(0, 0, 9, 9), Box(0, 0, 9, 9)), (9, 9), None)
    catalog = Catalog.from_columns("tile", tile_columns([one, other], {1: 5}, run_id=["r1", "r1"]))
    catalog.check()
    assert catalog.column("n_source").tolist() == [5, 0]
    assert catalog.column("s_region")[0].startswith("POLYGON ICRS 10.0")
    assert len(catalog.column("s_region")[0].split()) == 2 + 8
    assert catalog.rows.column("s_ra").to_pylist() == [pytest.approx(10), None]


def grid_of_tiles(n=3, size=400, step=300, scale=0.5, angle=0.0, dec=35.0):
    """Tiles with files of their own that overlap on the sky, around right ascension 0."""
    found = []
    for number, (i, j) in enumerate(np.ndindex(n, n)):
        at = SkyCoord(0, dec, unit="deg").spherical_offsets_by((j - 1) * step * scale * u.arcsec, (i - 1) * step * scale * u.arcsec)
        wcs = tan_wcs(at.ra.deg, at.dec.deg, size, size, scale, angle)
        found.append((describe(Tile(f"t{number}", 10 * number + 3, number), (size, size), wcs), wcs))
    return found


def test_file_tiles_share_the_sky_by_nearest_centre_inside_their_outlines():
    tiles = grid_of_tiles(angle=12.0)
    rng = np.random.default_rng(1)
    at = SkyCoord(0, 35, unit="deg").spherical_offsets_by(*(rng.uniform(-300, 300, (2, 3000)) * u.arcsec))
    got = owners([footprint for footprint, _ in tiles], at.ra.deg, at.dec.deg)
    nearest = np.full(len(at), np.inf)
    expected = np.full(len(at), -1)
    for footprint, wcs in tiles:
        x, y = wcs.world_to_pixel(at)
        inside = (x >= -0.5) & (x <= 399.5) & (y >= -0.5) & (y <= 399.5)
        distance = at.separation(SkyCoord(footprint["s_ra"], footprint["s_dec"], unit="deg")).rad
        closer = inside & (distance < nearest)
        nearest[closer], expected[closer] = distance[closer], footprint["tile_id"]
    np.testing.assert_array_equal(got, expected)
    assert (got == -1).any()
    assert len(np.unique(got)) == 10
    reverse = owners([footprint for footprint, _ in reversed(tiles)], at.ra.deg, at.dec.deg)
    np.testing.assert_array_equal(got, reverse)
    assert owners([tiles[0][0]], np.array([np.nan]), np.array([np.nan])).tolist() == [-1]


def test_the_smaller_id_owns_what_two_equal_tiles_see():
    wcs = tan_wcs(180, 0, 100, 100)
    twins = [describe(Tile(name, number, 0), (100, 100), wcs) for name, number in (("a", 9), ("b", 4))]
    assert owners(twins, np.array([180.0]), np.array([0.0])).tolist() == [4]


def test_a_tile_owns_only_where_it_has_data():
    usable = np.zeros((200, 200), bool)
    yy, xx = np.indices(usable.shape)
    usable[(abs(xx - 99.5) + abs(yy - 99.5)) < 90] = True  # a square on its corner
    usable[100, 100] = False
    wcs = tan_wcs(40, 10, 200, 200)
    footprint = describe(Tile("a", 1, 0), (200, 200), wcs, usable)
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 199, (2, 4000))
    at = wcs.pixel_to_world(x, y)
    inside = owners([footprint], at.ra.deg, at.dec.deg) == 1
    distance = abs(x - 99.5) + abs(y - 99.5)
    assert inside[distance < 89].all()
    assert not inside[distance > 92].any()
    everything = describe(Tile("a", 1, 0), (200, 200), wcs, np.ones((200, 200), bool))
    hull = SkyCoord(everything["outline"], unit="deg")
    assert all(hull.separation(SkyCoord(*corner, unit="deg")).min() < 1e-6 * u.arcsec for corner in everything["corners"])


@pytest.mark.parametrize("dec", [-89.99, 0.0, 89.9])
def test_cells_work_at_the_poles_and_over_the_meridian(dec):
    tiles = grid_of_tiles(dec=dec)
    found = cells([footprint for footprint, _ in tiles])
    middle = found[43]
    assert isinstance(middle, SkyCell)
    assert len(middle.neighbours) == 8
    assert middle.depth(middle.centre[None])[0] == pytest.approx(np.radians(150 * 0.5 / 3600), rel=1e-4)


def test_two_tiles_with_one_number_are_refused():
    one = describe(Tile("a", 1, 0), (9, 9), None)
    with pytest.raises(SchemaError, match="tile b and another tile both have number 1"):
        cells([one, {**one, "name": "b"}])
