"""What LSDB makes of an export."""

from __future__ import annotations

import lsdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astrosurvey_hats.stage import HatsExport
from hats.io.validation import is_valid_catalog

from astrosurvey import Catalog, Tiles
from astrosurvey.catalog.healpix import healpix_29
from astrosurvey.catalog.partitions import Partition
from astrosurvey.products.partitions import PartitionWriter

from .catalogs import N, photometry, sources

pytestmark = pytest.mark.filterwarnings("ignore")  # those of LSDB, dask and pandas


def tiles(*catalogs):
    return Tiles([f"t{k}" for k in range(len(catalogs))], lambda name: catalogs[int(name[1:])])


@pytest.fixture
def export(make_context, tmp_path):
    """A function that exports catalogues, and returns the folder."""

    def run(*catalogs, flux=None, **settings):
        files = HatsExport(HatsExport.Config(**settings)).run(make_context(), sources=tiles(*catalogs), photometry=flux and tiles(*flux))
        files["files"].check()
        return files["files"].folder

    return run


def places(*catalogs):
    return SkyCoord(*(np.concatenate([catalog.column(name) for catalog in catalogs]) for name in ("ra", "dec")), unit="deg")


def test_everything_is_there_in_partitions_of_a_size(export):
    mine = [sources(1), sources(2)]
    folder = export(*mine, flux=[photometry(1), photometry(2)], rows=50)
    assert is_valid_catalog(folder, strict=True)
    catalog = lsdb.open_catalog(folder)
    assert len(catalog.get_healpix_pixels()) > 10
    assert len({pixel.order for pixel in catalog.get_healpix_pixels()}) > 2
    frame = catalog.compute()
    assert len(frame) == 2 * N == len(catalog)
    assert frame.index.name == "_healpix_29"
    frame = frame.sort_values("source_id")
    ids = np.concatenate([catalog.column("source_id") for catalog in mine])
    np.testing.assert_array_equal(frame["source_id"], ids)
    np.testing.assert_array_equal(frame["ra"], places(*mine).ra.deg)
    flux = {row["source_id"]: row["flux"] for row in photometry(1).rows.to_pylist() if row["band"] == "r"}
    np.testing.assert_array_equal(frame["r_kron_flux"].to_numpy(float)[:N], [flux.get(i, np.nan) for i in ids[:N].tolist()])
    assert max(len(pq.read_table(file)) for file in (folder / "astrosurvey" / "dataset").rglob("Npix=*")) <= 50


def in_partitions(catalog, cell_of_id, folder):
    """Return a catalogue as a folder of the cells of order 0, as catalog.merge makes one of a large survey."""
    writer = PartitionWriter(folder, catalog.table)
    cell = np.array([cell_of_id[i] for i in catalog.column("source_id").tolist()])
    for pixel in np.unique(cell).tolist():
        writer.add(Partition(0, pixel), catalog.rows.filter(pa.array(cell == pixel)))
    return writer.close()


def test_catalogues_in_partitions_give_the_same_as_those_in_memory(export, tmp_path):
    mine, flux = sources(1), photometry(1)
    index = healpix_29(mine.column("ra"), mine.column("dec")).data >> 2 * 29
    cell = dict(zip(mine.column("source_id").tolist(), index.tolist(), strict=True))
    cut = in_partitions(mine, cell, tmp_path / "sources"), in_partitions(flux, cell, tmp_path / "photometry")
    assert len(cut[0].cells) > 5
    wanted, got = export(mine, flux=[flux], rows=50), export(cut[0], flux=[cut[1]], rows=50)
    mixed = export(cut[0], flux=[flux], rows=50)
    for file in (path.relative_to(wanted) for path in sorted(wanted.rglob("Npix=*"))):
        assert pq.read_table(got / file).equals(pq.read_table(wanted / file))
        assert pq.read_table(mixed / file).equals(pq.read_table(wanted / file))


def test_columns_keep_their_units(export):
    schema = pq.read_schema(export(sources(1)) / "astrosurvey" / "dataset" / "_common_metadata")
    assert schema.field("ra").metadata[b"unit"] == b"deg"
    assert schema.field("ra").metadata[b"ucd"] == b"pos.eq.ra;meta.main"


def test_a_cone_holds_what_it_should(export):
    mine = sources(1)
    catalog = lsdb.open_catalog(export(mine, rows=50))
    found = catalog.cone_search(ra=359.9, dec=0.1, radius_arcsec=900).compute()
    near = places(mine).separation(SkyCoord(359.9, 0.1, unit="deg")) <= 900 * u.arcsec
    assert 10 < near.sum() < N / 2
    assert sorted(found["source_id"]) == sorted(mine.column("source_id")[near])


@pytest.mark.parametrize("margin", [0.0, 120.0])
def test_margins_let_pairs_across_borders_be_found(export, margin):
    mine, theirs = sources(1, 900), sources(2, 900)
    # The two are cut in different places, and cells that are empty in one catalogue have rows in the other.
    left = lsdb.open_catalog(export(mine, rows=40, name="left"))
    right = lsdb.open_catalog(export(theirs, rows=60, name="right", margin=margin))
    assert (right.margin is not None) == (margin > 0)
    found = left.crossmatch(right, n_neighbors=50, radius_arcsec=100, suffixes=("_l", "_r"), suffix_method="all_columns").compute()
    i, j, _, _ = places(mine).search_around_sky(places(theirs), 100 * u.arcsec)
    wanted = set(zip(mine.column("source_id")[j].tolist(), theirs.column("source_id")[i].tolist(), strict=True))
    pairs = set(zip(found["source_id_l"].tolist(), found["source_id_r"].tolist(), strict=True))
    assert len(wanted) > 100
    assert pairs <= wanted
    assert (pairs == wanted) == (margin > 0), f"{len(pairs)} of {len(wanted)}"


def test_the_order_of_rows_and_tiles_does_not_show(export):
    mine = [sources(1), sources(2)]
    rng = np.random.default_rng(3)
    shuffled = [Catalog("source", c.rows.take(rng.permutation(len(c)))) for c in reversed(mine)]
    contents = []
    for catalogs in (mine, shuffled):
        folder = export(*catalogs, rows=50, margin=60.0)
        contents.append({file.relative_to(folder): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()})
    assert contents[0] == contents[1]
    text = contents[0][next(path for path in contents[0] if path.name == "hats.properties")].decode()
    assert "date" not in text
    assert f"hats_nrows={2 * N}" in text
