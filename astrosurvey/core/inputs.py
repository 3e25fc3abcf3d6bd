"""What a task reads: its input products, out of packs too, and on a network file system as soon as this node sees them."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from .packs import Extracted
from .product import Tiles
from .stage import Stage, ports
from .store import Store

PATIENCE = 60.0
"""Seconds to wait for a product that another node has published: for so long NFS may answer from what it remembers of a folder."""


class UnseenInput(Exception):
    """A product that the coordinator knows of is not seen by this worker."""


class Inputs:
    """The input products of one order.

    Args:
        store: the run directory.
        expected: by port, the digests that the coordinator has recorded: one, or (tile, digest) pairs of a gather.
        scratch: a folder beside which copies of packed products are made.
    """

    def __init__(self, store: Store, expected: dict[str, Any], scratch: Path) -> None:
        self.store = store
        self.expected = expected
        self.scratch = scratch
        self._copies: Path | None = None

    def read(self, stage: Stage, sources: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs of a stage by port; a gather's are read when they are asked for.

        Args:
            stage: the stage.
            sources: by port: the stored product's path, (tile, path) pairs for a gather, or None.
        """
        inputs: dict[str, Any] = {}
        for name, port in ports(type(stage), "inputs").items():
            source, product, expected = sources.get(name), port.contract.product, self.expected.get(name)
            if source is None:
                inputs[name] = None
            elif port.gather:
                paths, digests = dict(source), dict(expected or ())
                inputs[name] = Tiles(
                    list(paths),
                    lambda tile, paths=paths, digests=digests, product=product: product.read(self.path(paths[tile], digests.get(tile))),  # type: ignore[misc]
                )
            else:
                inputs[name] = product.read(self.path(source, expected))
        return inputs

    def path(self, source: str, sha256: str | None) -> Path:
        """Return where a product can be read.

        Raises:
            UnseenInput: it is not there, or another than expected; a retry, perhaps on another node, may mend it.
        """
        path = Path(source)
        products = self.store.root / "products"
        if products not in path.parents:
            return path  # a built-in model
        deadline, pause = time.monotonic() + PATIENCE, 0.05
        while not self._is_there(path, sha256):
            if time.monotonic() > deadline:
                raise UnseenInput(
                    f"{path} is not, or not yet, seen on {platform.node()} as the coordinator has recorded it; "
                    "if it was removed, run the same command again"
                )
            time.sleep(pause)
            pause = min(2 * pause, 5)
            _look_again(products, path)
            self.store = Store(self.store.root)
        return path if path.exists() else self.store.get(path, self._extracted)

    def _is_there(self, path: Path, sha256: str | None) -> bool:
        """Tell whether this node sees a product, and the one that is expected: a node may still see the one before."""
        stage, *_, tile, _ = path.relative_to(self.store.root / "products").parts
        record = self.store.record(stage, tile)
        stored = next((s for s in record.outputs.values() if s.file == path.name), None) if record else None
        if stored is None or (sha256 is not None and stored.sha256 != sha256):
            return False
        return path.exists() or self.store.packed(stage, tile) is not None

    @cached_property
    def _extracted(self) -> Extracted:
        self._copies = Path(tempfile.mkdtemp(prefix="inputs-", dir=self.scratch.parent))
        return Extracted(self._copies)

    def close(self) -> None:
        """Remove the copies."""
        if self._copies is not None:
            shutil.rmtree(self._copies, ignore_errors=True)


@contextlib.contextmanager
def open_inputs(store: Store, fields: dict[str, Any], scratch: Path) -> Iterator[Inputs]:
    """Give the input products of an order with those fields; what was made to read them goes when the block ends."""
    inputs = Inputs(store, fields.get("inputs", {}), scratch)
    try:
        yield inputs
    finally:
        inputs.close()


def _look_again(top: Path, path: Path) -> None:
    """Open the folders above a product: only then does NFS ask the server what is in them."""
    for folder in reversed([p for p in path.parents if p == top or top in p.parents]):
        with contextlib.suppress(OSError):
            os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
