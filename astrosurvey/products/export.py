"""Export: files made for other programs, as a folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..core.product import ProductError


@dataclass(frozen=True)
class Export:
    """A folder of files that leave the pipeline, such as FITS tables or DS9 regions.

    Attributes:
        folder: where they are; a stage makes them in `ctx.scratch`.
    """

    folder: Path

    kind: ClassVar[str] = "export"
    suffix: ClassVar[str] = ""

    def files(self) -> list[Path]:
        """Return all files in the folder and below, in the order of their names."""
        return sorted(path for path in self.folder.rglob("*") if not path.is_dir())

    def check(self) -> None:
        """Raise `ProductError` unless the folder exists, holds files, and nothing but regular ones."""
        if not self.folder.is_dir():
            raise ProductError(f"Export.folder {self.folder} does not exist")
        files = self.files()
        if not files:
            raise ProductError(f"Export.folder {self.folder} is empty; raise NoWork when there is nothing to export")
        odd = [path.name for path in self.folder.rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir())]
        if odd:
            raise ProductError(f"Export.folder may hold regular files only, but {', '.join(sorted(odd)[:5])} is a link or a special file")

    def write(self, path: Path) -> None:
        """Copy the folder to `path`; contents are copied, times and permissions are not."""
        self.check()
        path.mkdir()
        for source in self.files():
            target = path / source.relative_to(self.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    @classmethod
    def read(cls, path: Path) -> Export:
        """Return the export stored in the folder `path`."""
        return cls(path)

    def summary(self) -> dict[str, Any]:
        """Return the files with their sizes in bytes."""
        return {"files": {str(path.relative_to(self.folder)): path.stat().st_size for path in self.files()}}
