"""The page's spectra: pictures, solutions, classes and lines from hand-made tables, and what is left out when tables are missing."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from astrosurvey.products import Catalog, Metrics, Spectra
from astrosurvey.report.gather import gather
from astrosurvey.report.matrices import matrices
from astrosurvey.report.metrics import make_group
from astrosurvey.report.render import report
from astrosurvey.report.spectra import MOST_SPECTRA, _coarse, make_spectra
from astrosurvey.report.spectrum import POINTS, Mark, averaged, picture

from .runs import put, write_about

N, WAVE = 15, 4000 * 10 ** (2e-4 * np.arange(1500))
IDS = np.arange(N, dtype=np.int64) + 1000
KNOWN = ["galaxy", "quasar", "star"] * 5
Z = np.tile([0.2, 1.4, 0.0], 5)

STAGES = {
    "read": {"use": "io.spectra"},
    "net": {"use": "spectra.classify", "in": {"spectra": "read.spectra"}},
    "scan": {"use": "spectra.redshift", "in": {"spectra": "read.spectra"}},
    "lines": {"use": "spectra.lines", "in": {"spectra": "read.spectra", "redshifts": "scan.redshifts"}},
}


def spectra(name="<i>odd</i>"):
    flux = np.random.default_rng(1).normal(10, 1, (N, len(WAVE))).astype(np.float32)
    return Spectra(flux, np.ones_like(flux), np.zeros(flux.shape, np.int32), WAVE, IDS)


def fits():
    return Spectra(
        np.full((N, len(WAVE)), 10, np.float32), np.ones((N, len(WAVE)), np.float32), np.zeros((N, len(WAVE)), np.int32), WAVE, IDS
    )


def redshifts():
    rank = np.tile(np.arange(5), N)
    z = np.repeat(Z, 5) + 0.3 * rank
    z[5] = 0.9  # the second spectrum, a quasar, is wrong
    columns = {
        "spectrum_id": np.repeat(IDS, 5),
        "rank": rank,
        "z": z,
        "z_err": 1e-4,
        "delta_chi2": 50.0 / (1 + rank),
        "template": "QSO-LOZ",
    }
    return Catalog.from_columns(
        "redshift", {**columns, "spectral_class": np.repeat(KNOWN, 5), "method": "scan", "z_warning": 4 * (rank == 2)}
    )


def classes():
    labels = ["star", "galaxy", "quasar", "sky", "unknown"]
    probability = np.array([[0.9 if label == known else 0.025 for label in labels] for known in KNOWN])
    columns = {
        "object_table": "spectrum",
        "object_id": np.repeat(IDS, 5),
        "classifier": "net/coarse",
        "label": np.tile(labels, N),
        "flags": 0,
    }
    return Catalog.from_columns("classification", {**columns, "probability": probability.ravel()})


def truth():
    columns = {"spectrum_id": IDS, "tile_id": 3, "spectral_class": KNOWN, "subclass": "", "z": Z, "snr": 10.0}
    return Catalog.from_columns("spectrum_truth", columns)


def lines():
    columns = {
        "spectrum_id": IDS,
        "line": "halpha",
        "wave": 6564.6,
        "z": Z,
        "line_flux": 100.0,
        "line_flux_err": 5.0,
        "snr": 20.0,
        "sigma": 150.0,
    }
    return Catalog.from_columns("spectral_line", {**columns, "flags": 0})


def spectrum_rows():
    columns = {"spectrum_id": IDS, "tile_id": 3, "name": "<i>odd</i>", "frame": "unknown", "n_pixel": len(WAVE)}
    return Catalog.from_columns("spectrum", {**columns, "wave_min": WAVE[0], "wave_max": WAVE[-1], "flags": 0})


def made(root, *, with_truth=True, with_fits=True, with_lines=True, with_redshifts=True, with_classes=True):
    write_about(root, STAGES)
    put(root, "read", "t", {"spectra": spectra(), "catalog": spectrum_rows(), **({"truth": truth()} if with_truth else {})})
    if with_classes:
        put(root, "net", "t", {"classes": classes()})
    if with_redshifts:
        put(root, "scan", "t", {"redshifts": redshifts(), **({"fits": fits()} if with_fits else {})})
    if with_lines:
        put(root, "lines", "t", {"lines": lines()})
    return root


def test_section_shows_what_the_stages_say(tmp_path):
    section = make_spectra(gather(made(tmp_path / "run")))
    assert len(section.shown) == MOST_SPECTRA
    assert section.total == N
    first = section.shown[0]
    assert first.wrong
    assert first.title.startswith("1001")
    assert ("truth", "quasar, z = 1.4") in first.facts
    assert first.verdict == "quasar, z = 0.9"
    assert len(first.solutions.rows) == 5
    assert first.solutions.rows[2][-1] == "SMALL_DELTA_CHI2"
    assert [name for name, _ in first.solutions.header] == ["", "class", "template", "z", "Δχ²", "warnings"]
    assert first.classes[0][0] == "net/coarse"
    assert first.classes[0][1][0] == ("quasar", pytest.approx(0.9))
    assert first.lines.rows[0][:2] == ["Hα", "100.0 ± 5.0"]
    assert not any(one.wrong for one in section.shown[1:])
    assert {one.verdict.partition(",")[0] for one in section.shown} == {"galaxy", "quasar", "star"}
    assert section.compared == N
    assert 'class="fit"' in first.svg
    ElementTree.fromstring(section.shown[1].svg)
    ElementTree.fromstring(str(section.redshifts).partition("<ul")[0])


@pytest.mark.parametrize("missing", ["truth", "fits", "lines", "redshifts", "classes"])
def test_what_a_run_has_not_made_is_left_out(tmp_path, missing):
    page = report(made(tmp_path / "run", **{f"with_{missing}": False}))
    assert "cannot be shown" not in page
    assert page.count('class="chart spectrum"') == MOST_SPECTRA
    assert ("against the truth" in page) == (missing not in ("truth", "redshifts"))
    assert ('class="fit"' in page) == (missing not in ("fits", "redshifts"))
    assert ("Best solutions" in page) == (missing != "redshifts")


def test_names_are_text_and_the_page_is_small(tmp_path):
    page = report(made(tmp_path / "run"))
    assert "<i>odd" not in page
    assert "&lt;i&gt;odd" in page
    assert len(page) < 500_000


def test_a_run_without_spectra_has_no_section(field):
    assert 'id="spectra"' not in report(field)
    assert make_spectra(gather(field)).shown == []


def test_spectra_with_names_for_ids_are_no_reason_to_fail(tmp_path):
    write_about(tmp_path / "run", {"read": STAGES["read"]})
    one = spectra()
    put(tmp_path / "run", "read", "t", {"spectra": Spectra(one.flux, one.ivar, one.mask, one.wave, IDS.astype("U8"))})
    section = make_spectra(gather(tmp_path / "run"))
    assert section.shown == []
    assert section.notes == []


class TestPicture:
    def test_averages_are_weighted_and_leave_gaps(self):
        wave, flux, ivar = np.arange(4000.0, 4000 + 4 * POINTS), np.ones(4 * POINTS), np.ones(4 * POINTS)
        flux[0], ivar[0] = 1e9, 1e-12
        flux[8:12], ivar[8:12] = np.nan, 0
        x, y, noise, model = averaged(wave, flux, ivar, None)
        assert len(x) == POINTS
        assert y[0] == pytest.approx(1, rel=2e-3)
        assert np.isnan(y[2])
        assert noise[1] == 0.5
        assert np.isnan(model).all()

    def test_lines_outside_are_left_out_and_close_labels_once(self):
        wave = np.arange(5000.0, 6000.0)
        marks = [Mark("A", 5500, False, True, 9.0), Mark("B", 5501, False, True, 4.0), Mark("C", 7000, False), Mark("D", 5900, True)]
        svg = picture(wave, np.ones(1000), np.ones(1000), None, marks, "", "label")
        assert svg.count("<title>") == 3
        assert [label for label in "ABCD" if f">{label}</text>" in svg] == ["A", "D"]
        assert "absorbs" in svg

    def test_nothing_usable_is_said(self):
        assert "no pixel is usable" in picture(np.arange(5.0), np.ones(5), np.zeros(5), None, [], "", "")

    def test_one_pixel_is_drawn(self):
        assert "<svg" in picture(np.array([5000.0]), np.ones(1), np.ones(1), None, [], "", "")


def test_confusion_matrices_stand_in_meta():
    (matrix,) = matrices(
        {"confusion": {"coarse": {"labels": ["star", "galaxy", "sky"], "counts": [[3, 1, 0, 0], [0, 2, 0, 2], [0, 0, 0, 0]]}}}
    )
    assert matrix.header == ["star", "galaxy", "sky", "no answer"]
    assert [label for label, _, _ in matrix.rows] == ["star", "galaxy"]
    assert [square.percent for square in matrix.rows[0][2]] == [75, 25, 0, 0]
    assert matrix.rows[1][2][1].right
    assert matrices({}) == []
    assert make_group("judge", Metrics((), {}, {"confusion": {}})).matrices == []


def test_a_single_label_is_no_class():
    said = [{"stage": "net", "classifier": "net/coarse", "label": name, "probability": p} for name, p in (("star", 0.1), ("quasar", 0.9))]
    strange = {"stage": "strange", "classifier": "spectra.anomaly", "label": "unknown", "probability": 0.97}
    assert _coarse([*said, strange])[0] == ("quasar", 0.9)
