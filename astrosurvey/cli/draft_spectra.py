"""A first pipeline for files of spectra, from what they say; what they leave open says so in a comment."""

from __future__ import annotations

import glob
from itertools import takewhile
from pathlib import Path

from ..products._fits import BadInput
from ..stages.spectra.readers import Block, SpectrumFile, format_of
from .draft import Draft, path_from, plain, yaml
from .groups import NoPattern

MANY = 10_000
"""A file of more spectra than this is read in blocks of so many."""
OPEN = {
    "wave_unit": ("Angstrom", "the file does not say in what unit its wavelengths are"),
    "medium": ("vacuum", "the file does not say whether its wavelengths are in air or in vacuum"),
    "unit": ("relative", "the file does not say in what unit its fluxes are"),
    "errors": ("measured", "the file holds no errors: they are measured from the scatter between pixels; better name theirs in `columns`"),
}
"""Setting -> what is put in its place, and why a person must look."""


def draft_of_spectra(files: list[Path], base: Path) -> Draft | None:
    """Return a pipeline for files of spectra; None if the first is none.

    Args:
        files: one file, or all files of a folder that begin and end alike.
        base: the folder of the pipeline file, from which its paths count.

    Raises:
        BadInput: a file of spectra that cannot be used.
        NoPattern: no pattern matches these files and no others.
    """
    try:
        file = SpectrumFile(str(files[0]), {}, None, None, checksum=True)
    except BadInput:
        return None
    with file:
        try:
            entry = format_of(file, "auto")
        except BadInput:
            return None
        number = entry.count(file)
        first = entry.read(file, 0, 1)
    made = Draft()
    made.guesses.append(f"format: {entry.name}, {number} {'spectra' if number > 1 else 'spectrum'} in {files[0].name}")
    tiles, path = _tiles(files, base, number, made)
    settings = [line for name in _missing(first) for line in _asked(name, made)]
    made.text = _composed(tiles, [*([f"    path: {yaml(path)}"] if path else []), *settings], made.guesses)
    return made


def _missing(block: Block) -> list[str]:
    said = {
        "wave_unit": block.wave_unit,
        "medium": block.medium,
        "unit": block.unit,
        "errors": block.noise_kind if block.noise is not None else None,
    }
    return [name for name, value in said.items() if value is None]


def _asked(name: str, made: Draft) -> list[str]:
    value, why = OPEN[name]
    made.missing.append(f"{name}: {why}")
    return [f"    # TO DO: {why}", f"    {name}: {value}"]


def _tiles(files: list[Path], base: Path, number: int, made: Draft) -> tuple[object, str]:
    """Return what `tiles:` says, and the path of a tile's files; "" where the tiles say it."""
    if len(files) == 1:
        path = path_from(files[0], base)
        made.tiles = [files[0].name.partition(".")[0]]
        if number > MANY:
            made.guesses.append(f"tiles: blocks of {MANY} spectra")
            return {"file": path, "rows": MANY}, path
        return made.tiles, path
    pattern = _pattern(files)
    path = path_from(Path(pattern), base)
    if number == 1:
        made.tiles = ["spectra"]
        made.guesses.append(f"tiles: {len(files)} files of a spectrum each are one tile")
        return made.tiles, path
    made.tiles = [file.name.partition(".")[0] for file in files]
    made.guesses.append("tiles: one for each file")
    return path, ""


def _pattern(files: list[Path]) -> str:
    """Return the pattern that matches these files and no others.

    Raises:
        NoPattern: there is none.
    """
    names = [file.name for file in files]
    before = _beginning(names)
    after = _beginning([name[len(before) :][::-1] for name in names])[::-1]
    folder = files[0].parent
    pattern = str(Path(glob.escape(str(folder))) / f"{glob.escape(before)}*{glob.escape(after)}")
    if len({file.parent for file in files}) > 1 or {Path(one) for one in glob.glob(pattern)} != set(files):
        raise NoPattern("no pattern matches these files of spectra and no others; give all files of one folder that begin and end alike")
    return pattern


def _beginning(names: list[str]) -> str:
    """Return what all names begin with."""
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in same)


def _composed(tiles: object, settings: list[str], guesses: list[str]) -> str:
    lines = [
        "# Written by `astrosurvey new pipeline` from a file of spectra: what it leaves open stands beside the setting.",
        "# Check it with `astrosurvey validate`, and see `astrosurvey stages NAME` for the settings of a stage.",
        *(f"# {plain(guess)}" for guess in guesses),
        "astrosurvey: 1",
        "title: Spectra",
        f"tiles: {yaml(tiles)}",
        "seed: 1",
        "stages:",
        "  read:",
        "    use: io.spectra",
        *settings,
        "  net: {use: spectra.classify, in: read.spectra}",
        "  # For science, name a folder of published templates: `templates: FOLDER`.",
        "  scan: {use: spectra.redshift, in: {spectra: read.spectra, catalog: read.catalog, seeds: net.redshifts}}",
        "  best: {use: spectra.combine, in: {scan: scan.redshifts, network: net.redshifts, network_classes: net.classes}}",
        "  lines: {use: spectra.lines, in: {spectra: read.spectra, catalog: read.catalog, redshifts: best.redshifts}}",
        "  strange:",
        "    use: spectra.anomaly",
        "    in: {spectra: read.spectra, redshifts: best.redshifts, fits: scan.fits, network_classes: net.classes}",
        "  table:",
        "    use: export.fits",
        "    in: {catalog: read.catalog, redshifts: best.redshifts, classes: best.classes, anomalies: strange.classes, lines: lines.lines}",
    ]
    return "\n".join(lines) + "\n"
