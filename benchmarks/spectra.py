"""Spectra beside other tools: `python benchmarks/spectra.py [--peers FOLDER] [--rows 2000] [--repeats 5] [--out FILE.json]`.

Resampling with inverse variances from 3800 to 3100 pixels, both even in the logarithm, by ours, specutils (Earl et al. 2023)
and spectres (Carnall 2017). One thread, CPU seconds, best of the repeats, after a first call that compiles.

FOLDER is where peers are that this environment lacks, as `pip install --target FOLDER specutils spectres` leaves them; what
this environment has goes first. What is in neither is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np

OLD = 10 ** (3.58 + 1e-4 * np.arange(3800))
NEW = np.geomspace(OLD[1], OLD[-2], 3100)


def middles(wave: np.ndarray) -> np.ndarray:
    """Return pixel edges as the peers set them: arithmetic means of the centres, whatever the grid."""
    inner = (wave[1:] + wave[:-1]) / 2
    return np.concatenate([[2 * wave[0] - inner[0]], inner, [2 * wave[-1] - inner[-1]]])


def simulated(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return flux, inverse variance and a mask with 1 % of the pixels set."""
    rng = np.random.default_rng(1)
    flux = rng.normal(10, 2, (rows, len(OLD))).astype(np.float32)
    ivar = rng.gamma(4, 0.1, flux.shape).astype(np.float32)
    return flux, ivar, (rng.random(flux.shape) < 0.01).astype(np.int32)


def timed(call: Callable[[], Any], rows: int, repeats: int) -> tuple[float, Any]:
    """Return rows per CPU second, and what the call gives."""
    call()
    best = np.inf
    for _ in range(repeats):
        begin = time.process_time()
        made = call()
        best = min(best, time.process_time() - begin)
    return rows / best, made


def ours(rows: int, repeats: int) -> dict[str, float]:
    """Return spectra per CPU second of the kernel and of the stage."""
    import logging
    from pathlib import Path

    from astrosurvey import Context, Spectra
    from astrosurvey.kernels.resample import cpu, pixel_edges
    from astrosurvey.stages.spectra.resample.rows import resampled

    flux, ivar, mask = simulated(rows)
    clean = np.zeros_like(mask)
    shared, grid = pixel_edges(OLD[None]), pixel_edges(NEW[None])[0]
    wave = np.repeat(OLD[None], rows, axis=0)
    context = Context(None, np.random.default_rng(1), "cpu", logging.getLogger("benchmark"), lambda done, total: None, Path())
    whole = Spectra(flux, ivar, mask, OLD, np.arange(rows))
    calls = {
        "ours: kernel, shared grid": lambda: cpu(flux, ivar, clean, shared, grid, -1, 0.5),
        "ours: kernel, shared grid, 1 % masked": lambda: cpu(flux, ivar, mask, shared, grid, -1, 0.5),
        "ours: kernel, each row its own grid, 1 % masked": lambda: cpu(flux, ivar, mask, pixel_edges(wave), grid, -1, 0.5),
        "ours: stage, shared grid, 1 % masked": lambda: resampled(context, whole, NEW, 0.5),
    }
    return {name: timed(call, rows, repeats)[0] for name, call in calls.items()}


def by_spectres(repeats: int) -> dict[str, tuple[float, Any]]:
    """Return, by way of calling spectres, spectra per CPU second, and flux and variance."""
    from spectres import spectres
    from spectres.spectral_resampling_numba import spectres_numba

    def calling(function: Callable[..., Any], rows: int) -> Callable[[], Any]:
        flux, ivar, _ = (plane.astype(float) for plane in simulated(rows))
        error = 1 / np.sqrt(ivar)
        return lambda: function(NEW, OLD, flux[0] if rows == 1 else flux, error[0] if rows == 1 else error, verbose=False)

    found = {}
    for name, function, rows in (
        ("spectres, one by one", spectres, 1),
        ("spectres, many on one grid", spectres, 200),
        ("spectres with numba, one by one", spectres_numba, 1),
    ):
        speed, (flux, error) = timed(calling(function, rows), rows, repeats)
        found[name] = speed, (np.atleast_2d(flux), np.atleast_2d(error) ** 2)
    return found


def by_specutils(repeats: int) -> dict[str, tuple[float, Any]]:
    """Return the same of specutils; it takes one spectrum at a time."""
    from astropy import units
    from astropy.nddata import InverseVariance
    from specutils import Spectrum
    from specutils.manipulation import FluxConservingResampler

    flux, ivar, _ = simulated(1)
    spectrum = Spectrum(
        flux[0].astype(float) * units.Jy, spectral_axis=OLD * units.AA, uncertainty=InverseVariance(ivar[0].astype(float) / units.Jy**2)
    )
    speed, made = timed(lambda: FluxConservingResampler()(spectrum, NEW * units.AA), 1, repeats)
    return {"specutils": (speed, (made.flux.value[None], 1 / made.uncertainty.array[None]))}


def differences(flux: np.ndarray, variance: np.ndarray) -> tuple[float, float]:
    """Return how far a peer's flux and variance are from ours, relative, with the peer's pixel edges."""
    from astrosurvey.kernels.resample import cpu

    given = [plane.astype(dtype) for plane, dtype in zip(simulated(len(flux)), (float, float, np.int32), strict=True)]
    out, weight, _, _ = cpu(given[0], given[1], given[2] * 0, middles(OLD)[None], middles(NEW), -1, 0.5)
    return float(np.abs(flux / out - 1).max()), float(np.abs(variance * weight - 1).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out")
    options = parser.parse_args()
    if options.peers:
        sys.path.append(options.peers)
    table: dict[str, dict[str, float]] = {name: {"spectra_per_cpu_s": speed} for name, speed in ours(options.rows, options.repeats).items()}
    for peer in (by_spectres, by_specutils):
        try:
            with warnings.catch_warnings(action="ignore"):
                found = peer(options.repeats)
        except ModuleNotFoundError as missing:
            print(f"{peer.__name__} is left out: {missing}", file=sys.stderr)
            continue
        for name, (speed, made) in found.items():
            flux, variance = differences(*made)
            table[name] = {"spectra_per_cpu_s": speed, "flux_differs": flux, "variance_differs": variance}
    slowest = table.get("specutils", {}).get("spectra_per_cpu_s")
    print("| resampling | spectra / CPU s | specutils = 1 | flux differs | variance differs |\n| --- | --- | --- | --- | --- |")
    for name, row in table.items():
        speed = row["spectra_per_cpu_s"]
        cells = [f"{speed:.4g}", f"{speed / slowest:.4g}" if slowest else "-"]
        cells += [f"{row[key]:.1e}" if key in row else "" for key in ("flux_differs", "variance_differs")]
        print(f"| {name} | {' | '.join(cells)} |")
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump({"machine": platform.processor() or platform.machine(), "resampling": table}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
