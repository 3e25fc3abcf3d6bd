"""Spectra on one grid or on their own: padding, taking, joining blocks, what is usable."""

from __future__ import annotations

import numpy as np
import pytest

from astrosurvey.catalog.flags import SPECTRUM_PIXEL, SPECTRUM_UNUSABLE
from astrosurvey.core.product import ProductError
from astrosurvey.products import Spectra

GRID = 10 ** (3.5 + 1e-4 * np.arange(300))


def block(wave, n=2, first=0, unit=""):
    shape = n, np.shape(wave)[-1]
    flux = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 100 * first
    return Spectra(flux, np.ones_like(flux), np.zeros(shape, np.int32), np.ascontiguousarray(wave), np.arange(first, first + n), unit)


def test_pieces_of_one_grid_become_that_grid():
    both = Spectra.concatenate([block(GRID[40:200]), block(GRID[:120], first=2)])
    both.check()
    assert both.shared
    assert np.array_equal(both.wave, GRID[:200])
    assert np.array_equal(both.flux[0, 40:200], block(GRID[40:200]).flux[0])
    assert np.isnan(both.flux[0, :40]).all()
    assert (both.ivar[0, :40] == 0).all()
    assert (both.mask[0, :40] == SPECTRUM_PIXEL["NO_DATA"]).all()
    assert both.usable()[2, :120].all()


@pytest.mark.parametrize(
    "waves",
    [
        (GRID[:100], GRID[:100] + 0.3),
        (GRID[:100], GRID[150:250]),  # with a gap between them there is no telling what lies in it
        (GRID[:100], GRID[50:200:2]),
        (GRID[:100], np.nextafter(GRID[20:90], np.inf)),
    ],
    ids=["shifted", "apart", "coarser", "last bit"],
)
def test_other_grids_are_kept_and_padded(waves):
    both = Spectra.concatenate([block(waves[0]), block(waves[1], first=2)])
    both.check()
    assert not both.shared
    for row, wave in enumerate((waves[0], waves[0], waves[1], waves[1])):
        assert np.array_equal(both.wave_of(row)[: len(wave)], wave)
        assert not both.usable()[row, len(wave) :].any()
        assert (np.diff(both.wave_of(row)) > 0).all()
    assert both.usable().sum() == 2 * len(waves[0]) + 2 * len(waves[1])


def test_one_pixel_can_be_padded():
    both = Spectra.concatenate([block(GRID[:1], n=1), block(GRID[10:15], n=1, first=1)])
    both.check()
    assert both.usable().sum(axis=1).tolist() == [1, 5]


def test_blocks_of_different_units_are_refused():
    with pytest.raises(ProductError, match="one unit"):
        Spectra.concatenate([block(GRID), block(GRID, first=2, unit="Jy")])


@pytest.mark.parametrize("own", [False, True])
def test_take(own):
    spectra = block(np.stack([GRID, GRID + 1, GRID + 2]) if own else GRID, n=3)
    for rows in (slice(1, 3), [1, 2], np.array([False, True, True])):
        taken = spectra.take(rows)
        taken.check()
        assert taken.ids.tolist() == [1, 2]
        assert np.array_equal(taken.wave_of(0), spectra.wave_of(1))
    assert len(spectra.take(2)) == 1


def test_usable_asks_flux_ivar_and_mask():
    spectra = block(GRID[:6], n=1)
    spectra.flux[0, 0], spectra.ivar[0, :2] = np.nan, 0
    spectra.mask[0, 2:] = [SPECTRUM_PIXEL[name] for name in ("BAD", "SKY_LINE", "TELLURIC", "JOINED")]
    assert spectra.usable().tolist() == [[False, False, False, True, True, True]]
    assert SPECTRUM_UNUSABLE & SPECTRUM_PIXEL["SUSPECT"] == 0


@pytest.mark.parametrize("own", [False, True])
def test_own_grids_are_stored_to_the_last_bit(tmp_path, own):
    wave = np.stack([GRID, GRID * (1 + 1e-5)]) if own else GRID
    block(wave).write(tmp_path / "s.fits")
    back = Spectra.read(tmp_path / "s.fits")
    assert back.shared is not own
    assert back.wave.tobytes() == wave.tobytes()
    assert back.wave.flags.c_contiguous


def test_a_flux_without_a_number_has_no_weight():
    spectra = block(GRID)
    spectra.flux[0, 3] = np.nan
    with pytest.raises(ProductError, match="0 where the flux is not finite"):
        spectra.check()
