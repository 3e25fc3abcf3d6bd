"""Published templates from a folder, each file if it is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ....core.stage import DataError
from ....kernels.resample import KERNEL, pixel_edges
from ....products._fits import BinaryTable, FitsFile
from ..vacuum import to_vacuum
from .library import LOG_STEP, Library, TemplateSet

Taken = tuple[np.ndarray, int]
"""Fluxes (n, pixel) float32, and the number of their first pixel."""


def read_library(folder: Path | None) -> Library:
    """Return the templates of a folder, and analytic ones in place of what it lacks.

    The analytic sets stand in for `stars`, `white_dwarfs`, `eigen_stars`, `galaxies`, `eigen_galaxies` and
    `eigen_quasars`. The other sets are empty when their file is missing.

    Args:
        folder: holds the files under the names that `FILES` gives, with or without `.gz`; None for analytic sets alone.

    Raises:
        DataError: the folder does not exist or has none of the files.
        BadInput: a file is corrupt or is not what its name says.
    """
    from .analytic import SETS, analytic_set

    found: dict[str, TemplateSet] = {}
    if folder is not None:
        for name, (stem, read) in FILES.items():
            path = next((p for p in (folder / f"{stem}.fits.gz", folder / f"{stem}.fits") if p.is_file()), None)
            if path is not None:
                found[name] = read(path)
        if not found:
            names = ", ".join(f"{stem}.fits" for stem, _ in FILES.values())
            raise DataError(f"{folder} holds no file of templates; give a folder with some of {names}")
        if dwarfs := _white_dwarfs(found):
            found["white_dwarfs"] = dwarfs
    return Library(**{name: analytic_set(name) for name in SETS if name not in found}, **found)


def _pyhammer(path: Path) -> TemplateSet:
    with FitsFile(path) as file:
        table = BinaryTable(file, file.find(1))
        columns = table.read(["NAME", "SPTYPE", "FEH", "FLUX"])
        flux, first = _on_log_grid(columns["FLUX"], table.hdu.cards.number("LOGLAM0"), table.hdu.cards.number("DLOGLAM"))
        return _made(path, flux, first, columns["NAME"], columns["SPTYPE"], feh=columns["FEH"])


def _populations(path: Path) -> TemplateSet:
    with FitsFile(path) as file:
        table = BinaryTable(file, file.find(1))
        columns = table.read(["NAME", "AGE_GYR", "Z_H", "FLUX"])
        flux, first = _on_log_grid(columns["FLUX"], table.hdu.cards.number("LOGLAM0"), table.hdu.cards.number("DLOGLAM"))
        kinds = ["SSP"] * len(flux)
        return _made(path, flux, first, columns["NAME"], kinds, (0.0, 1.5), age=columns["AGE_GYR"], metallicity=columns["Z_H"])


def _library_stars(path: Path) -> TemplateSet:
    with FitsFile(path) as file:
        table = BinaryTable(file, file.find(1))
        columns = table.read(["NAME", "LOGT", "LOGG", "FEH", "FLUX"])
        start, step = table.hdu.cards.number("CRVAL1"), table.hdu.cards.number("CDELT1")
        wave = to_vacuum(start + step * np.arange(columns["FLUX"].shape[1]))  # the one set in air
        flux, first = _resampled(columns["FLUX"], wave)
        kinds = ["STAR"] * len(flux)
        return _made(path, flux, first, columns["NAME"], kinds, teff=10 ** columns["LOGT"], logg=columns["LOGG"], feh=columns["FEH"])


def _sdss_vectors(kind: str, redshifts: tuple[float, float]) -> Callable[[Path], TemplateSet]:
    def read(path: Path) -> TemplateSet:
        with FitsFile(path) as file:
            hdu = file.image(0)
            flux, first = _on_log_grid(file.read(hdu), hdu.cards.number("COEFF0"), hdu.cards.number("COEFF1"))
            names = [f"{kind} {k}" for k in range(len(flux))]
            return _made(path, flux, first, names, [kind] * len(flux), redshifts, eigen=True)

    return read


def _sdss_stars(path: Path) -> TemplateSet:
    with FitsFile(path) as file:
        hdu = file.image(0)
        flux, first = _on_log_grid(file.read(hdu), hdu.cards.number("COEFF0"), hdu.cards.number("COEFF1"))
        names = [hdu.cards.text(f"NAME{k}").strip() for k in range(len(flux))]
        return _made(path, flux, first, names, [name.partition(" ")[0] for name in names])


def _redrock_vectors(kind: str) -> Callable[[Path], TemplateSet]:
    def read(path: Path) -> TemplateSet:
        with FitsFile(path) as file:
            hdu = file.image("BASIS_VECTORS")
            flux, first = _of_redrock(file.read(hdu), hdu.cards)
            reach = file.read(file.find("REDSHIFTS")) if any(h.name == "REDSHIFTS" for h in file.hdus) else np.zeros(1)
            names = [f"{kind} {k}" for k in range(len(flux))]
            span = (float(reach.min()), float(reach.max()))
            return _made(path, flux, first, names, [kind] * len(flux), span, eigen=True)

    return read


def _redrock_archetypes(redshifts: tuple[float, float]) -> Callable[[Path], TemplateSet]:
    def read(path: Path) -> TemplateSet:
        with FitsFile(path) as file:
            table = BinaryTable(file, file.find("ARCHETYPES"))
            columns = table.read(["ARCHETYPE", "SUBTYPE", "RESP"])
            flux, first = _of_redrock(columns["ARCHETYPE"], table.hdu.cards)
            kinds = [str(kind).strip() or "QSO" for kind in columns["SUBTYPE"]]
            names = [f"{kind} {k}" for k, kind in enumerate(kinds)]
            return _made(path, flux, first, names, kinds, redshifts, share=columns["RESP"])

    return read


def _of_redrock(flux: np.ndarray, cards: Any) -> Taken:
    start, step = cards.number("CRVAL1"), cards.number("CDELT1")
    if cards.get("LOGLAM") in (True, 1):
        return _on_log_grid(flux, start, step)
    return _resampled(flux, start + step * np.arange(flux.shape[1]))


def _on_log_grid(flux: np.ndarray, loglam0: float, step: float) -> Taken:
    """Return fluxes that are on the grid already, up to the rounding of their first wavelength in single precision."""
    first = round(loglam0 / LOG_STEP)
    if abs(step - LOG_STEP) > 1e-9 or abs(loglam0 / LOG_STEP - first) > 0.05:
        return _resampled(flux, 10 ** (loglam0 + step * np.arange(flux.shape[1])))
    return flux.astype(np.float32), first


def _resampled(flux: np.ndarray, wave: np.ndarray) -> Taken:
    """Return fluxes on the grid, by the exact integrals of `spectra.resample`; only pixels that lie within all the way."""
    flux = np.ascontiguousarray(flux, np.float64)
    edges = pixel_edges(wave[None])
    low, high = np.log10(edges[0, [0, -1]]) / LOG_STEP
    first, last = int(np.ceil(low + 0.5)), int(np.floor(high - 0.5))
    target = 10 ** (LOG_STEP * (np.arange(first, last + 2) - 0.5))
    ivar, mask = np.ones_like(flux), np.zeros(flux.shape, np.int32)
    return KERNEL.on("cpu")(flux, ivar, mask, edges, target, -1, 0.5)[0].astype(np.float32), first


def _made(
    path: Path,
    flux: np.ndarray,
    first: int,
    names: Any,
    kinds: Any,
    redshifts: tuple[float, float] = (0.0, 0.0),
    eigen: bool = False,
    **parameters: np.ndarray,
) -> TemplateSet:
    """Return a set cut to the pixels where any of its templates says something."""
    there = np.flatnonzero(np.isfinite(flux).any(axis=0))
    flux = np.ascontiguousarray(flux[:, there[0] : there[-1] + 1])
    columns = {name: np.asarray(values, np.float64) for name, values in parameters.items()}
    labels, types = (tuple(str(text).strip() for text in column) for column in (names, kinds))
    return TemplateSet(flux, first + int(there[0]), labels, types, columns, path.name, eigen, redshifts)


def _white_dwarfs(found: dict[str, TemplateSet]) -> TemplateSet | None:
    """Return the white dwarfs among the archetypes, of redrock if they are there, else of SDSS."""
    for name in ("star_archetypes", "eigen_stars"):
        if name in found:
            white = np.array(["WD" in kind for kind in found[name].kinds])
            if white.any():
                return found[name].take(white)
    return None


FILES: dict[str, tuple[str, Callable[[Path], TemplateSet]]] = {
    "stars": ("pyhammer_stars", _pyhammer),
    "eigen_stars": ("spEigenStar-55734", _sdss_stars),
    "star_archetypes": ("rrarchetype-star", _redrock_archetypes((0.0, 0.0))),
    "cataclysmic": ("rrtemplate-STAR-CV-v0.1", _redrock_vectors("CV")),
    "library_stars": ("miles_thin", _library_stars),
    "galaxies": ("mastar_ssp", _populations),
    "eigen_galaxies": ("spEigenGal-56436", _sdss_vectors("GALAXY", (0.0, 2.0))),
    "eigen_quasars": ("spEigenQSO-55732", _sdss_vectors("QSO", (0.05, 7.0))),
    "eigen_quasars_low": ("rrtemplate-QSO-LOZ-v1.1", _redrock_vectors("QSO")),
    "eigen_quasars_high": ("rrtemplate-QSO-HIZ-v1.1", _redrock_vectors("QSO")),
    "quasar_archetypes": ("rrarchetype-qso", _redrock_archetypes((0.05, 7.0))),
}
"""By set: the file's name without its ending, and its reader."""
