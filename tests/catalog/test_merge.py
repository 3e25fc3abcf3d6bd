"""The law of the merge: however a field is cut into tiles, every source comes once, and none is lost."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from astrosurvey.catalog import merge as merging
from astrosurvey.catalog.footprint import describe
from astrosurvey.catalog.ids import object_ids
from astrosurvey.catalog.partitions import Partition
from astrosurvey.catalog.schema import SchemaError
from astrosurvey.core.tiles import Box, Tile
from astrosurvey.products import Catalog


@dataclass
class Whole:
    """A merged catalogue in one piece."""

    sources: pa.Table
    photometry: pa.Table | None
    n_source: dict[int, int]
    n_reconciled: int
    n_rescued: int
    partitions: list[Partition | None]


def merge(tiles, footprints, partition_rows=10**6):
    """Merge and put the parts together."""
    with tempfile.TemporaryDirectory() as scratch:
        merged = merging.merge(tiles, footprints, scratch=Path(scratch), partition_rows=partition_rows)
        partitions, sources, photometry = zip(*merged.parts(), strict=True)
    assert len(merged) == sum(map(len, sources))
    fluxes = pa.concat_tables(photometry) if photometry[0] is not None else None
    return Whole(pa.concat_tables(sources), fluxes, merged.n_source, merged.n_reconciled, merged.n_rescued, list(partitions))


def source_rows(number, x, y, true=None, half=2, **columns):
    """Rows of one tile, in (y, x) order; `x_test_true` says which object a source is."""
    order = np.lexsort([x, y])
    half = np.broadcast_to(half, x.shape)[order]
    x, y = x[order], y[order]
    base = {
        "source_id": object_ids(number, len(x)),
        "tile_id": number,
        "x": x,
        "y": y,
        "x_min": np.floor(x).astype(int) - half,
        "x_max": np.floor(x).astype(int) + half + 1,
        "y_min": np.floor(y).astype(int) - half,
        "y_max": np.floor(y).astype(int) + half + 1,
        "n_pixels": 9,
        "significance": 7.0,
        "n_child": 0,
        "primary": np.ones(len(x), bool),
        "flags": 0,
        "x_test_true": np.arange(len(x))[order] if true is None else np.asarray(true)[order],
    }
    extra = {name: np.asarray(values)[order] if np.ndim(values) else values for name, values in columns.items()}
    return Catalog.from_columns("source", {**base, **extra}).rows


def photometry_rows(rows):
    """Two rows a source, whose flux tells its id's counter and its band."""
    ids = rows.column("source_id").to_numpy()
    flux = np.stack([ids % 1000, ids % 1000 + 0.5], axis=1).ravel()
    columns = {
        "source_id": np.repeat(ids, 2),
        "band": ["g", "r"] * len(ids),
        "method": "kron",
        "tile_id": rows.column("tile_id").to_numpy().repeat(2),
        "flux": flux,
        "flags": 0,
    }
    return Catalog.from_columns("photometry", columns).rows if len(ids) else Catalog.empty("photometry").rows


def true_of(rows):
    return rows.column("x_test_true").to_numpy()


def apart(points, distance):
    """Drop points until no two are closer than a distance."""
    close = cKDTree(points).query_pairs(distance)
    return np.delete(points, sorted({max(pair) for pair in close}), axis=0)


def boxes(size, step, overlap):
    for y0 in range(0, size, step):
        for x0 in range(0, size, step):
            core = Box(x0, y0, min(x0 + step, size), min(y0 + step, size))
            window = Box(max(x0 - overlap, 0), max(y0 - overlap, 0), min(core.x1 + overlap, size), min(core.y1 + overlap, size))
            yield window, core


def cut(points, size, step, overlap, jitter, rng):
    """Cut a field into overlapping tiles, each of which measures every centre with an error of its own."""
    tiles, footprints = [], []
    for index, (window, core) in enumerate(boxes(size, step, overlap)):
        tile = Tile(f"t{index}", 7 * index + 3, index, window, core)
        seen = (points + rng.uniform(-jitter, jitter, points.shape)).clip(0, size - 1)
        inside = (seen >= [window.x0 - 0.5, window.y0 - 0.5]).all(axis=1) & (seen < [window.x1 - 0.5, window.y1 - 0.5]).all(axis=1)
        x, y = seen[inside].T
        rows = source_rows(tile.number, x - window.x0, y - window.y0, np.flatnonzero(inside))
        tiles.append((tile.number, rows, photometry_rows(rows)))
        footprints.append(describe(tile, window.shape, None))
    return tiles, footprints


@settings(max_examples=25, deadline=None, derandomize=True)
@example(23, 60, 8, 0.40625)  # two tiles of a corner see a source near borders, its owner sees it just too deep inside
@example(238, 151, 21, 0.65)
@given(st.integers(0, 10**6), st.integers(60, 200), st.integers(8, 40), st.floats(0, 0.7))
def test_a_field_cut_into_tiles_comes_back_one_to_one(seed, step, overlap, jitter):
    rng = np.random.default_rng(seed)
    points = apart(rng.uniform(0, 399, (2500, 2)), 6)
    tiles, footprints = cut(points, 400, step, overlap, jitter, rng)
    merged = merge(tiles, footprints)
    assert sorted(true_of(merged.sources)) == list(range(len(points)))
    assert sum(merged.n_source.values()) == len(points)
    catalog = Catalog("source", merged.sources)
    catalog.check()
    assert catalog.column("primary").all()
    photometry = Catalog("photometry", merged.photometry)
    photometry.check()
    np.testing.assert_array_equal(photometry.column("source_id"), np.repeat(catalog.column("source_id"), 2))
    counter = catalog.column("source_id") % 1000
    np.testing.assert_array_equal(photometry.column("flux"), np.float32(np.stack([counter, counter + 0.5], axis=1)).ravel())
    position = list(zip(*(catalog.column(name).tolist() for name in ("tile_id", "y", "x")), strict=True))
    assert position == sorted(position)


def test_the_core_cell_alone_would_break_the_law():
    """The data of the law's test do have sources on both or on neither side of a border."""
    rng = np.random.default_rng(1)
    points = apart(rng.uniform(0, 399, (2500, 2)), 6)
    tiles, footprints = cut(points, 400, 60, 12, 0.7, rng)
    inside = []
    for (_, rows, _), footprint in zip(tiles, footprints, strict=True):
        x, y = rows.column("x").to_numpy() + footprint["x0"], rows.column("y").to_numpy() + footprint["y0"]
        x0, y0, x1, y1 = footprint["core"]
        inside += true_of(rows)[(x >= x0 - 0.5) & (x < x1 - 0.5) & (y >= y0 - 0.5) & (y < y1 - 0.5)].tolist()
    assert len(inside) > len(set(inside))
    assert len(set(inside)) < len(points)


def test_the_order_of_tiles_and_the_chunks_of_rows_do_not_matter():
    rng = np.random.default_rng(3)
    tiles, footprints = cut(apart(rng.uniform(0, 299, (1500, 2)), 6), 300, 80, 15, 0.6, rng)
    merged = merge(tiles, footprints)
    for order in (slice(None, None, -1), rng.permutation(len(tiles))):
        shuffled = [tiles[i] for i in np.arange(len(tiles))[order]]
        pieces = [(n, pa.concat_tables([s.slice(0, 5), s.slice(5)]), p) for n, s, p in shuffled]
        again = merge(iter(pieces), footprints[::-1])
        assert again.sources.equals(merged.sources)
        assert again.photometry.equals(merged.photometry)


def test_large_sources_may_jitter_by_more():
    rng = np.random.default_rng(4)
    tiles, footprints = [], []
    for index, (window, core) in enumerate(boxes(1000, 500, 150)):
        tile = Tile(f"t{index}", index, index, window, core)
        near_centre = np.array([[499.5, 250.0], [250.0, 499.5], [499.5, 750.0], [499.0, 500.0], [750.0, 501.0]]) + rng.uniform(
            -6, 6, (5, 2)
        )
        seen = ((near_centre > [window.x0, window.y0]) & (near_centre < [window.x1, window.y1])).all(axis=1)
        x, y = (near_centre[seen] - [window.x0, window.y0]).T
        tiles.append((index, source_rows(index, x, y, np.flatnonzero(seen), half=90), None))
        footprints.append(describe(tile, window.shape, None))
    assert sorted(true_of(merge(tiles, footprints).sources)) == [0, 1, 2, 3, 4]


def two_tiles(left, right, **columns):
    """Two tiles of a 200 × 100 image that meet at x = 99.5, with sources at global positions."""
    parts = []
    for number, positions in ((1, left), (2, right)):
        x, y = np.array(positions, float).reshape(-1, 2).T
        offset = 0 if number == 1 else 80
        mine = {name: values[number - 1] for name, values in columns.items()}
        parts.append((number, source_rows(number, x - offset, y, **mine), None))
    footprints = [
        describe(Tile("l", 1, 0, Box(0, 0, 120, 100), Box(0, 0, 100, 100)), (100, 120), None),
        describe(Tile("r", 2, 1, Box(80, 0, 200, 100), Box(100, 0, 200, 100)), (100, 120), None),
    ]
    return merge(parts, footprints)


@pytest.mark.parametrize(
    ("left", "right", "from_left", "from_right"),
    [
        ([(99.3, 50)], [(99.7, 50)], 0, 1),  # both say it is theirs; the middle is on the border, whose upper side is the right tile's
        ([(99.0, 50)], [(99.7, 50)], 1, 0),  # both; the middle is left of the border
        ([(99.8, 50)], [(99.3, 50)], 0, 1),  # neither; the middle is right of the border
        ([(99.6, 50)], [(99.3, 50)], 1, 0),  # neither; the middle is left of it
        ([(100.5, 50)], [], 1, 0),  # given away, but the owner does not have it
        ([(101.6, 50)], [], 0, 0),  # too far inside the other tile's cell to be an accident of the border
        ([(100.5, 50)], [(100.9, 52.3)], 0, 1),  # given away, and the owner's source covers the place
        ([(98.0, 50), (100.9, 50)], [(101.2, 50)], 1, 1),  # two sources, one a side
        ([(95.0, 50)], [(95.2, 50), (96.0, 60)], 1, 0),  # well inside the left tile's cell, only that tile counts
        ([], [], 0, 0),
    ],
)
def test_near_a_border_each_source_comes_once(left, right, from_left, from_right):
    merged = two_tiles(left, right)
    assert (merged.n_source[1], merged.n_source[2]) == (from_left, from_right)
    assert len(merged.sources) == from_left + from_right


def test_a_group_has_one_source_of_a_tile():
    """A source between two of the other tile is joined with the nearer one, and the farther one is left."""
    merged = two_tiles([(98.0, 50), (99.4, 50)], [(99.1, 50)])
    assert sorted(merged.sources.column("x").to_pylist()) == [98.0, 99.4]


def test_children_follow_the_parent_that_is_kept():
    ids = object_ids(1, 3).tolist(), object_ids(2, 3).tolist()
    merged = two_tiles(
        [(99.2, 50), (90, 51), (102.0, 52)],
        [(99.0, 50), (90, 51), (102.2, 52)],
        n_child=([2, 0, 0], [2, 0, 0]),
        parent_source_id=tuple(np.ma.MaskedArray([0, own[0], own[0]], [True, False, False]) for own in ids),
    )
    rows = {row["source_id"]: row["parent_source_id"] for row in merged.sources.to_pylist()}
    assert rows == {ids[0][0]: None, ids[0][1]: ids[0][0], ids[1][2]: ids[0][0]}


def test_a_parent_that_is_nowhere_is_null():
    parent = (np.array([object_ids(1, 9)[7]]), None)
    merged = two_tiles([(50, 50)], [], parent_source_id=parent)
    assert merged.sources.column("parent_source_id").to_pylist() == [None]


def test_tiles_that_share_nothing_are_put_side_by_side():
    tiles = [(number, source_rows(number, np.array([5.0]), np.array([5.0])), None) for number in (1, 2)]
    footprints = [describe(Tile(f"t{number}", number, 0), (10, 10), None) for number in (1, 2)]
    merged = merge(tiles, footprints)
    assert merged.sources.column("tile_id").to_pylist() == [1, 2]
    assert merged.photometry is None


def test_tiles_without_sources_and_without_photometry_are_fine():
    footprints = [describe(Tile(f"t{number}", number, 0, Box(0, 0, 9, 9), Box(0, 0, 9, 9)), (9, 9), None) for number in (1, 2)]
    rows = source_rows(2, np.array([5.0]), np.array([5.0]))
    merged = merge([(1, Catalog.empty("source").rows, None), (2, rows, photometry_rows(rows))], footprints)
    assert (len(merged.sources), len(merged.photometry), merged.n_source) == (1, 2, {1: 0, 2: 1})


def test_wrong_calls_are_refused():
    footprint = describe(Tile("t", 1, 0), (9, 9), None)
    rows = Catalog.empty("source").rows
    with pytest.raises(SchemaError, match="tile number 2 has no footprint"):
        merge([(2, rows, None)], [footprint])
    with pytest.raises(SchemaError, match="tile number 1 comes twice"):
        merge([(1, rows, None), (1, rows, None)], [footprint])
    with pytest.raises(SchemaError, match="no tiles to merge"):
        merge([], [footprint])


def sky_tile(name, number, centre, size, angle, scale=0.3):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [centre.ra.deg, centre.dec.deg], [(size + 1) / 2] * 2
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[-cos, sin], [sin, cos]])
    wcs.wcs.set()
    return Tile(name, number, 0), wcs


@pytest.mark.parametrize("dec", [-45.0, 0.0, 89.97])
@pytest.mark.parametrize("seed", range(3))
def test_overlapping_file_tiles_come_back_one_to_one(seed, dec):
    """Tiles with files of their own, dithered and rotated, around right ascension 0."""
    rng = np.random.default_rng(seed)
    origin = SkyCoord(0, dec, unit="deg")
    offsets = apart(rng.uniform(-130, 130, (1800, 2)), 3.5)  # arcsec; a pixel is 0.3
    objects = origin.spherical_offsets_by(*(offsets.T * u.arcsec))
    tiles, footprints = [], []
    for number, (i, j) in enumerate(np.ndindex(3, 3)):
        centre = origin.spherical_offsets_by(*((np.array([j - 1, i - 1]) * 100 + rng.uniform(-8, 8, 2)) * u.arcsec))
        tile, wcs = sky_tile(f"t{number}", number, centre, 450, rng.uniform(0, 20))
        x, y = np.array(wcs.world_to_pixel(objects)) + rng.uniform(-0.5, 0.5, (2, len(objects)))
        seen = (x > -0.5) & (x < 449.5) & (y > -0.5) & (y < 449.5)
        at = wcs.pixel_to_world(x[seen], y[seen])
        tiles.append((number, source_rows(number, x[seen], y[seen], np.flatnonzero(seen), ra=at.ra.deg, dec=at.dec.deg), None))
        footprints.append(describe(tile, (450, 450), wcs))
    merged = merge(tiles, footprints)
    found = true_of(merged.sources)
    assert len(found) == len(set(found))
    seen_by_any = set(np.concatenate([true_of(rows) for _, rows, _ in tiles]))
    assert set(found) == seen_by_any
    assert len(seen_by_any) > 1000
    index = merged.sources.column("source_id").to_numpy()
    assert not (np.diff(index) > 0).all()  # by place on the sky, not by id
    assert merge(tiles[::-1], footprints).sources.equals(merged.sources)


def test_sources_without_a_place_are_kept_and_come_last():
    centre = SkyCoord(10, 10, unit="deg")
    tiles, footprints = [], []
    for number in (1, 2):
        tile, wcs = sky_tile(f"t{number}", number, centre, 100, 0)
        at = wcs.pixel_to_world(50, 50)
        rows = source_rows(number, np.array([50.0, 20.0]), np.array([50.0, 60.0]), ra=[at.ra.deg, np.nan], dec=[at.dec.deg, np.nan])
        tiles.append((number, rows, None))
        footprints.append(describe(tile, (100, 100), wcs))
    merged = merge(tiles, footprints)
    assert merged.sources.column("tile_id").to_pylist() == [1, 1, 2]
    assert np.isnan(merged.sources.column("ra").to_numpy()).tolist() == [False, True, True]


@pytest.fixture(scope="module")
def many_on_sky():
    """Nine tiles on the sky, some sources without a place, blends, and columns of a plugin that not every tile has."""
    rng = np.random.default_rng(8)
    origin = SkyCoord(30, 0.0, unit="deg")
    offsets = apart(rng.uniform(-130, 130, (900, 2)), 3.5)
    objects = origin.spherical_offsets_by(*(offsets.T * u.arcsec))
    tiles, footprints = [], []
    for number, (i, j) in enumerate(np.ndindex(3, 3)):
        tile, wcs = sky_tile(f"t{number}", number, origin.spherical_offsets_by(*((np.array([j - 1, i - 1]) * 100) * u.arcsec)), 450, 5)
        x, y = np.array(wcs.world_to_pixel(objects)) + rng.uniform(-0.5, 0.5, (2, len(objects)))
        seen = (x > -0.5) & (x < 449.5) & (y > -0.5) & (y < 449.5)
        at = wcs.pixel_to_world(x[seen], y[seen])
        n = int(seen.sum())
        parent = np.ma.MaskedArray(object_ids(number, n)[rng.integers(0, n, n)], rng.random(n) < 0.7)
        extra = {"x_test_more": rng.random(n)} if number % 2 else {}
        nowhere = rng.random(n) < 0.1
        rows = source_rows(
            number, x[seen], y[seen], np.flatnonzero(seen), half=rng.integers(1, 9, n), parent_source_id=None if number == 4 else parent,
            ra=np.where(nowhere, np.nan, at.ra.deg), dec=np.where(nowhere, np.nan, at.dec.deg), n_child=rng.integers(0, 2, n), **extra,
        )  # fmt: skip
        tiles.append((number, rows, photometry_rows(rows) if number != 2 else None))
        footprints.append(describe(tile, (450, 450), wcs))
    return tiles, footprints


def same(one, other):
    """Return whether tables are the same to the last column's description; NaN equals NaN."""
    return one.schema.equals(other.schema, check_metadata=True) and repr(one.to_pylist()) == repr(other.to_pylist())


@pytest.mark.parametrize("limit", [40, 300])
def test_partitions_are_the_whole_in_pieces(many_on_sky, limit):
    tiles, footprints = many_on_sky
    whole = merge(tiles, footprints)
    assert whole.partitions == [None]
    assert whole.n_reconciled > 5
    assert whole.n_rescued > 0
    for order in (tiles, tiles[::-1]):
        parts = merge(order, footprints, limit)
        assert len(parts.partitions) > 3
        assert parts.partitions[-1].order == -1
        assert same(parts.sources, whole.sources)
        assert same(parts.photometry, whole.photometry)
        assert (parts.n_source, parts.n_reconciled, parts.n_rescued) == (whole.n_source, whole.n_reconciled, whole.n_rescued)


def test_the_limit_holds_for_the_larger_table(many_on_sky):
    tiles, footprints = many_on_sky
    n = len(merge(tiles, footprints).photometry)
    assert merge(tiles, footprints, n).partitions == [None]
    assert len(merge(tiles, footprints, n - 1).partitions) > 1


def test_a_survey_without_a_sky_is_cut_between_tiles():
    rng = np.random.default_rng(3)
    tiles, footprints = cut(apart(rng.uniform(0, 299, (900, 2)), 6), 300, 80, 15, 0.6, rng)
    whole, parts = merge(tiles, footprints), merge(tiles[::-1], footprints, 150)
    assert same(parts.sources, whole.sources)
    assert same(parts.photometry, whole.photometry)
    assert [part.order for part in parts.partitions] == [-1] * len(parts.partitions)
    assert len(parts.partitions) > 5
