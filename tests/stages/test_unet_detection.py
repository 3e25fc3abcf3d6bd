"""The parts of the U-Net detector: features, targets, decoding, calibration, windows, and the stages on wrong input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from astrosurvey import DataError, Image
from astrosurvey.catalog.flags import PIXEL, SOURCE
from astrosurvey.networks.determinism import threads
from astrosurvey.networks.unet import UNet, folded
from astrosurvey.stages.detection.unet.calibrate import Calibration, calibrate
from astrosurvey.stages.detection.unet.catalogue import with_overlooked
from astrosurvey.stages.detection.unet.decode import peaks
from astrosurvey.stages.detection.unet.explain import ExplainDetection, report_section
from astrosurvey.stages.detection.unet.features import features
from astrosurvey.stages.detection.unet.predict import predict
from astrosurvey.stages.detection.unet.saliency import saliency
from astrosurvey.stages.detection.unet.stage import UNetDetection
from astrosurvey.stages.detection.unet.targets import HEADS, Objects, losses, paint
from astrosurvey.testing import make_image
from tests.laws.examples import small_detector

from .running import run


def test_features_are_in_units_of_the_noise_whatever_the_variance_claims():
    image = make_image(shape=(256, 256), bands=("r",))
    claimed = replace(image, variance=image.variance * 4.0)
    told, _ = features(image, None, None)
    measured, _ = features(claimed, None, None)
    sky = np.abs(told.maps[0]) < 1.5
    assert np.std(np.sinh(told.maps[0][sky])) == pytest.approx(0.9, abs=0.05)
    np.testing.assert_allclose(measured.maps, told.maps, atol=1e-3)


def test_features_tell_the_width_of_the_psf_and_the_correlation_of_the_noise():
    rng = np.random.default_rng(4)
    white = rng.normal(size=(512, 512)).astype(np.float32)
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(white, 1.0)
    smooth /= smooth.std()
    conditions = []
    for data in (white, smooth):
        image = Image(data=data[None], bands=("r",), variance=np.ones((1, 512, 512), np.float32))
        seen, origin = features(image, None, 8.0)
        assert origin == "settings"
        conditions.append(seen.conditions)
    assert conditions[0] == pytest.approx([1.0, 0.0], abs=0.03)
    # Smoothing with sigma 1 before a filter of sigma 3.4 leaves sqrt(4 pi) sigma of it, but for the filter's own width.
    assert conditions[1] == pytest.approx([1.0, np.log(np.sqrt(4 * np.pi) * 3.397 / np.hypot(3.397, 1.0))], abs=0.05)


def test_a_masked_pixel_shows_what_its_neighbours_say():
    image = make_image(shape=(96, 96), bands=("r",))
    x, y, _ = image.meta["stars"][2]
    mask = image.mask.copy()
    mask[0, round(y), round(x)] = PIXEL["BAD"]
    seen, _ = features(replace(image, mask=mask), None, None)
    assert seen.maps[0, round(y), round(x)] > 1.0


@pytest.mark.parametrize("shape", [(1, 64), (64, 1), (40, 40)])
def test_features_of_odd_images_are_finite(shape):
    image = Image(data=np.zeros((1, *shape), np.float32), bands=("r",), variance=np.ones((1, *shape), np.float32))
    seen, _ = features(image, None, 4.0)
    assert np.isfinite(seen.maps).all()
    nothing = replace(image, data=np.full((1, *shape), np.nan, np.float32), variance=np.full((1, *shape), np.inf, np.float32))
    seen, _ = features(nothing, None, 4.0)
    assert not seen.maps.any()


def test_painted_targets_lead_back_to_the_objects():
    objects = Objects(np.array([10.3, 20.6, 13.1]), np.array([12.2, 5.4, 12.9]), np.array([9.0, 3.0, 50.0]), np.array([True, False, True]))
    painted = paint(objects, 32, 4.0)
    assert (painted["centre"] == 1).sum() == 3
    found = peaks(*(torch.as_tensor(painted[name]) for name in ("centre", "offset", "star")), 0.9)
    order = np.argsort(found.x)
    np.testing.assert_allclose(found.x[order], [10.3, 13.1, 20.6], atol=1e-5)
    np.testing.assert_allclose(found.y[order], [12.2, 12.9, 5.4], atol=1e-5)
    assert painted["star"][5, 21] == -1  # too faint to tell
    assert painted["star"][12, 10] == 1


@pytest.mark.parametrize("fwhm", [2.0, 4.0, 6.0])
def test_the_bumps_of_a_pair_at_one_seeing_stay_apart(fwhm):
    objects = Objects(np.array([12.0, 12.0 + round(fwhm)]), np.array([16.0, 16.0]), np.array([9.0, 9.0]), np.array([True, True]))
    painted = paint(objects, 32, fwhm)
    between = painted["centre"][16, 13 : 12 + round(fwhm)]
    assert between.min() < 0.3


def test_a_perfect_answer_costs_next_to_nothing_and_a_wrong_one_a_lot():
    painted = paint(Objects(np.array([10.0]), np.array([12.0]), np.array([9.0]), np.array([True])), 32, 4.0)
    targets = {name: torch.from_numpy(np.asarray(value))[None] for name, value in painted.items()}
    targets["mask"] = (targets["centre"] > 0.5).float()
    right = {
        "centre": torch.logit(targets["centre"].clamp(1e-4, 1 - 1e-4))[:, None],
        "offset": targets["offset"],
        "mask": 20 * targets["mask"][:, None] - 10,
        "star": 20 * targets["star"][:, None],
    }
    good = losses(right, targets)
    bad = losses({name: -value for name, value in right.items()}, targets)
    for name, value in good.items():
        assert float(bad[name]) > 20 * float(value) + 0.01


def test_peaks_on_a_plateau_count_once_and_far_offsets_are_not_believed():
    centre = np.zeros((9, 9), np.float32)
    centre[4, 3:6] = 0.8
    offset = np.zeros((2, 9, 9), np.float32)
    offset[:, 4, 3] = 5.0
    found = peaks(*map(torch.from_numpy, (centre, offset, centre)), 0.5)
    assert (found.row.tolist(), found.column.tolist()) == ([4], [3])
    assert (found.y[0], found.x[0]) == (4.0, 3.0)


def test_calibrated_probabilities_are_those_that_were_drawn():
    rng = np.random.default_rng(2)
    score, width = rng.uniform(0.05, 0.95, size=20_000), rng.uniform(-1, 1, size=20_000)
    conditions = np.stack([width, np.zeros_like(width)], axis=1)

    def truly(score, width):
        return expit(1.5 * logit(score) + 0.9 * width - 0.5)

    real = rng.uniform(size=score.size) < truly(score, width)
    learnt = calibrate(score, real, conditions, 0.9)
    # The slope of 0.9 over 1.5, to the scatter of a fit to 20 000 draws.
    assert learnt.shift == pytest.approx([0.6, 0.0], abs=0.06)
    at = np.linspace(0.1, 0.9, 17)
    for w in (-0.8, 0.0, 0.8):
        # 20 000 detections over 64 knots: about 300 each, a standard error of 0.03 at most.
        error = learnt(at, np.array([w, 0.0])) - truly(at, w)
        assert np.abs(error).max() < 0.1
        assert np.abs(error).mean() < 0.03
    assert real[learnt(score, conditions) >= learnt.threshold].mean() == pytest.approx(0.9, abs=0.02)
    again = Calibration.from_card(learnt.to_card())
    np.testing.assert_allclose(again(at, np.zeros(2)), learnt(at, np.zeros(2)), atol=1e-4)


def test_of_few_detections_nothing_is_learnt():
    learnt = calibrate(np.array([0.2, 0.8]), np.array([False, True]), np.zeros((2, 2)), 0.97)
    assert learnt(np.array([0.2, 0.5, 0.8]), np.zeros(2)) == pytest.approx([0.2, 0.5, 0.8], abs=0.01)


def test_the_size_of_the_windows_changes_nothing_but_rounding():
    network = folded(UNet(4, HEADS, widths=(4, 6, 8)))
    seen, _ = features(make_image(shape=(300, 200), bands=("r",)), None, None)

    def maps(window):
        return predict(
            network, seen, window=window, samples=0, seed=0, device="cpu", precision=torch.float32, progress=lambda done, total: None
        )

    whole, cut = maps(2048), maps(96)
    np.testing.assert_allclose(torch.sigmoid(cut.centre), torch.sigmoid(whole.centre), atol=1e-6)
    np.testing.assert_allclose(cut.offset, whole.offset, atol=1e-5)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_number_of_threads_changes_nothing(precision):
    network = folded(UNet(4, HEADS, widths=(16, 24, 32))).to(precision)
    seen, _ = features(make_image(shape=(300, 200), bands=("r",)), None, None)
    made = []
    for count in (1, 2, 4):
        with threads(count):
            made.append(
                predict(network, seen, window=256, samples=0, seed=0, device="cpu", precision=precision, progress=lambda done, total: None)
            )
    assert torch.equal(made[0].centre, made[1].centre)
    assert torch.equal(made[0].centre, made[2].centre)


def test_dropout_scatter_is_the_same_for_the_same_seed_and_positive():
    network = folded(UNet(4, HEADS, widths=(8, 8, 8), dropout=0.3))
    seen, _ = features(make_image(bands=("r",)), None, None)

    def scatter(seed):
        return predict(
            network, seen, window=2048, samples=4, seed=seed, device="cpu", precision=torch.float32, progress=lambda done, total: None
        ).scatter

    np.testing.assert_array_equal(scatter(3), scatter(3))
    assert not np.array_equal(scatter(3), scatter(4))
    assert (scatter(3) > 0).float().mean() > 0.9


def test_what_is_bright_and_not_seen_becomes_a_source():
    centre = np.zeros((20, 20), np.float32)
    centre[3, 3] = 0.9
    snr = np.zeros((20, 20), np.float32)
    snr[2:5, 2:5] = 20
    snr[10:13, 10:13] = 15
    snr[11, 12] = 18
    found, overlooked = with_overlooked(
        peaks(*map(torch.from_numpy, (centre, np.zeros((2, 20, 20), np.float32), centre)), 0.5), snr, 10.0, "cpu"
    )
    assert list(zip(found.row, found.column, overlooked, strict=True)) == [(3, 3, False), (11, 12, True)]
    assert np.isnan(found.star[1])


def test_a_network_that_sees_nothing_still_gives_the_bright_ones_flagged():
    image = make_image(bands=("r",))
    sources = run(UNetDetection, {"threshold": 0.999}, image=image, model=small_detector())["sources"]
    blind = (sources.column("flags") & SOURCE["NETWORK_BLIND"]) != 0
    assert blind.sum() >= 3
    assert np.isnan(np.ma.filled(sources.column("probability"), -1.0)[blind]).all()


def test_a_model_for_other_bands_is_refused_in_one_line():
    model = small_detector()
    other = replace(model, card={**model.card, "bands": ["u", "r"]})
    with pytest.raises(DataError, match=r"trained for the bands u, r, but the image has g, r"):
        run(UNetDetection, image=make_image(), model=other)
    with pytest.raises(DataError, match="not for detection"):
        run(UNetDetection, image=make_image(), model=replace(model, card={**model.card, "task": "spectra"}))


def test_integrated_gradients_add_up_to_the_score():
    torch.manual_seed(7)
    network = folded(UNet(4, HEADS, widths=(8, 8, 8)))
    image = make_image(bands=("r",))
    seen, _ = features(image, None, None)
    x, y, _ = image.meta["stars"][0]
    one = saliency(network, seen, round(y), round(x))
    assert one.weight.shape == one.significance.shape == (49, 49)
    assert one.weight.sum() == pytest.approx(one.score[0] - one.score[1], rel=0.15, abs=0.02)
    # At the image's corner most of the stamp is outside.
    corner = saliency(network, seen, 0, 0)
    assert np.isnan(corner.significance).mean() > 0.7


def test_pictures_stand_in_the_report(tmp_path):
    image = make_image(bands=("r",))
    sources = run(UNetDetection, {"threshold": 0.9}, image=image, model=small_detector())["sources"]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made = run(ExplainDetection, {"choose": "bright", "count": 2}, scratch=scratch, image=image, sources=sources, model=small_detector())
    folder = tmp_path / "run" / "products" / "why" / "t0" / "pictures"
    folder.parent.mkdir(parents=True)
    made["pictures"].write(folder)
    assert len(list(folder.glob("*.png"))) == 2
    [(title, fragment)] = report_section(tmp_path / "run", {"why": {"use": "detection.explain"}, "sky": {"use": "background.mesh"}})
    assert title == "Why the network sees a source"
    assert fragment.count("<img") == 2
    assert report_section(tmp_path / "run", {"sky": {"use": "background.mesh"}}) == []
