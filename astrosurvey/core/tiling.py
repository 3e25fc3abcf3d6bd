"""From the pipeline's `tiles:` to the list of tiles: globs, lists, CSV files, simulated grids, cuts of one large image."""

from __future__ import annotations

import csv
import glob
import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .tiles import NUMBER_BITS, Box, Tile

SURVEY = "survey"
"""Stands in the tile's place where a stage has scope survey; so no tile may be called this."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
MAX_TILES = 10_000_000


class TilesError(ValueError):
    """`tiles:` names no tiles, or impossible ones."""


class Grid(BaseModel):
    """`{count: 8}`: simulation batches; with a size, patches of one simulated sky in a grid."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    count: int = Field(gt=0, le=MAX_TILES, description="number of tiles")
    size: int | None = Field(None, gt=0, description="width and height of a tile in pixels")
    overlap: int = Field(0, ge=0, description="pixels that neighbours share")
    columns: int | None = Field(None, gt=0, description="tiles in a row, a divisor of count; as near to a square as can be when left out")

    @model_validator(mode="after")
    def _sound(self) -> Grid:
        if self.size is None and (self.overlap or self.columns):
            raise ValueError("overlap and columns need a size")
        if self.size is not None and 2 * self.overlap > self.size:
            raise ValueError(f"the overlap {self.overlap} is more than half the size {self.size}")
        if self.columns and self.count % self.columns:
            raise ValueError(f"{self.count} tiles do not fill rows of {self.columns}")
        return self


class Cut(BaseModel):
    """`{image: big.fits, size: 4096, overlap: 128}`: one large image cut into overlapping tiles, read by window."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    image: str = Field(description="the image, or a template with {band}; all bands share one pixel grid")
    size: int = Field(4096, gt=0, description="width and height of a tile in pixels")
    overlap: int = Field(128, ge=0, description="pixels that neighbours share")

    @model_validator(mode="after")
    def _sound(self) -> Cut:
        if 2 * self.overlap > self.size:
            raise ValueError(f"the overlap {self.overlap} is more than half the size {self.size}")
        return self


class Blocks(BaseModel):
    """`{file: spectra.fits, rows: 10000}`: one large file of spectra cut into blocks of rows."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    file: str = Field(description="the file; path templates may name it as {path}")
    rows: int = Field(10_000, gt=0, description="rows of a block; the last one may have fewer")


TilesSpec = str | list[str] | Grid | Cut | Blocks | None


def make_tiles(spec: TilesSpec, extent: Callable[[Path], tuple[int, int]], count: Callable[[Path], int]) -> list[Tile]:
    """Return the tiles that a specification with absolute paths names, in order, each with its number.

    Args:
        spec: the pipeline's `tiles:`.
        extent: returns the (nx, ny) of an image file.
        count: returns the number of rows of a file that is cut into blocks.

    Raises:
        TilesError: there are none, two have one name, or a name cannot be a folder's.
    """
    if spec is None:
        tiles = [_tile("field")]
    elif isinstance(spec, Grid):
        tiles = list(_grid(spec))
    elif isinstance(spec, Cut):
        tiles = list(_cut(spec, extent))
    elif isinstance(spec, Blocks):
        tiles = list(_blocks(spec, count(Path(spec.file))))
    elif isinstance(spec, list):
        tiles = [_tile(name) for name in spec]
    elif spec.lower().endswith(".csv"):
        tiles = list(_from_csv(Path(spec)))
    else:
        tiles = list(_from_glob(spec))
    if not tiles:
        raise TilesError(f"no file matches {spec!r}; check the pattern, or list the tiles")
    return _numbered(tiles)


def _tile(name: str, **more: Any) -> Tile:
    return Tile(name, 0, 0, **more)


def _numbered(tiles: list[Tile]) -> list[Tile]:
    """Give every tile a number hashed from its name, so that adding a tile leaves the others' ids alone.

    The few names whose hashes collide (none among a thousand tiles, some tens among a hundred thousand)
    move on to the next free number in the order of their names; those a new tile may move.
    """
    seen: set[str] = set()
    for tile in tiles:
        if not _NAME.fullmatch(tile.name) or tile.name.endswith(".") or tile.name == SURVEY:
            raise TilesError(f"{tile.name!r} cannot be a tile's name; use letters, digits and _ . + - (and not {SURVEY!r})")
        if tile.name.casefold() in seen:
            raise TilesError(f"two tiles are called {tile.name!r}; make the names differ by more than upper and lower case")
        seen.add(tile.name.casefold())
    taken: dict[int, str] = {}
    for name in sorted(t.name for t in tiles):
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> (64 - NUMBER_BITS)
        while number in taken:
            number = (number + 1) % (1 << NUMBER_BITS)
        taken[number] = name
    numbers = {name: number for number, name in taken.items()}
    return [replace(tile, number=numbers[tile.name], index=index) for index, tile in enumerate(tiles)]


def _grid(spec: Grid) -> Iterator[Tile]:
    digits = max(len(str(spec.count - 1)), 4)
    columns = spec.columns or _squarest(spec.count)
    for index in range(spec.count):
        name = f"t{index:0{digits}d}"
        if spec.size is None:
            yield _tile(name)
            continue
        row, column = divmod(index, columns)
        window, core = _cell(spec.size, spec.overlap, column, row, right=column + 1 < columns, above=index + columns < spec.count)
        yield _tile(name, window=window, core=core)


def _squarest(count: int) -> int:
    """Return the number of columns of the full grid nearest to a square."""
    return next(columns for columns in range(math.isqrt(count - 1) + 1, count + 1) if count % columns == 0)


def _cell(size: int, overlap: int, column: int, row: int, *, right: bool, above: bool) -> tuple[Box, Box]:
    """Return a tile's window and core; neighbours' cores meet in the middle of their overlap."""
    step, half = size - overlap, overlap // 2
    window = Box(column * step, row * step, column * step + size, row * step + size)
    core = Box(
        window.x0 + (half if column else 0),
        window.y0 + (half if row else 0),
        window.x0 + step + half if right else window.x1,
        window.y0 + step + half if above else window.y1,
    )
    return window, core


def _cut(spec: Cut, extent: Callable[[Path], tuple[int, int]]) -> Iterator[Tile]:
    first = spec.image
    if "{band}" in spec.image:
        matches = sorted(glob.glob("*".join(glob.escape(part) for part in spec.image.split("{band}"))))
        if not matches:
            raise TilesError(f"no file matches {spec.image!r}")
        first = matches[0]
    nx, ny = extent(Path(first))
    columns, rows = _cells_along(nx, spec), _cells_along(ny, spec)
    digits = max(len(str(max(columns, rows) - 1)), 2)
    for row in range(rows):
        for column in range(columns):
            window, core = _cell(spec.size, spec.overlap, column, row, right=column + 1 < columns, above=row + 1 < rows)
            inside = Box(window.x0, window.y0, min(window.x1, nx), min(window.y1, ny))
            owned = Box(core.x0, core.y0, min(core.x1, nx), min(core.y1, ny))
            yield _tile(f"y{row:0{digits}d}x{column:0{digits}d}", window=inside, core=owned, fields={"image": spec.image})


def _cells_along(length: int, spec: Cut) -> int:
    return 1 if length <= spec.size else 1 + math.ceil((length - spec.size) / (spec.size - spec.overlap))


def _blocks(spec: Blocks, total: int) -> Iterator[Tile]:
    count = math.ceil(total / spec.rows)
    if not 0 < count <= MAX_TILES:
        raise TilesError(f"{spec.file} has {total} rows, which make {count} blocks; choose another `rows`")
    digits = max(len(str(count - 1)), 4)
    for index in range(count):
        rows = index * spec.rows, min((index + 1) * spec.rows, total)
        yield _tile(f"b{index:0{digits}d}", rows=rows, fields={"path": spec.file})


def _from_csv(path: Path) -> Iterator[Tile]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            rows = list(reader)
    except OSError as error:
        raise TilesError(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise TilesError(f"{path} is no CSV file in UTF-8: {error}") from None
    if len(set(reader.fieldnames)) != len(reader.fieldnames):
        raise TilesError(f"{path} has two columns of one name")
    if "tile" not in reader.fieldnames:
        raise TilesError(
            f"{path} has no column `tile`, and a CSV lists tiles, one a row; if it is the data, write "
            f"`tiles: [{_safe(path.stem) or 'all'}]`, and `path: {path.name}` in the stage that reads it"
        )
    if not rows:
        raise TilesError(f"{path} lists no tile: there is no row below its header")
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise TilesError(f"{path}:{line}: the row has more or fewer values than the header")
        fields = {key: value.strip() for key, value in row.items()}
        for key, value in fields.items():
            if key == "path" or key.endswith("_path"):
                fields[key] = str(path.parent / value)
        yield _tile(fields.pop("tile"), fields=fields)


def _from_glob(pattern: str) -> Iterator[Tile]:
    literal = re.sub(r"\[([][*?])\]", r"\1", pattern)
    if not glob.has_magic(re.sub(r"\[[][*?]\]", "", pattern)):
        if Path(literal).is_file():
            yield _tile(_safe(Path(literal).name.partition(".")[0]), fields={"path": literal})
        return
    matcher = re.compile("".join(_glob_regex(pattern)))
    for path in sorted(glob.glob(pattern, recursive=True)):
        match = matcher.fullmatch(path)
        wild = "_".join(filter(None, (g.rstrip("/") for g in match.groups()))) if match else Path(path).stem
        yield _tile(_safe(wild), fields={"tile": wild, "path": path})


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", text).lstrip("_.+-")


def _glob_regex(pattern: str) -> Iterator[str]:
    """Yield a regular expression that captures what each wildcard of a glob pattern matched."""
    for part in re.split(r"(\*\*/|\*+|\?|\[\]\]|\[[^]]+\])", pattern):
        if len(part) == 3 and part[0] == "[" and part[1] in "[]*?":  # an escaped character
            yield re.escape(part[1])
        elif part == "**/":
            yield "((?:[^/]+/)*)"
        elif part.startswith("*"):
            yield "([^/]*)"
        elif part == "?":
            yield "([^/])"
        elif part.startswith("[") and part.endswith("]"):
            yield "([" + ("^" if part[1] == "!" else "") + re.escape(part[1 + (part[1] == "!") : -1]).replace("\\-", "-") + "])"
        else:
            yield re.escape(part)


def spec_as_json(spec: TilesSpec) -> Any:
    """Return the specification as it stands in a pipeline file."""
    return spec.model_dump(mode="json", exclude_none=True) if isinstance(spec, BaseModel) else spec


FORMS: Mapping[str, type[Grid | Cut | Blocks]] = {"count": Grid, "image": Cut, "file": Blocks}
"""Which form a mapping under `tiles:` has, by the key that tells."""


def form_of(value: Mapping[str, Any]) -> type[Grid | Cut | Blocks]:
    """Return the form of a mapping that has one of the keys of `FORMS`."""
    return next(form for key, form in FORMS.items() if key in value)


def parse_spec(value: Any) -> tuple[TilesSpec, list[tuple[Any, Mapping[str, Any]]]]:
    """Return the specification that a pipeline's `tiles:` value means, and pydantic's errors by path."""
    from pydantic import ValidationError

    if value is None or isinstance(value, str):
        return value, []
    if isinstance(value, list):
        wrong: list[tuple[Any, Mapping[str, Any]]] = [
            ((i,), {"type": "name", "msg": f"a tile's name is a string, not {item!r}"})
            for i, item in enumerate(value)
            if not isinstance(item, str)
        ]
        if not value:
            wrong = [((), {"type": "empty", "msg": "the list is empty"})]
        return value, wrong
    if not isinstance(value, dict) or not (set(FORMS) & set(value)):
        message = (
            "must be a glob, a list of names, a CSV file, {count: 8}, {image: big.fits, size: 4096, overlap: 128} "
            "or {file: spectra.fits, rows: 10000}"
        )
        return None, [((), {"type": "form", "msg": message})]
    model = form_of(value)
    try:
        return model.model_validate(value), []
    except ValidationError as error:
        return None, [(e["loc"], e) for e in error.errors(include_url=False)]
