"""Connected components: scipy's labels, whatever the threads; what is too small or too large."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from astrosurvey.kernels import components

SHAPES = st.one_of(st.tuples(st.integers(0, 70), st.integers(0, 20)), st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)))


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(bool, SHAPES))
def test_labels_are_those_of_scipy(mask):
    labels, n = components.cpu(mask, 1)
    expected, m = ndimage.label(mask, np.ones((3,) * mask.ndim))
    assert n == m
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("shape", [(517, 300), (40, 31, 57)])
def test_threads_change_nothing(shape):
    mask = np.random.default_rng(1).random(shape) < 0.3
    threads = numba.get_num_threads()
    try:
        found = []
        for n in {1, numba.config.NUMBA_NUM_THREADS}:
            numba.set_num_threads(n)
            found.append(components.cpu(mask, 2))
    finally:
        numba.set_num_threads(threads)
    for labels, n in found:
        np.testing.assert_array_equal(labels, components.reference(mask, 2)[0])
        assert n == labels.max()


def test_small_components_leave_no_gap():
    mask = np.zeros((5, 12), bool)
    mask[0, 0] = mask[1, 3:6] = mask[4, 0:2] = mask[3, 9] = mask[4, 10] = True
    labels, n = components.cpu(mask, 2)
    assert n == 3
    assert labels[0, 0] == 0
    assert (labels[1, 4], labels[3, 9], labels[4, 10], labels[4, 0]) == (1, 2, 2, 3)
    assert components.cpu(mask, 100) == (pytest.approx(np.zeros((5, 12))), 0)


def test_strided_mask_and_mask_are_left_alone():
    mask = np.random.default_rng(2).random((60, 80)) < 0.4
    mask.setflags(write=False)
    np.testing.assert_array_equal(components.cpu(mask[::2, ::3], 1)[0], components.reference(mask[::2, ::3], 1)[0])


@pytest.mark.parametrize("twin", [components.cpu, components.on_cuda, components.reference])
def test_refused(twin):
    with pytest.raises(ValueError, match="cut it into tiles"):
        twin(np.broadcast_to(np.False_, (2**16, 2**15)), 1)
    with pytest.raises(ValueError, match="2 or 3 dimensions"):
        twin(np.zeros(4, bool), 1)
