"""From the names of files to tiles and bands: the one template that gives them all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .headers import KNOWN_BAND


class NoPattern(ValueError):
    """The files cannot be told apart by tile and band."""


@dataclass(frozen=True)
class Grouping:
    """Files as tiles and bands.

    Attributes:
        template: a file's path with {tile} and {band} in it, as far as there are several.
        tiles: the tiles' names.
        bands: the bands' names, in the order of the files.
        why: how the bands were told.
    """

    template: str
    tiles: list[str]
    bands: list[str]
    why: str


def group(paths: Sequence[str], bands: Sequence[tuple[str, str]]) -> Grouping:
    """Return how files make up tiles and bands.

    Args:
        paths: the files.
        bands: for each, the band its header names ("" for none) and how it does.

    Raises:
        NoPattern: their names do not follow one pattern.
    """
    for path in paths:
        if re.search(r"\{\w+\}|\$\{", path):
            raise NoPattern(f"{path} holds braces, which mean something in a pipeline file; rename it or link to it")
    if len(paths) == 1:
        return _single(paths[0], *bands[0])
    folders = {str(Path(path).parent) for path in paths}
    if len(folders) > 1:
        raise NoPattern(f"the files are in {len(folders)} folders; link them into one, or write a pipeline for each")
    split = [re.split(r"([._-])", Path(path).name) for path in paths]
    if len({len(parts) for parts in split}) > 1:
        raise NoPattern("the files' names have different numbers of parts; rename them so that they differ in the tile and the band alone")
    by_header = [band for band, _ in bands]
    place = _band_place(split, by_header)
    folder = "" if str(Path(paths[0]).parent) == "." else f"{Path(paths[0]).parent}/"
    if place is None:
        if len(set(by_header)) > 1:
            said = ", ".join(band or "none" for band in by_header)
            raise NoPattern(f"the headers name the bands {said}, but the files' names do not; rename them to tile_band.fits")
        template, tiles = _tiles(split, None)
        return Grouping(folder + template, tiles, [by_header[0] or "band"], bands[0][1] or "no header names the band")
    names = [parts[place] for parts in split]
    found = list(dict.fromkeys(names))
    rest = [[*parts[:place], "{band}", *parts[place + 1 :]] for parts in split]
    template, tiles = _tiles(rest, place)
    have = {(tuple(parts), name) for parts, name in zip(rest, names, strict=True)}
    if len(have) != len(tiles) * len(found):
        raise NoPattern(f"not every tile has every band: {len(paths)} files for {len(tiles)} tiles in {', '.join(found)}")
    agree = by_header == names
    why = bands[0][1].partition(" = ")[0] + " and the files' names" if agree else "the files' names; " + _disagreement(bands)
    return Grouping(folder + template, tiles, found, why)


def _single(path: str, band: str, how: str) -> Grouping:
    stem = re.sub(r"[^A-Za-z0-9_.+-]+", "_", Path(path).name.partition(".")[0]).lstrip("_.+-") or "tile"
    if band:
        return Grouping(path, [stem], [band], how)
    words = [word for word in re.split(r"[._-]", Path(path).name) if KNOWN_BAND.fullmatch(word)]
    if len(words) == 1:
        return Grouping(path, [stem], words, "the file's name; no header keyword names the band")
    return Grouping(path, [stem], ["band"], "neither header nor name tells the band: put its name here")


def _disagreement(bands: Sequence[tuple[str, str]]) -> str:
    said = list(dict.fromkeys(how for _, how in bands if how))
    return f"the headers say {', '.join(said[:3])}, which does not tell them apart" if said else "no header keyword names the band"


def _band_place(split: list[list[str]], by_header: list[str]) -> int | None:
    """Return which part of the names is the band: the one the headers say, else one that holds known bands."""
    places = [i for i in range(len(split[0])) if len({parts[i] for parts in split}) > 1]
    for place in places:
        if [parts[place] for parts in split] == by_header:
            return place
    known = [place for place in places if all(KNOWN_BAND.fullmatch(parts[place]) for parts in split)]
    return known[0] if len(known) == 1 else None


def _tiles(split: list[list[str]], band: int | None) -> tuple[str, list[str]]:
    """Return the template and the tiles' names: what lies between the first and the last part that differs."""
    differ = [i for i in range(len(split[0])) if len({parts[i] for parts in split}) > 1]
    if not differ:
        stem = "".join(part for part in split[0] if part != "{band}").partition(".")[0]
        return "".join(split[0]), [re.sub(r"[._-]{2,}", "_", stem).strip("._-") or "tile"]
    first, last = differ[0], differ[-1]
    if band is not None and first < band < last:
        raise NoPattern("the band stands in the middle of the tile's name; rename the files to tile_band.fits")
    names = list(dict.fromkeys("".join(parts[first : last + 1]) for parts in split))
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}", name):
            raise NoPattern(f"{name!r}, which tells the files apart, cannot be a tile's name; rename the files")
    return "".join([*split[0][:first], "{tile}", *split[0][last + 1 :]]), names
