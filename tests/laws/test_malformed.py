"""Law 11 for a run: malformed tiles fail, each with one line that names file and reason; sound tiles are as if alone."""

from __future__ import annotations

import os

from astrosurvey import Pipeline, plugins
from astrosurvey.core.run import ExitCode, run_pipeline
from astrosurvey.products import Image
from tests.fits_corpus import build as b

BAD = {
    "bitpix": (b.image({"BITPIX": "17"}), "BITPIX: must be one of"),
    "blank": (b.image({"BUNIT": None}), "set `unit` of this stage"),
    "corrupt": (b.image() + b.image({"BITPIX": "7"}, extension=True), "HDU 1, BITPIX"),
    "empty": (b"", "is empty"),
    "short": (b.image()[:4000], "cut short"),
    "text": (b"hello" * 99, "not a FITS file"),
}


def run(folder, out):
    stages = {"image": {"use": "io.image", "path": str(folder / "{tile}.fits"), "bands": ["r"]}}
    pipeline = Pipeline.build({"astrosurvey": 1, "tiles": str(folder / "*.fits"), "stages": stages}, plugins.load(), base=folder)
    return run_pipeline(pipeline, out)


def test_sound_tiles_are_unaffected(tmp_path):
    alone, mixed = tmp_path / "alone", tmp_path / "mixed"
    for folder in (alone, mixed):
        folder.mkdir()
        for k in range(3):
            (folder / f"sound{k}.fits").write_bytes(b.image({"OBJECT": f"'{k}'"}))
    for name, (raw, _) in BAD.items():
        (mixed / f"{name}.fits").write_bytes(raw)
    os.mkfifo(mixed / "pipe.fits")
    (mixed / "zero.fits").symlink_to("/dev/zero")
    expected = {**{name: pattern for name, (_, pattern) in BAD.items()}, "pipe": "not a regular file", "zero": "not a regular file"}

    good, result = run(alone, tmp_path / "a"), run(mixed, tmp_path / "b")
    assert good.exit_code == ExitCode.OK
    assert result.exit_code == ExitCode.SOME_FAILED
    failed = {tile: failure for _, tile, failure in result.failures}
    assert set(failed) == set(expected)
    for tile, failure in failed.items():
        assert failure.kind in ("BadInput", "DataError")  # the planner itself refuses what is no regular file
        assert f"{tile}.fits" in failure.message
        assert expected[tile] in failure.message
    for k in range(3):
        path = f"products/image/sound{k}/image.fits"
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()
        assert result.read("image", "image", Image, f"sound{k}").bands == ("r",)
