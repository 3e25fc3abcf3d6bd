"""MANIFEST.sha256 lists every file, finds what changed, and is what sha256sum reads."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from astrosurvey.catalog.manifest import verify_manifest, write_manifest
from astrosurvey.catalog.schema import SchemaError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "b c.txt").write_text("1")
    (tmp_path / "below" / "a.txt").write_text("2")
    write_manifest(tmp_path)
    return tmp_path


def test_it_lists_every_file_in_order(folder):
    names = [line.split("  ", 1)[1] for line in (folder / "MANIFEST.sha256").read_text().splitlines()]
    assert names == ["b c.txt", "below/a.txt"]
    before = (folder / "MANIFEST.sha256").read_bytes()
    assert write_manifest(folder).read_bytes() == before
    assert verify_manifest(folder) == []


def test_sha256sum_agrees(folder):
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")
    done = subprocess.run(["sha256sum", "--check", "--strict", "MANIFEST.sha256"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_changes_are_found(folder):
    (folder / "b c.txt").write_text("x")
    (folder / "below" / "a.txt").unlink()
    (folder / "new.txt").write_text("3")
    assert verify_manifest(folder) == ["b c.txt has changed", "below/a.txt is missing", "new.txt is not in the manifest"]


def test_names_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "a\nb").write_text("1")
    with pytest.raises(SchemaError, match="cannot stand in a manifest"):
        write_manifest(tmp_path)
