"""Packs: the folders of many finished tasks in one file, for file systems that allow only so many files; the reading side.

`packs/<stage>/<shard>.zip` holds the folders of a stage's tiles in one shard of the layout, or of all where there are no shards,
as an uncompressed ZIP file (64-bit where it must be) with members `<tile>/<file>`. A task's folder, where there is one, is newer than what
is packed of it, and counts.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import struct
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .digests import digest_of
from .layout import Layout, steps

FOLDER = "packs"
WHOLE = "tiles"
"""The name of a pack where there are no shards."""

_HEADER = struct.Struct("<4s22xHH")
"""What stands before a member's name and content in a ZIP file: a signature, and the lengths of the name and of extra fields."""


@dataclass(frozen=True)
class PackedTask:
    """A task's folder in a pack.

    Attributes:
        pack: the ZIP file.
        members: by name within the folder: where the member begins, and its size; of an empty folder the name ends with "/".
    """

    pack: Path
    members: dict[str, tuple[int, int]]

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            OSError: there is no such file in it.
        """
        if name not in self.members:
            raise FileNotFoundError(f"{name} is not in {self.pack}")
        with self.pack.open("rb") as stream:
            return b"".join(self._content(stream, name))

    def size(self, file: str) -> int | None:
        """Return the size of a product, a file or a folder; None when it is not there."""
        inside = self._inside(file)
        return sum(self.members[name][1] for name in inside) if inside else None

    def digest(self, file: str) -> str:
        """Return a product's digest, as `digest_path` has it of what was packed."""
        with self.pack.open("rb") as stream:
            digests = {name: self._digest(stream, name) for name in self._inside(file) if not name.endswith("/")}
        if file in digests:
            return digests[file]
        names = sorted(name.removeprefix(f"{file}/").split("/") for name in digests)
        return digest_of([["/".join(parts), digests["/".join((file, *parts))]] for parts in names])

    def extract(self, into: Path, file: str | None = None) -> None:
        """Write a product, or all there is, into a folder."""
        with self.pack.open("rb") as stream:
            for name in self.members if file is None else self._inside(file):
                path = into / name
                (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
                if not name.endswith("/"):
                    with path.open("wb") as out:
                        out.writelines(self._content(stream, name))

    def contents(self) -> Iterator[tuple[str, int, Iterator[bytes]]]:
        """Yield (name, size, content) of every member, in order."""
        with self.pack.open("rb") as stream:
            for name, (_, size) in self.members.items():
                yield name, size, self._content(stream, name)

    def _inside(self, file: str) -> list[str]:
        return [file] if file in self.members else [name for name in self.members if name.startswith(f"{file}/")]

    def _digest(self, stream: BinaryIO, name: str) -> str:
        digest = hashlib.sha256()
        for part in self._content(stream, name):
            digest.update(part)
        return digest.hexdigest()

    def _content(self, stream: BinaryIO, name: str) -> Iterator[bytes]:
        start, size = self.members[name]
        stream.seek(start)
        signature, named, extra = _HEADER.unpack(stream.read(_HEADER.size))
        if signature != b"PK\3\4":
            raise OSError(f"{self.pack} is damaged at byte {start}")
        stream.seek(named + extra, os.SEEK_CUR)
        while size:
            part = stream.read(min(size, 1 << 20))
            if not part:
                raise OSError(f"{self.pack} is cut short")
            size -= len(part)
            yield part


class Packs:
    """The packs of a run directory, each opened when a task is looked for in it, and then known."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self._known: dict[Path, dict[str, dict[str, tuple[int, int]]]] = {}
        self._damaged: set[Path] = set()
        self._any: bool | None = None

    def __bool__(self) -> bool:
        if self._any is None:
            self._any = self.folder.is_dir()
        return self._any

    def find(self, stage: str, tile: str | None, layout: Layout) -> PackedTask | None:
        """Return a packed task, or None when there is none."""
        if not self or tile is None:
            return None
        for digits in (layout.digits, *(d for d in steps() if d < layout.digits)):  # packs stay where they are when a run gets shards
            path = self.path(stage, layout.shard(tile, digits))
            if members := self._index(path).get(tile):
                return PackedTask(path, members)
        return None

    def path(self, stage: str, shard: str) -> Path:
        """Return the pack of a shard, "" being the whole of a stage."""
        return self.folder / stage / f"{shard or WHOLE}.zip"

    def tasks(self, stage: str | None = None) -> Iterator[tuple[str, str]]:
        """Yield the (stage, tile) of every packed task, in order of their names."""
        for name in [stage] if stage else self.stages():
            yield from ((name, tile) for tile in sorted({tile for pack in self.of_stage(name) for tile in self._index(pack)}))

    def stages(self) -> list[str]:
        """Return the stages that have packs, in order of their names."""
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir()) if self else []

    def of_stage(self, stage: str) -> list[Path]:
        """Return a stage's packs; of a tile that is in two, what is in the first counts."""
        found = (p for p in (self.folder / stage).glob("*.zip") if not p.name.startswith("."))
        return sorted(found, key=lambda path: (path.stem == WHOLE, -len(path.name), path.name))

    def packed(self, pack: Path) -> dict[str, PackedTask]:
        """Return the tasks in a pack by their tiles; of a pack that is not there, none.

        Raises:
            OSError: it is damaged.
        """
        index = self._index(pack)
        if pack in self._damaged:
            raise OSError(errno.EIO, "this pack is damaged; remove it and run the pipeline again", str(pack))
        return {tile: PackedTask(pack, members) for tile, members in index.items()}

    def _index(self, path: Path) -> dict[str, dict[str, tuple[int, int]]]:
        if path not in self._known:
            index: dict[str, dict[str, tuple[int, int]]] = {}
            try:
                with zipfile.ZipFile(path) as pack:
                    for member in pack.infolist():
                        tile, _, name = member.filename.partition("/")
                        if ".." not in name.split("/"):  # a run directory may come from elsewhere
                            index.setdefault(tile, {})[sys.intern(name)] = (member.header_offset, member.file_size)
            except FileNotFoundError:
                pass
            except (zipfile.BadZipFile, UnicodeDecodeError):
                self._damaged.add(path)  # for a run, what cannot be read is not there, and is made again
            self._known[path] = index
        return self._known[path]


class Extracted:
    """A folder of products that were got out of packs to be read; of very many, the first go when more come."""

    most = 1000

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._there: dict[Path, Path] = {}

    def get(self, path: Path, packed: PackedTask) -> Path:
        """Return a copy of the packed product that would be stored at `path`."""
        if path not in self._there:
            while len(self._there) >= self.most:
                shutil.rmtree(self._there.pop(next(iter(self._there))).parent, ignore_errors=True)
            into = self.folder / hashlib.sha256(os.fsencode(path)).hexdigest()[:24]
            packed.extract(into, path.name)
            self._there[path] = into / path.name
        return self._there[path]
