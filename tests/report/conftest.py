from __future__ import annotations

import pytest

from . import runs


@pytest.fixture(scope="session")
def field(tmp_path_factory):
    """The run directory of a small field; do not change it."""
    return runs.field(tmp_path_factory.mktemp("field") / "run")
