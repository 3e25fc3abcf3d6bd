"""NumPy's own files (.npy), memory-mapped: an array larger than memory, with its header checked and nothing executed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..core.product import ProductError

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
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
