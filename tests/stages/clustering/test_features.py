"""Which columns are clustered and in which metric: what is chosen, left out, scaled, and refused."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from pydantic import ValidationError

from astrosurvey import Catalog, Tiles
from astrosurvey.core.stage import DataError
from astrosurvey.stages.clustering.features import FeatureConfig, catalog_of, columns_of, points_of
from astrosurvey.stages.clustering.metric import metric_of

LOG = logging.getLogger("test")
RNG = np.random.default_rng(5)


def catalog(units=None, **columns):
    """Return sources with these columns; others than ra and dec are those of the plugin `demo`."""
    n = len(next(iter(columns.values())))
    own = {name if name in ("ra", "dec", "primary") else f"x_demo_{name}": values for name, values in columns.items()}
    pixels = {"x": np.arange(n), "y": 0, "x_min": 0, "x_max": 1, "y_min": 0, "y_max": 1, "n_pixels": 1}
    rows = {"source_id": np.arange(n) + 100, "tile_id": 1, **pixels, "significance": 0.0, "n_child": 0, "primary": True, "flags": 0, **own}
    made = Catalog.from_columns("source", rows)
    for name, unit in (units or {}).items():
        place = made.rows.column_names.index(f"x_demo_{name}")
        field = made.rows.schema.field(place).with_metadata({"unit": unit})
        made = Catalog("source", made.rows.set_column(place, field, made.rows.column(place)))
    return made


def points(made, **settings):
    return points_of(made, FeatureConfig(**{"columns": list(settings.pop("columns")), **settings}), LOG)


def distances(found):
    return np.sqrt(((found.values[:, None] - found.values) ** 2).sum(axis=-1))


def test_columns_are_divided_by_their_robust_spread():
    wide = np.append(RNG.normal(5e6, 3000, 999), 1e12)
    found = points(catalog(a=wide, b=RNG.normal(0, 1e-9, 1000)), columns="ab")
    inside = found.values[:999].std(axis=0)
    assert found.dimension == 2
    assert found.names == ("a", "b")
    assert np.allclose(inside, 1, atol=0.15)
    assert not found.box.any()


def test_rows_without_a_value_are_left_out_and_so_are_secondary_ones():
    a = np.array([1.0, np.nan, 3.0, np.inf, 5.0, 6.0])
    found = points(catalog(a=a, b=np.ma.MaskedArray(np.arange(6), [1, 0, 0, 0, 0, 0]), primary=[True] * 5 + [False]), columns="ab")
    assert found.rows.tolist() == [2, 4]
    assert found.total == 6


def test_a_constant_column_is_left_out_and_that_is_said(caplog):
    made = catalog(a=RNG.normal(size=50), b=np.full(50, 7.0))
    found = points(made, columns="ab")
    assert (found.names, found.values.shape, found.dimension) == (("a",), (50, 1), 1)
    assert "constant: b" in caplog.text
    with pytest.raises(DataError, match="all of the columns b are constant"):
        points(made, columns="b")


def test_integers_and_single_precision_give_the_points_that_doubles_give():
    whole = RNG.integers(-1000, 1000, 200)
    half = RNG.normal(size=200).astype(np.float32)
    exact = points(catalog(a=whole.astype(float), b=half.astype(float)), columns="ab")
    for other in (catalog(a=whole, b=half), catalog(a=whole.astype(np.int16), b=half)):
        assert np.array_equal(points(other, columns="ab").values, exact.values)


@pytest.mark.parametrize("settings", [{}, {"metric": "whitened"}, {"columns": ["ra", "dec", "a", "b"]}])
def test_points_do_not_depend_on_the_order_of_rows(settings):
    n = 501
    columns = {"a": RNG.normal(size=n), "b": RNG.normal(size=n) ** 3, "ra": RNG.uniform(350, 360, n), "dec": RNG.uniform(-5, 5, n)}
    order = RNG.permutation(n)
    settings = {"columns": "ab", **settings}
    first = points(catalog(**columns), **settings)
    second = points(catalog(**{name: values[order] for name, values in columns.items()}), **settings)
    assert np.array_equal(first.values[order], second.values)


def test_directions_do_not_feel_the_seam_nor_the_pole():
    offsets = RNG.normal(0, 0.3, (200, 2))
    here = distances(points(catalog(ra=180 + offsets[:, 0], dec=offsets[:, 1]), columns=("ra", "dec")))
    seam = distances(points(catalog(ra=offsets[:, 0] % 360, dec=offsets[:, 1]), columns=("ra", "dec")))
    assert np.allclose(here, seam, rtol=1e-6)
    radius, angle = np.hypot(*offsets.T), np.degrees(np.arctan2(*offsets.T)) % 360
    pole = points(catalog(ra=angle, dec=90 - radius), columns=("ra", "dec"))
    assert np.allclose(here, distances(pole), rtol=1e-3)
    assert (pole.dimension, pole.values.shape[1]) == (2, 3)
    assert np.isclose(np.median(here), np.median(distances(points(catalog(a=offsets[:, 0], b=offsets[:, 1]), columns="ab"))), rtol=0.15)


def test_a_declared_scale_of_a_direction_is_in_degrees():
    made = catalog(ra=np.array([359.5, 0.5, 10.0]), dec=np.zeros(3))
    for settings in ({"scales": {"ra": 0.5}}, {"scales": {"dec": 0.5}}, {"scales": {"ra": 0.5, "dec": 0.5}}):
        assert np.isclose(distances(points(made, columns=("ra", "dec"), **settings))[0, 1], 2.0, rtol=1e-4)
    assert np.isclose(distances(points(made, columns=("ra", "dec"), metric="plain"))[0, 1], 1.0, rtol=1e-4)


def test_directions_all_over_the_sky_have_a_unit_too():
    z, ra = RNG.uniform(-1, 1, 500), RNG.uniform(0, 360, 500)
    found = points(catalog(ra=ra, dec=np.degrees(np.arcsin(z))), columns=("ra", "dec"))
    assert np.allclose(np.sqrt((found.values**2).sum(axis=1)), 1)


def test_a_box_goes_round_whatever_its_origin():
    values = RNG.uniform(0, 100, (300, 3))
    first = points(catalog(a=values[:, 0], b=values[:, 1], c=values[:, 2]), columns="abc", box={"a": 100, "b": 100})
    moved = (values + np.array([73, -20, 0])) % np.array([100, 100, 1e9])
    second = points(catalog(a=moved[:, 0] - 30, b=moved[:, 1], c=moved[:, 2]), columns="abc", box={"a": 100, "b": 100})
    assert np.array_equal(first.box, second.box)
    assert first.box[2] == 0
    assert ((first.values[:, :2] >= 0) & (first.values[:, :2] < first.box[:2])).all()

    def apart(found):
        off = np.abs(found.values[:, None] - found.values)
        return np.sqrt((np.where(found.box > 0, np.minimum(off, found.box - off), off) ** 2).sum(axis=-1))

    assert np.allclose(apart(first), apart(second), atol=1e-9)
    with pytest.raises(DataError, match="'a' spans [0-9.]*, more than its period 50"):
        points(catalog(a=values[:, 0]), columns="a", box={"a": 50})


def test_a_column_that_others_determine_adds_no_dimension(caplog):
    rng = np.random.default_rng(6)
    a, b = rng.normal(5, 1e-3, 300), rng.normal(0, 1e3, 300)
    a[0] = 1e9  # which alone would make all columns look alike
    found = points(catalog(a=a, b=b, c=7 - 2 * a + 1e-6 * b, d=rng.normal(size=300)), columns="abcd")
    assert found.dimension == 3
    assert found.values.shape[1] == 4
    assert "c: constant but for outliers, or a combination of the columns before; the points count as filling 3 dimensions" in caplog.text
    assert points(catalog(a=a, b=b, c=7 - 2 * a + 1e-6 * b + rng.normal(0, 1e-6, 300)), columns="abc").dimension == 3


def test_whitening_takes_out_scales_and_correlations():
    mixed = RNG.normal(size=(4000, 3)) @ np.array([[1, 0, 0], [0.9, 0.1, 0], [100, 0, 3]]).T
    found = points(catalog(a=mixed[:, 0], b=mixed[:, 1], c=mixed[:, 2]), columns="abc", metric="whitened")
    assert np.allclose(np.cov(found.values.T), np.eye(3), atol=0.06)
    with pytest.raises(DataError, match="'c' is a combination of a, b"):
        points(catalog(a=mixed[:, 0], b=mixed[:, 1], c=mixed[:, 0] + 1e3 * mixed[:, 1]), columns="abc", metric="whitened")


def test_a_plain_metric_asks_for_scales_where_units_differ():
    made = catalog({"a": "kpc", "b": "km/s"}, a=RNG.normal(size=30), b=RNG.normal(size=30))
    with pytest.raises(DataError, match=r"a in kpc; b in km/s.*set `scales`"):
        points(made, columns="ab", metric="plain")
    with pytest.raises(DataError, match="a in no unit; b in km/s"):
        points(made, columns="ab", metric="plain", scales={"a": 2.0})
    found = points(made, columns="ab", metric="plain", scales={"a": 2.0, "b": 10.0})
    assert np.allclose(np.ptp(found.values[:, 0]), np.ptp(made.column("x_demo_a")) / 2)


def test_other_draws_become_points_of_the_same_metric():
    made = catalog(ra=RNG.uniform(10, 12, 99), dec=RNG.uniform(-1, 1, 99), a=RNG.normal(size=99))
    config = FeatureConfig(columns=["a", "ra", "dec"])
    columns = columns_of(made, config)
    metric = metric_of(columns, config, LOG)
    found = points_of(made, config, LOG)
    assert np.array_equal(metric.apply(columns.values), found.values)
    assert np.array_equal(metric.apply(columns.values[:7]), found.values[:7])
    assert found.names == ("ra", "dec", "a")


@pytest.mark.parametrize("n", [0, 1])
def test_a_catalogue_without_rows_or_with_one_gives_points(n):
    found = points(catalog(a=np.ones(n), ra=np.ones(n), dec=np.ones(n)), columns=("a", "ra", "dec"))
    assert found.values.shape == (n, 4)
    assert len(found) == n


def test_wrong_columns_are_refused_with_a_suggestion():
    made = catalog(parallax=np.arange(4.0), name=list("abcd"), ok=[True] * 4, pair=np.zeros((4, 2)))
    for name, message in (
        ("paralax", "no column 'paralax'; did you mean 'parallax'"),
        ("name", "holds text"),
        ("ok", "holds bool"),
        ("pair", "distances need numbers"),
    ):
        with pytest.raises(DataError, match=message):
            points(made, columns=[name])
    twice = made.replace(x_other_parallax=np.arange(4.0))
    with pytest.raises(DataError, match="could be x_demo_parallax or x_other_parallax"):
        points(twice, columns=["parallax"])
    assert points(twice, columns=["x_other_parallax"]).names == ("x_other_parallax",)
    with pytest.raises(DataError, match="names one column twice"):
        points(made, columns=["parallax", "x_demo_parallax"])


def test_a_catalogues_own_x_is_not_taken_for_a_pixel():
    made = catalog(x=RNG.random(20), z=RNG.random(20), ra=np.full(20, 7.0), dec=RNG.random(20))
    with pytest.raises(DataError, match="'x' could be x or x_demo_x; name one of these"):
        points(made, columns="xz")
    assert points(made, columns=["x_demo_x", "z"]).names == ("x_demo_x", "z")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": ["a", "a"]}, "twice"),
        ({"columns": ["ra", "a"]}, "together"),
        ({"columns": ["a"], "scales": {"b": 1}}, "not among `columns`"),
        ({"columns": ["a"], "scales": {"a": 0}}, "positive"),
        ({"columns": ["a"], "box": {"a": 1}, "metric": "whitened"}, "has no period"),
        ({"columns": ["a"], "scales": {"a": 1}, "metric": "whitened"}, "sets the scales itself"),
        ({"columns": ["ra", "dec"], "box": {"ra": 360}}, "by themselves"),
        ({"columns": ["ra", "dec"], "scales": {"ra": 1, "dec": 2}}, "one direction"),
        ({"columns": []}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        FeatureConfig(**settings)


def tiles(*catalogs):
    parts = {f"t{k}": made for k, made in enumerate(catalogs)}
    return Tiles(list(parts), parts.__getitem__)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RA_ICRS", "positions of all catalogues are called `ra` and `dec` here"),
        ("redshift", "no redshifts are wired; .* through catalog.match"),
        ("PMRA", "did you mean 'pmra'"),
        ("q", "there are pmra, source_id"),
    ],
)
def test_a_column_that_is_not_there_is_answered_by_what_is(name, message):
    with pytest.raises(DataError, match=message):
        points(catalog(pmra=np.arange(3.0)), columns=[name])


def test_tiles_photometry_and_redshifts_come_together():
    sources = catalog(a=np.arange(3.0))
    flux = {"band": "r", "method": "kron", "tile_id": 1, "flux": [5.0, 7.0], "flags": 0}
    photometry = Catalog.from_columns("photometry", {"source_id": [102, 100], **flux})
    redshift = {"rank": [0, 1, 0, 0], "z": [0.1, 3.0, 0.3, 0.2], "method": "m", "z_warning": 0}
    owner = np.ma.MaskedArray([100, 100, 0, 102], [0, 0, 1, 0])
    redshifts = Catalog.from_columns("redshift", {"spectrum_id": [1, 1, 2, 3], "source_id": owner, **redshift})
    joined = catalog_of(tiles(sources), tiles(photometry), tiles(redshifts))
    found = columns_of(joined, FeatureConfig(columns=["r_kron_flux", "redshift", "a"]))
    assert found.values.tolist() == [[7.0, 0.1, 0.0], [5.0, 0.2, 2.0]]
    assert found.units[0] == "nJy"
    again = Catalog.from_columns(
        "redshift",
        {
            "spectrum_id": [4, 5, 6],
            "source_id": 102,
            "rank": 0,
            "z": [0.5, 0.6, 0.7],
            "z_err": [1e-4, 1e-5, 1e-6],
            "z_warning": [0, 0, 1],
            "method": "m",
        },
    )
    both = catalog_of(tiles(sources), None, tiles(redshifts, again))
    assert both.column("redshift")[2] == 0.6  # of several, the smallest error among those without a warning
    with pytest.raises(DataError, match="source 100 is there"):
        catalog_of(tiles(sources, sources))
    with pytest.raises(DataError, match="no redshift says of which source"):
        catalog_of(tiles(sources), None, tiles(redshifts.replace(source_id=None)))
    assert len(catalog_of(tiles())) == 0
