"""What others say of the same spectra: the templates that were fitted to them, and a classifier."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from ....catalog.flags import CLASSIFICATION
from ....core.stage import DataError
from ....products import Catalog, Spectra
from ..classes import COARSE
from .rest import to_rest_frame
from .score import misfit

NEITHER = ("sky", "unknown")
"""Coarse classes that are no known object."""
LEAST = 1e-12


def fits_of(fits: Spectra, spectra: Spectra) -> Spectra:
    """Return fits, once it is sure that they are those of the spectra.

    Raises:
        DataError: they are not.
    """
    if fits.flux.shape != spectra.flux.shape or not np.array_equal(fits.ids, spectra.ids) or not np.array_equal(fits.wave, spectra.wave):
        raise DataError("`fits` are of other spectra, or on other pixels: wire `fits` of the spectra.redshift that these spectra went into")
    return fits


def misfits(
    fits: Spectra, z: np.ndarray, rows: slice, device: Literal["cpu", "cuda"], flux: torch.Tensor, ivar: torch.Tensor
) -> torch.Tensor:
    """Return (row,) how badly the best templates fit; NaN where there is none.

    Args:
        fits: see `fits_of`.
        z: (n,) redshifts at which the spectra were moved to rest.
        rows: which of them.
        device: where the kernel runs.
        flux, ivar: (row, pixel) the spectra at rest.
    """
    fit, there = (torch.from_numpy(plane).to(device) for plane in to_rest_frame(fits, z, rows, device))
    return misfit(flux, ivar, torch.where(there > 0, fit, torch.nan))


def nothing_known(classes: Catalog, ids: np.ndarray) -> np.ndarray:
    """Return (n,) the log of the probability that a spectrum is of no known object; NaN where the classifier says nothing.

    Args:
        classes: `classification` rows; those of other objects and of finer classes are passed over.
        ids: (n,) of the spectra.

    Raises:
        DataError: nobody, or more than one classifier, gives coarse classes.
    """
    if not len(classes):
        return np.full(len(ids), np.nan)
    of_spectra = (classes.column("object_table") == "spectrum") & np.isin(classes.column("label"), COARSE)
    classifier, label = classes.column("classifier").astype("U128"), classes.column("label").astype("U16")
    names = [name for name in np.unique(classifier[of_spectra]) if set(NEITHER) <= set(label[of_spectra & (classifier == name)])]
    if len(names) != 1:
        said = f"{', '.join(names)} do" if names else f"none of {', '.join(np.unique(classifier)[:5])} does"
        raise DataError(f"one classifier must say how probably spectra are sky or unknown, and {said}: wire `classes` of spectra.classify")
    heard = classes.column("flags") & CLASSIFICATION["NO_DATA"] == 0
    rows = of_spectra & (classifier == names[0]) & np.isin(label, NEITHER) & heard
    total: dict[int, float] = {}
    for one, probability in zip(classes.column("object_id")[rows].tolist(), classes.column("probability")[rows].tolist(), strict=True):
        total[one] = total.get(one, 0.0) + probability
    return np.log(np.maximum(np.array([total.get(one, np.nan) for one in ids.tolist()], float), LEAST))
