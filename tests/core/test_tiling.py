import itertools

import numpy as np
import pytest

from astrosurvey.core.tiles import Box, Tile, fill
from astrosurvey.core.tiling import Blocks, Cut, Grid, TilesError, make_tiles


def extent(path):
    return 1000, 700


def count(path):
    return 25


def names(spec):
    return [tile.name for tile in tiles_of(spec)]


def tiles_of(spec):
    return make_tiles(spec, extent, count)


def test_without_a_specification_there_is_one_tile():
    assert names(None) == ["field"]


def test_a_glob_names_tiles_by_what_its_wildcards_match(tmp_path):
    for name in ("t1_r.fits", "t2_r.fits", "t2_g.fits", "notes.txt"):
        (tmp_path / name).touch()
    assert names(f"{tmp_path}/*_r.fits") == ["t1", "t2"]
    assert names(f"{tmp_path}/t?_[gr].fits") == ["1_r", "2_g", "2_r"]


def test_names_that_no_folder_may_have_are_made_safe_and_the_path_template_still_fits(tmp_path):
    (tmp_path / "odd [1] name_r.fits").touch()
    (tile,) = tiles_of(f"{tmp_path}/*_r.fits")
    assert tile.name == "odd_1_name"
    assert fill("{tile}_{band}.fits", tile, band="r") == "odd [1] name_r.fits"


def test_a_recursive_glob(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.fits").touch()
    assert names(f"{tmp_path}/**/*.fits") == ["a_b_x"]


def test_a_csv_gives_fields_for_templates(tmp_path):
    table = tmp_path / "tiles.csv"
    table.write_text("tile,path,psf_path,depth\nt1,/data/a.fits,p1.fits,25\nt2,/data/b.fits,p2.fits,26\n")
    tiles = tiles_of(str(table))
    assert [t.name for t in tiles] == ["t1", "t2"]
    assert fill("{path}", tiles[1]) == "/data/b.fits"
    assert fill("{psf_path}", tiles[1]) == str(tmp_path / "p2.fits")
    assert fill("{depth}", tiles[1]) == "26"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column `tile`"),
        ("ra,dec\n1,2\n", r"if it is the data, write `tiles: \[my_tiles\]`, and `path: my tiles.csv` in the stage that reads it"),
        ("tile\n", "no row below its header"),
        ("tile,a\nt1\n", "2: the row has more or fewer values"),
        ("tile\nt1,2\n", "2: the row has more or fewer values"),
    ],
)
def test_a_broken_csv_is_an_error(tmp_path, text, message):
    table = tmp_path / "my tiles.csv"
    table.write_text(text)
    with pytest.raises(TilesError, match=message) as error:
        tiles_of(str(table))
    assert "my tiles.csv" in str(error.value)


@pytest.mark.parametrize("bad", [["a/b"], ["survey"], [".hidden"], ["a", "A"], ["a", "a"], ["x" * 200]])
def test_impossible_names_are_refused(bad):
    with pytest.raises(TilesError):
        tiles_of(bad)


@pytest.mark.parametrize(
    ("size", "overlap", "shape"), [(256, 32, (1000, 700)), (256, 31, (1000, 700)), (4096, 128, (1000, 700)), (100, 50, (333, 101))]
)
def test_the_cores_of_a_cut_cover_the_image_once_and_windows_hold_their_cores(size, overlap, shape):
    tiles = make_tiles(Cut(image="big.fits", size=size, overlap=overlap), lambda path: shape, count)
    owned = np.zeros(shape[::-1], int)
    for tile in tiles:
        w, c = tile.window, tile.core
        assert w.x0 <= c.x0 < c.x1 <= w.x1 <= shape[0]
        assert w.y0 <= c.y0 < c.y1 <= w.y1 <= shape[1]
        owned[c.y0 : c.y1, c.x0 : c.x1] += 1
    assert (owned == 1).all()


@pytest.mark.parametrize(("count", "columns"), [(1, None), (4, None), (5, None), (8, None), (12, 4), (12, 2), (9, None)])
def test_the_cores_of_a_grid_do_not_overlap_and_leave_no_gap(count, columns):
    tiles = tiles_of(Grid(count=count, size=64, overlap=16, columns=columns))
    assert len(tiles) == count
    for a, b in itertools.combinations([t.core for t in tiles], 2):
        assert a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
    covered = sum((t.core.x1 - t.core.x0) * (t.core.y1 - t.core.y0) for t in tiles)
    union = np.zeros((2000, 2000), bool)
    for tile in tiles:
        union[tile.window.y0 : tile.window.y1, tile.window.x0 : tile.window.x1] = True
    assert covered == union.sum()


def test_the_blocks_of_a_file_cover_its_rows_once():
    tiles = tiles_of(Blocks(file="/data/many.fits", rows=10))
    assert [tile.rows for tile in tiles] == [(0, 10), (10, 20), (20, 25)]
    assert {fill("{path}", tile) for tile in tiles} == {"/data/many.fits"}
    assert len({str(tile.identity()) for tile in tiles}) == 3
    with pytest.raises(TilesError, match="0 rows"):
        make_tiles(Blocks(file="none.fits"), extent, lambda path: 0)


def test_numbers_are_unique_and_do_not_depend_on_the_other_tiles():
    many = {t.name: t.number for t in tiles_of([f"t{i}" for i in range(20000)])}
    assert len(set(many.values())) == 20000
    assert max(many.values()) < 2**26
    few = {t.name: t.number for t in tiles_of([f"t{i}" for i in range(0, 20000, 7)])}
    moved = [name for name in few if few[name] != many[name]]
    assert len(moved) <= 5  # three collisions are expected among 20 000 of 2^26


def test_the_identity_of_a_tile_holds_no_path_and_no_place_in_the_order():
    tile = Tile("t1", 5, 3, Box(0, 0, 4, 4), Box(1, 1, 4, 4), {"path": "/somewhere"})
    assert tile.identity() == {"name": "t1", "number": 5, "window": [0, 0, 4, 4], "core": [1, 1, 4, 4]}


def test_a_template_that_names_nothing_known_says_what_there_is():
    with pytest.raises(KeyError, match=r"\{bnad\}.*\{tile\}, \{band\}"):
        fill("{tile}_{bnad}.fits", Tile("t1", 5, 0), band="r")


def test_a_grid_is_as_square_as_it_can_be_and_full():
    widths = {n: len({t.window.x0 for t in tiles_of(Grid(count=n, size=8))}) for n in (1, 2, 6, 7, 8, 9, 12)}
    assert widths == {1: 1, 2: 2, 6: 3, 7: 7, 8: 4, 9: 3, 12: 4}
    with pytest.raises(ValueError, match="do not fill rows of 3"):
        Grid(count=7, size=8, columns=3)
