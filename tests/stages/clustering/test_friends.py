"""Friends of friends: groups against a graph's components, conventions of boxes and surveys, and what must not matter."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from sklearn.metrics import adjusted_rand_score

from astrosurvey import Catalog
from astrosurvey.core.stage import DataError
from astrosurvey.stages.clustering.friends.lengths import comoving, covered, separation_by_distance
from astrosurvey.stages.clustering.friends.stage import FriendsOfFriends

from ..running import run, tiles_of
from .fields import catalog

PLANCK_AT_01 = 433.0
"""Comoving distance of redshift 0.1 in Mpc, with Planck18, to 1 %."""


def grouped(sources, **settings):
    """Return the tables, and the cluster of every row; -1 for none."""
    tables = run(FriendsOfFriends, settings, sources=tiles_of(t=sources))
    ids = tables["points"].rows.column("cluster_id").to_pandas()
    return tables, ids.fillna(-1).to_numpy(np.int64)


def box(n=1500, side=10.0, seed=3):
    """Return (n, 3) points of a periodic box, half of them in haloes that may lie across its sides."""
    rng = np.random.default_rng(seed)
    haloes = rng.uniform(0, side, (12, 3))
    haloes[0] = 0
    points = rng.uniform(0, side, (n, 3))
    points[: n // 2] = haloes[np.arange(n // 2) % 12] + rng.normal(size=(n // 2, 3)) * 0.1
    return np.mod(points, side)


def test_in_a_periodic_box_groups_are_components_of_the_graph_of_short_links():
    points = box()
    named = catalog(**dict(zip(("px", "py", "pz"), points.T, strict=True)))
    settings = {"columns": ["px", "py", "pz"], "box": {"px": 10.0, "py": 10.0, "pz": 10.0}, "min_members": 5}
    tables, found = grouped(named, **settings)
    links = cKDTree(points, boxsize=10.0).sparse_distance_matrix(cKDTree(points, boxsize=10.0), 0.2 * 10.0 / len(points) ** (1 / 3))
    _, label = connected_components(links, directed=False)
    label[np.bincount(label)[label] < 5] = -1
    assert adjusted_rand_score(label, found) == 1
    np.testing.assert_array_equal(label < 0, found < 0)
    assert len(tables["clusters"]) == len(set(label[label >= 0])) > 10
    assert len(set(found[: len(points) // 2 : 12])) < 4, "the halo in the corner is one group"
    scaled, _ = grouped(named, metric="scaled", **settings)
    assert scaled["clusters"].rows == tables["clusters"].rows, "one scale for all sides is none"


def test_neither_the_order_of_rows_nor_dirt_changes_groups():
    points = box()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(points))
    ids = np.arange(len(points)) + 100
    settings = {"columns": ["px", "py", "pz"], "unit": "distance", "linking_length": 0.3}
    columns = dict(zip(("px", "py", "pz"), points.T, strict=True))
    clean, found = grouped(catalog(source_id=ids, **columns), **settings)
    shuffled = {name: values[order] for name, values in columns.items()}
    again, _ = grouped(catalog(source_id=ids[order], **shuffled), **settings)
    assert again["members"].rows == clean["members"].rows
    lost = points.copy()
    lost[found < 0] = np.nan
    dirty, _ = grouped(catalog(source_id=ids, **dict(zip(columns, lost.T, strict=True))), **settings)
    assert dirty["members"].rows == clean["members"].rows
    assert len(dirty["points"]) == len(points)


def test_a_link_on_the_sky_crosses_the_seam():
    rng = np.random.default_rng(1)
    ra, dec = np.mod(rng.normal(0, 0.3, 60), 360), rng.normal(80, 0.1, 60)
    tables, found = grouped(catalog(ra=ra, dec=dec), columns=["ra", "dec"], unit="distance", linking_length=0.2)
    assert len(tables["clusters"]) == 1
    assert (found >= 0).sum() > 50
    with pytest.raises(DataError, match="set `unit` to distance"):
        grouped(catalog(ra=ra, dec=dec), columns=["ra", "dec"])


def survey(seed=5, groups=25, each=16, field=900):
    """Return ra, dec (deg), c z (km/s) and labels of groups whose motions stretch them along the line of sight, in a patch of 20 deg."""
    rng = np.random.default_rng(seed)
    n = groups * each + field
    label = np.append(np.repeat(np.arange(groups), each), np.full(field, -1))
    centre = rng.uniform([150, -10], [170, 10], (groups, 2))
    deep = 30000 * rng.uniform(0.2, 1, groups) ** (1 / 3)
    ra, dec = rng.uniform(150, 170, n), rng.uniform(-10, 10, n)
    cz = 30000 * rng.uniform(0.2, 1, n) ** (1 / 3)
    inside = label >= 0
    ra[inside] = (centre[label[inside], 0] + rng.normal(0, 0.06, inside.sum())) % 360
    dec[inside] = centre[label[inside], 1] + rng.normal(0, 0.06, inside.sum())
    cz[inside] = deep[label[inside]] + rng.normal(0, 300, inside.sum())
    return ra, dec, cz, label


def test_groups_of_a_redshift_survey_are_found_although_motions_stretch_them():
    ra, dec, cz, label = survey()
    columns = ["ra", "dec", "z"]
    sources = catalog(ra=ra, dec=dec, z=cz / 299792.458)
    stretched, found = grouped(sources, columns=columns, linking_length=0.13, line_of_sight=1.4, area=400.0)
    _, round_links = grouped(sources, columns=columns, linking_length=0.13, line_of_sight=0.13, area=400.0)
    inside = label >= 0
    assert adjusted_rand_score(label[inside], found[inside]) > 0.9
    assert adjusted_rand_score(label[inside], round_links[inside]) < 0.7
    assert (found[~inside] >= 0).mean() < 0.2
    measured, _ = grouped(sources, columns=columns, linking_length=0.13, line_of_sight=1.4)
    assert abs(len(measured["clusters"]) - len(stretched["clusters"])) <= 2


def test_a_column_in_kilometres_a_second_is_c_z():
    ra, dec, cz, _ = survey()
    settings = {"columns": ["ra", "dec", "z"], "linking_length": 1.0, "line_of_sight": 8.0, "unit": "distance"}
    wanted, _ = grouped(catalog(ra=ra, dec=dec, z=cz / 299792.458), **settings)
    sources = catalog(ra=ra, dec=dec, z=cz)
    rows, at = sources.rows, sources.rows.column_names.index("x_demo_z")
    with_unit = Catalog("source", rows.set_column(at, rows.schema.field(at).with_metadata({b"unit": b"km/s"}), rows.column(at)))
    got, _ = grouped(with_unit, **settings)
    assert got["members"].rows == wanted["members"].rows
    with pytest.raises(DataError, match="km/s"):
        grouped(sources, **settings)


def test_lengths_of_a_survey():
    from astrosurvey.stages.clustering.features import Columns

    rng = np.random.default_rng(2)
    n = 20_000
    z = 0.1 * rng.uniform(0.05, 1, n) ** (1 / 3)
    ra, dec = rng.uniform(20, 50, n), np.degrees(np.arcsin(rng.uniform(0, 0.5, n)))
    log = logging.getLogger("astrosurvey.test")
    values = np.stack([ra, dec, np.append(z[:-1], -0.001)], axis=1)
    points = comoving(Columns(("ra", "dec", "z"), ("deg", "deg", ""), values, np.arange(n), n), "Planck18", log)
    assert points.rows.tolist() == list(range(n - 1))
    distance = np.sqrt((points.values**2).sum(axis=1))
    np.testing.assert_allclose(distance.max(), PLANCK_AT_01, rtol=0.01)
    area = np.degrees(np.radians(30) * 0.5 * 180 / np.pi)
    assert covered(points.values / distance[:, None]) == pytest.approx(area, rel=0.1)
    separation = separation_by_distance(points, area, log)
    volume = np.radians(1) ** 2 * area / 3 * (PLANCK_AT_01**3) * 0.95
    np.testing.assert_allclose(separation, np.cbrt(volume / n), rtol=0.06)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_sources_make_no_group(n):
    tables, _ = grouped(catalog(px=np.arange(n) * 1.0, py=np.arange(n) * 2.0), columns=["px", "py"])
    assert len(tables["clusters"]) == 0
    assert len(tables["points"]) == n
    sky = catalog(ra=np.arange(n) * 1.0, dec=np.arange(n) * 2.0, z=np.full(n, 0.1))
    tables, _ = grouped(sky, columns=["ra", "dec", "z"], line_of_sight=1.0, area=3.0, unit="distance")
    assert len(tables["points"]) == n


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"columns": ["ra", "dec"], "line_of_sight": 1.0}, "one with the redshift"),
        ({"columns": ["ra", "dec", "z"], "line_of_sight": 1.0, "scales": {"z": 1.0}}, "leave out"),
        ({"columns": ["px"], "area": 3.0}, "set `line_of_sight`"),
    ],
)
def test_settings_that_do_not_go_together(settings, said):
    with pytest.raises(ValueError, match=said):
        FriendsOfFriends.Config(**settings)


def test_an_unknown_cosmology_is_named():
    with pytest.raises(DataError, match="Planck18"):
        grouped(catalog(ra=[1.0], dec=[2.0], z=[0.1]), columns=["ra", "dec", "z"], line_of_sight=1.0, cosmology="Plank")
