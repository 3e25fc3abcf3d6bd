"""What a case of the corpus is: it builds one input and says what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import build as b

Builder = Callable[[Path, int], str]


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: what is wrong with it.
        build: makes it in a folder (given also the port of a listener) and returns the path to read.
        refuse: a pattern that the one-line error must match; "" when the input must be read.
        truth: the pixels that must come out, when it must be read.
        repair: a pattern that one of the repair notes must match; "" when there must be none.
        wcs: whether there must be coordinates afterwards.
        config: settings of io.image besides path and bands.
    """

    name: str
    build: Builder
    refuse: str = ""
    truth: np.ndarray = field(default_factory=lambda: b.TRUTH)
    repair: str = ""
    wcs: bool = True
    config: Mapping[str, Any] = field(default_factory=dict)


def stored(raw: bytes | Callable[[], bytes], name: str = "case.fits") -> Builder:
    def make(folder: Path, port: int) -> str:
        (folder / name).write_bytes(raw() if callable(raw) else raw)
        return str(folder / name)

    return make


def named(text: str) -> Builder:
    """A name that means more than a path to some readers; {dir} and {port} are filled in, and a sound file is near."""

    def make(folder: Path, port: int) -> str:
        (folder / "sound.fits").write_bytes(b.image())
        return text.replace("{dir}", str(folder)).replace("{port}", str(port))

    return make


def special(act: Callable[[Path], None]) -> Builder:
    def make(folder: Path, port: int) -> str:
        (folder / "sound.fits").write_bytes(b.image())
        act(folder / "special")
        return str(folder / "special")

    return make


CASES: list[Case] = []


def refuse(name: str, make: bytes | Callable[[], bytes] | Builder, pattern: str, raw: bool = True, **config: Any) -> None:
    CASES.append(Case(name, stored(make) if raw else make, refuse=pattern, config=config))  # type: ignore[arg-type]


def accept(
    name: str, make: bytes | Callable[[], bytes], *, truth: np.ndarray = b.TRUTH, repair: str = "", wcs: bool = True, **config: Any
) -> None:
    CASES.append(Case(name, stored(make), truth=truth, repair=repair, wcs=wcs, config=config))


SOUND = b.image()
HOLE = b.truth_with_hole()
EMPTY = b.image(data=None)
BAD = b.image({"BITPIX": "7"}, extension=True)
"""A corrupt extension."""
