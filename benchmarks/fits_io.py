"""FITS reading and writing: ours beside fitsio, astropy and NumPy, in the same run on the same files.

Ours walks the file's HDUs and checks what it hands to a decoder; the others trust the file.

python benchmarks/fits_io.py --json fits_io.json --seed 1
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import astropy
import fitsio
import numpy as np
from astropy.io import fits

from astrosurvey.products import Image, Segmentation
from astrosurvey.products._fits import FitsFile, Window

CUTS = [(700 * k, 600 * k) for k in range(5)]


def timed(action: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return the median time in ms, after one run that warms caches, and the last result."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = action()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times), result


def ours(path: Path, **options: Any) -> np.ndarray:
    with FitsFile(path, **options) as file:
        return file.read(file.image())


def ours_cuts(path: Path) -> list[np.ndarray]:
    out = []
    for y, x in CUTS:  # a tile at a time, as a run does: each opens and checks the file anew
        with FitsFile(path) as file:
            out.append(file.read(file.image(), Window(y, y + 256, x, x + 256)))
    return out


def fitsio_cuts(path: Path, hdu: int) -> list[np.ndarray]:
    out = []
    for y, x in CUTS:
        with fitsio.FITS(str(path)) as file:
            out.append(file[hdu][y : y + 256, x : x + 256])
    return out


def astropy_cuts(path: Path, hdu: int) -> list[np.ndarray]:
    out = []
    for y, x in CUTS:
        with fits.open(path) as file:
            out.append(file[hdu].section[y : y + 256, x : x + 256].astype(np.float32))
    return out


def astropy_read(path: Path, hdu: int) -> np.ndarray:
    with fits.open(path, memmap=False) as file:
        return file[hdu].data.astype(np.float32)


def fitsio_read(path: Path, hdu: int) -> np.ndarray:
    with fitsio.FITS(str(path)) as file:
        return file[hdu].read()


def numpy_read(path: Path, side: int) -> np.ndarray:
    return np.fromfile(path, ">f4", side * side, offset=2880).reshape(side, side).byteswap().view(np.float32)


def fresh(path: Path, write: Callable[[Path], None]) -> None:
    path.unlink(missing_ok=True)
    write(path)


def measure(side: int, seed: int, repeats: int, folder: Path) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(seed)
    sky = rng.normal(100, 5, (side, side)).astype(np.float32)
    labels = np.zeros((side, side), np.int32)
    for k, (y, x) in enumerate(rng.integers(0, side - 20, (side * side // 6000, 2)), 1):
        labels[y : y + 15, x : x + 12] = k
    names = ("plain.fits", "summed.fits", "tiled.fits", "dithered.fits", "packed.fits.gz")
    plain, summed, tiled, dithered, packed = (folder / name for name in names)
    fits.PrimaryHDU(sky).writeto(plain)
    fits.PrimaryHDU(sky).writeto(summed, checksum=True)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(labels, tile_shape=(256, 256))]).writeto(tiled)
    quantised = fits.CompImageHDU(sky, tile_shape=(256, 256), quantize_level=16, quantize_method=1, dither_seed=seed)
    fits.HDUList([fits.PrimaryHDU(), quantised]).writeto(dithered)
    packed.write_bytes(gzip.compress(plain.read_bytes(), 1))

    table = {
        "read float32": {
            "numpy": lambda: numpy_read(plain, side),
            "ours": lambda: ours(plain),
            "fitsio": lambda: fitsio_read(plain, 0),
            "astropy": lambda: astropy_read(plain, 0),
        },
        "read float32, checksum verified": {"ours": lambda: ours(summed)},
        "read int32 RICE 256x256": {
            "ours": lambda: ours(tiled),
            "fitsio": lambda: fitsio_read(tiled, 1),
            "astropy": lambda: astropy_read(tiled, 1),
        },
        "read float32 RICE 256x256, dithered": {
            "ours": lambda: ours(dithered),
            "fitsio": lambda: fitsio_read(dithered, 1),
            "astropy": lambda: astropy_read(dithered, 1),
        },
        "read float32 .gz": {
            "ours": lambda: ours(packed),
            "fitsio": lambda: fitsio_read(packed, 0),
            "astropy": lambda: astropy_read(packed, 0),
        },
        "5 windows of 256x256, plain": {
            "ours": lambda: ours_cuts(plain),
            "fitsio": lambda: fitsio_cuts(plain, 0),
            "astropy": lambda: astropy_cuts(plain, 0),
        },
        "5 windows of 256x256, RICE": {
            "ours": lambda: ours_cuts(tiled),
            "fitsio": lambda: fitsio_cuts(tiled, 1),
            "astropy": lambda: astropy_cuts(tiled, 1),
        },
    }
    table["5 windows of 256x256, RICE, dithered"] = {
        "ours": lambda: ours_cuts(dithered),
        "fitsio": lambda: fitsio_cuts(dithered, 1),
        "astropy": lambda: astropy_cuts(dithered, 1),
    }
    results: dict[str, dict[str, float]] = {}
    for name, readers in table.items():
        answers = []
        results[name] = {}
        for reader, action in readers.items():
            results[name][reader], answer = timed(action, repeats)
            answers.append(np.asarray(answer, np.float32))
        if not all(np.array_equal(answers[0], other) for other in answers[1:]):
            raise SystemExit(f"{name}: the readers do not agree")

    image, segmentation = Image(sky[None], ("r",)), Segmentation(labels)
    out = folder / "out.fits"
    compress = {"compress": "RICE", "tile_dims": (256, 256)}
    compressed = fits.CompImageHDU(labels, tile_shape=(256, 256))
    writers = {
        "write float32 (ours with checksums)": {
            "ours": image.write,
            "fitsio": lambda path: fitsio.write(str(path), sky),
            "astropy": lambda path: fits.PrimaryHDU(sky).writeto(path),
        },
        "write int32 RICE 256x256 (ours with checksums)": {
            "ours": segmentation.write,
            "fitsio": lambda path: fitsio.write(str(path), labels, **compress),
            "astropy": lambda path: fits.HDUList([fits.PrimaryHDU(), compressed.copy()]).writeto(path),
        },
    }
    for name, actions in writers.items():
        results[name] = {who: timed(lambda write=write: fresh(out, write), repeats)[0] for who, write in actions.items()}
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--side", type=int, default=4096, help="pixels along the image's side")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options.side, options.seed, options.repeats, Path(folder))
    versions = {"python": platform.python_version(), "numpy": np.__version__, "astropy": astropy.__version__, "fitsio": fitsio.__version__}
    report = {"unit": "ms, median", "side": options.side, "seed": options.seed, "repeats": options.repeats, "versions": versions}
    options.json.write_text(json.dumps(report | {"results": results}, indent=1) + "\n")
    for name, times in results.items():
        print(f"{name:50}" + "".join(f"{who:>9} {value:8.1f}" for who, value in times.items()))


if __name__ == "__main__":
    main()
