"""catalog.crossmatch: counterparts, who competes for them, and that neither order, partitions nor formats change anything."""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.time import Time
from astropy_healpix import healpix_to_lonlat

from astrosurvey import Catalog
from astrosurvey.catalog.flags import CROSSMATCH
from astrosurvey.catalog.healpix import healpix_29
from astrosurvey.catalog.pixelless import pixel_columns
from astrosurvey.core.stage import DataError
from astrosurvey.stages.catalog import counterparts
from astrosurvey.stages.catalog.crossmatch import CrossMatch
from astrosurvey.stages.io.catalog.stage import ReadCatalog

from .running import run, tiles_of

ARCSEC = 1 / 3600


def sources(ra, dec, first=100, meta=None, **more):
    n = len(ra)
    rows = {"source_id": np.arange(n) + first, "tile_id": 1, **pixel_columns(np.arange(n)), "ra": ra, "dec": dec, "flags": 0}
    return Catalog.from_columns("source", {**rows, **more}, meta)


def matched(mine, theirs=None, **settings):
    wired = {} if theirs is None else {"others": tiles_of(u=theirs)}
    return run(CrossMatch, settings, sources=tiles_of(t=mine), **wired)


def by_id(catalog):
    """Return the matches in the order of their sources, not of the sky."""
    return catalog.rows.sort_by([("source_id", "ascending"), ("rank", "ascending")])


def listed(catalog, *names):
    return list(zip(*(by_id(catalog).column(name).to_pylist() for name in names), strict=True))


def test_best_counterparts_and_who_competes_for_them():
    #        two others near it    shares its counterpart    alone   not primary  nowhere
    mine = sources(
        np.array([0.0, 10.0, 10.0 + 0.3 * ARCSEC, 20.0, 30.0, np.nan]),
        np.zeros(6),
        primary=[True, True, True, True, False, True],
    )
    theirs = sources(np.array([360 - 30 * ARCSEC, 0.5 * ARCSEC, 10.0 - 0.2 * ARCSEC, 30.0]), np.array([0.0, 0.0, 0.0, 0.0]), first=900)
    made = matched(mine, theirs)["matches"]
    assert listed(made, "source_id", "rank", "other_id", "n_other", "n_source", "mutual") == [
        (100, 0, 901, 1, 1, True),
        (101, 0, 902, 1, 2, True),
        (102, 0, 902, 1, 2, False),
        (103, 0, None, 0, None, None),
        (105, 0, None, None, None, None),
    ]
    shared = CROSSMATCH["SHARED"] | CROSSMATCH["NO_ERROR"]
    matches = by_id(made)
    assert matches.column("flags").to_pylist() == [CROSSMATCH["NO_ERROR"], shared, shared, 0, CROSSMATCH["NO_POSITION"]]
    apart = matches.column("separation").to_pylist()
    np.testing.assert_allclose(apart[:3], [0.5, 0.2, 0.5], rtol=1e-8)
    np.testing.assert_allclose(matches.column("delta_ra").to_pylist()[:3], [0.5, -0.2, -0.5], rtol=1e-8)
    assert apart[3:] == [None, None]
    every = matched(mine, theirs, pairs="all", radius=1.0)["matches"]
    assert listed(every, "source_id", "rank", "other_id")[:2] == [(100, 0, 901), (101, 0, 902)]
    wide = matched(mine, theirs, pairs="all", radius=60.0)["matches"]
    assert listed(wide, "source_id", "rank", "other_id")[:2] == [(100, 0, 901), (100, 1, 900)]
    assert by_id(wide).column("flags")[0].as_py() & CROSSMATCH["AMBIGUOUS"]


def test_errors_decide_who_is_best_and_who_is_too_far():
    mine = sources(
        [0.0, 1.0], [0.0, 0.0], x_var=np.float32([0.25, 0.25]), y_var=np.float32([0.25, 0.25]), meta={"tile": {"pixel_scale": 0.2}}
    )
    columns = {"x_survey_ra_err": np.array([0.001, 0.5, 0.02, np.nan]), "x_survey_dec_err": np.array([0.001, 0.5, 0.02, np.nan])}
    theirs = sources(np.array([0.29, 0.4, 3600.5, 3600.2]) * ARCSEC, np.zeros(4), first=900, **columns)
    fields = [f.with_metadata({"unit": "arcsec"}) if f.name.startswith("x_survey") else f for f in theirs.rows.schema]
    theirs = Catalog("source", theirs.rows.cast(pa.schema(fields)))
    made = matched(mine, theirs, sigma=3.0, pairs="all", other_errors=["ra_err", "dec_err"])["matches"]
    # Half a pixel of 0.2 arcsec is an error of 0.1: 0.4 / 0.51 is better than 0.29 / 0.1; 0.5 is too far; no error, no limit but the radius.
    assert listed(made, "source_id", "rank", "other_id") == [(100, 0, 901), (100, 1, 900), (101, 0, 903)]
    sigmas = by_id(made).column("separation_sigma").to_pylist()
    np.testing.assert_allclose(sigmas[:2], [0.4 / np.hypot(0.1, 0.5), 0.29 / np.hypot(0.1, 0.001)], rtol=1e-6)
    assert sigmas[2] is None
    assert by_id(made).column("flags")[2].as_py() == CROSSMATCH["NO_ERROR"]
    made = matched(mine, theirs, sigma=3.0, error=0.1, other_error=0.1)["matches"]
    assert listed(made, "source_id", "other_id") == [(100, 900), (101, 903)]
    with pytest.raises(DataError, match="unit"):
        matched(mine, sources([0.0], [0.0], **{"x_survey_ra_err": [0.1], "x_survey_dec_err": [0.1]}), other_errors=["ra_err", "dec_err"])


def clumped(rng, n, first):
    """Return sources in a clump over the corner of three base cells, one at a pole, one over right ascension 0, and all over the sky."""
    corner = healpix_to_lonlat([0], 1, dx=[0.0], dy=[0.5], order="nested")
    ra = np.concatenate([corner[0].deg + rng.normal(0, 0.01, n), rng.uniform(0, 360, n), rng.normal(0, 0.01, n), rng.uniform(0, 360, n)])
    dec = np.concatenate(
        [corner[1].deg + rng.normal(0, 0.01, n), 90 - rng.exponential(0.01, n), rng.normal(0, 0.01, n), rng.uniform(-90, 90, n)]
    )
    return sources(ra % 360, dec, first)


@pytest.mark.parametrize("radius", [2.0, 30.0, 3600.0])
def test_neither_order_nor_partitions_change_anything(radius):
    rng = np.random.default_rng(1)
    mine, theirs = clumped(rng, 200, 1), clumped(rng, 220, 10_000)
    mine = Catalog.concatenate([mine, sources(np.full(30, np.nan), np.full(30, np.nan), first=5000)])
    wanted = matched(mine, theirs, radius=radius, pairs="all")
    shuffled = [Catalog("source", c.rows.take(rng.permutation(len(c)))) for c in (mine, theirs)]
    tiles = [tiles_of(**{f"t{i}": Catalog("source", c.rows.slice(150 * i, 150)) for i in range(7)}) for c in shuffled]
    made = run(CrossMatch, {"radius": radius, "pairs": "all", "partition_rows": 150}, sources=tiles[0], others=tiles[1])
    assert len(made["matches"].cells) > 5
    assert made["matches"].rows.equals(wanted["matches"].rows)
    assert made["metrics"] == wanted["metrics"]
    index = healpix_29(made["matches"].column("ra"), made["matches"].column("dec"))
    assert (np.diff(index.data[~index.mask]) >= 0).all()
    assert index.mask.sum() == 30


FORMATS = {"fits": {}, "csv": {}, "vot": {"format": "votable"}, "parquet": {}, "ecsv": {}}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_published_catalogue_of_any_format_is_a_few_words(suffix, tmp_path):
    gaia = Table({"source_id": np.int64([4295806720, 2**61]), "ra": [10.0, 20.0], "dec": [5.0, -5.0], "Gmag": np.float32([14.5, 15.5])})
    gaia["Gmag"].unit = "mag"
    file = tmp_path / f"gaia.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({name: np.asarray(gaia[name]) for name in gaia.colnames}), file)
    else:
        gaia.write(file, **FORMATS[suffix])
    mine = sources([10.0, 20.0, 30.0], [5 + 0.2 * ARCSEC, -5.0, 0.0])
    made = matched(mine, file={"path": str(file), "id": "source_id"}, extra=["Gmag"])["matches"]
    assert listed(made, "source_id", "other_id", "x_catalog_gmag") == [(100, 4295806720, 14.5), (101, 2**61, 15.5), (102, None, None)]
    unit = made.rows.schema.field("x_catalog_gmag").metadata.get(b"unit", b"")
    assert unit == (b"" if suffix in ("csv", "parquet") else b"mag")


def test_names_and_rows_stand_for_ids(tmp_path):
    file = tmp_path / "stars.csv"
    file.write_text("name,RA,Dec\nVega,279.234735,38.783689\nno place,,\nSirius,101.287155,-16.716116\n")
    mine = sources([101.287155, 279.234735], [-16.716116, 38.783689])
    named = matched(mine, file={"path": str(file), "id": "name"})["matches"]
    assert listed(named, "source_id", "other_id", "other_name") == [(100, 2, "Sirius"), (101, 0, "Vega")]
    assert sorted(listed(matched(mine, file={"path": str(file)})["matches"], "source_id", "other_id", "other_name")) == [
        (100, 2, None),
        (101, 0, None),
    ]


def test_proper_motions_bring_others_to_the_epoch_of_the_match(tmp_path):
    table = Table(
        {"ra": [0.0001, 100.0, 200.0], "dec": [89.99, 0.0, 10.0], "pmra": [-5000.0, 300.0, np.nan], "pmdec": [2000.0, -400.0, np.nan]}
    )
    table["pmra"].unit = table["pmdec"].unit = "mas/yr"
    table["ref_epoch"] = 2016.0
    file = tmp_path / "gaia.fits"
    table.write(file)
    then = SkyCoord(
        table["ra"][:2] * u.deg, table["dec"][:2] * u.deg, pm_ra_cosdec=table["pmra"].quantity[:2], pm_dec=table["pmdec"].quantity[:2],
        distance=[100, 100] * u.pc, obstime=Time(2016.0, format="jyear"),
    ).apply_space_motion(Time(2000.0, format="jyear"))  # fmt: skip
    mine = sources([*then.ra.deg, 200.0], [*then.dec.deg, 10.0])
    settings = {"file": {"path": str(file)}, "other_motion": ["pmra", "pmdec"], "epoch": 2000.0}
    for epoch in (2016.0, "ref_epoch"):
        made = matched(mine, **settings, other_epoch=epoch)["matches"]
        rows = {row[0]: row[1:] for row in listed(made, "source_id", "other_id", "separation", "flags")}
        assert [rows[i][0] for i in (100, 101, 102)] == [0, 1, 2]
        assert max(rows[i][1] for i in (100, 101)) < 1e-3
        assert [bool(rows[i][2] & CROSSMATCH["NO_MOTION"]) for i in (100, 101, 102)] == [False, False, True]
    assert matched(mine, file={"path": str(file)})["metrics"]["matched"].value == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="together"):
        CrossMatch.Config(epoch=2000.0)


def test_what_matches_by_chance_is_told(caplog):
    rng = np.random.default_rng(2)
    n = 3000
    field = rng.uniform(0, 1, (4, n))
    with caplog.at_level(logging.INFO):
        made = matched(sources(field[0], field[1]), sources(field[2], field[3], first=10_000), radius=5.0)
    expected = -np.expm1(-n * np.pi * (5 * ARCSEC) ** 2)
    for name in ("matched", "matched by chance"):
        assert made["metrics"][name].value == pytest.approx(expected, abs=4 * np.sqrt(expected / n) + 0.0005)
    assert "by chance" in caplog.text


def test_catalogues_without_rows_and_too_many_pairs(tmp_path, monkeypatch):
    some, none = sources([1.0], [1.0]), sources([], [])
    assert listed(matched(some, none)["matches"], "source_id", "other_id", "n_other") == [(100, None, 0)]
    assert len(matched(none, some)["matches"]) == 0
    file = tmp_path / "none.csv"
    file.write_text("ra,dec\n")
    assert listed(matched(some, file={"path": str(file)})["matches"], "source_id", "other_id") == [(100, None)]
    with pytest.raises(DataError, match="give one of the two"):
        matched(some)
    monkeypatch.setattr(counterparts, "MOST_PAIRS", 10)
    with pytest.raises(DataError, match="smaller `radius`"):
        matched(some, some)


@pytest.mark.real
def test_gaias_stars_are_found_where_they_were_in_2000(real_data):
    """The table has their places of 2015.5, and those of 2000 that the CDS calculated."""
    path = str(real_data / "catalogs" / "gaia_dr2_nearby_oc_members_xmatch.csv")
    reading = {
        "path": path,
        "id": "source_id",
        "duplicates": "first",
        "columns": {"ra": "ra_epoch2000", "dec": "dec_epoch2000"},
        "extra": [],
    }
    then = run(ReadCatalog, reading)["sources"]
    file = {"path": path, "id": "source_id", "columns": {"ra": "ra", "dec": "dec"}, "units": {"pmra": "mas/yr", "pmdec": "mas/yr"}}
    motion = {"epoch": 2000.0, "other_epoch": 2015.5, "other_motion": ["pmra", "pmdec"]}
    stayed, moved = (matched(then, file=file, radius=5.0, **settings)["matches"] for settings in ({}, motion))
    assert len(then) > 5000
    apart = [made.rows.column("separation").to_numpy(zero_copy_only=False) for made in (stayed, moved)]
    assert np.nanmedian(apart[0]) > 0.2
    assert np.isfinite(apart[1]).all()
    assert np.median(apart[1]) < 1e-3
    own = dict(zip(then.column("source_id").tolist(), then.rows.column("x_catalog_source_id").to_pylist(), strict=True))
    assert np.mean([own[i] == j for i, j in listed(moved, "source_id", "other_id")]) > 0.999
