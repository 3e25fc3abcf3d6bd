"""Stars and galaxies have the magnitudes, colours, redshifts and sizes of real ones."""

import numpy as np
import pytest

from astrosurvey.stages.simulate.colours import BANDS, galaxy_flux, star_flux
from astrosurvey.stages.simulate.population import Objects, draw_galaxies, draw_stars, galaxy_counts, nanojansky, star_counts

G_BAND, R_BAND, I_BAND = (BANDS.index(b) for b in "gri")


def colour(flux, blue, red):
    return -2.5 * np.log10(flux[:, blue] / flux[:, red])


def galaxies(r, n=20_000, seed=1):
    return draw_galaxies(np.random.default_rng(seed), np.full(n, float(r)))


def test_cumulative_counts_are_those_of_deep_surveys():
    # McCracken et al. (2003) and the LSST Science Book (N(<i) = 46 per square arcmin at i = 25) bracket these
    assert 8 < galaxy_counts(0, 24.0).total / 3600 < 16
    assert 20 < galaxy_counts(0, 25.0).total / 3600 < 33
    assert 45 < galaxy_counts(0, 26.0).total / 3600 < 71
    assert 3e3 < star_counts(0, 21.0).total < 7e3


def test_drawn_magnitudes_follow_the_counts():
    counts = galaxy_counts(0, 27.0)
    r = counts.draw(np.random.default_rng(0), 100_000)
    for limit in (23.0, 25.0, 26.5):
        share = galaxy_counts(0, limit).total / counts.total
        assert np.mean(r < limit) == pytest.approx(share, abs=4.5 * np.sqrt(share * (1 - share) / 1e5) + 1e-4)


def test_templates_have_the_colours_of_nearby_galaxies():
    # Fukugita, Shimasaku & Ichikawa (1995), table 3: g'-r' of E, Sbc, Scd, Im at redshift 0
    flux = galaxy_flux(np.arange(4.0), np.zeros(4))
    assert colour(flux, G_BAND, R_BAND) == pytest.approx([0.77, 0.61, 0.46, 0.28], abs=0.06)
    assert (np.diff(colour(flux, G_BAND, R_BAND)) < 0).all()
    # the 4000 Å break passes from g to r at redshift 0.4
    red = galaxy_flux(np.zeros(3), np.array([0.1, 0.35, 0.7]))
    assert colour(red, G_BAND, R_BAND)[1] == pytest.approx(1.5, abs=0.15)
    assert colour(red, R_BAND, I_BAND)[2] > colour(red, R_BAND, I_BAND)[0] + 0.5
    # and beyond redshift 3.5 hydrogen takes the g band away
    assert colour(galaxy_flux(np.full(1, 3.0), np.full(1, 4.2)), G_BAND, R_BAND)[0] > 1.2


def test_template_between_two_lies_between_them():
    between = colour(galaxy_flux(np.array([1.0, 1.5, 2.0]), np.full(3, 0.4)), G_BAND, R_BAND)
    assert between[0] > between[1] > between[2]


def test_stars_lie_on_the_locus():
    # Covey et al. (2007): a star of g-i = 1.0 has g-r = 0.74, r-i = 0.26; an M dwarf of 2.5 has g-r = 1.4, r-i = 1.1
    flux = star_flux(np.array([1.0, 2.5]))
    assert colour(flux, G_BAND, R_BAND) == pytest.approx([0.74, 1.41], abs=0.03)
    assert colour(flux, R_BAND, I_BAND) == pytest.approx([0.26, 1.09], abs=0.03)
    stars = draw_stars(np.random.default_rng(1), np.full(5000, 20.0))
    assert stars.point[:, R_BAND] == pytest.approx(float(nanojansky(20.0)))
    found = colour(stars.point, G_BAND, I_BAND)
    assert 0.3 < np.mean(found > 1.8) < 0.7
    assert not stars.bulge.any()


@pytest.mark.parametrize(("r", "low", "high"), [(18.0, 0.10, 0.22), (21.0, 0.27, 0.42), (24.0, 0.55, 0.85), (26.0, 0.75, 1.05)])
def test_median_redshifts(r, low, high):
    assert low < np.median(galaxies(r).redshift) < high


def test_sizes_shrink_with_magnitude_and_scatter():
    for r, median in ((20.0, 0.79), (24.0, 0.27), (26.0, 0.17)):
        disk = galaxies(r)
        late = ~(disk.bulge[:, R_BAND] > 0.5 * nanojansky(r))
        assert np.median(disk.disk_radius[late]) == pytest.approx(1.05 * median, rel=0.05)
        assert np.std(np.log10(disk.disk_radius[late])) == pytest.approx(0.2, abs=0.01)


def test_fluxes_of_parts_add_up_to_the_magnitude():
    drawn = galaxies(22.5)
    assert drawn.bulge[:, R_BAND] + drawn.disk[:, R_BAND] == pytest.approx(float(nanojansky(22.5)))
    assert (drawn.bulge >= 0).all()
    assert (drawn.disk >= 0).all()
    fraction = drawn.bulge[:, R_BAND] / nanojansky(22.5)
    assert 0.1 < np.mean(fraction == 0) < 0.5
    assert 0.1 < np.mean(fraction > 0.5) < 0.3


def test_bulges_are_redder_than_disks():
    drawn = galaxies(20.0)
    both = (drawn.bulge[:, R_BAND] > 0) & (drawn.disk[:, R_BAND] > 0)
    assert np.mean(colour(drawn.bulge[both], G_BAND, R_BAND) > colour(drawn.disk[both], G_BAND, R_BAND)) > 0.85


def test_shapes_are_possible():
    drawn = galaxies(23.0)
    for ratio in (drawn.bulge_axis_ratio, drawn.disk_axis_ratio):
        assert ratio.min() >= 0.2
        assert ratio.max() <= 1.0
    assert 0 <= drawn.theta.min() <= drawn.theta.max() < np.pi
    assert drawn.redshift.min() > 0


def test_objects_can_be_joined_and_taken():
    stars = draw_stars(np.random.default_rng(1), np.array([18.0, 19.0]))
    both = Objects.concatenate([stars, galaxies(20.0, n=3)])
    assert len(both) == 5
    assert both.take(both.r < 18.5).r.tolist() == [18.0]
    assert len(draw_stars(np.random.default_rng(1), np.empty(0))) == 0
    assert len(draw_galaxies(np.random.default_rng(1), np.empty(0))) == 0
