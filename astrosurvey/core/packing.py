"""Packing a run directory and unpacking it: fewer files, the same bytes, and nothing lost whenever it is broken off."""

from __future__ import annotations

import contextlib
import os
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .digests import SILLY, digest_path, sync_folder
from .lock import RunLock
from .packs import PackedTask, Packs
from .store import RECORD, Record, Store, packed_record
from .tiling import SURVEY

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every member, the first that ZIP knows: equal folders give equal packs."""
_PART = 1 << 20


@dataclass
class Tally:
    """What a run's products take up.

    Attributes:
        entries: files and folders, each of which is an inode.
        bytes: their content.
    """

    entries: int = 0
    bytes: int = 0


@dataclass
class Packing:
    """What packing, or unpacking, has done.

    Attributes:
        tasks: how many were moved.
        before, after: what products and packs take up.
        left: why a task was left where it was, by "stage/tile".
    """

    before: Tally
    after: Tally = field(default_factory=Tally)
    tasks: int = 0
    left: dict[str, str] = field(default_factory=dict)


Tell = Callable[[str, int], None]
TakeOver = Callable[[Path], None]


def pack(root: Path, tell: Tell = lambda *_: None, *, force_unlock: bool = False, take_over: TakeOver = lambda _: None) -> Packing:
    """Put the folders of a run's finished tasks into packs, a shard of a stage into each; those of survey scope stay.

    A pack is written aside, made durable and read again; then one rename puts it into its place, and only then do the
    folders go, each by one rename first. Whoever is killed on the way leaves every task in a folder, in a pack, or equal in both.

    Args:
        root: the run directory.
        tell: called with each stage and how many of its tasks were packed.
        force_unlock, take_over: as `run_pipeline` has them.

    Raises:
        LockHeld: somebody is at work there.
        OSError: the disk is full, or damaged.
    """
    with _alone(root, force_unlock, take_over) as (store, done):
        for stage in dict.fromkeys(stage for stage, _ in store.published()):
            shards: dict[str, dict[str, Record]] = {}
            for _, tile in store.published(stage):
                folder = store.folder(stage, tile)
                if tile == SURVEY or not folder.exists():
                    continue
                record = store.record(stage, tile)
                if record is None or not store.is_sound(stage, tile, record, verify=True):
                    done.left[f"{stage}/{tile}"] = "it is not finished, or damaged; run the pipeline again"
                elif any(path.is_symlink() for path in folder.rglob("*")):
                    done.left[f"{stage}/{tile}"] = "there are symbolic links in it"
                else:
                    shards.setdefault(store.layout.shard(tile), {})[tile] = record
            for shard, tiles in shards.items():
                _pack_shard(store, stage, shard, tiles)
            number = sum(map(len, shards.values()))
            done.tasks += number
            tell(stage, number)
    return done


def unpack(root: Path, tell: Tell = lambda *_: None, *, force_unlock: bool = False, take_over: TakeOver = lambda _: None) -> Packing:
    """Bring back the folders of a run's packed tasks; a pack goes when all that was in it is in its place.

    Args and errors are those of `pack`.
    """
    with _alone(root, force_unlock, take_over) as (store, done):
        for stage in store.packs.stages():
            number = 0
            for path in store.packs.of_stage(stage):
                damaged = 0
                for tile, packed in store.packs.packed(path).items():
                    if (store.folder(stage, tile) / RECORD).exists():
                        continue  # a newer one, or an earlier attempt's
                    if _bring_back(store, stage, tile, packed):
                        number += 1
                    else:
                        damaged += 1
                        done.left[f"{stage}/{tile}"] = f"it is damaged in {path}"
                if not damaged:
                    path.unlink()
            done.tasks += number
            tell(stage, number)
            for folder in (store.packs.folder / stage, store.packs.folder):
                with contextlib.suppress(OSError):  # not empty
                    folder.rmdir()
    return done


@contextlib.contextmanager
def _alone(root: Path, force_unlock: bool, take_over: TakeOver) -> Iterator[tuple[Store, Packing]]:
    """Give a run directory to work in alone, and what is to be said of the work."""
    with RunLock(root / "run.lock", force=force_unlock):
        take_over(root)
        store = Store(root)
        store.sweep()
        done = Packing(_tally(root))
        yield store, done
        done.after = _tally(root)


def _tally(root: Path) -> Tally:
    found = Tally()
    for area in ("products", "packs"):
        for folder, folders, files in os.walk(root / area):
            found.entries += len(folders) + len(files)
            found.bytes += sum(os.lstat(os.path.join(folder, name)).st_size for name in files)
    return found


def _pack_shard(store: Store, stage: str, shard: str, fresh: dict[str, Record]) -> None:
    path = store.packs.path(stage, shard)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {tile: packed for tile, packed in store.packs.packed(path).items() if tile not in fresh}
    private = path.with_name(f".{path.name}-{uuid.uuid4().hex[:12]}")
    try:
        with private.open("wb") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as pack_file:
                for tile in sorted({*kept, *fresh}):
                    members = kept[tile].contents() if tile in kept else _members(store.folder(stage, tile))
                    for name, size, content in members:
                        _add(pack_file, f"{tile}/{name}", size, content)
            stream.flush()
            os.fsync(stream.fileno())
        _check(private, fresh)
        private.rename(path)
        sync_folder(path.parent)
    finally:
        private.unlink(missing_ok=True)
    for tile, record in fresh.items():
        if store.record(stage, tile) == record:
            store.remove(stage, tile)
    with contextlib.suppress(OSError):  # not empty
        store.folder(stage, next(iter(fresh))).parent.rmdir()


def _members(folder: Path) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """Yield (name, size, content) of every file in a folder, and of every empty folder, whose name ends with "/", in order."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name.startswith(SILLY):
            continue
        if path.is_file():
            with path.open("rb") as stream:
                yield name, path.stat().st_size, iter(lambda stream=stream: stream.read(_PART), b"")  # type: ignore[misc]
        elif not any(path.iterdir()):
            yield f"{name}/", 0, iter(())


def _add(pack_file: zipfile.ZipFile, name: str, size: int, content: Iterator[bytes]) -> None:
    member = zipfile.ZipInfo(name, _EPOCH)
    member.create_system, member.external_attr, member.file_size = 3, 0o644 << 16, size  # 3: Unix, wherever it was made
    with pack_file.open(member, "w") as out:
        for part in content:
            out.write(part)


def _check(path: Path, fresh: dict[str, Record]) -> None:
    """Read a pack again.

    Raises:
        OSError: it does not hold what was put into it.
    """
    with zipfile.ZipFile(path) as pack_file:
        damaged = pack_file.testzip()
    found = Packs(path.parent).packed(path)
    for tile, record in fresh.items():
        if damaged or packed_record(found[tile]) != record or not _is_sound(found[tile].digest, record):
            raise OSError(f"{path} was written and does not read back as it was ({damaged or tile}); is the disk sound?")


def _bring_back(store: Store, stage: str, tile: str, packed: PackedTask) -> bool:
    """Make a packed task's folder again; return whether what came out is what is recorded."""
    record = packed_record(packed)
    if record is None:
        return False
    with contextlib.suppress(_Damaged), store.publishing(stage, tile) as folder:
        packed.extract(folder)
        if not _is_sound(lambda file: digest_path(folder / file)[0], record):
            raise _Damaged
        return True
    return False


class _Damaged(Exception):
    pass


def _is_sound(digest: Callable[[str], str], record: Record) -> bool:
    return all(digest(stored.file) == stored.sha256 for stored in record.outputs.values())
