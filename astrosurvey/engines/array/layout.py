"""The plan of a run as job arrays, as it stands in `array/` of the run directory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.digests import write_atomically
from ...core.tiles import Box, Tile

FOLDER = "array"
SHARD = 1001
"""Entries of a folder at most, and so elements of an array: what Slurm allows unless told otherwise."""


class ArrayError(Exception):
    """A run directory's job arrays are not what they should be; one line for people."""


@dataclass(frozen=True)
class Wave:
    """Jobs that run the same stages, each on its own tiles.

    Attributes:
        number: from 1.
        stages: names, each after all that it depends on.
        scope: "tile" or "survey"; a wave of scope survey has one element.
        first: the number of its first element; elements are numbered through all waves.
        elements: how many there are.
        tiles: tiles that an element takes; the last one may take fewer.
        running: how many elements of one array may run at once.
        after: the numbers of the waves whose products it reads.
        memory: bytes that a job may use.
        more: bytes after a job was ended for its memory; the same as `memory` where the site has no more.
        gpus: devices a job has.
        time_limits: seconds that a task of a stage may take, by the stage's class, where the site limits it.
    """

    number: int
    stages: tuple[str, ...]
    scope: str
    first: int
    elements: int
    tiles: int
    running: int
    after: tuple[int, ...]
    memory: int
    more: int
    gpus: int
    time_limits: dict[str, float]


@dataclass(frozen=True)
class ArrayPlan:
    """What `plan.json` says.

    Attributes:
        root: the run directory.
        name: the name of the run's jobs, by which they are found in the queue.
        tiles: how many tiles the run has.
        part: elements of one array at most; a wave of more has several arrays.
        grace: seconds between the signal that a job gets and the end of its walltime.
    """

    root: Path
    name: str
    title: str
    tiles: int
    part: int
    grace: int
    waves: tuple[Wave, ...]

    @property
    def folder(self) -> Path:
        """The folder of the plan."""
        return self.root / FOLDER

    @property
    def elements(self) -> range:
        """The numbers of all elements."""
        return range(sum(wave.elements for wave in self.waves))

    def wave_of(self, element: int) -> Wave:
        """Return the wave of an element.

        Raises:
            ArrayError: there is no such element.
        """
        for wave in self.waves:
            if wave.first <= element < wave.first + wave.elements:
                return wave
        raise ArrayError(f"there is no element {element} in {self.folder}; its elements are 0 to {len(self.elements) - 1}")

    def tiles_of(self, element: int) -> list[Tile]:
        """Return the tiles that an element works on; for a survey-scope one those of the whole run."""
        wave = self.wave_of(element)
        begin = (element - wave.first) * wave.tiles
        with (self.folder / "tiles.jsonl").open(encoding="utf-8") as lines:
            return [_tile(json.loads(line)) for line in itertools.islice(lines, begin, begin + wave.tiles)]

    def elements_with(self, wave: Wave, tiles: list[Tile]) -> list[int]:
        """Return the elements of a wave that work on any of these tiles."""
        return [wave.first + k for k in sorted({tile.index // wave.tiles for tile in tiles})] if wave.scope == "tile" else [wave.first]

    def log(self, element: int) -> Path:
        """Return where an element writes its events."""
        wave = self.wave_of(element)
        return self.folder / "log" / str(wave.number) / str((element - wave.first) // SHARD) / f"{element}.jsonl"

    def digests(self, element: int) -> Path:
        """Return where an element remembers the digests of the input files that it has read."""
        return self.log(element).with_suffix(".digests.json")

    def output(self, element: int) -> Path:
        """Return where Slurm writes what an element prints."""
        wave = self.wave_of(element)
        part, place = divmod(element - wave.first, self.part)
        return self.folder / "output" / f"{wave.number}-{part}" / f"{place}.txt"

    def parts(self, wave: Wave) -> Iterator[tuple[int, int, int]]:
        """Yield (part, first element, number of elements) of each array of a wave."""
        for part, begin in enumerate(range(0, wave.elements, self.part)):
            yield part, wave.first + begin, min(self.part, wave.elements - begin)

    def save(self, tiles: list[Tile]) -> None:
        """Write `plan.json` and the tiles."""
        lines = (json.dumps({key: value for key, value in asdict(tile).items() if value}, ensure_ascii=False) for tile in tiles)
        write_atomically(self.folder / "tiles.jsonl", "".join(f"{line}\n" for line in lines).encode())
        values = {"format": 1, **{key: value for key, value in asdict(self).items() if key != "root"}}
        write_atomically(self.folder / "plan.json", json.dumps(values, indent=1).encode())


def is_array(root: Path) -> bool:
    """Tell whether a run directory holds a plan of job arrays."""
    return (root / FOLDER / "plan.json").is_file()


def read_plan(root: Path) -> ArrayPlan:
    """Return the plan of job arrays of a run directory.

    Raises:
        ArrayError: there is none that can be read.
    """
    path = root / FOLDER / "plan.json"
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        waves = tuple(Wave(**{**wave, "stages": tuple(wave["stages"]), "after": tuple(wave["after"])}) for wave in values["waves"])
        return ArrayPlan(root, values["name"], values["title"], values["tiles"], values["part"], values["grace"], waves)
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not what `plan` writes"
        raise ArrayError(f"cannot read {path}: {said}; make it with `astrosurvey plan PIPELINE --slurm-array --out {root}`") from None


def _tile(values: dict[str, Any]) -> Tile:
    parts: dict[str, Any] = {key: Box(**values[key]) for key in ("window", "core") if key in values}
    if "rows" in values:
        parts["rows"] = tuple(values["rows"])
    return Tile(**{"number": 0, "index": 0, **values, **parts})
