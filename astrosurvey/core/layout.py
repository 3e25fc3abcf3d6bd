"""Where a run directory keeps the folders of its tasks: beside one another, or, of many tiles, in shards."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .digests import write_atomically
from .tiling import SURVEY

AREAS = ("products", "failures", "checkpoints")
"""The folders of a run directory with a folder for each task in them, `<area>/<stage>/[<shard>/]<tile>`."""
FILE = "layout.json"
_SHARD = "_"
"""Begins a shard's name and no tile's, so that the two can be told apart wherever a move was broken off."""
_STEPS = ((1000, 0), (1_000_000, 2), (None, 3))
"""Up to how many tiles a run has shards of how many hexadecimal digits."""


@dataclass(frozen=True)
class Layout:
    """How the folders of a stage's tiles are arranged; a stage of survey scope has one folder, which is never in a shard.

    Attributes:
        digits: the shards are named by this many hexadecimal digits of the sha256 of a tile's name; 0: there are none.
        before: `digits` of the layout that folders are being moved from; None when all are in place.
    """

    digits: int = 0
    before: int | None = None

    @classmethod
    def read(cls, root: Path) -> Layout:
        """Return the layout of a run directory; that of one which has none yet has no shards."""
        try:
            values = json.loads((root / FILE).read_bytes())
            return cls(int(values["digits"]), None if values["before"] is None else int(values["before"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def write(self, root: Path) -> None:
        """Store the layout in a run directory."""
        write_atomically(root / FILE, json.dumps({"format": 1, **asdict(self)}).encode())

    def folder(self, area: Path, stage: str, tile: str | None) -> Path:
        """Return a task's folder in one area of a run directory, or where it would be made."""
        place = Path(f"{area}/{stage}/{_place(tile, self.digits)}")  # one join: this is called some times a task
        if self.before is not None and not place.exists():
            old = area / stage / _place(tile, self.before)
            return old if old.exists() else place
        return place

    def shard(self, tile: str, digits: int | None = None) -> str:
        """Return the name of the shard that a tile is in, or would be in with shards of other names; "" where there are none."""
        return _place(tile, self.digits if digits is None else digits).rpartition("/")[0]


def steps() -> list[int]:
    """Return the numbers of digits that shards may have, the greatest first."""
    return sorted((digits for _, digits in _STEPS), reverse=True)


def arrange(root: Path, tiles: int) -> Layout:
    """Give a run directory the layout that so many tiles want, move over what is there, and return it.

    Only for the holder of the run's lock. Shards stay when tiles become fewer. Each move is one rename, and what
    is being moved is found in either place; so whoever is killed here leaves a sound run, whose next owner goes on.
    """
    layout = Layout.read(root)
    wanted = max(layout.digits, next(digits for most, digits in _STEPS if most is None or tiles <= most))
    if wanted != layout.digits:
        _gather_strays(root, layout)  # of a move that was broken off: `before` can name one layout only
        layout = Layout(wanted, before=layout.digits)
        layout.write(root)
    _gather_strays(root, layout)
    if layout.before is not None or not (root / FILE).exists():
        layout = Layout(layout.digits)
        layout.write(root)
    return layout


def _gather_strays(root: Path, layout: Layout) -> None:
    """Move every folder that is not where a layout has it; also those whose rename a crash of the machine undid."""
    for area in AREAS:
        for stage in _entries(root / area):
            for entry in list(_entries(stage.path)):
                if entry.name == SURVEY or _is_shard(entry.name, layout.digits) or (not layout.digits and entry.name[0] != _SHARD):
                    continue
                shard = entry.name[0] == _SHARD
                for tile in list(_entries(entry.path)) if shard else [entry]:
                    _move(tile.path, Path(stage.path, _place(tile.name, layout.digits)))
                if shard:
                    with contextlib.suppress(OSError):
                        os.rmdir(entry.path)


def _move(old: str, new: Path) -> None:
    new.parent.mkdir(exist_ok=True)
    try:
        os.rename(old, new)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(old)  # a run has put a newer one where it belongs


def tasks(area: Path, stage: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield the (stage, tile) of each folder in an area, in order of their names; "survey" stands for the survey's."""
    stages = [stage] if stage else sorted(entry.name for entry in _entries(area))
    for name in stages:
        tiles = [entry.name for parent in _parents(area / name) for entry in _entries(parent) if entry.name[0] != _SHARD]
        for tile in sorted(set(tiles)):
            yield name, tile


def hidden(area: Path) -> Iterator[Path]:
    """Yield what stands beside the tasks' folders under a name with a leading dot: unfinished, or left behind."""
    for stage in _entries(area):
        for parent in _parents(Path(stage.path)):
            with os.scandir(parent) as entries:
                yield from (Path(entry.path) for entry in entries if entry.name[0] == ".")


def _parents(stage: Path) -> list[Path]:
    """Return the folders that may hold a stage's tiles: its own, and its shards."""
    return [stage, *(Path(entry.path) for entry in _entries(stage) if entry.name[0] == _SHARD)]


def _entries(folder: str | os.PathLike[str]) -> Iterator[os.DirEntry[str]]:
    """Yield the folders in a folder, if it is there, without those that are hidden."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if entry.name[0] != "." and entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return


def _place(tile: str | None, digits: int) -> str:
    if tile is None or tile == SURVEY or not digits:
        return tile or SURVEY
    return f"{_SHARD}{hashlib.sha256(tile.encode()).hexdigest()[:digits]}/{tile}"


def _is_shard(name: str, digits: int) -> bool:
    return name[0] == _SHARD and len(name) == len(_SHARD) + digits > len(_SHARD)
