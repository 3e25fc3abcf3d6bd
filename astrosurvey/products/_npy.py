"""NumPy's own files (.npy), memory-mapped: an array larger than memory, with its header checked and nothing executed."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np

from ..core.product import ProductError

_BLOCK = 1 << 26
_VERSIONS = ((1, 0), (2, 0), (3, 0))


def map_npy(path: Path) -> np.ndarray:
    """Return the array in a .npy file, read-only and read from the disk as it is used.

    Raises:
        BadInput: there is no such regular file.
        ProductError: it is no .npy file of plain numbers in C order, or its size is not what its header says.
    """
    from numpy.lib import format as npy

    from ._fits.guard import open_regular

    with open_regular(path) as file:
        try:
            version = npy.read_magic(file)
            if version not in _VERSIONS:
                raise ValueError(f"it is of version {version}")
            header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = header(file)
        except ValueError as error:
            raise ProductError(f"{path} is damaged or no .npy file: {' '.join(str(error).split())}") from error
        if dtype.kind not in "biuf" or not dtype.isnative or (fortran and len(shape) > 1):
            raise ProductError(f"{path} holds {dtype.str} in {'Fortran' if fortran else 'C'} order; save plain native numbers in C order")
        start, size = file.tell(), os.fstat(file.fileno()).st_size
        count = int(np.prod(shape, dtype=np.float64)) if shape else 1
        if size - start != count * dtype.itemsize:
            raise ProductError(f"{path} is damaged: it has {size - start} bytes of data, and its header says {count * dtype.itemsize}")
        if count == 0:
            raise ProductError(f"{path} holds no numbers: its shape is {shape}")
        return np.memmap(file, dtype, "r", start, shape)


def write_npy(path: Path, array: np.ndarray) -> None:
    """Write a C-contiguous array as a .npy file of version 1.0; one that is memory-mapped is never in memory as a whole."""
    with NpyWriter(path, array.dtype, array.shape) as file:
        rows = rows_at_once(array)
        for start in range(0, len(array), rows):
            file.write(array[start : start + rows])
            forget(array)


class NpyWriter:
    """Writes a .npy file row by row; use it in a `with` block.

    Args:
        path: of the new file.
        dtype: of its numbers.
        shape: of the whole array.
    """

    def __init__(self, path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self._file = path.open("wb")
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, rows: np.ndarray) -> None:
        """Add rows, which are C-contiguous and of the declared type."""
        self._file.write(rows.data)

    def __enter__(self) -> NpyWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the file."""
        self._file.close()


def rows_at_once(array: np.ndarray) -> int:
    """Return how many rows of an array are looked at together by who goes through all of it."""
    return max(1, _BLOCK // max(1, array[:1].nbytes))


def forget(array: np.ndarray) -> None:
    """Let go of what was read of a memory-mapped array: it stays on the disk, and no longer counts as this process's memory."""
    if (held := getattr(array, "_mmap", None)) is not None:
        held.madvise(mmap.MADV_DONTNEED)
