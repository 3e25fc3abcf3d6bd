"""photometry.total and photometry.forced: known fluxes, calibrated errors, other images, and bad ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from astrosurvey.catalog.flags import PIXEL, SOURCE
from astrosurvey.core.stage import DataError
from astrosurvey.products import Catalog, Fractions, Image, Segmentation
from astrosurvey.stages.photometry import profiles
from astrosurvey.stages.photometry.frame import frame
from astrosurvey.stages.photometry.model_stage import ForcedPhotometry, TotalPhotometry
from astrosurvey.stages.photometry.noise import noise_factor
from astrosurvey.stages.photometry.stage import AperturePhotometry
from astrosurvey.stages.simulate.profiles import sersic_enclosed
from astrosurvey.testing import make_image

from .running import run

SIGMA = 1.7
NOISE = 2.0


def psf(sigma=SIGMA, half=12):
    steps = np.arange(-half, half + 1)
    stamp = np.exp(-0.5 * (steps**2 + steps[:, None] ** 2) / sigma**2)
    return (stamp / stamp.sum()).astype(np.float32)


def gaussian(shape, x, y, flux, xx, xy, yy):
    """A Gaussian galaxy: Sérsic with n = 0.5, whose convolution with a Gaussian PSF is exact."""
    c = np.linalg.inv([[xx + SIGMA**2, xy], [xy, yy + SIGMA**2]])
    v, u = np.mgrid[: shape[0], : shape[1]] - np.array([y, x])[:, None, None]
    return flux * np.sqrt(np.linalg.det(c)) / (2 * np.pi) * np.exp(-0.5 * (c[0, 0] * u * u + 2 * c[0, 1] * u * v + c[1, 1] * v * v))


def field(objects, shape=(160, 160), seed=1, noise=NOISE):
    """Return an image of (x, y, flux, xx, xy, yy), its segmentation and its sources, each a pixel off."""
    light = np.sum([gaussian(shape, *o) for o in objects], 0)
    data = (light + np.random.default_rng(seed).normal(0, noise, shape)).astype(np.float32)[None]
    image = Image(
        data=data, bands=("r",), variance=np.full(data.shape, noise**2, np.float32), mask=np.zeros(data.shape, np.int32), psf=psf()[None]
    )
    each = np.array([gaussian(shape, *o) for o in objects])
    labels = np.where(light > 1.5 * noise, each.argmax(0) + 1, 0).astype(np.int32)
    n = np.bincount(labels.ravel(), minlength=len(objects) + 1)[1:]
    assert (n > 4).all()
    return image, Segmentation(labels), sources([o[0] + 0.4 for o in objects], [o[1] - 0.3 for o in objects], n)


def sources(x, y, n_pixels=30, **more):
    x, y = np.asarray(x, float), np.asarray(y, float)
    columns = {"source_id": np.arange(len(x)) + 1, "tile_id": 7, "x": x, "y": y, "n_pixels": n_pixels, "significance": 9.0, "n_child": 0}
    boxes = {"x_min": 0, "x_max": 1, "y_min": 0, "y_max": 1, "x_var": 0.5, "y_var": 0.5, "xy_cov": 0.0, "primary": True, "flags": 0}
    return Catalog.from_columns("source", {**columns, **boxes, "ra": np.nan, "dec": np.nan, **more})


def lattice(flux, **shape):
    steps = np.arange(20, 150, 30)
    rng = np.random.default_rng(5)
    x, y = (g.ravel() + rng.uniform(-0.5, 0.5, g.size) for g in np.meshgrid(steps, steps))
    form = (shape.get("xx", 0.0), shape.get("xy", 0.0), shape.get("yy", 0.0))
    return [(a, b, flux, *form) for a, b in zip(x, y, strict=True)]


def measured(image, segmentation, found, fractions=None, **settings):
    out = run(TotalPhotometry, settings, image=image, segmentation=segmentation, sources=found, fractions=fractions)
    rows = out["photometry"]
    total = rows.column("method") == "total"
    return (
        out["sources"],
        {
            name: rows.column(name)[total]
            for name in (
                "flux",
                "flux_err",
                "half_light_radius",
                "semi_major",
                "semi_minor",
                "theta",
                "flags",
                "masked_fraction",
                "sersic_radius",
            )
        },
        rows,
    )


def test_transform_of_an_exponential_is_known():
    start, values = profiles.sersic_transform(1.0)
    k = np.exp(start + profiles.PER_WAVE * profiles.STEP * np.arange(len(values)))
    near = k < 20
    np.testing.assert_allclose(values[near], ((1 + (k / 1.6783469900166605) ** 2) ** -1.5)[near], rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("n", [0.5, 1.3, 4.0])
def test_growth_of_a_large_galaxy_is_that_of_its_profile(n):
    radius = 30.0
    nodes = 60
    models = profiles.build(psf(1.0), 1.0, 1.2, nodes, np.array([radius]))
    which = 1 + profiles.INDICES.index(n)
    at = profiles.node_radii(1.2, np.arange(nodes))
    here = (at > 8) & (at < 150)
    np.testing.assert_allclose(models.growth[0, here, which], sersic_enclosed(at[here] / radius, n), atol=0.01)
    assert models.half_light[0, which] == pytest.approx(radius, rel=0.02)


def test_models_are_what_a_stretched_galaxy_shows():
    q, size = 0.5, 4.0 * profiles.HALF_LIGHT_PER_SIGMA
    seen = np.sqrt(((4 * q) ** 2 + SIGMA**2) / (4**2 + SIGMA**2))
    ratio = int(np.argmin(np.abs(np.array(profiles.AXIS_RATIOS) - seen)))
    models = profiles.build(psf(), SIGMA**2, 2.0, 24, np.array([size]))
    at = profiles.node_radii(2.0, np.arange(24))
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x, y = at[:, None] * np.cos(angle), at[:, None] * np.sin(angle) * profiles.AXIS_RATIOS[ratio]
    xx, yy = 4**2 + SIGMA**2, (4**2 + SIGMA**2) * profiles.AXIS_RATIOS[ratio] ** 2
    exact = (np.exp(-0.5 * (x**2 / xx + y**2 / yy)) / (2 * np.pi * np.sqrt(xx * yy))).mean(1)
    np.testing.assert_allclose(models.values[ratio, :, 1], exact, rtol=0.02, atol=exact.max() * 0.003)


@pytest.mark.parametrize(("flux", "shape"), [(4000.0, {}), (8000.0, {"xx": 9.0, "yy": 9.0}), (8000.0, {"xx": 12.0, "xy": 5.0, "yy": 6.0})])
def test_bright_sources_keep_their_flux_place_and_shape(flux, shape):
    objects = lattice(flux, **shape)
    after, total, _ = measured(*field(objects))
    error = total["flux"] / flux - 1
    assert abs(np.median(error)) < 0.012
    assert 1.4826 * np.median(np.abs(error - np.median(error))) < 0.03
    x, y = np.array(objects)[:, :2].T
    assert np.median(np.hypot(after.column("x") - x, after.column("y") - y)) < 0.07
    for pull in ((after.column("x") - x) / np.sqrt(after.column("x_var")), (after.column("y") - y) / np.sqrt(after.column("y_var"))):
        assert 0.6 < pull.std() < 1.5  # of 25, so +-0.14
    form = np.array([[shape.get("xx", 0), shape.get("xy", 0)], [shape.get("xy", 0), shape.get("yy", 0)]]) + SIGMA**2 * np.eye(2)
    minor, major = np.sqrt(np.linalg.eigvalsh(form))
    assert np.median(total["semi_major"]) == pytest.approx(major, rel=0.05)
    assert np.median(total["semi_minor"]) == pytest.approx(minor, rel=0.05)
    if "xy" in shape:
        angle = 0.5 * np.degrees(np.arctan2(2 * shape["xy"], shape["xx"] - shape["yy"]))
        assert np.median(total["theta"]) == pytest.approx(angle, abs=2)
    assert np.median(total["half_light_radius"]) == pytest.approx(1.1774 * np.sqrt(major * minor), rel=0.06)
    assert (total["flags"] == 0).mean() > 0.9


def test_faint_stars_errors_are_those_of_the_noise():
    objects = lattice(15 * NOISE * np.sqrt(4 * np.pi) * SIGMA)
    pulls = []
    for seed in range(6):
        _, total, _ = measured(*field(objects, seed=seed))
        pulls.append((total["flux"] - objects[0][2]) / total["flux_err"])
    pulls = np.concatenate(pulls)  # 150: +-0.06 on the scatter
    assert 0.75 < pulls.std() < 1.2
    assert abs(pulls.mean()) < 0.5


def test_members_of_a_blend_get_their_own_light():
    objects = [(40.0, 60.0, 6000.0, 0, 0, 0), (47.0, 60.5, 2500.0, 0, 0, 0), (110.0, 60.0, 5000.0, 6, 2, 4), (118.0, 66.0, 5000.0, 0, 0, 0)]
    _, total, rows = measured(*field(objects), apertures=[3.0], rounds=3)
    np.testing.assert_allclose(total["flux"], [o[2] for o in objects], rtol=0.06)
    three = rows.column("flux")[rows.column("method") == "aperture_3"]
    inside = 1 - np.exp(-(9.0) / (2 * SIGMA**2))
    np.testing.assert_allclose(three[[0, 1, 3]], np.array([6000.0, 2500.0, 5000.0]) * inside, rtol=0.06)


def split(objects, shape=(160, 160)):
    """Return the fractions that a perfect deblender finds."""
    each = np.array([gaussian(shape, *o) for o in objects])
    parts = np.where(each > 0.01 * NOISE, each / each.sum(0).clip(1e-12), 0).astype(np.float32)
    boxes = np.tile([0, shape[1], 0, shape[0]], (len(objects), 1))
    return Fractions.from_stamps(shape, boxes, list(parts))


def test_fractions_take_the_neighbours_light_away():
    objects = [(40.0, 60.0, 6000.0, 0, 0, 0), (44.5, 60.5, 2500.0, 0, 0, 0), (110.0, 60.0, 5000.0, 6, 2, 4), (4.0, 100.0, 5000.0, 0, 0, 0)]
    image, segmentation, found = field(objects)
    after, total, rows = measured(image, segmentation, found, split(objects), apertures=[3.0])
    np.testing.assert_allclose(total["flux"], [o[2] for o in objects], rtol=0.05)
    assert np.hypot(after.column("x") - [o[0] for o in objects], after.column("y") - [o[1] for o in objects]).max() < 0.25
    three = rows.column("flux")[rows.column("method") == "aperture_3"]
    inside = 1 - np.exp(-(9.0) / (2 * SIGMA**2))
    np.testing.assert_allclose(three[[0, 1, 3]], np.array([6000.0, 2500.0, 5000.0]) * inside, rtol=0.06)
    assert total["flags"][3] & SOURCE["APERTURE_TRUNCATED"] != 0
    parts = split(objects)
    unshared = dataclasses.replace(parts, values=np.where(np.arange(parts.values.size) < parts.offsets[1], parts.values, np.float32(0)))
    _, given, _ = measured(image, segmentation, found, unshared)
    assert given["flux"][0] > 8000  # nobody claims the other member's light


def test_fractions_of_a_lone_source_change_nothing():
    image, segmentation, found = field([(60.0, 60.0, 3000.0, 4, 1, 3)])
    _, without, _ = measured(image, segmentation, found, rounds=1)
    one = Fractions.from_stamps((160, 160), np.array([[40, 80, 40, 80]]), [np.ones((40, 40), np.float32)])
    _, given, _ = measured(image, segmentation, found, one)
    for name in ("flux", "flux_err", "semi_major", "half_light_radius"):
        assert given[name][0] == pytest.approx(without[name][0], rel=0.01)


def test_fractions_of_other_sources_are_refused():
    image, segmentation, found = field([(60.0, 60.0, 3000.0, 4, 1, 3)])
    with pytest.raises(Exception, match="wire fractions and sources from the same stage"):
        measured(image, segmentation, found, split([(60.0, 60.0, 3000.0, 4, 1, 3), (90.0, 60.0, 3000.0, 4, 1, 3)]))


@pytest.mark.parametrize("shape", [{}, {"xx": 9.0, "yy": 9.0}, {"xx": 4.0, "xy": 3.0, "yy": 12.0}])
def test_an_elliptical_psf_leaves_no_bias(shape):
    # Axis ratio 0.73, that is, ellipticity 0.15.
    objects = lattice(12000.0, **shape)
    extra = np.array([0.0, 0.0, 0.0, *(SIGMA**2 * np.array([0.26, 0.15, -0.26]))])
    image, segmentation, found = field([tuple(np.array(o) + extra) for o in objects])
    stamp = gaussian((25, 25), 12.0, 12.0, 1.0, *extra[3:]).astype(np.float32)
    _, total, _ = measured(dataclasses.replace(image, psf=stamp[None]), segmentation, found)
    assert abs(np.median(total["flux"] / 12000 - 1)) < 0.012


def test_bands_share_the_shape():
    image, segmentation, found = field(lattice(5000.0, xx=6.0, yy=3.0))
    faint = np.random.default_rng(9).normal(0, NOISE, image.data.shape).astype(np.float32) + np.float32(0.1) * image.data
    both = dataclasses.replace(
        image, data=np.concatenate([image.data, faint]), bands=("r", "z"), variance=np.repeat(image.variance, 2, 0),
        mask=np.repeat(image.mask, 2, 0), psf=np.repeat(image.psf, 2, 0),
    )  # fmt: skip
    _, total, _ = measured(both, segmentation, found, bands=["r"])
    r, z = total["flux"].reshape(-1, 2).T
    assert np.median(z / r) == pytest.approx(0.1, rel=0.06)


def test_unusable_pixels_are_filled_in_by_the_model():
    image, segmentation, found = field(lattice(5000.0))
    data, variance, mask = image.data.copy(), image.variance.copy(), image.mask.copy()
    columns = [round(x) for x in found.column("x")]
    rows = [round(y) for y in found.column("y")]
    data[0, rows[0], columns[0]] = np.nan
    mask[0, rows[1] - 1 : rows[1] + 1, columns[1] - 30 : columns[1] + 30] = PIXEL["BAD"]
    variance[0, rows[2] - 2 : rows[2], columns[2]] = np.inf
    _, total, _ = measured(dataclasses.replace(image, data=data, variance=variance, mask=mask), segmentation, found)
    np.testing.assert_allclose(total["flux"][:3], 5000, rtol=0.06)
    assert (total["flags"][:3] & SOURCE["APERTURE_MASKED"] != 0).all()
    assert (total["masked_fraction"][:3] > 0).all()
    assert total["masked_fraction"][3] == 0


@pytest.mark.parametrize("sigma", [0.0, 1.2])
def test_correlated_noise_is_measured_on_the_sky(sigma):
    image, segmentation, _ = field(lattice(3000.0), shape=(256, 256))
    noise = np.random.default_rng(3).normal(0, 1, image.data.shape[1:])
    if sigma:
        noise = ndimage.gaussian_filter(noise, sigma)
        noise /= noise.std()
    data = (NOISE * noise).astype(np.float32)[None]
    ready = frame(dataclasses.replace(image, data=data), segmentation.labels, None, print)
    factor = noise_factor(ready, ready.planes, segmentation.labels, "cpu")
    steps = np.arange(-12, 13)
    star = np.exp(-0.5 * (steps**2 + steps[:, None] ** 2) / SIGMA**2)
    expected = np.sqrt(np.sum(ndimage.gaussian_filter(star, sigma) ** 2) / np.sum(star**2) * 4 * np.pi * sigma**2) if sigma else 1.0
    assert factor[0] == pytest.approx(expected, rel=0.12)


BAD = ["masked", "constant", "nan blocks", "infinite variance", "one row", "one column", "nowhere"]


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("stage", [TotalPhotometry, ForcedPhotometry])
def test_bad_images_give_flagged_rows(kind, stage):
    image, segmentation, found = field(lattice(3000.0))
    labels = segmentation.labels
    data, variance, mask = image.data.copy(), image.variance.copy(), image.mask.copy()
    if kind == "masked":
        mask[:] = PIXEL["NO_DATA"]
    elif kind == "constant":
        data[:] = 7.0
    elif kind == "nan blocks":
        data[:, :, :80] = np.nan
    elif kind == "infinite variance":
        variance[:] = np.inf
    elif kind == "nowhere":
        found = found.replace(x=np.full(len(found), 1e7), y=np.full(len(found), -3.0))
    elif kind in ("one row", "one column"):
        cut = (slice(None), slice(60, 61)) if kind == "one row" else (slice(None), slice(None), slice(60, 61))
        data, variance, mask = (np.ascontiguousarray(a[cut]) for a in (data, variance, mask))
        labels = np.zeros(data.shape[1:], np.int32)
        labels[:, -1] = 1
        found = sources([30.0 if kind == "one row" else 0.0], [0.0 if kind == "one row" else 30.0])
    bad = dataclasses.replace(image, data=data, variance=variance, mask=mask)
    given = {"segmentation": Segmentation(labels)} if stage is TotalPhotometry else {}
    out = run(stage, {}, image=bad, sources=found, **given)
    flux, flags = out["photometry"].column("flux"), out["photometry"].column("flags")
    assert len(flux) == len(found)
    np.testing.assert_array_equal(np.isnan(flux), flags & SOURCE["NO_FLUX"] != 0)
    if kind in ("masked", "infinite variance", "nowhere"):
        assert np.isnan(flux).all()
    if kind == "masked" and stage is TotalPhotometry:
        np.testing.assert_array_equal(out["sources"].column("x"), found.column("x"))
        assert (out["sources"].column("flags") & SOURCE["NO_WINDOW"] != 0).all()


def test_rows_of_one_method_are_refused_with_the_setting_that_helps():
    image, segmentation, found = field(lattice(3000.0))
    out = run(TotalPhotometry, {"apertures": [3]}, image=image, segmentation=segmentation, sources=found)
    with pytest.raises(DataError, match="measure total: .* `method`"):
        run(ForcedPhotometry, {"method": "total"}, image=image, **out)
    with pytest.raises(DataError, match="measure aperture_3: .* other `radii`"):
        run(AperturePhotometry, {"radii": [3]}, image=image, segmentation=segmentation, **out)
    with pytest.raises(DataError, match="measure total: leave one of them out$"):
        run(TotalPhotometry, {}, image=image, segmentation=segmentation, **out)


def test_forced_fluxes_are_the_total_ones_on_the_same_image():
    image, segmentation, found = field(lattice(5000.0, xx=6.0, yy=3.0))
    out = run(TotalPhotometry, {}, image=image, segmentation=segmentation, sources=found)
    forced = run(ForcedPhotometry, {}, image=image, **out)["photometry"]
    flux = forced.column("flux")
    np.testing.assert_allclose(flux[forced.column("method") == "forced"], flux[forced.column("method") == "total"], rtol=0.05)


def test_forced_on_another_grid_and_seeing():
    from astropy.wcs import WCS

    def wcs(scale, angle):
        made = WCS(naxis=2)
        made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        made.wcs.crval, made.wcs.crpix = [150.0, 2.0], [81.0, 81.0]
        c, s = np.cos(angle), np.sin(angle)
        made.wcs.cd = scale / 3600 * np.array([[-c, s], [s, c]])
        return made

    objects = lattice(8000.0, xx=8.0, xy=3.0, yy=5.0)
    image, segmentation, found = field(objects)
    image = dataclasses.replace(image, wcs=wcs(0.2, 0.0))
    out = run(TotalPhotometry, {}, image=image, segmentation=segmentation, sources=found)
    there = wcs(0.25, 0.6)
    x, y = there.world_to_pixel(image.wcs.pixel_to_world(*np.array(objects)[:, :2].T))
    # Steps in the first image are steps in the second, turned and shrunk.
    dx, dy = (np.array(there.world_to_pixel(image.wcs.pixel_to_world(80 + a, 80 + b))) - 80 for a, b in ((1, 0), (0, 1)))
    jacobian = np.stack([dx, dy], 1)
    form = jacobian @ np.array([[8.0, 3.0], [3.0, 5.0]]) @ jacobian.T
    shape = (form[0, 0], form[0, 1], form[1, 1])
    inside = (x > 15) & (x < 145) & (y > 15) & (y < 145)
    assert inside.sum() > 12
    x, y = x[inside], y[inside]
    other, _, _ = field([(a, b, 4000.0, *shape) for a, b in zip(x, y, strict=True)], seed=8)
    gone = gaussian(other.data.shape[1:], x[3], y[3], 7000.0, *shape).astype(np.float32)
    other = dataclasses.replace(other, wcs=there, data=other.data - gone)
    rows = run(ForcedPhotometry, {"method": "epoch2"}, image=other, **out)["photometry"]
    flux = rows.column("flux")[rows.column("method") == "epoch2"][inside]
    inside = (x > 15) & (x < 145) & (y > 15) & (y < 145)
    assert flux[3] == pytest.approx(-3000, rel=0.06)
    assert np.median(np.delete(flux, 3)) == pytest.approx(4000, rel=0.02)
    assert np.std(np.delete(flux, 3)) < 0.05 * 4000


def test_without_variance_or_psf():
    image = make_image()
    labels = np.zeros(image.data.shape[1:], np.int32)
    labels[40, 20] = 1
    given = {"segmentation": Segmentation(labels), "sources": sources([20.0], [40.0])}
    with pytest.raises(Exception, match=r"no variance.*background\.mesh"):
        run(TotalPhotometry, {}, image=dataclasses.replace(image, variance=None), **given)
    out = run(TotalPhotometry, {}, image=dataclasses.replace(image, psf=None), **given)
    assert len(out["photometry"]) == 2
