"""catalog.match: spectra find their sources, redshifts come with them, and what is near by chance is told."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits

import astrosurvey
from astrosurvey import Catalog
from astrosurvey.catalog.flags import SPECTRUM
from astrosurvey.catalog.pixelless import pixel_columns
from astrosurvey.core.stage import DataError
from astrosurvey.stages.catalog.match import MatchSpectra
from astrosurvey.stages.catalog.nearest import nearest
from astrosurvey.stages.clustering.features import FeatureConfig, catalog_of, columns_of

from .running import run, tiles_of

ARCSEC = 1 / 3600


def sources(ra, dec, **more):
    n = len(ra)
    rows = {"source_id": np.arange(n) + 100, "tile_id": 1, **pixel_columns(np.arange(n)), "ra": ra, "dec": dec, "flags": 0}
    return Catalog.from_columns("source", {**rows, **more})


def spectra(ra, dec, **more):
    rows = {"spectrum_id": np.arange(len(ra)) + 7, "tile_id": 2, "ra": ra, "dec": dec, "frame": "unknown", "n_pixel": 9, "flags": 0}
    return Catalog.from_columns("spectrum", {**rows, "wave_min": 4000.0, "wave_max": 9000.0, **more})


def owners(catalog):
    return catalog.rows.column("source_id").to_pylist()


def matched(stars, objects, radius=1.0, **tables):
    wired = {port: tiles_of(t=table) for port, table in tables.items()}
    return run(MatchSpectra, {"radius": radius}, sources=tiles_of(t=stars), catalog=tiles_of(u=objects), **wired)


def test_pairs_and_separations_are_astropys_all_over_the_sky():
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(0, 360, 3000), np.degrees(np.arcsin(rng.uniform(-1, 1, 3000)))
    ra[:20], dec[:20] = rng.uniform(0, 360, 20), 90 - 1e-4
    of_ra, of_dec = rng.uniform(0, 360, 4000), np.degrees(np.arcsin(rng.uniform(-1, 1, 4000)))
    of_ra[:100], of_dec[:100] = ra[:100], np.clip(dec[:100] + rng.normal(0, ARCSEC, 100), -90, 90)
    found = nearest(ra, dec, of_ra, of_dec, 3600.0)
    index, apart, _ = SkyCoord(ra, dec, unit="deg").match_to_catalog_sky(SkyCoord(of_ra, of_dec, unit="deg"))
    within = apart < 3600 * u.arcsec
    assert 500 < within.sum() < 2500
    np.testing.assert_array_equal(found.index, np.where(within, index, -1))
    np.testing.assert_allclose(found.separation[within], apart[within].to_value("arcsec"), rtol=1e-8, atol=1e-6)
    i, _, _, _ = SkyCoord(of_ra, of_dec, unit="deg").search_around_sky(SkyCoord(ra, dec, unit="deg"), 3600 * u.arcsec)
    np.testing.assert_array_equal(found.number, np.bincount(i, minlength=3000))


def test_each_spectrum_gets_the_nearest_source_and_doubts_are_flagged():
    stars = sources([0.0, 0.6 * ARCSEC, 10.0, 20.0, 30.0], [0.0, 0.0, 45.0, 0.0, 0.0], primary=[True, True, True, False, True])
    nothing = np.ma.masked_invalid([np.nan])
    ra = np.ma.concatenate([[359.9999999, 10.0, 10.0, 20.0, 30.0, 40.0, 10.0], nothing])
    dec = np.ma.concatenate([[0.0, 45 + 0.5 * ARCSEC, 45 - 0.9 * ARCSEC, 0.0, 0.0, 0.0, 45 + 1.1 * ARCSEC], nothing])
    flags = np.array([0, 0, 0, 0, SPECTRUM["SKY_FIBRE"], 0, 0, SPECTRUM["NO_SKY_POSITION"]])
    made = matched(stars, spectra(ra, dec, flags=flags))["catalog"]
    # One is between two sources; two are of one; the rest: not primary, of empty sky, near nothing, too far, without a position.
    assert owners(made) == [100, 102, 102, None, None, None, None, None]
    flags[0] |= SPECTRUM["AMBIGUOUS_SOURCE"]
    assert made.column("flags").tolist() == flags.tolist()


def test_of_equally_near_sources_the_first_id_is_taken_in_any_order_of_rows():
    stars = sources([50.0, 50.0, 50.0], [1.0, 1.0, 1.0])
    for rows in ([0, 1, 2], [2, 0, 1]):
        assert owners(matched(Catalog("source", stars.rows.take(rows)), spectra([50.0], [1.0]))["catalog"]) == [100]


def test_redshifts_and_classes_follow_their_spectra_and_can_be_clustered(caplog):
    stars = sources([10.0, 20.0, 30.0], [1.0, 2.0, 3.0])
    objects = spectra([30.0, 20.0, 60.0], [3.0, 2.0, 6.0], source_id=np.ma.MaskedArray([0, 102, 0], [1, 0, 1]))
    redshift = {"spectrum_id": [7, 7, 8, 9], "rank": [0, 1, 0, 0], "z": [0.3, 2.0, 0.4, 0.5], "z_warning": 0, "method": "m"}
    classes = {"object_table": ["spectrum", "source"], "object_id": [7, 7], "classifier": "c", "label": "star", "probability": 0.5}
    with caplog.at_level(logging.INFO):
        made = matched(
            stars,
            objects,
            redshifts=Catalog.from_columns("redshift", redshift),
            classes=Catalog.from_columns("classification", {**classes, "flags": 0}),
        )
    assert owners(made["catalog"]) == [102, 102, None]  # the second is known to be of another than the nearest
    assert owners(made["redshifts"]) == [102, 102, 102, None]
    assert owners(made["classes"]) == [102, None]
    assert "2 of 3 spectra have a source within 1 arcsec" in caplog.text
    joined = catalog_of(tiles_of(t=stars), None, tiles_of(u=made["redshifts"]))
    assert columns_of(joined, FeatureConfig(columns=["ra", "dec", "redshift"])).values.tolist() == [[30.0, 3.0, 0.3]]


def test_what_cannot_be_matched_is_told(caplog):
    stars = sources([10.0], [1.0])
    assert owners(matched(stars, spectra([200.0], [1.0]))["catalog"]) == [None]
    assert "no spectrum has a source within 1 arcsec: do both have positions" in caplog.text
    one = spectra([10.0], [1.0])
    with pytest.raises(DataError, match="a spectrum is there more than once"):
        run(MatchSpectra, sources=tiles_of(t=stars), catalog=tiles_of(a=one, b=one))


PIPELINE = """
astrosurvey: 1
tiles: [all]
stages:
  stars: {{use: io.catalog, path: "{folder}/stars.csv"}}
  survey: {{use: catalog.merge, in: stars}}
  spectra: {{use: io.spectra, path: "{spectra}"}}
  classify: {{use: spectra.classify, in: spectra}}
  matched: {{use: catalog.match, in: [survey, spectra, classify], radius: 2.0}}
  groups: {{use: clustering.kmeans, in: [survey, matched], columns: [ra, dec, redshift], n_clusters: 2}}
"""


@pytest.mark.real
def test_from_a_catalogue_and_spectra_to_groups_in_redshift(real_data, tmp_path):
    """The whole path, as its how-to has it: sources beside the fibres of all but one of some real spectra."""
    pattern = "spec-0[2-4]*.fits"
    headers = [fits.getheader(path) for path in sorted((real_data / "spectra" / "native").glob(pattern))]
    places = [f"{header['PLUG_RA']},{header['PLUG_DEC'] + 1.2 * ARCSEC}\n" for header in headers[1:]]
    (tmp_path / "stars.csv").write_text("ra,dec\n10,-80\n" + "".join(places))
    (tmp_path / "run.yaml").write_text(PIPELINE.format(folder=tmp_path, spectra=real_data / "spectra" / "native" / pattern))
    result = astrosurvey.run(astrosurvey.load(tmp_path / "run.yaml"), out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    catalog = result.read("matched", "catalog", Catalog)
    assert len(catalog) == len(headers) == 6
    assert catalog.rows.column("source_id").null_count == 1
    points = result.read("groups", "points", Catalog)
    assert points.rows.column("cluster_id").null_count == 1  # the source without a spectrum
    assert len(points) == 6
