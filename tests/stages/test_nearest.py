"""Pairs on the sky at its awkward places: against every pair's separation, calculated."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import angular_separation

from astrosurvey.kernels import crossmatch
from astrosurvey.stages.catalog.nearest import nearest, pairs

ARCSEC = 1 / 3600


def separations(ra, dec, of_ra, of_dec):
    """Return (n, m) arcsec."""
    with np.errstate(invalid="ignore"):
        return np.degrees(angular_separation(*(np.radians(a) for a in (ra[:, None], dec[:, None], of_ra, of_dec)))) * 3600


def awkward(rng, n, radius):
    """Return places around the poles, on both sides of right ascension 0, opposite to each other, in heaps, and nowhere."""
    step = radius * ARCSEC
    dec = np.concatenate([90 - step * rng.uniform(0, 3, n), step * rng.uniform(0, 3, n) - 90, *rng.normal(0, step, (2, n)), [np.nan, 1.0]])
    ra = np.concatenate([*rng.uniform(0, 360, (2, n)), rng.normal(0, step, n) % 360, (180 + rng.normal(0, step, n)), [1.0, np.nan]])
    return np.append(ra, [20.0, 20.0, 20.0]), np.append(np.clip(dec, -90, 90), [3.0, 3.0, 3.0])


@pytest.mark.parametrize("radius", [0.01, 1.0, 600.0, 3600 * 5.0])
def test_pairs_are_all_that_are_within_the_radius(radius):
    rng = np.random.default_rng(int(radius * 100))
    ra, dec = awkward(rng, 60, radius)
    of_ra, of_dec = awkward(rng, 50, radius)
    apart = separations(ra, dec, of_ra, of_dec)
    i, j = np.nonzero(apart <= radius)
    assert len(i) > 100
    found = pairs(ra, dec, of_ra, of_dec, radius)
    row = np.repeat(np.arange(len(ra)), np.diff(found.first))
    assert set(zip(row.tolist(), found.other.tolist(), strict=True)) == set(zip(i.tolist(), j.tolist(), strict=True))
    np.testing.assert_allclose(found.separation, apart[row, found.other], rtol=1e-7, atol=1e-9)
    later = (np.diff(row) > 0) | (np.diff(found.separation) > 0) | ((np.diff(found.separation) == 0) & (np.diff(found.other) > 0))
    assert later.all(), "the nearest first, equally near ones in the order of the others"


@pytest.mark.parametrize("radius", [0.01, 1.0, 600.0, 3600 * 5.0])
@pytest.mark.parametrize("counted", [True, False])
def test_nearest_is_the_first_of_all_pairs(radius, counted):
    rng = np.random.default_rng(int(radius * 10))
    here, there = awkward(rng, 70, radius), awkward(rng, 60, radius)
    every, found = pairs(*here, *there, radius), nearest(*here, *there, radius, counted)
    near = np.diff(every.first)
    some, first = near > 0, every.first[:-1][near > 0]
    assert 100 < some.sum() < len(some)
    np.testing.assert_array_equal(found.index[some], every.other[first])
    np.testing.assert_array_equal(found.separation[some], every.separation[first])
    assert (found.index[~some] == -1).all()
    assert np.isnan(found.separation[~some]).all()
    np.testing.assert_array_equal(found.number, near if counted else some)


def test_errors_limit_each_pair_by_itself():
    rng = np.random.default_rng(2)
    ra, dec = rng.normal(0, ARCSEC, 200) % 360, rng.normal(0, ARCSEC, 200)
    spread, of_spread = rng.uniform(0, 0.3, 200) ** 2, rng.uniform(0, 0.3, 200) ** 2
    of_spread[:5] = 0.0
    apart = separations(ra, dec, ra[::-1], dec[::-1])
    found = pairs(ra, dec, ra[::-1].copy(), dec[::-1].copy(), 0.25, spread, of_spread)
    wanted = (apart <= 0.25) & (apart**2 <= spread[:, None] + of_spread)
    np.testing.assert_array_equal(np.diff(found.first), wanted.sum(axis=1))
    assert 200 < wanted.sum() < (apart <= 0.25).sum() < apart.size


def test_many_pairs_of_one_place_are_sorted_and_counted():
    rng = np.random.default_rng(3)
    dec = rng.normal(0, 1, 5000)
    dec[1000:1100] = dec[0]
    found = pairs(np.zeros(1), np.zeros(1), np.zeros(5000), dec, 36000.0)
    np.testing.assert_array_equal(found.other, np.lexsort([np.arange(5000), np.abs(dec)]))
    one = nearest(np.zeros(1), np.zeros(1), np.zeros(5000), dec, 3600.0)
    assert one.number[0] == (np.abs(dec) <= 1).sum()
    unlimited = np.full(1, np.inf), np.full(5000, np.inf)
    places = np.array([[1.0, 0.0, 0.0]]), np.stack([np.cos(np.radians(dec)), 0 * dec, np.sin(np.radians(dec))], axis=1)
    assert crossmatch.count(*places, 2.0, *unlimited).tolist() == [5000]


@pytest.mark.parametrize(
    ("points", "radius", "spread", "word"),
    [
        (np.full((2, 3), np.nan), 1.0, np.zeros(2), "finite"),
        (np.zeros((2, 2)), 1.0, np.zeros(2), "columns"),
        (np.zeros((2, 3)), -1.0, np.zeros(2), "negative"),
        (np.zeros((2, 3)), 1.0, np.zeros(3), "spread"),
    ],
)
def test_wrong_arguments_are_refused(points, radius, spread, word):
    with pytest.raises(ValueError, match=word):
        crossmatch.cpu(points, np.zeros((1, 3)), radius, spread, np.zeros(1))
