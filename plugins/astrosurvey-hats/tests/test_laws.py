"""The stage keeps the laws of stages."""

from __future__ import annotations

import numpy as np
from astrosurvey_hats.stage import HatsExport

from astrosurvey import Catalog
from astrosurvey.testing import Example, StageLaws

from .catalogs import photometry, sources


class TestHatsExport(StageLaws):
    """Every law, with and without photometry, in one partition and in many."""

    stage = HatsExport

    def example(self):
        return Example({"sources": [sources(seed) for seed in (1, 2)], "photometry": [photometry(seed) for seed in (1, 2)]})

    def example_of_many_partitions(self):
        return Example({"sources": [sources(seed) for seed in (1, 2)]}, {"rows": 40, "margin": 600.0})

    def example_without_margin(self):
        return Example({"sources": [sources(1), sources(2)]}, {"margin": 0.0, "name": "deep"})

    def empty(self):
        return Example({"sources": [Catalog.empty("source")]})

    def empty_without_places(self):
        return Example({"sources": [sources(1).replace(ra=np.full(300, np.nan), dec=np.full(300, np.nan))]})
