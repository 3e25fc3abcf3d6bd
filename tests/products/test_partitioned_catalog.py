"""Catalogues in partitions: used like any other, read in pieces, and by other programs."""

from __future__ import annotations

import os
import shutil

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from astrosurvey.catalog.partitions import Partition
from astrosurvey.core.digests import digest_path
from astrosurvey.core.product import ProductError
from astrosurvey.products import Catalog
from astrosurvey.products.partitions import CARD, PartitionedCatalog, PartitionWriter
from astrosurvey.testing import ProductLaws

N = 60
ORDER = 3


def catalogue(n=N):
    """Sources in the order of the HEALPix index, the last five without a place."""
    from astrosurvey.catalog.healpix import healpix_29

    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(10, 40, n), rng.uniform(-20, 20, n)
    order = np.argsort(healpix_29(ra, dec).data)
    ra, dec = ra[order], dec[order]
    ra[-5:], dec[-5:] = np.nan, np.nan
    columns = {
        "source_id": rng.permutation(n), "tile_id": 3, "x": rng.uniform(0, 9, n), "y": rng.uniform(0, 9, n), "ra": ra, "dec": dec,
        "x_min": 0, "x_max": 5, "y_min": 0, "y_max": 5, "n_pixels": 9, "significance": 7.0, "n_child": 0, "primary": True, "flags": 0,
        "x_test_word": np.array(["a", "bc"])[np.arange(n) % 2],
    }  # fmt: skip
    return Catalog.from_columns("source", columns)


def parts_of(catalog):
    """The rows of each cell of order `ORDER`."""
    from astrosurvey.catalog.healpix import healpix_29

    index = healpix_29(catalog.column("ra"), catalog.column("dec"))
    cell = np.where(index.mask, -1, index.data >> 2 * (29 - ORDER))
    first = np.flatnonzero(np.diff(cell, prepend=-2))
    for low, high in zip(first, [*first[1:], len(cell)], strict=True):
        number = int(cell[low])
        yield Partition(ORDER, number) if number >= 0 else Partition(-1, 0), catalog.rows.slice(low, high - low)


@pytest.fixture
def stored(tmp_path):
    writer = PartitionWriter(tmp_path / "made", "source")
    for part, rows in parts_of(catalogue()):
        writer.add(part, rows)
    return writer.close()


class TestLaws(ProductLaws):
    product = PartitionedCatalog

    def example(self, stored):
        return stored


def test_it_is_used_like_any_other(stored):
    whole = catalogue()
    assert len(stored) == N
    assert stored.schema is whole.schema
    for name in whole.rows.column_names:
        if name != "parent_source_id":
            np.testing.assert_array_equal(stored.column(name), whole.column(name))
    with pytest.raises(ProductError, match="parent_source_id' has 60 nulls"):
        stored.column("parent_source_id")
    with pytest.raises(ProductError, match="did you mean"):
        stored.column("x_mim")
    assert stored.summary() == {**whole.summary(), "partitions": len(stored.cells)}
    parts = list(stored.partitions())
    assert [len(part) for part in parts] == list(stored.cells.values())
    assert parts[-1].column("ra").size == 5
    stored.check()
    Catalog.of("source", fills=["ra", "dec"]).check(stored)
    with pytest.raises(ProductError, match="promised but null in all 60 rows: probability"):
        Catalog.of("source", fills=["probability"]).check(stored)
    assert stored._rows is None  # nothing above has read everything
    assert repr(stored.rows.to_pylist()) == repr(whole.rows.to_pylist())
    assert list(whole.partitions()) == [whole]


def test_writing_links_the_files(stored, tmp_path):
    stored.write(tmp_path / "linked.parquet")
    again = Catalog.read(tmp_path / "linked.parquet")
    assert isinstance(again, PartitionedCatalog)
    assert digest_path(again.folder) == digest_path(stored.folder)
    assert all(os.path.samefile(a, b) for a, b in zip(stored.files, again.files, strict=True))
    shutil.rmtree(stored.folder)
    again.check()


def test_writing_copies_where_there_are_no_links(stored, tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError("other file system")

    monkeypatch.setattr(os, "link", no_links)
    stored.write(tmp_path / "copied.parquet")
    assert digest_path(tmp_path / "copied.parquet") == digest_path(stored.folder)


def test_other_programs_read_the_folder(stored):
    everything = pq.read_table(stored.folder)
    assert sorted(everything.column("source_id").to_pylist()) == list(range(N))
    assert set(everything.column("Norder").to_pylist()) == {ORDER, -1}
    query = f"select count(*), sum(source_id), count(_healpix_29) from read_parquet('{stored.folder}/**/*.parquet')"
    assert duckdb.sql(query).fetchall() == [(N, N * (N - 1) // 2, N - 5)]
    one = Table.read(stored.files[0])
    assert str(one["ra"].unit) == "deg"
    assert len(stored.to_astropy()) == N
    index = np.concatenate([pq.read_table(path, partitioning=None).column("_healpix_29").to_numpy() for path in stored.files[:-1]])
    assert (np.diff(index) > 0).all()


def test_what_is_wrong_is_said(stored, tmp_path):
    def broken(change):
        folder = tmp_path / f"broken{len(list(tmp_path.iterdir()))}"
        shutil.copytree(stored.folder, folder)
        change(folder)
        return folder

    first = stored.files[0].relative_to(stored.folder)
    with pytest.raises(ProductError, match="lacks Norder"):
        Catalog.read(broken(lambda folder: (folder / first).unlink()))
    with pytest.raises(ProductError, match="does not hold the rows"):
        Catalog.read(broken(lambda folder: shutil.copy(stored.files[-1], folder / first))).check()
    with pytest.raises(ProductError, match="is damaged"):
        Catalog.read(broken(lambda folder: (folder / CARD).write_text("{}")))
    with pytest.raises(ProductError, match="no catalogue in partitions"):
        Catalog.read(broken(lambda folder: (folder / CARD).unlink()))
    with pytest.raises(ProductError, match="is damaged"):
        Catalog.read(broken(lambda folder: (folder / first).write_bytes(b"no"))).column("ra")
    rows = catalogue().rows
    writer = PartitionWriter(tmp_path / "twice", "source")
    writer.add(Partition(1, 1), rows.slice(0, 5))
    writer.add(Partition(1, 2), rows.slice(4, 5))
    with pytest.raises(ProductError, match=r"source_id=\d+ is in two partitions"):
        writer.close().check()
    writer = PartitionWriter(tmp_path / "wrong", "source")
    writer.add(Partition(1, 1), catalogue().replace(n_pixels=0).rows)
    with pytest.raises(ProductError, match="Npix=1.parquet: .*column 'n_pixels'"):
        writer.close().check()
