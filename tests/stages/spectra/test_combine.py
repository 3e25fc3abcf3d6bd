"""spectra.combine: who is believed, what is flagged, and that the weights are learnt."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.catalog.flags import CLASSIFICATION, Z_WARNING
from astrosurvey.products import Catalog
from astrosurvey.stages.spectra.classes import COARSE
from astrosurvey.stages.spectra.combine.candidates import NONE, gather
from astrosurvey.stages.spectra.combine.features import AGAINST, NAMES, tensor_of
from astrosurvey.stages.spectra.combine.fit import fit, right_ones
from astrosurvey.stages.spectra.combine.stage import CombineSpectra

from ...laws.examples import small_scorer, solutions
from ..running import run


def combined(settings=None, **changes):
    return run(CombineSpectra, settings or {}, **{**solutions(), "model": small_scorer(), **changes})


def rows_of(catalog, one):
    mine = catalog.column("spectrum_id") == one
    names = ("rank", "z", "spectral_class", "probability", "z_warning")
    return {name: catalog.column(name)[mine] for name in names}


def classes_of(catalog, one):
    mine = catalog.column("object_id") == one
    return dict(zip(catalog.column("label")[mine].tolist(), catalog.column("probability")[mine].tolist(), strict=True))


def test_agreement_is_sure_and_has_no_warning():
    found = rows_of(combined()["redshifts"], 70)
    assert (found["spectral_class"][0], found["z"][0], found["z_warning"][0]) == ("galaxy", 0.1, 0)
    assert found["probability"][0] > 0.95


def test_the_templates_redshift_stands_against_the_networks_and_the_disagreement_is_flagged():
    found = rows_of(combined()["redshifts"], 71)
    assert found["z"][0] == 2.0
    assert found["z_warning"][0] & Z_WARNING["DISAGREEMENT"]
    assert 2.5 in found["z"]
    assert (found["probability"] <= 1).all()
    assert list(found["rank"]) == list(range(len(found["rank"])))


def test_sky_is_an_answer_without_a_redshift():
    made = combined()
    found = rows_of(made["redshifts"], 72)
    assert found["spectral_class"][0] == "sky"
    assert np.isnan(found["z"][0])
    shares = classes_of(made["classes"], 72)
    assert max(shares, key=shares.get) == "sky"
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)


def test_nothing_known_is_unknown():
    made = combined()
    found = rows_of(made["redshifts"], 73)
    assert found["spectral_class"].tolist() == ["unknown"]
    assert found["z_warning"][0] & Z_WARNING["NO_DATA"]
    assert classes_of(made["classes"], 73)["unknown"] == 1
    flags = made["classes"].column("flags")[made["classes"].column("object_id") == 73]
    assert (flags & CLASSIFICATION["NO_DATA"]).all()


def test_a_network_that_saw_nothing_has_nothing_to_say():
    blind = Catalog.from_columns(
        "classification",
        {
            "object_table": "spectrum",
            "object_id": np.repeat([70, 71, 72, 73], len(COARSE)),
            "classifier": "net/coarse",
            "label": np.tile(COARSE, 4),
            "probability": np.tile(np.array(COARSE) == "unknown", 4).astype(float),
            "ood_score": np.nan,
            "flags": CLASSIFICATION["NO_DATA"],
        },
    )
    made, alone = combined(network_classes=blind, network=None), combined(network_classes=None, network=None)
    assert classes_of(made["classes"], 73)["unknown"] == 1
    assert (made["classes"].column("flags")[made["classes"].column("object_id") == 73] & CLASSIFICATION["NO_DATA"]).all()
    for one in (70, 71, 72, 73):
        for name, values in rows_of(made["redshifts"], one).items():
            np.testing.assert_array_equal(values, rows_of(alone["redshifts"], one)[name], err_msg=name)


def test_the_templates_speak_alone_where_there_is_no_network():
    found = rows_of(combined(network_classes=None, network=None)["redshifts"], 71)
    assert (found["spectral_class"][0], found["z"][0]) == ("quasar", 2.0)
    assert not found["z_warning"][0] & Z_WARNING["DISAGREEMENT"]


def test_the_expected_share_of_unknown_spectra_counts():
    few, many = (classes_of(combined({"unknown": share})["classes"], 71)["unknown"] for share in (0.001, 0.5))
    assert few < many


def test_templates_and_flags_are_handed_on():
    scan = solutions()["scan"]
    warned = scan.replace(z_warning=[Z_WARNING["Z_FITLIMIT"] | Z_WARNING["SMALL_DELTA_CHI2"], *scan.column("z_warning")[1:].tolist()])
    made = combined(scan=warned)["redshifts"]
    assert rows_of(made, 70)["z_warning"][0] == Z_WARNING["Z_FITLIMIT"] + (
        Z_WARNING["DOUBTFUL"] if rows_of(made, 70)["probability"][0] < 0.9 else 0
    )
    first = made.rows.filter(np.asarray((made.column("spectrum_id") == 70) & (made.column("rank") == 0))).to_pylist()[0]
    assert (first["template"], first["chi2"], first["dof"]) == ("g", 1000.0, 990)


def drawn(n, seed):
    """Spectra of which the network tells the class well, and the templates the redshift."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(["star", "galaxy", "quasar", "sky"], n)
    z = np.where(kinds == "star", 0.0, np.where(kinds == "sky", np.nan, rng.uniform(0.1, 1.0, n)))
    scan, classes = [], []
    for k, (kind, redshift) in enumerate(zip(kinds, z, strict=True)):
        told = str(kind) if kind != "sky" and rng.random() < 0.7 else str(rng.choice(["galaxy", "quasar"]))
        value = redshift if kind != "sky" and rng.random() < 0.9 else 3.0
        scan.append((k, 0, value, 1e-3, 1000.0, 990, float(rng.exponential(100)), told, 0))
        scan.append((k, 1, 0.0 if kind == "star" else 5.0, 1e-3, 1200.0, 990, np.nan, "star", 0))
        right = rng.random() < 0.9
        shares = dict.fromkeys(COARSE, 0.025) | {str(kind) if right else "unknown": 0.9}
        classes += [(k, label, share) for label, share in shares.items()]
    names = ("spectrum_id", "rank", "z", "z_err", "chi2", "dof", "delta_chi2", "spectral_class", "z_warning")
    table = Catalog.from_columns("redshift", dict(zip(names, map(list, zip(*scan, strict=True)), strict=True)) | {"method": "x"})
    columns = dict(zip(("object_id", "label", "probability"), map(list, zip(*classes, strict=True)), strict=True))
    network = Catalog.from_columns("classification", {**columns, "object_table": "spectrum", "classifier": "net", "flags": 0})
    return gather(range(n), table, network, None), kinds.tolist(), z


def test_weights_are_learnt_and_probabilities_are_calibrated():
    weights = fit(*drawn(400, 1))
    evidence, kinds, z = drawn(600, 2)
    features, there, _ = tensor_of(evidence)
    score = np.where(there, features @ weights.numpy(), -np.inf)
    p = np.exp(score - score.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    hit = right_ones(evidence, kinds, z)[np.arange(len(p)), p.argmax(axis=1)]
    assert weights.shape == (len(NAMES),)
    assert hit.mean() > 0.75
    assert p.max(axis=1).mean() == pytest.approx(hit.mean(), abs=0.06)


def test_nothing_that_fits_worse_is_the_more_probable_for_it():
    weights = dict(zip(NAMES, fit(*drawn(400, 1)).tolist(), strict=True))
    assert all(weights[name] <= 0 for name in AGAINST)


def test_what_the_network_means_by_a_quasars_redshift():
    scan = Catalog.from_columns(
        "redshift",
        {"spectrum_id": 1, "rank": [0, 1], "z": [2.0, 2.06], "z_err": 1e-3, "chi2": [1000.0, 1100.0], "dof": 990, "z_warning": 0}
        | {"delta_chi2": [100.0, np.nan], "spectral_class": "quasar", "method": "x"},
    )
    net = Catalog.from_columns(
        "redshift",
        {"spectrum_id": 1, "rank": [0], "z": [2.035], "z_err": 1e-3, "spectral_class": "quasar", "probability": 0.9, "z_warning": 0}
        | {"method": "y"},
    )
    candidates = gather([1], scan, None, net)[0].candidates
    assert [one.z for one in candidates] == [2.0, 2.06, 2.035]
    assert [one.mass for one in candidates] == pytest.approx([0.9] * 3)
    assert candidates[1].behind == pytest.approx(100.0 / (1000 / 990))


def test_what_is_right():
    evidence, _, _ = drawn(3, 3)
    right = right_ones(evidence, ["sky", "unknown", "quasar"], np.array([np.nan, np.nan, 6.5]))
    assert [np.flatnonzero(row).tolist() for row in right] == [[NONE.index(kind)] for kind in ("sky", "unknown", "quasar")]
