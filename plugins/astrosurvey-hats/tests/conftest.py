"""Contexts to run a stage in."""

from __future__ import annotations

import logging
from itertools import count

import numpy as np
import pytest

from astrosurvey import Context


@pytest.fixture
def make_context(tmp_path):
    """A function that returns a context with an empty folder of its own."""
    number = count()

    def make():
        scratch = tmp_path / f"scratch{next(number)}"
        scratch.mkdir()
        return Context(None, np.random.default_rng(0), "cpu", logging.getLogger("test"), lambda done, total: None, scratch)

    return make
