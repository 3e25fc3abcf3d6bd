"""A file of very many spectra, read in blocks: `python benchmarks/stream.py [--spectra 1000000] [--pixels 500] [--rows 10000]`.

Writes one FITS file of so many spectra, runs `io.spectra` over it in blocks of --rows with `astrosurvey run` in one process, and prints the
greatest memory that it held and how long it took. File and run are deleted; together they need 20 bytes a pixel
on the disk.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np
from astropy.io import fits

CHUNK = 10_000
PIPELINE = """\
astrosurvey: 1
tiles: {{file: {path}, rows: {rows}}}
stages:
  read: {{use: io.spectra, unit: relative}}
"""


def write(path: Path, spectra: int, pixels: int) -> None:
    """Write a file with the images FLUX, IVAR and WAVE, a part at a time."""
    rng = np.random.default_rng(1)
    with path.open("wb") as stream:
        fits.PrimaryHDU().writeto(stream)
        for name, draw in (("FLUX", lambda shape: rng.normal(3, 1, shape)), ("IVAR", np.ones)):
            header = fits.ImageHDU(np.zeros((1, pixels), ">f4"), name=name).header
            header["NAXIS2"] = spectra
            stream.write(header.tostring().encode("ascii"))
            for done in range(0, spectra, CHUNK):
                stream.write(draw((min(CHUNK, spectra - done), pixels)).astype(">f4").tobytes())
            stream.write(b"\0" * (-spectra * pixels * 4 % 2880))
        wave = fits.ImageHDU(np.geomspace(3600, 9800, pixels), name="WAVE")
        wave.header["BUNIT"], wave.header["AIRORVAC"] = "Angstrom", "vac"
        stream.write(wave.header.tostring().encode("ascii"))
        data = wave.data.astype(">f8").tobytes()
        stream.write(data + b"\0" * (-len(data) % 2880))


def main() -> None:
    """Write, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectra", type=int, default=1_000_000)
    parser.add_argument("--pixels", type=int, default=500)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        write(folder / "many.fits", options.spectra, options.pixels)
        (folder / "p.yaml").write_text(PIPELINE.format(path=folder / "many.fits", rows=options.rows), encoding="utf-8")
        size = (folder / "many.fits").stat().st_size
        begun = time.monotonic()
        command = [sys.executable, "-c", "from astrosurvey.cli import main; main()", "run", str(folder / "p.yaml")]
        command += ["--out", str(folder / "run"), "--no-report"]
        subprocess.run(command, check=True, env={**os.environ, "ASTROSURVEY_PLUGINS": ""}, stdout=subprocess.DEVNULL)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = time.monotonic() - begun
    print(f"{options.spectra} spectra of {options.pixels} pixels, {size / 1e9:.1f} GB, in blocks of {options.rows}:")
    print(f"  greatest memory {used.ru_maxrss / 1024:.0f} MiB")
    print(f"  {used.ru_utime + used.ru_stime:.0f} CPU-s, {seconds:.0f} s")


if __name__ == "__main__":
    main()
