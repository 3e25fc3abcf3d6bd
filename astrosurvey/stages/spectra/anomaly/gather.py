"""Labelled spectra as a corpus."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from ....products import Catalog, Spectra
from .corpus import Corpus
from .rest import to_rest_frame

KNOWN = ("star", "galaxy", "quasar")
"""Coarse classes that are learnt."""
ROWS = 256
FEWEST = 200
"""Pixels with data that an object must have."""


def gathered(spectra: Spectra, truth: Catalog, device: Literal["cpu", "cuda"]) -> Corpus:
    """Return the known objects among spectra, in their rest frame, on the CPU; each in units of its own mean.

    Args:
        spectra: observed.
        truth: table spectrum_truth; spectra without a row in it are left out.
        device: where they are resampled.
    """
    z, known = is_known(spectra, truth)
    chosen, z = spectra.take(known), z[known]
    parts = [_corpus(chosen, z, slice(begin, begin + ROWS), device) for begin in range(0, len(chosen), ROWS)]
    return Corpus.concatenate(parts)


def is_known(spectra: Spectra, truth: Catalog) -> tuple[np.ndarray, np.ndarray]:
    """Return the true redshift of each spectrum, (n,), NaN where there is none, and which are known objects with one."""
    class_of = dict(zip(truth.column("spectrum_id").tolist(), truth.column("spectral_class").tolist(), strict=True))
    z_of = dict(zip(truth.column("spectrum_id").tolist(), truth.column("z").tolist(), strict=True))
    z = np.array([z_of.get(one, np.nan) for one in spectra.ids.tolist()], float)
    return z, np.array([class_of.get(one) in KNOWN for one in spectra.ids.tolist()], bool) & np.isfinite(z)


def _corpus(spectra: Spectra, z: np.ndarray, rows: slice, device: Literal["cpu", "cuda"]) -> Corpus:
    flux, ivar = to_rest_frame(spectra, z, rows, device)
    total = ivar.sum(axis=1, keepdims=True)
    mean = np.abs((flux * ivar).sum(axis=1, keepdims=True)) / np.where(total > 0, total, 1)
    keep = ((ivar > 0).sum(axis=1) >= FEWEST) & (mean[:, 0] > 0)
    flux, ivar, mean = flux[keep], ivar[keep], mean[keep]
    variance = np.where(ivar > 0, 1.0 / np.where(ivar > 0, ivar, 1) / mean**2, np.inf)
    tensors = (np.ascontiguousarray(plane, np.float32) for plane in (flux / mean, variance, z[rows][keep]))
    return Corpus(*(torch.from_numpy(plane) for plane in tensors))
