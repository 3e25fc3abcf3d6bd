"""Law 9: every example runs, from its first stage to its last."""

from __future__ import annotations

from pathlib import Path

import pytest

import astrosurvey
from astrosurvey import Catalog

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
NEEDS_DATA = [path for path in EXAMPLES if "${ASTROSURVEY_DATA}" in path.read_text()]
SMALL = ["tiles.count=2", "tiles.size=256"]


def run(example, folder, overrides=()):
    """Run an example and return the number of merged sources."""
    result = astrosurvey.run(astrosurvey.load(example, overrides=overrides), out=folder / "run")
    assert result.exit_code == 0, [failure.message for *_, failure in result.failures]
    assert {state for _, state in result.counts} == {"done"}
    return len(result.read("survey", "sources", Catalog))


@pytest.mark.parametrize("example", [path for path in EXAMPLES if path not in NEEDS_DATA], ids=lambda path: path.stem)
def test_examples_without_data(example, tmp_path):
    assert run(example, tmp_path, SMALL) > 50


@pytest.mark.real
@pytest.mark.parametrize("example", NEEDS_DATA, ids=lambda path: path.stem)
def test_examples_on_real_data(example, real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("ASTROSURVEY_DATA", str(real_data / "images"))
    assert run(example, tmp_path) > 5
