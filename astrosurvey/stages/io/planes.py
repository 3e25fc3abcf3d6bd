"""From a config's templates to opened files, HDUs and planes, each file opened once."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from ...core.tiles import Tile
from ...products._fits import FitsFile, Hdu, Window
from .paths import path_of
from .stage import Where


@dataclass(frozen=True)
class Located:
    """The pixels of one band: a two-dimensional image, or one plane of a cube."""

    file: FitsFile
    hdu: Hdu
    plane: int | None

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x) of the whole image."""
        return self.hdu.shape[-2], self.hdu.shape[-1]

    def read(self, window: Window | None) -> np.ndarray:
        """Return the pixels as float32 (y, x)."""
        return self.file.read(self.hdu, window, self.plane)

    def read_integers(self, window: Window | None) -> np.ndarray:
        """Return whole-numbered pixels as int64 (y, x)."""
        return self.file.read_integers(self.hdu, window, self.plane)


class Files:
    """The files of one task, closed together.

    Args:
        tile: fills the templates.
        bands: the bands, in order.
        checksum: see `FitsFile`.
    """

    def __init__(self, tile: Tile | None, bands: list[str], checksum: bool) -> None:
        self.tile, self.bands, self._checksum = tile, bands, checksum
        self._stack = ExitStack()
        self._open: dict[str, FitsFile] = {}

    def __enter__(self) -> Files:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def locate(self, template: str, where: Where) -> list[Located]:
        """Return where the pixels of each band are.

        A template or an HDU setting that does not distinguish bands names one image for all of them, or
        a cube with a plane for each.

        Raises:
            DataError: a file cannot be used, or a cube has another number of planes.
        """
        return [self._band(template, where, index, band) for index, band in enumerate(self.bands)]

    def _band(self, template: str, where: Where, index: int, band: str) -> Located:
        file = self._file(path_of(template, self.tile, band=band))
        hdu = file.image(where[band] if isinstance(where, dict) else where)
        shape = file.shape(hdu)
        if len(shape) == 2:
            return Located(file, hdu, None)
        distinct = isinstance(where, dict) or (len(self.bands) > 1 and "{band}" in template)
        if len(shape) != 3 or distinct or shape[0] != len(self.bands):
            cube = f", or a cube with {len(self.bands)} planes for {', '.join(self.bands)}"
            wanted = "an image of two axes" + ("" if distinct else cube)
            raise file.bad(f"must be {wanted}, but has the shape {shape}", hdu, "NAXIS3", "set `bands` or `hdu` to what the file holds")
        return Located(file, hdu, index)

    def _file(self, path: str) -> FitsFile:
        if path not in self._open:
            self._open[path] = self._stack.enter_context(FitsFile(path, checksum=self._checksum))
        return self._open[path]

    def repairs(self) -> list[str]:
        """Return what was repaired in any of the files, each once."""
        return list(dict.fromkeys(f"{file.path.name}: {note}" for file in self._open.values() for note in file.repairs))
