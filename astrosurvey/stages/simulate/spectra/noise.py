"""What real spectra lend to simulated ones: the run of their errors with wavelength, and what their quasars are made of."""

from __future__ import annotations

import csv
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....core.stage import DataError
from ....products import Spectra
from ....products._fits import BinaryTable, FitsFile
from ...spectra.read import read_spectra
from ...spectra.stage import ReadSpectra
from ...spectra.templates import LOG_STEP, Library, TemplateSet
from .grid import LogGrid
from .quasars import Coefficients

FEWEST = 0.3
"""Part of the grid that a spectrum must cover for its errors to be used."""
_PIXELS = 500
"""Fewest pixels in a fit of basis vectors to a quasar."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """What is taken from a file of labelled spectra, from the training side of its split alone.

    Attributes:
        shapes: (m, pixel) float32, errors of the fluxes with a mean of 1; 0 where a spectrum has no usable pixel.
        coefficients: of the quasars among them; None if the file names no classes and redshifts, or has no quasars.
    """

    shapes: np.ndarray
    coefficients: Coefficients | None


def read_labelled(path: Path, split: Path | None, grid: LogGrid, library: Library) -> Labelled:
    """Return the errors and the quasars' coefficients of a file's spectra.

    Args:
        path: a file that `io.spectra` reads without further settings.
        split: a table with the columns `row` and `side`; only rows of the side `train` are used. None: all.
        grid: of the shapes.
        library: `eigen_quasars` are fitted to the quasars.

    Raises:
        DataError: the split does not fit the file, or nothing is left.
    """
    spectra = read_spectra(ReadSpectra.Config.model_validate({"path": str(path)}), None, logging.getLogger(__name__))[0]
    rows = np.arange(len(spectra)) if split is None else training_rows(split, len(spectra))
    spectra = spectra.take(rows)
    shapes = np.array([_shape(spectra, row, grid) for row in range(len(spectra))], np.float32)
    shapes = shapes[(shapes > 0).mean(axis=1) > FEWEST]
    if not len(shapes):
        raise DataError(f"no spectrum of {path.name} covers {FEWEST:.0%} of the grid; leave out `noise_from`, or give other spectra")
    return Labelled(shapes, _coefficients(path, rows, spectra, library.eigen_quasars))


def training_rows(split: Path, number: int) -> np.ndarray:
    """Return the rows of the training side of a split.

    Raises:
        DataError: it lacks a column, names a row that there is not, or has no training side.
    """
    with split.open(newline="") as stream:
        table = list(csv.DictReader(stream))
    if not table or not {"row", "side"} <= set(table[0]):
        raise DataError(f"{split.name} is no split: it needs the columns `row` and `side`")
    rows = np.array(sorted(int(entry["row"]) for entry in table if entry["side"] == "train"), np.int64)
    if not len(rows) or rows[-1] >= number or rows[0] < 0:
        raise DataError(f"{split.name} has no training row within the {number} spectra of the file; give the split that belongs to it")
    return rows


def _shape(spectra: Spectra, row: int, grid: LogGrid) -> np.ndarray:
    """Return the errors of one spectrum at the nearest of its pixels, with a mean of 1; 0 where there is none."""
    wave = spectra.wave_of(row)
    usable = spectra.take(np.array([row])).usable()[0]
    nearest = np.clip(np.searchsorted(wave, grid.wave), 1, len(wave) - 1)
    nearest -= grid.wave - wave[nearest - 1] < wave[nearest] - grid.wave
    inside = (grid.wave >= wave[0]) & (grid.wave <= wave[-1]) & usable[nearest]
    sigma = np.where(inside, 1 / np.sqrt(np.where(inside, spectra.ivar[row][nearest], 1)), 0)
    return np.asarray(sigma / max(sigma[inside].mean(), 1e-30) if inside.any() else sigma)


def _coefficients(path: Path, rows: np.ndarray, spectra: Spectra, vectors: TemplateSet) -> Coefficients | None:
    """Return the coefficients of basis vectors fitted to the quasars, each at its own redshift."""
    columns = _classes(path)
    if columns is None or vectors.origin == "analytic":
        return None
    kind, z = (column[rows] for column in columns)
    values, redshifts = [], []
    for row in np.flatnonzero((kind == "QSO") & (z > vectors.redshifts[0]) & (z < vectors.redshifts[1])):
        fit = _fitted(spectra, int(row), float(z[row]), vectors)
        if fit is not None and fit[0] > 0:
            values.append(fit / fit[0])
            redshifts.append(z[row])
    return Coefficients(np.array(values), np.array(redshifts)) if values else None


def _classes(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the columns CLASS and Z of the first table of a FITS file that has them."""
    with FitsFile(path) as file:
        for hdu in file.hdus:
            if hdu.kind == "table":
                table = BinaryTable(file, hdu)
                if "CLASS" in table and "Z" in table:
                    columns = table.read(["CLASS", "Z"])
                    return columns["CLASS"], columns["Z"].astype(np.float64)
    return None


def _fitted(spectra: Spectra, row: int, z: float, vectors: TemplateSet) -> np.ndarray | None:
    wave, usable = spectra.wave_of(row), spectra.take(np.array([row])).usable()[0]
    place = np.rint(np.log10(wave / (1 + z)) / LOG_STEP).astype(int) - vectors.first
    usable &= (place >= 0) & (place < vectors.flux.shape[1])
    if usable.sum() < _PIXELS:
        return None
    weight = np.sqrt(spectra.ivar[row][usable].astype(np.float64))
    design = vectors.flux[:, place[usable]].astype(np.float64).T * weight[:, None]
    solution: np.ndarray = np.linalg.lstsq(design, spectra.flux[row][usable] * weight, rcond=None)[0]
    return solution
