"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data, or skip when ASTROSURVEY_TEST_DATA does not name one."""
    folder = os.environ.get("ASTROSURVEY_TEST_DATA")
    if not folder:
        pytest.skip("ASTROSURVEY_TEST_DATA is not set")
    path = Path(folder)
    if not (path / "images").is_dir():
        pytest.fail(f"ASTROSURVEY_TEST_DATA = {folder} holds no folder `images`")
    return path
