"""`astrosurvey new pipeline`: what headers say, and what they leave open."""

from __future__ import annotations

import json

import numpy as np
import pytest

from astrosurvey import PipelineError, api
from astrosurvey.cli.groups import NoPattern, group
from astrosurvey.testing import make_image


def write(path, shape=(64, 64), extensions=(), primary=None, **cards):
    """Write a FITS file: the image in the primary HDU, or in the first extension where `primary` has cards of its own."""
    from astropy.io import fits

    def hdu(kind, data, values):
        made = kind(data)
        made.header.update(values)
        return made

    data = np.zeros(shape, np.float32)
    if primary is None:
        hdus = [hdu(fits.PrimaryHDU, data, cards)]
    else:
        hdus = [hdu(fits.PrimaryHDU, None, primary), hdu(fits.ImageHDU, data, cards)]
    for name, values in extensions:
        hdus.append(hdu(fits.ImageHDU, data, {"EXTNAME": name, **values}))
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.fixture
def new(tmp_path, monkeypatch):
    """A function that runs `new pipeline` in this process; returns its JSON, the pipeline and its text."""
    from click.testing import CliRunner

    from astrosurvey.cli.new import pipeline

    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(pipeline, [*map(str, arguments), "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        said = json.loads(result.output)
        made = api.load(said["pipeline"])
        return said, made.nodes["image"].config, (tmp_path / said["pipeline"]).read_text()

    return run


def test_our_own_images_leave_nothing_open(new, tmp_path):
    make_image(bands=("g", "r", "i")).write(tmp_path / "own.fits")
    said, config, text = new("own.fits")
    assert said["to_do"] == []
    assert config.bands == ["g", "r", "i"]
    assert (config.variance.hdu, config.variance.kind) == ("ERR", "variance")
    assert config.mask.bits["SAT"] == [2]
    assert config.psf.hdu == "PSF"
    assert "fwhm" not in text
    assert "coordinates: centre RA 149.99997" in text


def test_the_pipeline_that_is_written_runs(new, tmp_path):
    make_image().write(tmp_path / "own.fits")
    new("own.fits")
    result = api.run("pipeline.yaml", tmp_path / "run")
    assert result.exit_code == 0
    assert result.store.record("survey", None).outputs["sources"].summary["rows"] >= 5


def test_a_large_image_is_cut_in_every_band(new, tmp_path):
    for band in "gr":
        write(tmp_path / f"deep_{band}.fits", (8, 6200), BUNIT="nJy", BAND=band)
    said, _, text = new("deep_g.fits", "deep_r.fits")
    assert 'tiles: {image: "deep_{band}.fits", size: 4096, overlap: 128}' in text
    made = api.load("pipeline.yaml")
    assert [tile.window.x0 for tile in made.tiles()] == [0, 3968]
    node = made.nodes["image"]
    files = node.cls.external_files(node.config, made.tiles()[1])
    assert [path.rpartition("/")[2] for path in files] == ["deep_g.fits", "deep_r.fits"]
    assert said["tiles"] == ["deep"]


@pytest.mark.parametrize(
    ("keyword", "value", "band"),
    [("BAND", "z", "z"), ("FILTER", "r DECam SDSS c0002 6415.0 1480.0", "r"), ("FILTER", "HSC-G", "HSC-G"), ("FILTER2", "F814W", "F814W")],
)
def test_the_band_comes_from_the_header(new, tmp_path, keyword, value, band):
    write(tmp_path / "a.fits", primary={keyword: value}, BUNIT="nJy")
    said, config, _ = new("a.fits")
    assert config.bands == [band]
    assert f"bands: from {keyword} = " in "\n".join(said["guesses"])


def test_a_clear_filter_is_no_band(new, tmp_path):
    write(tmp_path / "a.fits", FILTER1="CLEAR", FILTER2="V", BUNIT="nJy")
    assert new("a.fits")[1].bands == ["V"]


def test_names_tell_bands_apart_where_headers_do_not(new, tmp_path):
    for band in "gri":
        write(tmp_path / "in" / f"t1_{band}.fits", FILTER="H", BUNIT="nJy")
    said, config, text = new(*(f"in/t1_{band}.fits" for band in "gri"))
    assert config.path.endswith("/in/t1_{band}.fits")
    assert config.bands == ["g", "r", "i"]
    assert "FILTER = 'H', which does not tell them apart" in text
    assert said["tiles"] == ["t1"]


def test_tiles_and_bands_together(new, tmp_path):
    names = [f"field-{tile}_{band}.fits" for tile in ("a1", "b7") for band in "gr"]
    for name in names:
        write(tmp_path / name, BUNIT="nJy", BAND=name[-6])
    said, config, _ = new(*names)
    assert said["tiles"] == ["a1", "b7"]
    assert config.path.endswith("/field-{tile}_{band}.fits")


def test_an_extension_is_named_where_there_are_several(new, tmp_path):
    write(tmp_path / "a.fits", primary={}, extensions=[("N2", {"BUNIT": "nJy"}), ("N3", {})], BUNIT="nJy", EXTNAME="N1", FILTER="r")
    _, config, text = new("a.fits")
    assert config.hdu == "N1"
    assert "the file also holds 2 (N2), 3 (N3)" in text


@pytest.mark.parametrize(
    ("name", "cards", "kind"),
    [
        ("IVAR", {}, "inverse_variance"),
        ("WHT", {}, "inverse_variance"),
        ("SIGMA", {}, "error"),
        ("NOISE", {"HDUCLAS2": "ERROR", "HDUCLAS3": "RMSE"}, "error"),
        ("VAR", {"HDUCLAS2": "ERROR", "HDUCLAS3": "INVMSE"}, "inverse_variance"),
    ],
)
def test_a_variance_plane_is_found(new, tmp_path, name, cards, kind):
    write(tmp_path / "a.fits", extensions=[(name, cards)], BUNIT="nJy", FILTER="r")
    variance = new("a.fits")[1].variance
    assert (variance.hdu, variance.kind) == (name, kind)


def test_planes_beside_the_image_are_found(new, tmp_path):
    for word in ("ooi", "oow", "ood"):
        write(tmp_path / f"c4d_{word}_z_N2.fits", primary={"BAND": "z", "MAGZERO": 29.9, "MAGZPT": 24.8}, SATURATE=45000.0)
    write(tmp_path / "c4d_oow_z_N3.fits", BAND="z")
    _, config, _ = new("c4d_ooi_z_N2.fits")
    assert config.variance.path.endswith("c4d_oow_z_N2.fits")
    assert config.variance.unit == ""
    assert config.mask.path.endswith("c4d_ood_z_N2.fits")
    assert config.mask.nonzero == "BAD"
    assert (config.unit, config.zeropoint_keyword, config.saturate_keyword) == ("adu", "MAGZERO", "SATURATE")


def test_planes_beside_are_templates_and_there_for_every_band(new, tmp_path):
    for band in "gr":
        write(tmp_path / f"t1_{band}.fits", BUNIT="nJy", BAND=band)
        write(tmp_path / f"t1_{band}.weight.fits")
    write(tmp_path / "t1_g.mask.fits")
    _, config, _ = new("t1_g.fits", "t1_r.fits")
    assert config.variance.path.endswith("/t1_{band}.weight.fits")
    assert config.mask is None


def test_what_nobody_says_is_left_to_do(new, tmp_path):
    write(tmp_path / "a.fits")
    said, config, text = new("a.fits")
    assert [line.partition(":")[0] for line in said["to_do"]] == ["bands", "unit", "zeropoint"]
    assert text.count("# TO DO: ") == 3
    assert (config.bands, config.unit, config.zeropoint, config.wcs) == (["band"], "adu", 25.0, "ignore")


@pytest.mark.parametrize(
    ("cards", "unit", "to_do"),
    [
        ({"BUNIT": "nanomaggy"}, None, []),
        ({"BUNIT": "MJy/sr"}, None, ["pixel_scale"]),
        ({"BUNIT": "electrons", "PHOTZP": 28.1}, None, []),
        ({"BUNIT": "bananas"}, "adu", ["unit", "zeropoint"]),
        ({"MAGZERO": 29.9}, "adu", []),
        ({"BUNIT": "count", "MAGZERO": -99.0}, None, ["zeropoint"]),
    ],
)
def test_units(new, tmp_path, cards, unit, to_do):
    write(tmp_path / "a.fits", FILTER="r", **cards)
    said, config, _ = new("a.fits")
    assert config.unit == unit
    assert [line.partition(":")[0] for line in said["to_do"]] == to_do


def test_a_unit_of_the_primary_hdu_is_said(new, tmp_path):
    write(tmp_path / "a.fits", primary={"BUNIT": "nJy"}, FILTER="r")
    assert new("a.fits")[1].unit == "nJy"


def test_broken_coordinates_are_ignored_with_a_reason(new, tmp_path):
    places = {"CRVAL1": 1.0, "CRVAL2": 2.0, "CRPIX1": 3.0, "CRPIX2": 4.0}
    write(tmp_path / "a.fits", FILTER="r", BUNIT="nJy", CTYPE1="RA---TAN", CTYPE2="DEC--TAN", **places)
    _, config, text = new("a.fits")
    assert config.wcs == "ignore"
    assert "the header's coordinates cannot be used: it has no CD, PC or CDELT cards" in text


def test_a_hostile_header_stays_in_its_comment(new, tmp_path):
    write(tmp_path / "a.fits", BUNIT="x: {y}  # z", FILTER="r")
    assert new("a.fits")[1].unit == "adu"


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        (["absent.fits"], "no such file"),
        (["table.fits"], "holds no image"),
        (["a_g.fits", "b_r.fits", "b_g.fits"], "not every tile has every band: 3 files for 2 tiles in g, r"),
        (["a_g.fits", "b-2-r.fits"], "different numbers of parts"),
    ],
)
def test_files_that_will_not_do(command_here, tmp_path, files, complaint):
    from astropy.io import fits

    fits.BinTableHDU(np.zeros(3, [("x", "f4")])).writeto(tmp_path / "table.fits")
    for name in ("a_g", "b_r", "b_g", "b-2-r"):
        write(tmp_path / f"{name}.fits", BUNIT="nJy")
    done = command_here("new", "pipeline", *files)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert not (tmp_path / "pipeline.yaml").exists()


def test_nothing_is_overwritten(command_here, tmp_path):
    write(tmp_path / "a.fits", BUNIT="nJy", FILTER="r")
    (tmp_path / "pipeline.yaml").write_text("mine")
    refused = command_here("new", "pipeline", "a.fits")
    assert refused.returncode == 2
    assert "pipeline.yaml exists" in refused.stderr
    assert (tmp_path / "pipeline.yaml").read_text() == "mine"
    forced = command_here("new", "pipeline", "a.fits", "--force")
    assert forced.returncode == 0, forced.stderr
    assert forced.stdout.splitlines()[0] == "wrote pipeline.yaml"
    assert forced.stdout.splitlines()[-1] == "next: astrosurvey run pipeline.yaml"


@pytest.mark.parametrize("path", ["a{tile}.fits", "a${HOME}.fits"])
def test_braces_in_names_are_refused(path):
    with pytest.raises(NoPattern, match="holds braces"):
        group([path], [("r", "")])


@pytest.mark.real
def test_real_images(new, real_data, tmp_path):
    images = real_data / "images"
    _, decam, _ = new(*(images / f"decam_tile_{band}.fits" for band in "grz"), "--out", "decam.yaml")
    assert (decam.bands, decam.path) == (["g", "r", "z"], str(images / "decam_tile_{band}.fits"))
    _, chip, _ = new(images / "decam_z_ooi_N2.fits", "--out", "chip.yaml")
    assert (chip.bands, chip.zeropoint_keyword, chip.variance.kind) == (["z"], "MAGZERO", "inverse_variance")
    assert api.run("chip.yaml", tmp_path / "chip").exit_code == 0
    said, _, _ = new(images / "spitzer_irac_galplane.fits", "--out", "irac.yaml")
    assert "unit: BUNIT = 'MJy/sr'" in said["guesses"]
    _, emmi, _ = new(images / "emmi_ngc_rband_256.fits", "--out", "emmi.yaml")
    assert emmi.wcs == "ignore"


def test_an_unsound_draft_would_be_reported(new, tmp_path, monkeypatch):
    from astrosurvey.cli import draft

    write(tmp_path / "a.fits", BUNIT="nJy", FILTER="r")
    monkeypatch.setattr(draft, "yaml", lambda value: "{")
    with pytest.raises(PipelineError):
        new("a.fits")
