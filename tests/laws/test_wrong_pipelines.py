"""Law 5: each wrong pipeline gives the expected line, key and suggestion, at once and before anything runs."""

import pytest

from astrosurvey import PipelineError, load

SOUND = """\
astrosurvey: 1
title: wrong on purpose
tiles: {count: 4, size: 256, overlap: 32}
seed: 7
stages:
  sim: {use: simulate.sky, bands: [g, r]}
  sky: {use: background.mesh, in: sim, box: 64}
  detect: {use: detection.segment, in: sky}
  deblend:
    use: deblending.watershed
    in: [sky, detect]
    contrast: 0.01
  kron: {use: photometry.kron, in: [sky, deblend]}
  apertures: {use: photometry.aperture, in: [sky, kron], radii: [3, 5]}
  merge: {use: catalog.merge, in: apertures}
run: {retries: 1, max_failures: 5%}
"""

# (what is wrong, the sound text, the wrong text, line, key, what the message and the suggestion say)
CASES = [
    ("a misspelt section", "seed: 7", "sede: 7", 4, "sede", "unknown section", "did you mean 'seed'"),
    ("no grammar version", "astrosurvey: 1\n", "", 1, "astrosurvey", "is missing", "astrosurvey: 1"),
    ("a newer grammar", "astrosurvey: 1", "astrosurvey: 2", 1, "astrosurvey", "grammar 2", "upgrade"),
    ("a version that is text", "astrosurvey: 1", "astrosurvey: '1'", 1, "astrosurvey", "must be 1, not '1'", "begin the file"),
    ("a title that is a list", "title: wrong on purpose", "title: [a]", 2, "title", "must be a string", "quote it"),
    ("a seed that is a fraction", "seed: 7", "seed: 7.5", 4, "seed", "not 7.5", "20261120"),
    ("a negative seed", "seed: 7", "seed: -7", 4, "seed", "not -7", "20261120"),
    ("stages as a list", "stages:\n  sim:", "stages: [1]\nother:\n  sim:", 5, "stages", "must be a mapping", "stages: {…}"),
    ("a misspelt stage", "detection.segment", "detection.segmnt", 8, "stages.detect.use", "no stage", "did you mean 'detection.segment'"),
    ("a stage without its family", "use: background.mesh", "use: mesh", 7, "stages.sky.use", "no stage", "did you mean 'background.mesh'"),
    ("a stage of another tool", "use: background.mesh", "use: sourcextractorpp", 7, "stages.sky.use", "no stage", "`astrosurvey stages`"),
    ("use is misspelt", "{use: background.mesh,", "{user: background.mesh,", 7, "stages.sky", "which stage to `use`", "did you mean 'use'"),
    ("use is left out", "{use: detection.segment, in: sky}", "{in: sky}", 8, "stages.detect", "which stage to `use`", "add use:"),
    ("use is a number", "use: background.mesh", "use: 5", 7, "stages.sky.use", "not 5", "`astrosurvey stages`"),
    ("a stage that is no mapping", "{use: detection.segment, in: sky}", "detection.segment", 8, "stages.detect", "must be a mapping", "{use:"),
    ("a stage name with a blank", "  detect: {", "  de tect: {", 8, "stages.de tect", "cannot be a stage's name", "lower-case"),
    ("a misspelt setting", "contrast: 0.01", "contrst: 0.01", 12, "stages.deblend.contrst", "unknown setting", "did you mean 'contrast'"),
    ("a setting of another stage", "box: 64", "threshold: 3", 7, "stages.sky.threshold", "unknown setting", "source_threshold"),
    ("a setting out of range", "contrast: 0.01", "contrast: 1.5", 12, "stages.deblend.contrast", "less than or equal to 1", "fraction"),
    ("a number as text", "contrast: 0.01", "contrast: '0.01'", 12, "stages.deblend.contrast", "valid number", "fraction"),
    ("a fraction for an integer", "box: 64", "box: 64.5", 7, "stages.sky.box", "valid integer", "mesh box"),
    ("no for false", "box: 64", "mask_sources: no", 7, "stages.sky.mask_sources", 'not "no"', "mask the sources"),
    ("a choice misspelt", "contrast: 0.01", "mode: expnential", 12, "stages.deblend.mode", "is not one of", "did you mean 'exponential'"),
    ("a list for a number", "box: 64", "box: [64]", 7, "stages.sky.box", "valid integer", "mesh box"),
    ("a wrong item of a list", "radii: [3, 5]", "radii: [3, five]", 14, "stages.apertures.radii.1", "valid number", "radii"),
    ("an empty list", "radii: [3, 5]", "radii: []", 14, "stages.apertures.radii", "at least 1 item", "radii"),
    ("a band that does not exist", "bands: [g, r]", "bands: [g, rr]", 6, "stages.sim.bands.1", "is not one of", "did you mean 'r'"),
    ("a nested setting misspelt", "radii: [3, 5]", "annulus: {iner: 8, outer: 9}", 14, "stages.apertures.annulus.iner", "unknown", "did you mean 'inner'"),
    ("a nested setting missing", "radii: [3, 5]", "annulus: {inner: 8}", 14, "stages.apertures.annulus.outer", "required", "outer radius"),
    ("a required setting missing", "sim: {use: simulate.sky, bands: [g, r]}", "sim: {use: io.image, path: a.fits}", 6, "stages.sim.bands", "required", "band names"),
    ("not a number", "contrast: 0.01", "contrast: .nan", 12, "stages.deblend.contrast", "finite", "fraction"),
    ("an input that is no stage", "in: sky}", "in: skye}", 8, "stages.detect.in", "no stage 'skye'", "did you mean 'sky'"),
    ("an input in a list that is no stage", "in: [sky, detect]", "in: [sky, detct]", 11, "stages.deblend.in.1", "no stage 'detct'", "did you mean 'detect'"),
    ("no inputs at all", ", in: sky}", "}", 8, "stages.detect.in", "nothing is wired to its port 'image'", "list 'sim' or 'sky'"),
    ("one input short", "in: [sky, detect]", "in: sky", 11, "stages.deblend.in", "'segmentation'", "list 'detect'"),
    ("two outputs of one name", "in: [sky, detect]", "in: [sim, sky, detect]", 11, "stages.deblend.in", "sim.image or sky.image", "in: {image: sky.image"),
    ("a stage that offers nothing wanted", "in: sky}", "in: [sky, merge]}", 8, "stages.detect.in.1", "takes nothing", "image"),
    ("an output that is not there", "in: sky}", "in: {image: sky.imag}}", 8, "stages.detect.in.image", "no output 'imag'", "did you mean 'image'"),
    ("an input port that is not there", "in: sky}", "in: {imag: sky}}", 8, "stages.detect.in.imag", "no input port", "did you mean 'image'"),
    ("an input that is a number", "in: sky}", "in: 3}", 8, "stages.detect.in", "not 3", "in: [stage, stage]"),
    ("a port that is a list", "in: sky}", "in: {image: [sky]}}", 8, "stages.detect.in.image", "`stage.port`", "image: <stage>"),
    ("a stage that feeds itself", "in: sky}", "in: detect}", 8, "stages.detect.in", "its own output", "another stage"),
    ("a circle through a name that is wrong", "in: sim, box", "in: {image: detect2.image}, box", 7, "stages.sky.in.image", "no stage 'detect2'", "did you mean 'detect'"),
    ("a product of another type", "in: sky}", "in: {image: sim.truth}}", 8, "stages.detect.in", "needs Image, is offered Catalog[truth]", "wire another"),
    ("a table of another kind", "in: apertures}", "in: {sources: apertures.photometry}}", 15, "stages.merge.in", "Catalog[photometry]", "wire another"),
    ("tiles with a misspelt key", "{count: 4, size: 256, overlap: 32}", "{count: 4, sise: 256}", 3, "tiles.sise", "unknown setting", "did you mean 'size'"),
    ("no tiles", "{count: 4, size: 256, overlap: 32}", "{count: 0}", 3, "tiles.count", "greater than 0", "number of tiles"),
    ("an overlap beyond half a tile", "overlap: 32", "overlap: 200", 3, "tiles", "more than half the size", "tiles"),
    ("tiles that are a number", "{count: 4, size: 256, overlap: 32}", "4", 3, "tiles", "must be a glob", "tiles/*_r.fits"),
    ("a tile that is a number", "{count: 4, size: 256, overlap: 32}", "[1, 2]", 3, "tiles.0", "not 1", "tiles/*_r.fits"),
    ("a run option misspelt", "retries: 1", "retrys: 1", 16, "run.retrys", "unknown setting", "did you mean 'retries'"),
    ("a share without its sign", "max_failures: 5%", "max_failures: few", 16, "run.max_failures", "not 'few'", "5%"),
    ("a device that does not exist", "retries: 1", "device: gpu", 16, "run.device", "is not one of", "did you mean 'cpu'"),
    ("a key given twice", "seed: 7", "seed: 7\nseed: 8", 5, "seed", "given twice, first in line 4", "delete one"),
    ("a variable that is not set", "sim: {use: simulate.sky, bands: [g, r]}", "sim: {use: io.image, bands: [r], path: '${NO_SUCH}/a.fits'}", 6, "stages.sim.path", "NO_SUCH", "export"),
    ("a tab", "  detect: {use", "\tdetect: {use", 8, "", "not YAML", "not with tabs"),
    ("a bracket left open", "in: [sky, detect]", "in: [sky, detect", 12, "", "not YAML", "brackets"),
    ("a tag", "seed: 7", "seed: !!int 7", 4, "seed", "tag", "delete it"),
    ("a second document", "run: {", "---\nrun: {", 16, "", "second document", "---"),
]  # fmt: skip


def problems_of(text, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(PipelineError) as caught:
        load(path)
    return caught.value.problems


def test_the_sound_one_is_sound(tmp_path):
    path = tmp_path / "sound.yaml"
    path.write_text(SOUND)
    assert list(load(path).nodes) == ["sim", "sky", "detect", "deblend", "kron", "apertures", "merge"]


@pytest.mark.parametrize(("old", "new", "line", "key", "message", "hint"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_law_5_line_key_and_suggestion(tmp_path, old, new, line, key, message, hint):
    assert old in SOUND
    found = problems_of(SOUND.replace(old, new, 1), tmp_path)
    assert any(p.mark.line == line and p.path == key and message in p.message and hint in p.hint and p.mark.column >= 1 for p in found), (
        "\n".join(map(str, found))
    )


def test_there_are_at_least_forty():
    assert len({case[0] for case in CASES}) >= 40


def test_all_problems_come_at_once(tmp_path):
    text = (
        SOUND.replace("contrst", "contrast")
        .replace("contrast: 0.01", "contrst: 0.01")
        .replace("in: sky}", "in: skye}")
        .replace("retries", "retrys")
    )
    assert len(problems_of(text, tmp_path)) == 3


def test_a_circle_is_named(tmp_path):
    text = SOUND.replace("use: background.mesh, in: sim", "use: background.mesh, in: {image: again.image}") + ""
    text = text.replace("  detect:", "  again: {use: background.mesh, in: {image: sky.image}}\n  detect:")
    (problem,) = problems_of(text, tmp_path)
    assert "round in a circle" in problem.message
    assert "again" in problem.message
    assert problem.mark.line in (7, 8)


def test_a_column_that_nobody_fills_is_an_error_before_anything_runs(toys):
    from astrosurvey import Catalog, Pipeline, Stage

    class Make(Stage):
        """Make sources without positions on the sky."""

        name = "test.make"
        outputs = {"sources": Catalog.of("source", fills=["blendedness"])}

        def run(self, ctx):
            raise AssertionError

    class Pass(Stage):
        """Pass sources on."""

        name = "test.pass"
        inputs = {"sources": Catalog.of("source")}
        outputs = {"sources": Catalog.of("source", passes="sources")}

        def run(self, ctx, *, sources):
            raise AssertionError

    class Need(Stage):
        """Need positions on the sky."""

        name = "test.need"
        inputs = {"sources": Catalog.of("source", needs=["ra", "dec", "blendedness"])}
        outputs = {"sources": Catalog.of("source")}

        def run(self, ctx, *, sources):
            raise AssertionError

    registry = type(toys)(stages={s.name: s for s in (Make, Pass, Need)})
    stages = {"make": {"use": "test.make"}, "on": {"use": "test.pass", "in": "make"}, "need": {"use": "test.need", "in": "on"}}
    with pytest.raises(PipelineError, match="columns dec, ra of Catalog\\[source\\], which nobody upstream fills"):
        Pipeline.build({"astrosurvey": 1, "stages": stages}, registry)


def test_one_product_a_tile_is_too_many_for_a_plain_port_of_a_survey_stage(toys):
    from toy import Number

    from astrosurvey import Pipeline, Stage

    class One(Stage):
        """Take one number for the whole survey."""

        name = "test.one"
        scope = "survey"
        inputs = {"number": Number}
        outputs = {"number": Number}

        def run(self, ctx, *, number):
            raise AssertionError

    registry = type(toys)(stages={**toys.stages, "test.one": One})
    with pytest.raises(PipelineError, match=r"stages.one.in: port 'number'.*one a tile; put `catalog.merge` between"):
        Pipeline.build({"astrosurvey": 1, "stages": {"make": {"use": "toy.make"}, "one": {"use": "test.one", "in": "make"}}}, registry)


def test_law_5_the_command_line_says_so_and_exits_2(tmp_path, monkeypatch, capsys):
    from astrosurvey.cli import main

    monkeypatch.chdir(tmp_path)
    for case, old, new, line, *_ in CASES:
        (tmp_path / "wrong.yaml").write_text(SOUND.replace(old, new, 1))
        monkeypatch.setattr("sys.argv", ["astrosurvey", "run", "wrong.yaml"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2, case
        assert f"wrong.yaml:{line}:" in capsys.readouterr().err, case
    assert not (tmp_path / "runs").exists()


def test_law_5_exit_2_and_nothing_runs(command, tmp_path):
    """That it takes less than a second is measured by benchmarks/overhead.py."""
    (tmp_path / "wrong.yaml").write_text(SOUND.replace("contrast: 0.01", "contrst: 0.01"))
    done = command("run", "wrong.yaml")
    assert done.returncode == 2
    assert "wrong.yaml:12:5 stages.deblend.contrst: unknown setting; did you mean 'contrast'?" in done.stderr
    assert not (tmp_path / "runs").exists()
