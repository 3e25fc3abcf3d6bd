"""A plugin for tests: numbers instead of images, and every way in which a stage can go wrong."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from astrosurvey import DataError, Field, FilePath, NoWork, ProductError, Stage, StageConfig, Tiles, hookimpl, optional
from astrosurvey.core.store import Store

astrosurvey_api = 1


@dataclass(frozen=True)
class Number:
    """A number, stored as JSON."""

    value: float
    padding: int = 0

    kind: ClassVar[str] = "number"
    suffix: ClassVar[str] = ".json"

    def write(self, path: Path) -> None:
        with path.open("w") as stream:
            stream.write(json.dumps({"value": self.value}) + " " * self.padding)

    @classmethod
    def read(cls, path: Path) -> Number:
        return cls(json.loads(path.read_text())["value"])

    def check(self) -> None:
        if self.value != self.value:
            raise ProductError("the value is NaN")

    def summary(self) -> dict[str, Any]:
        return {"value": self.value}


class Loop(Stage):
    """Run a compiled parallel loop, and tell with how many threads."""

    name = "toy.loop"
    outputs = {"number": Number}

    def run(self, ctx):
        import numba
        import numpy as np
        from toyloops import squares

        out = np.zeros(1000)
        squares(1000, out)
        assert out[999] == 999**2
        return {"number": Number(numba.get_num_threads())}


class Make(Stage):
    """Make a number from the tile's name."""

    name = "toy.make"
    outputs = {"number": Number}

    class Config(StageConfig):
        start: float = Field(1.0, description="value to start from")
        padding: int = Field(0, ge=0, description="bytes of blanks to store with it")
        seconds: float = Field(0.0, ge=0, description="time to sleep, unless TOY_AWAKE is set")

    def run(self, ctx):
        if "TOY_AWAKE" not in os.environ:
            time.sleep(self.config.seconds)
        ctx.progress(1, 1)
        return {"number": Number(self.config.start + (ctx.tile.index if ctx.tile else 0), self.config.padding)}


class Read(Stage):
    """Read a number from a file."""

    name = "toy.read"
    outputs = {"number": Number}

    class Config(StageConfig):
        path: FilePath = Field(description="file with a number; may name {tile}")

    def run(self, ctx):
        (path,) = self.external_files(self.config, ctx.tile)
        return {"number": Number(float(Path(path).read_text()))}


class Add(Stage):
    """Add a constant."""

    name = "toy.add"
    inputs = {"number": Number}
    outputs = {"number": Number}

    class Config(StageConfig):
        amount: float = Field(1.0, ge=-1000, le=1000, description="what to add")
        mode: Literal["plain", "negative"] = Field("plain", description="sign of the amount")

    def run(self, ctx, *, number):
        sign = 1 if self.config.mode == "plain" else -1
        return {"number": Number(number.value + sign * self.config.amount)}


class Random(Stage):
    """Add a random number."""

    name = "toy.random"
    inputs = {"number": Number}
    outputs = {"number": Number}

    def run(self, ctx, *, number):
        return {"number": Number(number.value + float(ctx.rng.random()))}


class Break(Stage):
    """Pass a number on, except on the tiles where something goes wrong."""

    name = "toy.break"
    inputs = {"number": Number}
    outputs = {"number": Number}

    class Config(StageConfig):
        tiles: list[str] = Field([], description="tiles on which it goes wrong")
        how: str = Field(
            "error", description="error, data, segfault, exit, sysexit, kill, nan, missing, print, empty, memory, hog, hang or flaky"
        )
        hoard: float = Field(1.2e9, ge=0, description="bytes that hog holds with the whole batch")

    def run(self, ctx, *, number):
        if ctx.tile.name in self.config.tiles:
            match self.config.how:
                case "data":
                    raise DataError("tile is rotten: HDU 1 holds nothing; look at it")
                case "segfault":
                    os.kill(os.getpid(), signal.SIGSEGV)
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "exit":
                    os._exit(7)
                case "nan":
                    return {"number": Number(float("nan"))}
                case "missing":
                    return {}
                case "hog":
                    hoard = b"x" * int(ctx.batch * self.config.hoard)
                    time.sleep(1.5)
                    assert hoard
                case "hang":
                    subprocess.Popen(["sleep", "1000"])
                    ctypes.PyDLL(None).sleep(1000)  # holds the interpreter's lock
                case "print":
                    print("hello from a stage")
                case "sysexit":
                    sys.exit(0)
                case "empty":
                    raise NoWork("nothing here")
                case "memory" if ctx.batch > 0.3:
                    raise MemoryError("too much")
                case "flaky":
                    marker = Path(os.environ["TOY_MARKERS"]) / ctx.tile.name
                    if not marker.exists():
                        marker.touch()
                        raise RuntimeError("not this time")
                case "error":
                    raise RuntimeError(f"{ctx.tile.name} is cursed")
        return {"number": number}


class Meet(Stage):
    """Wait for the same stage on another tile, and tell by number which GPU this one may see."""

    name = "toy.meet"
    inputs = {"number": Number}
    outputs = {"number": Number}

    def run(self, ctx, *, number):
        here = Path(os.environ["TOY_MARKERS"])
        (here / ctx.tile.name).touch()
        deadline = time.monotonic() + 120
        while len(list(here.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        return {"number": Number(float(os.environ.get("CUDA_VISIBLE_DEVICES", "nan")))}


class Total(Stage):
    """Add up all tiles."""

    name = "toy.total"
    scope = "survey"
    inputs = {"number": Tiles.of(Number)}
    outputs = {"number": Number}

    def run(self, ctx, *, number):
        return {"number": Number(sum(n.value for n in number))}


class Share(Stage):
    """Divide each tile's number by a survey-wide one."""

    name = "toy.share"
    inputs = {"number": Number, "total": optional(Number)}
    outputs = {"share": Number}

    def run(self, ctx, *, number, total):
        return {"share": Number(number.value / total.value if total else number.value)}


@hookimpl
def register_products(register):
    register(Number)


@hookimpl
def register_stages(register):
    for stage in (Make, Read, Add, Random, Break, Total, Share, Loop, Meet):
        register(stage)


def products(root):
    """Return the bytes of every product of a run directory by stage, tile and file."""
    store = Store(root)
    folders = {name: store.folder(*name) for name in store.published()}
    return {
        (*name, str(p.relative_to(folder))): p.read_bytes()
        for name, folder in folders.items()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "task.json"
    }
