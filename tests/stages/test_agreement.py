"""Two catalogues of the same sky: what is found again, what is added."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from astrosurvey.products import Catalog
from astrosurvey.stages.evaluate.agreement import EvaluateAgreement

from .running import run, tiles_of


def catalog(x: list[float], significance: list[float]) -> Catalog:
    n = len(x)
    box: dict[str, Any] = {"x_min": 0, "x_max": 1, "y_min": 0, "y_max": 1, "n_pixels": 1, "n_child": 0, "primary": True, "flags": 0}
    return Catalog.from_columns(
        "source", {"source_id": np.arange(n), "tile_id": 7, "x": x, "y": np.zeros(n), "significance": significance, **box}, {}
    )


def values(sources: Catalog, reference: Catalog, **settings: Any) -> dict[str, Any]:
    made = run(EvaluateAgreement, settings, sources=tiles_of(t=sources), reference=tiles_of(t=reference))["metrics"]
    return {metric.name: metric for metric in made.values} | {"curves": made.curves}


def test_what_is_found_again_and_what_is_added():
    reference = catalog([10, 50, 90, 130], [5.0, 20.0, 30.0, 40.0])
    sources = catalog([11, 51, 91, 200, 240], [5.0, 20.0, 30.0, 4.0, 6.0])
    found = values(sources, reference, min_found=0.9)
    assert found["found_again"].value == pytest.approx(3 / 4)
    assert found["firm_found_again"].value == pytest.approx(2 / 3)
    assert found["firm_found_again"].passed is False
    assert found["n_added"].value == 2
    assert sum(found["curves"]["added by significance"]["n"]) == 5


def test_a_source_is_found_once():
    found = values(catalog([10], [9.0]), catalog([10, 11], [20.0, 12.0]))
    assert found["firm_found_again"].value == pytest.approx(0.5)


def test_without_sources_the_fractions_are_unknown():
    found = values(catalog([], []), catalog([], []))
    assert np.isnan(found["found_again"].value)
    assert found["n_added"].value == 0
