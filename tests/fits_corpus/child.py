"""Reads every case of the corpus in one process with little memory, and says what came of each.

Run as `python -m tests.fits_corpus.child FOLDER PORT`; prints one JSON object a case. Being a process of
its own, it shows what a crash would do to a worker; a case that hangs is stopped by an alarm.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from astrosurvey.catalog.flags import PIXEL
from astrosurvey.core.stage import DataError
from astrosurvey.core.tiles import Tile
from astrosurvey.stages.io.assemble import read_image
from astrosurvey.stages.io.stage import ReadImage

from .case import Case
from .cases import CASES

ADDRESS_SPACE = 4 << 30
SECONDS = 10


class Hung(BaseException):
    pass


def _alarm(number: int, frame: FrameType | None) -> None:
    raise Hung


def snapshot(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def examine(case: Case, folder: Path, port: int) -> dict[str, Any]:
    folder.mkdir()
    os.chdir(folder)
    path = case.build(folder, port)
    before = snapshot(folder)
    tile = Tile("t", 1, 0, fields={"image": path})
    start, memory = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result: dict[str, Any] = {"name": case.name}
    signal.alarm(SECONDS)
    try:
        config = ReadImage.Config(**{"bands": ["r"], **case.config})
        image = read_image(config, tile, logging.getLogger("corpus"))
        image.check()
        lost = ~np.isfinite(image.data[0])
        masked = image.mask[0] & PIXEL["NO_DATA"] != 0 if image.mask is not None else np.zeros_like(lost)
        result |= {
            "outcome": "read",
            "right": image.data[0].shape == case.truth.shape and bool(np.array_equal(image.data[0], case.truth, equal_nan=True)),
            "flagged": bool(np.array_equal(lost, masked)),
            "repairs": list(image.meta.get("repairs", [])),
            "wcs": image.wcs is not None,
            "printable": all(c.isprintable() for c in json.dumps(image.meta, ensure_ascii=False)),
        }
    except DataError as error:
        result |= {"outcome": "refused", "message": str(error)}
    except Hung:
        result |= {"outcome": "hang"}
    except BaseException:
        result |= {"outcome": "traceback", "message": traceback.format_exc()}
    finally:
        signal.alarm(0)
    result["seconds"] = time.perf_counter() - start
    result["megabytes"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    result["appeared"] = [path for path in snapshot(folder) if path not in before]
    os.chdir("/")
    return result


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    signal.signal(signal.SIGALRM, _alarm)
    warnings.simplefilter("error")
    logging.disable(logging.CRITICAL)
    for index, case in enumerate(CASES):
        print(json.dumps(examine(case, folder / str(index), port)), flush=True)


if __name__ == "__main__":
    main()
