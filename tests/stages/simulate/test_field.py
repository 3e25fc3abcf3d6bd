"""`simulate.field`: the statistics that its settings promise, and the truth about each pixel."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from astrosurvey.core.stage import DataError
from astrosurvey.core.tiles import Box
from astrosurvey.stages.simulate.field import SimulateField
from astrosurvey.stages.simulate.field_draw import draw_field, power_law
from astrosurvey.stages.simulate.field_image import compose, field, noise
from astrosurvey.stages.simulate.real import read_templates
from astrosurvey.stages.simulate.render import Bodies, Moffat, stamps
from tests.stages.running import a_tile, run


def tile(ny, nx=None, x0=0, y0=0):
    box = Box(x0, y0, x0 + (nx or ny), y0 + ny)
    return a_tile(window=box, core=box)


def made(shape=256, seed=1, **settings):
    return field(SimulateField.Config(**settings), tile(shape), np.random.default_rng(seed))


def test_counts_follow_the_density_and_the_power_law():
    n = 20_000
    flux = power_law(np.random.default_rng(2), n, 100.0, 1e5, 0.9)
    assert flux.min() >= 100.0
    assert flux.max() <= 1e5
    for f in (200.0, 1000.0, 10_000.0):
        rarest = 1e-3**0.9
        expected = ((100.0 / f) ** 0.9 - rarest) / (1 - rarest)
        assert np.mean(flux > f) == pytest.approx(expected, abs=4 * np.sqrt(expected / n))
    counts = [
        len(draw_field(np.random.default_rng(s), SimulateField.Config(density=1000.0, pairs=100.0), (500, 500)).pair) for s in range(40)
    ]
    assert np.mean(counts) == pytest.approx(300.0, abs=4 * np.sqrt(300 / 40) * 1.2)


def test_pairs_have_their_separation_and_flux_ratio():
    config = SimulateField.Config(
        density=0.0, pairs=2000.0, pair_unit="seeing", pair_separation=(1.0, 2.0), pair_ratio=(0.2, 0.5), seeing=3.0
    )
    drawn = draw_field(np.random.default_rng(3), config, (400, 400))
    numbers = np.unique(drawn.pair)
    assert len(numbers) > 200
    for number in numbers:
        first, second = np.flatnonzero(drawn.pair == number)
        apart = np.hypot(drawn.bodies.x[first] - drawn.bodies.x[second], drawn.bodies.y[first] - drawn.bodies.y[second])
        assert 3.0 - 1e-9 <= apart <= 6.0 + 1e-9
        assert 0.2 <= drawn.bodies.flux[second, 0] / drawn.bodies.flux[first, 0] <= 0.5


def test_the_image_is_sky_light_and_noise():
    result = made(256, noise=2.0, sky=50.0, sky_gradient=0.4, density=300.0)
    config = SimulateField.Config(noise=2.0, sky=50.0, sky_gradient=0.4, density=300.0)
    light, _, _, _ = compose(result.field, (256, 256), config)
    residual = result.image.data - light
    y, x = np.mgrid[:256, :256] / 256 + 0.5 / 256 - 0.5
    plane = 50.0 * (1 + 0.4 * (x * np.cos(result.field.direction) + y * np.sin(result.field.direction)))
    rest = residual[0] - plane
    assert rest.std() == pytest.approx(2.0, rel=0.015)
    assert abs(rest.mean()) < 5 * 2.0 / 256
    assert (result.image.variance == 4.0).all()
    assert np.array_equal(result.image.data, made(256, noise=2.0, sky=50.0, sky_gradient=0.4, density=300.0).image.data)


def test_correlated_noise_keeps_its_variance_in_each_pixel():
    values = noise(np.random.default_rng(4), (1, 512, 512), 3.0, 1.0)
    assert values.std() == pytest.approx(3.0, rel=0.02)
    # Two pixels sqrt(2 ln 2) 2 sigma apart share half: exp(-d^2 / 4 sigma^2) of the variance.
    shared = np.mean(values[0, :, 2:] * values[0, :, :-2]) / 9.0
    assert shared == pytest.approx(np.exp(-1.0), abs=0.03)


def test_the_segmentation_is_the_brightest_object_of_each_pixel():
    result = made(128, density=2000.0, pairs=500.0, bands=("g", "r"))
    light = np.zeros((len(result.field.bodies), 128, 128))
    from astrosurvey.stages.simulate.render import render

    for which, x0, y0, images in render(result.field.bodies, result.field.psf, np.full(2, 5.0)):
        for i, x, y, stamp in zip(which, x0, y0, images, strict=True):
            padded = np.pad(stamp.sum(axis=0), 300)
            light[i] = padded[300 - y : 428 - y, 300 - x : 428 - x]
    expected = np.where(light.max(axis=0) > 0.5 * 5.0 * np.sqrt(2), light.argmax(axis=0) + 1, 0)
    assert np.mean(result.segmentation.labels != expected) < 1e-4
    assert (expected > 0).any()


def test_truth_says_what_is_there():
    result = made(256, bands=("g", "r"), pairs=400.0)
    truth = result.truth
    n = len(result.field.bodies)
    assert len(truth.rows) == 2 * n
    assert (np.diff(truth.column("flux").reshape(n, 2).prod(axis=1)) <= 1e-6 * truth.column("flux").max() ** 2).all()
    star = truth.column("object_type") == "star"
    assert np.isnan(truth.column("half_light_radius")[star]).all()
    assert np.isfinite(truth.column("n_sersic")[~star]).all()
    assert 0.2 < star.mean() < 0.4
    pair = truth.rows.column("pair_id").to_numpy(zero_copy_only=False)
    ids, counts = np.unique(pair[np.isfinite(pair)], return_counts=True)
    assert (counts == 4).all()
    assert set(ids) <= set(truth.column("truth_id"))
    snr = truth.column("snr").astype(float)
    points = np.flatnonzero(star & (truth.column("band") == "r"))
    # Of a point source it is flux times the root of the sum of the squared PSF, over the noise.
    sharp = np.sqrt(np.sum(result.image.psf[1].astype(float) ** 2))
    np.testing.assert_allclose(snr[points], truth.column("flux")[points] * sharp / 5.0, rtol=2e-3)


def test_a_range_is_drawn_anew_for_each_tile():
    widths = [made(32, seed, seeing=(2.4, 6.5)).field.psf.fwhm[0] for seed in range(30)]
    assert 2.4 <= min(widths) < 3.5
    assert 5.5 < max(widths) <= 6.5


@pytest.mark.parametrize(("ny", "nx"), [(1, 40), (40, 1), (1, 1), (7, 300)])
def test_odd_shapes(ny, nx):
    settings = {"density": 20_000.0, "pairs": 5000.0}
    result = run(SimulateField, settings, tile=tile(ny, nx))
    assert result["image"].data.shape == (1, ny, nx)
    assert result["segmentation"].labels.shape == (ny, nx)
    x, y = result["truth"].column("x"), result["truth"].column("y")
    assert ((x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)).all()


def test_tiles_own_their_objects_on_one_grid():
    left, right = tile(64), tile(64, x0=64)
    config = SimulateField.Config(density=5000.0)
    one, two = (field(config, t, np.random.default_rng(5)) for t in (left, right))
    assert one.truth.column("primary").all()
    assert two.truth.column("primary").all()
    ra = one.image.wcs.pixel_to_world_values(64.0, 10.0)
    np.testing.assert_allclose(ra, two.image.wcs.pixel_to_world_values(0.0, 10.0), rtol=0, atol=1e-9)


def test_wrong_settings_are_told():
    for wrong in ({"seeing": (5.0, 3.0)}, {"seeing": 0.0}, {"psf_beta": 1.0}, {"density": -1.0}, {"pair_ratio": (1.0, 0.1)}):
        with pytest.raises(ValidationError):
            SimulateField.Config(**wrong)
    with pytest.raises(DataError, match="size: 1024"):
        run(SimulateField, tile=a_tile())


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    """A FITS file of ten Gaussian galaxies, 2 to 1, with noise around them; the first HDU is the narrowest."""
    from astropy.io import fits

    path = tmp_path_factory.mktemp("real") / "galaxies.fits"
    rng = np.random.default_rng(9)
    y, x = np.mgrid[:60, :64]
    hdus = []
    for i in range(10):
        sigma = 4.0 + 0.2 * i
        light = np.exp(-0.5 * (((x - 33.3) / sigma) ** 2 + ((y - 28.6) / (0.5 * sigma)) ** 2))
        stamp = (0.3 + light + rng.normal(0, 0.003, light.shape)).astype(np.float32)
        hdus.append(fits.PrimaryHDU(stamp) if i == 0 else fits.ImageHDU(stamp))
    fits.HDUList(hdus).writeto(path)
    return str(path)


def test_a_real_galaxy_is_shrunk_turned_and_seen_through_the_psf(galaxies):
    templates = read_templates(galaxies, "all")
    assert len(templates) == 10
    # Half of the light of an elliptical Gaussian of axes s and s / 2 lies within 0.863 s of the centre (numerical integral).
    assert templates.half_light[0] == pytest.approx(0.863 * 4.0, rel=0.03)
    theta, half_light = 0.6, 2.0
    body = Bodies(
        *(np.array([v]) for v in (32.2, 31.7)),
        np.array([[500.0]]),
        np.array([half_light]),
        *np.ones((2, 1)),
        np.array([theta]),
        np.array([0]),
    )
    psf = Moffat(4.0, np.array([3.0]), np.zeros(1), np.zeros(1))
    image = stamps(body, psf, 64, templates)[0, 0].astype(float)
    star = stamps(replace(body, half_light=np.zeros(1), template=np.array([-1])), psf, 64)[0, 0].astype(float)
    assert image.sum() == pytest.approx(500.0, rel=1e-4)
    y, x = np.mgrid[:64, :64]
    dx, dy = x - 32.2, y - 31.7
    assert (dx * image).sum() / 500 == pytest.approx(0.0, abs=0.02)
    assert (dy * image).sum() / 500 == pytest.approx(0.0, abs=0.02)
    near = np.hypot(dx, dy) < 15
    moments = [(w * (image - star))[near].sum() / 500 for w in (dx * dx, dx * dy, dy * dy)]
    major = (half_light / templates.half_light[0] * 4.0) ** 2
    c, s = np.cos(theta), np.sin(theta)
    expected = [major * (c * c + s * s / 4), major * c * s * 0.75, major * (s * s + c * c / 4)]
    np.testing.assert_allclose(moments, expected, atol=0.06 * major)


def test_held_out_stamps_are_kept_apart(galaxies):
    training, held_out = read_templates(galaxies, "training"), read_templates(galaxies, "held out")
    assert (len(training), len(held_out)) == (8, 2)
    everything = read_templates(galaxies, "all")
    np.testing.assert_array_equal(held_out.half_light, everything.half_light[[5, 6]])


def test_real_galaxies_are_told_by_the_truth(galaxies):
    stage = SimulateField(SimulateField.Config(real_galaxies=galaxies, real_fraction=0.5, density=3000.0))
    from tests.stages.running import context

    where = context(tile(128))
    stage.setup(where)
    made = stage.run(where)
    truth = made["truth"]
    truth.check()
    galaxy = truth.column("object_type") == "galaxy"
    assert np.isfinite(truth.column("half_light_radius")[galaxy]).all()
    assert 0.2 < np.mean(np.isnan(truth.column("n_sersic")[galaxy])) < 0.8


def test_a_file_without_galaxies_is_told(tmp_path):
    from astropy.io import fits

    fits.PrimaryHDU(np.zeros((40, 40), np.float32)).writeto(tmp_path / "none.fits")
    with pytest.raises(DataError, match="holds no stamp"):
        read_templates(str(tmp_path / "none.fits"), "all")


@pytest.mark.real
def test_the_galaxies_of_cosmos(real_data):
    templates = read_templates(str(real_data / "images" / "cosmos_real_galaxy_images_extension.fits"), "all")
    assert len(templates) == 69, "one of the 70 is larger than the grid holds"
    assert (templates.half_light > 1.5).all()
    assert (templates.half_light < 30).all()
