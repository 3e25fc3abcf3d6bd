"""Write a mock galaxy catalogue of Corrfunc as text that `io.catalog` reads: `python tools/fast_food.py FILE.rdcz.ff FILE.ecsv`.

The format ("fast food") is Fortran's unformatted one: each record stands between two copies of its length in bytes, an int32.
Three records make the header: five int32 of which the second is the number of galaxies, nine float32, and one float32. Then come ra
(deg), dec (deg) and cz (km/s), a float64 a galaxy each. Whatever follows is left out.

References: Sinha & Garrison (2020), MNRAS 491, 3022 (Corrfunc; utils/ftread.h).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

COLUMNS = (("ra", "deg"), ("dec", "deg"), ("cz", "km / s"))


def records(data: bytes) -> Iterator[bytes]:
    """Yield the records of an unformatted Fortran file.

    Raises:
        ValueError: a record does not end where it says.
    """
    place = 0
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "little", signed=True)
        end = place + 4 + length
        if length < 0 or data[end : end + 4] != data[place : place + 4]:
            raise ValueError(f"the record at byte {place} does not end where it says; is this a little-endian fast-food file?")
        yield data[place + 4 : end]
        place = end + 4


def read(path: Path) -> np.ndarray:
    """Return (galaxy, 3) ra, dec and cz.

    Raises:
        ValueError: the file is damaged, or is something else.
    """
    found = list(records(path.read_bytes()))
    if len(found) < 6 or len(found[0]) != 20:
        raise ValueError(f"{path}: a header of three records and the columns ra, dec and cz are expected")
    number = int(np.frombuffer(found[0], "<i4")[1])
    columns = [np.frombuffer(record, "<f8") for record in found[3:6]]
    if any(len(column) != number for column in columns):
        raise ValueError(f"{path}: the header tells of {number} galaxies, the columns have {[len(column) for column in columns]}")
    return np.stack(columns, axis=1)


def write(galaxies: np.ndarray, path: Path) -> None:
    """Write (galaxy, 3) ra, dec and cz as ECSV."""
    names = [f"# - {{name: {name}, unit: {unit}, datatype: float64}}" for name, unit in COLUMNS]
    head = ["# %ECSV 1.0", "# ---", "# datatype:", *names, " ".join(name for name, _ in COLUMNS)]
    rows = [" ".join(f"{value:.10g}" for value in galaxy) for galaxy in galaxies.tolist()]
    path.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


def main() -> None:
    """Convert the first file that the command names to the second one."""
    write(read(Path(sys.argv[1])), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
