"""The fine classes of simulated spectra: SDSS's rules, number by number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from astrosurvey.stages.simulate.spectra.labels import fine_labels, line_snr
from astrosurvey.stages.spectra.classes import COARSE, FINE

START, STEP, PIXELS = np.log10(4000.0), 1e-4, 3000


def label(kind="galaxy", fluxes=(1.0, 0.3, 0.35, 0.3), width=20.0, sigma=80.0, snr=(9.0, 9.0, 9.0, 9.0, 0.0), star=-1):
    """Return the fine class of one spectrum: fluxes of Hα, [N II], Hβ and [O III]; "" for none."""
    centers = np.log10([6564.6, 6585.3, 4862.7, 5008.2])
    lines = np.full((1, 5, 3), np.nan, np.float32)
    lines[0, :4] = np.stack([centers, np.full(4, 1.0), np.array(fluxes) / 10**centers], axis=1)
    as_tensor = (torch.tensor([COARSE.index(kind)]), torch.tensor([star]), torch.from_numpy(lines), torch.tensor([width]))
    number = int(fine_labels(*as_tensor, torch.tensor([sigma]), torch.tensor([snr]))[0])
    return FINE[number] if number >= 0 else ""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "GALAXY_STARFORMING"),
        ({"width": 50.5}, "GALAXY_STARBURST"),
        ({"width": 49.5}, "GALAXY_STARFORMING"),
        # log10([N II]/Hα) = -0.2 puts the border at log10([O III]/Hβ) = 0.22 + 1.2 * 0.2 = 0.46
        ({"fluxes": (1.0, 10**-0.2, 1.0, 10**0.47)}, "GALAXY_AGN"),
        ({"fluxes": (1.0, 10**-0.2, 1.0, 10**0.45)}, "GALAXY_STARFORMING"),
        ({"fluxes": (1.0, 10**-0.2, 1.0, 10**0.47), "width": 90.0}, "GALAXY_AGN"),
        ({"snr": (99.0, 2.9, 99.0, 99.0, 0.0)}, "GALAXY"),
        ({"snr": (0.0,) * 5}, "GALAXY"),
        ({"sigma": 400.0, "snr": (10.1, 4.0, 4.0, 4.0, 0.0)}, ""),
        ({"sigma": 390.0, "snr": (10.1, 4.0, 4.0, 4.0, 0.0)}, "GALAXY_STARFORMING"),  # 390 (1 - 5 / 10.1) < 200
        ({"sigma": 210.0, "snr": (200.0,) * 5}, ""),
        ({"sigma": 900.0}, "GALAXY_STARFORMING"),
        ({"sigma": np.nan, "width": np.nan, "fluxes": (np.nan,) * 4, "snr": (0.0,) * 5}, "GALAXY"),
        ({"kind": "quasar", "snr": (0.0, 0.0, 14.1, 0.0, 0.0)}, "QSO_BROADLINE"),
        ({"kind": "quasar", "snr": (13.0, 13.0, 13.9, 0.0, 0.0)}, "QSO"),
        ({"kind": "star", "star": FINE.index("STAR_K3")}, "STAR_K3"),
        ({"kind": "star"}, ""),
        ({"kind": "sky"}, ""),
        ({"kind": "unknown"}, ""),
    ],
)
def test_the_rules_of_sdss(given, expected):
    assert label(**given) == expected


def test_the_ratio_of_a_line_is_that_of_a_least_squares_fit():
    rng = np.random.default_rng(3)
    ivar = rng.uniform(0.5, 2, (2, PIXELS)).astype(np.float32)
    ivar[1, 1000:1010] = 0
    response = np.full_like(ivar, 0.5)
    lines = np.full((2, 5, 3), np.nan, np.float32)
    lines[:, 0] = START + 1003.3 * STEP, 2.5 * STEP, 4.0
    lines[:, 1] = START + 2000.0 * STEP, 20.0 * STEP, 0.5
    lines[:, 2] = START - 500 * STEP, 2.5 * STEP, 4.0
    got = line_snr(torch.from_numpy(lines), START, STEP, torch.from_numpy(ivar), torch.from_numpy(response)).numpy()
    x = np.arange(PIXELS)
    for k, (place, sigma, height) in enumerate(((1003.3, 2.5, 4.0), (2000.0, 20.0, 0.5))):
        profile = np.exp(-0.5 * ((x - place) / sigma) ** 2)
        expected = 0.5 * height * np.sqrt((profile**2 * ivar).sum(axis=1))
        np.testing.assert_allclose(got[:, k], expected, rtol=2e-3)
    assert got[1, 0] < 0.5 * got[0, 0]
    np.testing.assert_array_equal(got[:, 2:], 0)
