"""Simulators of stars, gas and galaxies: limits that are known in closed form, and what the parameters should do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrosurvey import DataError
from astrosurvey.products import Observations
from astrosurvey.stages.sbi.simulators import enrichment
from astrosurvey.stages.sbi.simulators.enrichment import Enrichment
from astrosurvey.stages.sbi.simulators.lightcone import LightCone, wave_numbers
from astrosurvey.stages.sbi.simulators.sed import SimulateSed
from astrosurvey.stages.sbi.simulators.stream import Stream

from ..running import run

ALL = [Stream, Enrichment, LightCone, SimulateSed]


@pytest.mark.parametrize("simulator", ALL, ids=lambda cls: cls.name)
def test_no_draw_of_the_usual_prior_fails(simulator):
    theta = simulator.usual_prior().draw(np.random.default_rng(1), 40)
    assert np.isfinite(simulator().draw(theta, 1)).all()


class TestEnrichment:
    THETA = np.array([[1.0, 1.0, 1.0, 2.5, 6.0]])

    def test_equilibrium_is_that_of_the_paper(self):
        """Weinberg, Andrews & Freudenburg (2017), equations 28 to 30: abundances at late times under an exponential history."""
        oxygen, iron = enrichment.tracks(self.THETA, np.linspace(0, 60, 2001))
        retained = 1 + 2.5 - enrichment.RECYCLED - 1 / 6
        assert np.isclose(oxygen[0, -1], enrichment.OXYGEN / retained, rtol=1e-6)
        ia = enrichment.IRON_IA * 6 / (6 - enrichment.IA_TIME) * np.exp(enrichment.DELAY / 6)
        assert np.isclose(iron[0, -1], (enrichment.IRON + ia) / retained, rtol=1e-3)

    def test_steps_do_not_matter(self):
        coarse = enrichment.tracks(self.THETA, np.linspace(0, 12.5, 241))
        fine = enrichment.tracks(self.THETA, np.linspace(0, 12.5, 2401))
        assert np.allclose(coarse[0], fine[0][:, ::10], rtol=1e-6)
        assert np.allclose(coarse[1][:, 24:], fine[1][:, 240::10], rtol=2e-3)

    def test_stars_show_the_knee(self):
        stars = Enrichment(Enrichment.Config(data="stars", errors=(0.0, 0.0))).draw(self.THETA, 2)[0]
        poor, rich = stars[:, 0] < -1, stars[:, 0] > -0.2
        assert np.median(stars[poor, 1]) > 0.3
        assert np.median(stars[rich, 1]) < 0.15
        counts = Enrichment(Enrichment.Config(stars=50)).draw(self.THETA, 2)
        assert counts.shape == (1, 108)
        assert counts.sum() == 50

    def test_simulations_may_have_different_numbers_of_stars(self):
        theta = np.tile(self.THETA, (400, 1))
        all_there, some, counted = (
            Enrichment(Enrichment.Config(stars=20, **more)).draw(theta, 3)
            for more in ({"data": "stars"}, {"data": "stars", "fewest": 5}, {"fewest": 5})
        )
        there = np.isfinite(some).all(axis=2)
        np.testing.assert_array_equal(some[there], all_there[there])
        np.testing.assert_array_equal(np.unique(there.sum(axis=1)), np.arange(5, 21))
        np.testing.assert_array_equal(counted.sum(axis=1), there.sum(axis=1))
        with pytest.raises(ValueError, match="`fewest` is 30"):
            Enrichment.Config(stars=20, fewest=30)


class TestStream:
    def test_a_subhalo_tears_a_gap_where_it_passed(self):
        stage = Stream(Stream.Config(stars=20_000))
        quiet = np.array([4, 0.6, 0.0, 0.8, 8, 0.01])
        torn, whole = (stage.draw(np.tile(np.where(np.arange(6) == 2, mass, quiet), (4, 1)), 3).mean(axis=0) for mass in (7.5, 0.0))
        ratio = torn / np.maximum(whole, 1)
        assert ratio[50:56].min() < 0.5  # 10 to 16 deg: it passed at 8, and the stream has grown since
        assert 0.8 < ratio[25:38].mean() < 1.2  # the other arm
        assert ratio[60:66].mean() > 1.5

    def test_kicks_are_those_of_a_plummer_sphere(self):
        """Against the velocity summed up along the straight path, Erkal & Belokurov (2015), equation 2."""
        stage = Stream()
        mass, along = 1e8, np.array([0.5, 2.0, -3.0])
        time = np.linspace(-1, 1, 400_001)[:, None]  # kpc / (km/s)
        distance = stage.config.impact**2 + 1.62**2 + (stage.config.speed * time) ** 2 + along**2
        pull = -4.30091e-6 * mass * along / distance**1.5
        assert np.allclose(stage.kick(along, np.array(mass)), pull.sum(axis=0) * (time[1] - time[0]), rtol=1e-3)

    def test_older_and_hotter_streams_are_longer_and_fields_are_even(self):
        def spread(theta):
            counts = Stream(Stream.Config(stars=5000)).draw(np.array([theta]), 1)[0]
            return np.sqrt(np.average((np.arange(80) - 39.5) ** 2, weights=counts))

        assert spread([2, 0.5, 0, 0.5, 8, 0.01]) < spread([4, 0.5, 0, 0.5, 8, 0.01]) < spread([4, 0.7, 0, 0.5, 8, 0.01])
        field = Stream(Stream.Config(stars=1e-9)).draw(np.tile([3, 0.5, 7, 0.5, 8, 10.0], (50, 1)), 1)
        assert abs(field.mean() - 10) < 0.3
        assert abs(field.var() - 10) < 1


class TestLightCone:
    THETA = np.tile([8.0, -1.5, 25.0], (60, 1))

    def test_powers_are_those_of_the_parameters(self):
        stage = LightCone(LightCone.Config(shape=(8, 8, 8)))
        data = stage.draw(self.THETA, 1).astype(float)
        power = (np.abs(np.fft.fftn(data, axes=(1, 2, 3))) ** 2 / 512).mean(axis=0)
        k = wave_numbers((8, 8, 8))
        k[0, 0, 0] = 1
        ratio = power / (64 * k**-1.5 + 25)
        ratio[0, 0, 0] = 1
        assert abs(ratio.mean() - 1) < 0.03
        assert ratio.max() < 2.2
        assert abs(data.mean() - 25) < 0.15

    def test_the_likelihood_is_that_of_the_covariance(self):
        stage = LightCone(LightCone.Config(shape=(3, 2, 4)))
        theta = np.array([[5.0, -1.0, 20.0], [7.0, -0.5, 22.0]])
        data = stage.draw(theta[:1], 1).astype(float)
        power = np.where((k := wave_numbers((3, 2, 4))) > 0, k, 1.0)
        from scipy.stats import multivariate_normal

        for row, found in zip(theta, stage.log_likelihood(theta, data[0]), strict=True):
            spectrum = np.where(k > 0, row[0] ** 2 * power ** row[1], 0) + 25
            unit = np.fft.fftn(np.eye(24).reshape(24, 3, 2, 4), axes=(1, 2, 3)).reshape(24, 24) / np.sqrt(24)
            covariance = (unit @ np.diag(spectrum.ravel()) @ unit.conj().T).real
            assert np.isclose(found, multivariate_normal(np.full(24, row[2]), covariance).logpdf(data[0].ravel()))
        assert np.allclose(stage.log_likelihood(theta[:1], data), stage.log_likelihood(theta[:1], data[0]))

    def test_the_reference_covers_the_truth(self):
        """Over forty light-cones, how far the truth is from the mean of its exact posterior, in its standard deviations."""
        stage, rng = LightCone(LightCone.Config(shape=(8, 8, 8))), np.random.default_rng(0)
        theta = stage.usual_prior().draw(rng, 40)
        z = []
        for truth, data in zip(theta, stage.draw(theta, 2).astype(float), strict=True):
            draws = stage.reference(data, 300, rng)
            z.append((draws.mean(axis=0) - truth) / draws.std(axis=0))
        assert np.all(np.abs(np.mean(z, axis=0)) < 3.5 / np.sqrt(40))
        assert np.all(np.abs(np.std(z, axis=0) - 1) < 0.35)

    def test_half_precision_is_half_the_space(self):
        settings, prior = {"shape": [4, 4, 4]}, LightCone.usual_prior()
        samples = prior.samples(prior.draw(np.random.default_rng(0), 5))
        half, whole = (run(LightCone, settings | {"half": on}, parameters=samples)["observations"] for on in (True, False))
        assert half.data.dtype == np.float16
        assert np.array_equal(half.data, whole.data.astype(np.float16))

    def test_other_fields_have_no_likelihood(self):
        for field in ("lognormal", "bubbles"):
            stage = LightCone(LightCone.Config(field=field, noise=0.0, shape=(16, 8, 8), ionised=(0.0, 0.5)))
            data = stage.draw(self.THETA[:20], 1)
            assert data.min() >= 0
            assert (data == 0).mean(axis=(0, 2, 3)).round(2).tolist() == (
                [0] * 16 if field == "lognormal" else pytest.approx(np.linspace(0, 0.5, 16), abs=0.02)
            )
            with pytest.raises(DataError, match="field: gaussian"):
                stage.log_likelihood(self.THETA[:20], data)


class TestSed:
    @pytest.mark.parametrize("scatter", [0.0, 0.05, 0.3])
    def test_the_likelihood_integrates_over_the_scatter(self, scatter):
        """Against a sum over a fine grid, from faint galaxies to bright ones, and data far off the model."""
        stage = SimulateSed(SimulateSed.Config(bands=["r"], scatter=scatter))
        theta = stage.usual_prior().draw(np.random.default_rng(0), 40)
        data = stage.draw(theta, 1).astype(float)
        data[::4, 0] *= 1.2
        flux, sigma, model = data[:, :1], data[:, 1:], stage.fluxes(theta)
        unit = np.maximum(0.4 * np.log(10) * scatter, 1e-9)
        middle = np.clip(np.log(np.maximum(flux / model, 1e-9)) / unit, -9, 9)  # where a bright galaxy's scatter must be
        near = middle + np.linspace(-12, 12, 4001) * np.minimum(sigma / (unit * np.abs(flux)), 1)
        grid = np.sort(np.concatenate([np.broadcast_to(np.linspace(-9, 9, 8001), (40, 8001)), near], axis=1), axis=1)
        height = np.exp(-0.5 * grid**2 - 0.5 * ((flux - model * np.exp(0.4 * np.log(10) * scatter * grid)) / sigma) ** 2)
        chance = np.trapezoid(height, grid, axis=1)
        known = chance > 1e-200
        wanted = np.log(chance / (2 * np.pi * sigma[:, 0]), where=known, out=np.zeros(40))[known]
        assert known.sum() > 25
        assert np.allclose(stage.log_likelihood(theta, data)[known], wanted, atol=1e-3)

    def test_fluxes_go_with_mass_and_distance(self):
        stage = SimulateSed(SimulateSed.Config(bands=["g", "r"]))
        flux = stage.fluxes(np.array([[0.1, 10, 1.5], [0.1, 11, 1.5], [0.3, 10, 1.5], [0.1, 10, 0.0]]))
        assert np.allclose(flux[1] / flux[0], 10)
        assert np.all(flux[2] < flux[0] / 8)
        magnitude = 31.4 - 2.5 * np.log10(flux)
        assert magnitude[3, 0] - magnitude[3, 1] > magnitude[0, 0] - magnitude[0, 1] + 0.2
        # An elliptical of 10^10.8 solar masses, about L*, has M_r = -21.3 at rest (Bell et al. 2003): 16.7 at a redshift of 0.09.
        assert abs(31.4 - 2.5 * np.log10(stage.fluxes(np.array([[0.09, 10.8, 0.0]]))[0, 1]) - 16.9) < 0.5

    def test_errors_are_those_of_the_depth_or_of_the_catalogue(self):
        config = {"bands": ["g", "r"], "depth": {"g": 26.0, "r": 25.0}, "method": "kron", "scatter": 0.0}
        stage = SimulateSed(SimulateSed.Config(**config))
        theta = stage.usual_prior().draw(np.random.default_rng(0), 500)
        data = stage.draw(theta, 1).astype(float)
        assert np.allclose(np.median(data[:, 2:], axis=0), 10 ** (0.4 * (31.4 - np.array([26, 25]))) / 5, rtol=0.02)
        z = (data[:, :2] - stage.fluxes(theta)) / data[:, 2:]
        assert abs(z.std() - 1) < 0.1
        errors = np.array([[np.nan, 1], [3, 4], [5, 6], [-1, 9]], np.float32)
        seen = Observations(errors, np.arange(4), "source", ("r_kron_flux_err", "g_kron_flux_err"))
        made = run(SimulateSed, config, parameters=stage.usual_prior().samples(theta), observations=seen)["observations"]
        assert made.names == ("g_kron_flux", "r_kron_flux", "g_kron_flux_err", "r_kron_flux_err")
        assert made.units == ("nJy",) * 4
        with pytest.raises(DataError, match="'r_kron_flux_err' is in 'uJy'"):
            run(SimulateSed, config, parameters=made.parameters, observations=replace(seen, units=("uJy", "nJy")))
        assert {tuple(row) for row in made.data[:, 2:].tolist()} == {(4, 3), (6, 5)}
        with pytest.raises(DataError, match="no column 'g_kron_flux_err'"):
            run(SimulateSed, config, parameters=made.parameters, observations=replace(seen, names=("r_kron_flux_err", "x")))
        with pytest.raises(DataError, match="no source has an error in all of g, r"):
            run(SimulateSed, config, parameters=made.parameters, observations=replace(seen, data=errors * np.float32("nan")))
