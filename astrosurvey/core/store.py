"""The run directory: records, products, failures; every change of it is one rename."""

from __future__ import annotations

import atexit
import contextlib
import functools
import heapq
import itertools
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import layout, scratch
from .digests import again, digest_path, size_of, sync_folder
from .layout import Layout
from .packs import Extracted, PackedTask, Packs

RECORD = "task.json"
_TEMPORARY, _OLD = ".new-", ".old-"


@dataclass(frozen=True, slots=True)
class Stored:
    """One product in a run directory.

    Attributes:
        file: its name in the task's folder.
        kind: the product's kind, such as "catalog".
        sha256: the digest of its stored form.
        bytes: its size.
        summary: what the product says about itself.
    """

    file: str
    kind: str
    sha256: str
    bytes: int
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """What `task.json` says of a finished task: its key, what went into it, and what came out.

    Attributes:
        key: the content key.
        fields: what the key was made from; `explain` compares them.
        state: "done", or "empty" when the stage found no work.
        outputs: the products by port.
        facts: seconds, peak memory, attempt, device, warnings; for people, not for keys.
    """

    key: str
    fields: dict[str, Any]
    state: str
    outputs: dict[str, Stored]
    facts: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> bytes:
        """Return the content of `task.json`."""
        outputs = {port: asdict(stored) for port, stored in self.outputs.items()}
        values = {"format": 1, "key": self.key, "fields": self.fields, "state": self.state, "outputs": outputs, "facts": self.facts}
        return json.dumps(values, indent=1, sort_keys=True).encode()

    def slim(self) -> Record:
        """Return the record with no more than what the tasks behind it need; one of a hundred thousand is little then."""
        outputs = {port: Stored(sys.intern(s.file), sys.intern(s.kind), s.sha256, s.bytes, _NOTHING) for port, s in self.outputs.items()}
        return Record(self.key, _NOTHING, sys.intern(self.state), outputs, _NOTHING)

    @classmethod
    def from_json(cls, text: bytes) -> Record:
        """Return the record that `as_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        values = json.loads(text)
        try:
            outputs = {port: Stored(**stored) for port, stored in values["outputs"].items()}
            return cls(values["key"], values["fields"], values["state"], outputs, values["facts"])
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"no task record: {error}") from None


_NOTHING: dict[str, Any] = {}


class Store:
    """A run directory.

    A task has a folder `products/<stage>/<tile>/{<port>.<ext>, task.json}`, with "survey" in the tile's place for
    survey scope, and may have one in `failures/` and in `checkpoints/`; a run of many tiles has a folder between
    stage and tile, see `layout`. A task is done if and only if its record is there. The folders of finished tasks may be in
    `packs`; what is said here of a task's record and products holds for both.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.layout = Layout.read(self.root)
        self.packs = Packs(self.root)

    def folder(self, stage: str, tile: str | None) -> Path:
        """Return the folder of a task's products."""
        return self.layout.folder(self.root / "products", stage, tile)

    def failure_folder(self, stage: str, tile: str | None) -> Path:
        """Return the folder of what is known of a task's failure."""
        return self.layout.folder(self.root / "failures", stage, tile)

    def checkpoint_folder(self, stage: str, tile: str | None) -> Path:
        """Return the folder of what a task keeps to go on from."""
        return self.layout.folder(self.root / "checkpoints", stage, tile)

    def published(self, stage: str | None = None) -> Iterator[tuple[str, str]]:
        """Yield the (stage, tile) of every task that has products, of one stage or of all, in order of their names."""
        folders = layout.tasks(self.root / "products", stage)
        return (name for name, _ in itertools.groupby(heapq.merge(folders, self.packs.tasks(stage)))) if self.packs else folders

    def failures(self) -> Iterator[tuple[str, str]]:
        """Yield the (stage, tile) of every recorded failure, in order of their names."""
        return layout.tasks(self.root / "failures")

    def arrange(self, tiles: int) -> None:
        """Make the folders fit a run of so many tiles; only for the holder of the run's lock."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.layout = layout.arrange(self.root, tiles)

    def record(self, stage: str, tile: str | None) -> Record | None:
        """Return a task's record, or None when there is none that can be read."""
        path = f"{self.folder(stage, tile)}/{RECORD}"
        try:
            return Record.from_json(again(lambda: _read(path)))
        except FileNotFoundError:
            packed = self.packed(stage, tile)
            return packed_record(packed) if packed else None
        except (OSError, ValueError):
            return None

    def packed(self, stage: str, tile: str | None) -> PackedTask | None:
        """Return what is packed of a task, and so has no folder; None where there is a folder, or neither."""
        packed = self.packs.find(stage, tile, self.layout)
        return None if packed is None or (self.folder(stage, tile) / RECORD).exists() else packed

    def is_sound(self, stage: str, tile: str | None, record: Record, *, verify: bool = False) -> bool:
        """Tell whether a record's products are there in their recorded sizes; `verify` hashes them again."""
        folder, packed = self.folder(stage, tile), self.packed(stage, tile)
        try:
            if packed:
                return all(
                    packed.size(s.file) == s.bytes and (not verify or packed.digest(s.file) == s.sha256) for s in record.outputs.values()
                )
            if verify:
                return all(digest_path(folder / s.file) == (s.sha256, s.bytes) for s in record.outputs.values())
            return all(size_of(f"{folder}/{s.file}") == s.bytes for s in record.outputs.values())
        except OSError:
            return False

    def path(self, stage: str, tile: str | None, port: str, record: Record) -> Path:
        """Return where a product is stored, or would be were it not packed; `get` makes of it where it can be read."""
        return self.folder(stage, tile) / record.outputs[port].file

    def get(self, path: Path, extracted: Extracted | None = None) -> Path:
        """Return where a product can be read: where it is stored, or, of a packed one, a copy.

        Args:
            path: what `path` said.
            extracted: where copies are made; in a folder for the time of this process when left out.

        What is neither here nor there is left to who opens it.
        """
        if path.exists():
            return path
        stage, *_, tile, _ = path.relative_to(self.root / "products").parts
        packed = self.packed(stage, tile)
        if packed is None or packed.size(path.name) is None:
            return path
        return (extracted or _extracted()).get(path, packed)

    @contextlib.contextmanager
    def publishing(self, stage: str, tile: str | None) -> Iterator[Path]:
        """Give a private folder to write into; when the block ends well, it becomes the task's folder.

        All of it is made durable before the one rename that publishes it, so what is seen is whole. The
        rename itself may be lost when the machine goes down; that costs a rerun. When the block raises,
        nothing of it remains.
        """
        final = self.folder(stage, tile)
        final.parent.mkdir(parents=True, exist_ok=True)
        suffix = f"{final.name}-{uuid.uuid4().hex[:12]}"
        private = final.with_name(_TEMPORARY + suffix)
        private.mkdir()
        try:
            yield private
            sync_tree(private)
            # A folder cannot replace a full one: the old goes aside first, and a crash between costs a rerun.
            old = final.with_name(_OLD + suffix)
            with contextlib.suppress(FileNotFoundError):
                final.rename(old)
            private.rename(final)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(private, ignore_errors=True)

    def remove(self, stage: str, tile: str | None) -> None:
        """Remove a task's folder, by one rename first: no half of it is ever seen."""
        folder = self.folder(stage, tile)
        old = folder.with_name(f"{_OLD}{folder.name}-{uuid.uuid4().hex[:12]}")
        folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed tasks left behind; only for the holder of the run's lock."""
        shutil.rmtree(self.root / scratch.FOLDER, ignore_errors=True)
        for area in ("products", "failures"):
            for folder in layout.hidden(self.root / area):
                if folder.name.startswith((_TEMPORARY, _OLD)):
                    shutil.rmtree(folder, ignore_errors=True)
        for pack in self.packs.folder.glob("*/.*"):
            pack.unlink(missing_ok=True)

    def write_failure(self, stage: str, tile: str | None, files: dict[str, str]) -> None:
        """Write what is known of a failure, replacing what an earlier attempt left.

        It is whole or not there, but need not outlive the machine: a failed task is tried again anyway.
        """
        final = self.failure_folder(stage, tile)
        final.parent.mkdir(parents=True, exist_ok=True)
        private = final.with_name(f"{_TEMPORARY}{final.name}-{uuid.uuid4().hex[:12]}")
        private.mkdir()
        for name, text in files.items():
            (private / name).write_bytes(text.encode("utf-8", "backslashreplace"))
        with contextlib.suppress(FileNotFoundError):
            (private / "reproduce.sh").chmod(0o755)
        shutil.rmtree(final, ignore_errors=True)
        private.rename(final)

    def clear_failure(self, stage: str, tile: str | None) -> None:
        """Forget a failure that a later attempt has mended."""
        folder = self.failure_folder(stage, tile)
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def packed_record(packed: PackedTask) -> Record | None:
    """Return the record of a packed task, or None when it cannot be read."""
    try:
        return Record.from_json(packed.read(RECORD))
    except (OSError, ValueError):
        return None


@functools.cache
def _extracted() -> Extracted:
    folder = Path(tempfile.mkdtemp(prefix="astrosurvey-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Extracted(folder)


def sync_tree(folder: Path) -> None:
    """Make a folder and all that is in it durable."""
    for directory, _, files in os.walk(folder):
        for name in files:
            descriptor = os.open(os.path.join(directory, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(directory))
