"""The line list and the definitions of indices against what was published."""

import numpy as np

from astrosurvey.stages.spectra.lines.indexlist import INDEX_BY_KEY, INDICES
from astrosurvey.stages.spectra.lines.linelist import BY_KEY, DOUBLETS, EMISSION, LINES
from astrosurvey.stages.spectra.vacuum import to_air


def test_keys_are_unique_and_wavelengths_are_what_the_keys_say_in_air():
    assert len(BY_KEY) == len(LINES)
    for line in LINES:
        if line.key[-4:].isdigit():
            assert abs(float(to_air(np.array(line.wave))) - float(line.key[-4:])) < 1.5, line


def test_emission_lines_are_in_order_of_wavelength():
    assert (np.diff([line.wave for line in EMISSION]) > 0).all()


def test_doublets_are_lines_of_one_ion_and_the_first_is_the_stronger():
    for strong, weak, ratio in DOUBLETS:
        assert BY_KEY[strong].key.split("_")[0] == BY_KEY[weak].key.split("_")[0]
        assert ratio > 1


def test_bands_beside_an_index_enclose_it():
    for index in INDICES:
        inside = index.band or (index.blue[1], index.red[0])
        assert index.blue[0] < index.blue[1] <= index.red[0] < index.red[1]
        assert index.blue[0] < inside[0] < inside[1] < index.red[1]


def test_bands_were_published_in_air():
    low, high = INDEX_BY_KEY["mgb"].band
    assert np.allclose(to_air(np.array([low, high])), [5160.125, 5192.625], atol=1e-6)
