"""Law 9: every example runs, from its first stage to its last."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from scipy.spatial import cKDTree

import astrosurvey
from astrosurvey import Catalog, Export, Metrics, Model, Observations, Samples, Spectra, report
from astrosurvey.catalog.flags import SBI
from astrosurvey.stages.sbi.priors import Prior
from tools import fast_food

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
TRAINING = {
    "calibrate-unet": ["tiles.count=2", "tiles.size=256"],
    "train-unet": ["tiles.count=2", "tiles.size=256", "net.steps=2", "net.widths=[4,6,8]"],
    "train-spectra": ["tiles.count=2", "sim.number=20", "net.steps=2", "net.batch=4", "net.members=1", "net.width=4"],
    "train-anomaly": [
        *("tiles.count=2", "sim.number=12", "net.steps=2", "net.rows=4", "net.latent=2"),
        *("net.encoder=[4,4,4,4]", "net.decoder=[4,4]"),
    ],
    "train-deblender": ["tiles.count=2", "tiles.size=256", "net.steps=2", "net.widths=[4,6,8]"],
}
"""Examples that train, and what makes a toy of them; what they are worth, the tests of the built-in models say."""
OF_SPECTRA = [ROOT / "examples" / "spectra.yaml"]
SIMULATED_SPECTRA = ROOT / "examples" / "simulate-spectra.yaml"
REDSHIFT = ROOT / "examples" / "redshift.yaml"
SPECTRA_SURVEY = ROOT / "examples" / "spectra-survey.yaml"
SIMULATED_CLUSTERS = ROOT / "examples" / "clusters.yaml"
SNAPSHOTS = ROOT / "examples" / "snapshots.yaml"
TWO_SURVEYS = ROOT / "examples" / "two-surveys.yaml"
OPEN_CLUSTERS = ROOT / "examples" / "open-clusters.yaml"
GROUPS = ROOT / "examples" / "groups.yaml"
TWO_MOONS = ROOT / "examples" / "two-moons.yaml"
STREAM_ROUNDS = ROOT / "examples" / "stream-rounds.yaml"
FIELD_AND_SET = [ROOT / "examples" / "field.yaml", ROOT / "examples" / "stars.yaml"]
PHOTOMETRIC_REDSHIFTS = ROOT / "examples" / "photometric-redshifts.yaml"
OF_CATALOGUES = [OPEN_CLUSTERS, GROUPS]
WITHOUT_SOURCES = [
    *OF_SPECTRA,
    SIMULATED_SPECTRA,
    SPECTRA_SURVEY,
    REDSHIFT,
    SIMULATED_CLUSTERS,
    SNAPSHOTS,
    TWO_MOONS,
    TWO_SURVEYS,
    STREAM_ROUNDS,
    *FIELD_AND_SET,
    *OF_CATALOGUES,
]
NEEDS_DATA = [path for path in EXAMPLES if "${ASTROSURVEY_DATA}" in path.read_text() and path not in OF_SPECTRA + OF_CATALOGUES]
FLUX_AUTO = 15
SMALL = ["tiles.count=2", "tiles.size=256"]
FEWER = {
    "network": ["net.samples=2", "why.count=1"],
    "emmi-network": ["why.count=1"],
}
"""What saves a test from doing one thing many times."""


def run(example, folder, overrides=()):
    """Run an example and return the number of merged sources."""
    result = astrosurvey.run(astrosurvey.load(example, overrides=overrides), out=folder / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    assert {state for _, state in result.counts} == {"done"}
    return len(result.read("survey", "sources", Catalog))


@pytest.mark.parametrize(
    "example",
    [path for path in EXAMPLES if path not in [*NEEDS_DATA, *WITHOUT_SOURCES, PHOTOMETRIC_REDSHIFTS] and path.stem not in TRAINING],
    ids=lambda path: path.stem,
)
def test_examples_without_data(example, tmp_path):
    assert run(example, tmp_path, [*SMALL, *FEWER.get(example.stem, [])]) > 50


def test_the_example_of_two_surveys(tmp_path):
    result = astrosurvey.run(astrosurvey.load(TWO_SURVEYS, overrides=SMALL), out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    metrics = result.read("matches", "metrics", Metrics)
    assert metrics["sources"].value > 10
    assert metrics["matched"].value > 0.8
    assert metrics["matched by chance"].value < 0.3
    sigmas = result.read("matches", "matches", Catalog).rows.column("separation_sigma").to_numpy()
    assert 0.5 < np.nanmedian(sigmas) < 2.5


def test_the_example_of_simulated_spectra(tmp_path):
    pipeline = astrosurvey.load(SIMULATED_SPECTRA, overrides=["tiles.count=1", "sim.number=20"])
    result = astrosurvey.run(pipeline, out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    tile = next(tile for stage, tile in result.states if stage == "sim")
    spectra, truth = result.read("grid", "spectra", Spectra, tile), result.read("sim", "truth", Catalog, tile)
    np.testing.assert_array_equal(spectra.ids, truth.column("spectrum_id"))


def test_the_example_of_redshifts(tmp_path):
    result = astrosurvey.run(
        astrosurvey.load(REDSHIFT, overrides=["tiles.count=1", "sim.number=12", "sim.snr=[20,30]"]), out=tmp_path / "run"
    )
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    tile = next(tile for stage, tile in result.states if stage == "sim")
    answer, truth = (result.read(stage, port, Catalog, tile) for stage, port in (("answer", "redshifts"), ("sim", "truth")))
    first = answer.column("spectral_class")[answer.column("rank") == 0]
    assert np.mean(first == truth.column("spectral_class")) > 0.5


def test_the_example_of_a_survey_of_spectra(tmp_path):
    pipeline = astrosurvey.load(SPECTRA_SURVEY, overrides=["tiles.count=1", "sim.number=16", "sim.snr=[15, 30]"])
    result = astrosurvey.run(pipeline, out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    assert result.read("score", "metrics", Metrics)["accuracy.coarse"].value > 0.6
    tables = Table.read(result.read("table", "files", Export).folder / "catalog.fits", hdu="spectral_line")
    assert np.isfinite(tables["line_flux"]).any()


def test_the_example_of_simulated_clusters(tmp_path):
    result = astrosurvey.run(astrosurvey.load(SIMULATED_CLUSTERS, overrides=["sim.number=4000"]), out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    for stage in ("peaks_score", "sharp_score"):
        metrics = result.read(stage, "metrics", Metrics)
        assert metrics["ari.members"].value > 0.9
        assert metrics["recovered"].value > 0.8
    page = report.write(tmp_path / "run").read_text()
    assert 'id="clusters"' in page
    assert "cannot be shown" not in page


def test_the_example_of_snapshots(tmp_path):
    small = ["tiles.count=6", "sim.snapshots=6", "sim.number=1500", "sim.clumps=6", "sim.streams=0", "sim.births=1", "sim.dissolutions=1"]
    result = astrosurvey.run(astrosurvey.load(SNAPSHOTS, overrides=[*small, "sim.mergers=1"]), out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    assert {"birth", "death"} <= set(result.read("follow", "events", Catalog).column("kind").tolist())
    assert result.read("score", "metrics", Metrics)["ari.members"].value > 0.8


@pytest.mark.parametrize("example", TRAINING)
def test_examples_that_train(example, tmp_path):
    result = astrosurvey.run(astrosurvey.load(ROOT / "examples" / f"{example}.yaml", overrides=TRAINING[example]), out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    model = result.read("net", "model", Model)
    assert model.card["metrics"]
    assert not list((tmp_path / "run").glob("checkpoints/*/*"))


@pytest.mark.real
@pytest.mark.parametrize("example", NEEDS_DATA, ids=lambda path: path.stem)
def test_examples_on_real_data(example, real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("ASTROSURVEY_DATA", str(real_data / "images"))
    assert run(example, tmp_path, FEWER.get(example.stem, [])) > 5


@pytest.mark.real
@pytest.mark.parametrize("example", OF_SPECTRA, ids=lambda path: path.stem)
def test_examples_on_real_spectra(example, real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("ASTROSURVEY_DATA", str(real_data / "spectra" / "native"))
    result = astrosurvey.run(astrosurvey.load(example), out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    assert [len(result.read(stage, "spectra", Spectra, "all")) for stage in ("sdss", "lamost")] == [16, 5]
    answers = result.read("answer", "redshifts", Catalog, "all")
    assert (answers.column("rank") == 0).sum() == 16


@pytest.mark.real
def test_the_example_of_open_clusters(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("ASTROSURVEY_DATA", str(real_data / "catalogs"))
    result = astrosurvey.run(astrosurvey.load(OPEN_CLUSTERS), out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    for stage in ("peaks_score", "sharp_score"):
        metrics = result.read(stage, "metrics", Metrics)
        assert metrics["ari"].value > 0.95
        assert metrics["recovered"].value == 1


def test_the_example_of_photometric_redshifts(tmp_path):
    few = ["prior.number=400", "infer.epochs=6", "infer.members=1", "infer.tests=20", "infer.draws=20"]
    result = astrosurvey.run(astrosurvey.load(PHOTOMETRIC_REDSHIFTS, overrides=[*SMALL, *few]), out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    table = Table.read(result.read("table", "files", Export).folder / "catalog.fits")
    merged = result.read("survey", "sources", Catalog).column("source_id")
    assert len(merged) > 50
    np.testing.assert_array_equal(np.sort(table["source_id"]), np.sort(merged))
    measured = (np.asarray(table["sbi_flag"]) & SBI["INVALID_INPUT"]) == 0
    assert measured.mean() > 0.9
    for column in ("sbi_redshift_mean", "sbi_redshift_q05", "sbi_log_mass_std"):
        assert np.isfinite(np.asarray(table[column])[measured]).all()
    scores = result.read("score", "metrics", Metrics)
    # Most of the galaxies are matched to their truth, and redshifts are within a prior that is half a unit wide.
    assert scores.meta["tested"] > 0.5 * measured.sum()
    assert scores["redshift.rmse"].value < 0.8


def test_the_example_of_two_moons(tmp_path):
    result = astrosurvey.run(astrosurvey.load(TWO_MOONS, overrides=["infer.epochs=20"]), out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    within = []
    for tile in ("t0000", "t0001", "t0002", "t0003"):
        rows = result.read("posterior", "posterior", Catalog, tile).rows
        quantiles = np.array(rows.column("quantiles").to_pylist()).reshape(25, 2, -1)
        true = result.read("truth", "parameters", Samples, tile).draws
        within.append((quantiles[:, 0, 0] < true[:, 0]) & (true[:, 0] < quantiles[:, 0, -1]))
    assert 80 <= np.sum(within) <= 98
    # Scored on the draws that were kept, a tenth of those behind the quantiles.
    assert result.read("score", "metrics", Metrics)["theta_1.covers_90"].value == pytest.approx(np.sum(within) / 100, abs=0.07)
    assert "about nine times in ten" in TWO_MOONS.read_text()


@pytest.mark.parametrize("example", FIELD_AND_SET, ids=lambda path: path.stem)
def test_the_examples_of_a_field_and_of_a_set(example, tmp_path):
    """From raw data through summaries to posteriors, as toys; what they are worth, their comments say."""
    few = ["tiles.count=2", "prior.number=60", "truth.number=5", "infer.members=1"]
    few += [f"{stage}.{name}={value}" for stage in ("compress", "infer") for name, value in (("epochs", 2), ("tests", 5), ("draws", 10))]
    result = astrosurvey.run(astrosurvey.load(example, overrides=few), out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    rows = result.read("posterior", "posterior", Catalog, "t0001").rows
    assert np.isfinite(rows.column("mean").to_pylist()).all()
    assert result.read("score", "metrics", Metrics).meta["tested"] == 10


def test_the_example_of_a_stream_in_rounds(tmp_path):
    few = [f"{name}={value}" for stage in ("round_1", "round_2") for name, value in ((f"{stage}.epochs", 6), (f"{stage}.tests", 20))]
    pipeline = astrosurvey.load(STREAM_ROUNDS, overrides=[*few, "prior.number=300", "left.number=100"])
    result = astrosurvey.run(pipeline, out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    first, second = (result.read(stage, "posterior_model", Model) for stage in ("round_1", "round_2"))
    assert first.card["truncated"]["prior"] == second.card["prior"]
    true = result.read("truth", "parameters", Samples, "t0000").draws
    assert Prior.from_json(second.card["prior"]).inside(true).all()
    pool = result.read("pool", "observations", Observations, "t0000")
    assert 100 < len(pool) <= 400


@pytest.mark.real
def test_the_example_of_groups(real_data, tmp_path, monkeypatch):
    fast_food.write(fast_food.read(real_data / "catalogs" / "corrfunc_Mr19_mock_northonly.rdcz.ff"), tmp_path / "galaxies.ecsv")
    monkeypatch.setenv("ASTROSURVEY_DATA", str(tmp_path))
    result = astrosurvey.run(astrosurvey.load(GROUPS), out=tmp_path / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    points, clusters = (result.read("groups", port, Catalog) for port in ("points", "clusters"))
    grouped = clusters.column("n_member").sum() / len(points)
    # Of volume-limited samples like this one, some four in ten galaxies are in a group of two or more (Berlind et al. 2006), fewer in rich ones.
    assert 0.1 < grouped < 0.3
    text = GROUPS.read_text()
    assert f"{len(clusters)} groups of ten galaxies or more, which hold {100 * grouped:.1f} % of all {len(points)}," in text
    agreement = result.read("agreement", "metrics", Metrics)
    found = (len(result.read("peaks", "clusters", Catalog)), *(100 * agreement[name].value for name in ("recovered", "completeness")))
    stated = [int(number) for number in re.findall(r"some (\d+)", text)]
    np.testing.assert_allclose(found, stated, rtol=0.1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x08\0\0\0" + bytes(8) + b"\x09\0\0\0", "does not end where it says"),
        (4 * (b"\x04\0\0\0" + bytes(4) + b"\x04\0\0\0"), "a header of"),
    ],
)
def test_other_files_are_no_galaxies(data, message, tmp_path):
    (tmp_path / "file.ff").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        fast_food.read(tmp_path / "file.ff")


@pytest.mark.real
def test_emmi_agrees_with_sextractor(real_data, tmp_path, monkeypatch):
    """The bar of the first release, on the example's own products: positions within 1.5 pixels, fluxes within 3 %."""
    monkeypatch.setenv("ASTROSURVEY_DATA", str(real_data / "images"))
    result = astrosurvey.run(astrosurvey.load(ROOT / "examples" / "emmi.yaml"), out=tmp_path / "run")
    sources, photometry = (result.read("survey", port, Catalog) for port in ("sources", "photometry"))
    table = np.loadtxt(real_data / "images" / "emmi_sextractor_catalog.cat")
    table = table[(table[:, -1] == 0) & (table[:, FLUX_AUTO] > 0)]
    tree = cKDTree(np.column_stack([sources.column("x"), sources.column("y")]))
    distance, nearest = tree.query(table[:, 1:3] - 1)
    matched = distance < 1.5
    assert matched.mean() >= 0.95
    flux = dict(zip(photometry.column("source_id"), photometry.column("flux"), strict=True))
    in_counts = 10 ** (0.4 * (25.0 - 31.4))
    ours = np.array([flux[i] for i in sources.column("source_id")[nearest[matched]]]) * in_counts
    assert np.median(ours / table[matched, FLUX_AUTO]) == pytest.approx(1, abs=0.03)
