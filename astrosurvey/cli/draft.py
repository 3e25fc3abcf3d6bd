"""A first pipeline for FITS files, from what their headers say; what is a guess says so in a comment."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from .groups import Grouping, group
from .headers import IMAGE_WORDS, MASK_WORDS, PSF_WORDS, VARIANCE_WORDS, Plane, Seen, look, look_at_plane

LARGE = 6000
"""An image with a longer side than this is cut into tiles and read by window."""

NOMINAL_ZERO_POINT = 25.0


@dataclass
class Draft:
    """A pipeline file.

    Attributes:
        text: its content.
        guesses: what was found and guessed, one line each.
        missing: what only a person can say; the pipeline runs with a nominal value in its place.
        tiles: the tiles' names.
    """

    text: str = ""
    guesses: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    tiles: list[str] = field(default_factory=list)


def draft(files: list[Path], base: Path) -> Draft:
    """Return a pipeline for FITS files.

    Args:
        files: the images: bands of one tile, or tiles.
        base: the folder of the pipeline file, from which its paths count.

    Raises:
        BadInput: a file cannot be used.
        NoPattern: the files' names do not tell tiles and bands apart.
    """
    seen = [look(path) for path in files]
    here = [path_from(path, base) for path in files]
    grouping = group(here, [(image.band, image.band_from) for image in seen])
    return _Composer(seen, grouping, base).draft()


def path_from(path: Path, base: Path) -> str:
    """Return a path as the pipeline file has it: relative to its folder where the file is near, else absolute."""
    relative = os.path.relpath(path, base)
    return relative if not relative.startswith(os.path.join("..", "..")) else os.path.abspath(path)


class _Composer:
    def __init__(self, seen: list[Seen], grouping: Grouping, base: Path) -> None:
        self.seen, self.grouping, self.base = seen, grouping, base
        self.first = seen[0]
        self.made = Draft(tiles=grouping.tiles)
        self.settings: list[tuple[str, object, str]] = []
        """(setting, value, comment); a comment alone where the setting is ""."""

    def draft(self) -> Draft:
        self.images()
        self.unit()
        self.saturation()
        self.coordinates()
        parts = {part.role: (part, template) for part, template in self.parts()}
        for role, (part, template) in parts.items():
            self.part(role, part, template)
        self.made.text = self.compose("psf" in parts)
        return self.made

    def put(self, key: str, value: object, comment: str) -> None:
        self.settings.append((key, value, comment))
        self.made.guesses.append(f"{key}: {comment}")

    def note(self, what: str, comment: str) -> None:
        self.settings.append(("", None, f"{what}: {comment}"))
        self.made.guesses.append(f"{what}: {comment}")

    def ask(self, key: str, value: object, what: str) -> None:
        self.settings.append((key, value, f"TO DO: {what}"))
        self.made.missing.append(f"{key}: {what}")

    @property
    def cut(self) -> bool:
        """Whether the images are to be cut into tiles."""
        return len(self.grouping.tiles) == 1 and max(self.first.shape) > LARGE and not any(image.gzipped for image in self.seen)

    def images(self) -> None:
        grouping, first = self.grouping, self.first
        if not self.cut:
            self.put("path", grouping.template, f"{first.shape[1]} x {first.shape[0]} pixels")
        if first.stack:
            self.put("bands", first.stack, f"from BAND1 to BAND{first.planes}")
        elif first.planes > 1 and len(grouping.bands) == 1:
            bands = [f"b{n}" for n in range(1, first.planes + 1)]
            self.ask("bands", bands, f"the image is a stack of {first.planes} planes: put the bands' names here, in their order")
        elif grouping.bands == ["band"]:
            self.ask("bands", grouping.bands, grouping.why)
        else:
            self.put("bands", grouping.bands, f"from {grouping.why}")
        if first.hdu is not None:
            others = f"; the file also holds {', '.join(first.others[:5])}" if first.others else ""
            self.put("hdu", first.hdu, f"the first image, HDU {first.chosen}{others}")

    def unit(self) -> None:
        from ..stages.io.units import UnitError, is_counts, to_njy

        units = {image.unit for image in self.seen}
        unit = self.first.unit or self.first.unit_elsewhere
        zeropoint = self.first.zeropoint
        if len(units) > 1:
            self.ask("unit", unit or "adu", f"BUNIT differs between the files: {', '.join(sorted(map(repr, units)))}")
        elif self.first.unit_elsewhere:
            self.put("unit", unit, "BUNIT of the primary HDU; the image has none of its own")
        elif not unit:
            said = "there is no BUNIT; " + ("a zero point there is, so these are counts" if zeropoint else "is this right?")
            (self.put if zeropoint else self.ask)("unit", "adu", said)
        if unit and not is_counts(unit):
            try:
                to_njy(unit, None, (self.first.pixel_scale or 1.0) ** 2)
            except UnitError as error:
                self.settings = [setting for setting in self.settings if setting[0] != "unit"]
                self.ask("unit", "adu", f"{error.reason}; put the right one here")
            else:
                if units == {unit}:
                    self.note("unit", f"BUNIT = {unit!r}")
                return
        if all(image.zeropoint and zeropoint and image.zeropoint[0] == zeropoint[0] for image in self.seen) and zeropoint:
            values = ", ".join(f"{image.zeropoint[1]:g}" for image in self.seen[:5] if image.zeropoint)
            self.put("zeropoint_keyword", zeropoint[0], f"AB magnitude of one count: {values}; check that it is not per second")
        else:
            self.ask("zeropoint", NOMINAL_ZERO_POINT, "no header says the AB magnitude of one count; fluxes are relative until it is right")

    def saturation(self) -> None:
        found = self.first.saturate
        if found and all(image.saturate and image.saturate[0] == found[0] for image in self.seen):
            self.put("saturate_keyword", found[0], f"the header's {found[1]:g}")

    def coordinates(self) -> None:
        first = self.first
        if first.sky:
            self.note("coordinates", first.sky)
        elif first.wcs_problem:
            self.put("wcs", "ignore", f"the header's coordinates cannot be used: {first.wcs_problem}")
        else:
            self.put("wcs", "ignore", "the header has no celestial coordinates")
        if first.pixel_scale is None and first.unit and "sr" in first.unit:
            self.ask("pixel_scale", 1.0, "arcsec a pixel, which the unit per area needs and the header does not say")

    def parts(self) -> list[tuple[Plane, str]]:
        """Return the planes in the images' files, else those in files beside them, with their templates."""
        inside = [(part, "") for part in self.first.parts]
        roles = {part.role for part, _ in inside}
        return inside + [(part, template) for part, template in self.beside() if part.role not in roles]

    def beside(self) -> list[tuple[Plane, str]]:
        found = []
        for path in sorted(self.first.path.parent.glob("*.fit*")):
            if path == self.first.path or _key(path) != _key(self.first.path) or path in [image.path for image in self.seen]:
                continue
            part = look_at_plane(path, self.first.shape)
            template = _template(self.grouping.template, self.first.path.name, path.name)
            if part is not None and template is not None and self.all_there(template):
                found.append((part, template))
        return found

    def all_there(self, template: str) -> bool:
        """Tell whether a template's file is there for every tile and band."""
        names = [template.replace("{tile}", tile).replace("{band}", band) for tile in self.grouping.tiles for band in self.grouping.bands]
        return all((self.base / name).is_file() for name in names)

    def part(self, role: str, part: Plane, template: str) -> None:
        value: dict[str, object] = {}
        if template:
            value["path"] = template
        if part.hdu is not None:
            value["hdu"] = part.hdu
        comment = part.why
        if role == "variance":
            value["kind"] = part.kind
            if "weight" in part.why.lower() or "oow" in part.why or "wht" in part.why.lower():
                comment += "; taken as inverse variance; if it is only relative, say kind: weight and a scale"
            self.seen_unit(value)
        elif role == "mask" and part.bits:
            bits = {name: values for name, values in part.bits.items() if name}
            value |= {"bits": bits, **({"ignore": part.bits[""]} if "" in part.bits else {})}
            comment += "; bits as its header names them"
        elif role == "mask":
            value["nonzero"] = "BAD"
            comment += "; every value but 0 counts as bad: say `bits` to tell saturation from cosmic rays"
        self.put(role, value, comment)

    def seen_unit(self, value: dict[str, object]) -> None:
        """Say the unit of a variance plane is that of the image where the image's had to be said."""
        if any(key == "unit" for key, *_ in self.settings):
            value["unit"] = ""

    def compose(self, has_psf: bool) -> str:
        grouping = self.grouping
        title = grouping.tiles[0] if len(grouping.tiles) == 1 else f"{len(grouping.tiles)} tiles"
        lines = [
            "# Written by `astrosurvey new pipeline` from the headers of the files: what was guessed, and why, stands beside it.",
            "# Check it with `astrosurvey validate`, and see `astrosurvey stages NAME` for the settings of a stage.",
            "astrosurvey: 1",
            f"title: {yaml(title)}",
        ]
        if self.cut:
            why = f"{self.first.shape[1]} x {self.first.shape[0]} pixels are cut into tiles, each read by window"
            lines.append(f"tiles: {yaml({'image': grouping.template, 'size': 4096, 'overlap': 128})}  # {why}")
        else:
            lines.append(f"tiles: {yaml(grouping.tiles)}")
        lines += ["seed: 1", "stages:", "  image:", "    use: io.image"]
        for key, value, comment in self.settings:
            lines += [f"    # {plain(comment)}", *([f"    {key}: {yaml(value)}"] if key else [])]
        fwhm = [] if has_psf else ["  # The files hold no PSF: add `fwhm:` (the seeing in pixels) to detect, deblend and kron."]
        lines += [
            "  sky: {use: background.mesh, in: image, box: 64}",
            *fwhm,
            "  detect: {use: detection.segment, in: sky, threshold: 4.0}",
            "  deblend: {use: deblending.watershed, in: [sky, detect]}",
            "  kron: {use: photometry.kron, in: [sky, deblend]}",
            "  apertures: {use: photometry.aperture, in: [sky, kron], radii: [3, 5, 8]}",
            "  survey: {use: catalog.merge, in: apertures}",
            "  table: {use: export.fits, in: survey}",
            "  regions: {use: export.regions, in: survey}",
        ]
        return "\n".join(lines) + "\n"


def yaml(value: object) -> str:
    """Return a value as JSON, which is YAML, but with plain words where they cannot be mistaken."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {yaml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def plain(text: str) -> str:
    """Return a text without what cannot be printed."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _key(path: Path) -> tuple[str, ...]:
    """Return the words of a file's name without those that say which plane it holds."""
    roles = {*VARIANCE_WORDS, *MASK_WORDS, *PSF_WORDS, *IMAGE_WORDS}
    words = re.split(r"[._-]", re.sub(r"\.fits?(\.gz|\.fz)?$", "", path.name))
    return tuple(word for word in words if word.lower() not in roles)


def _template(template: str, image: str, plane: str) -> str | None:
    """Return the images' template changed as `image` has to be to become `plane`; None when that is not clear.

    A word is replaced (c4d_ooi_z.fits, c4d_oow_z.fits) or inserted (tile_r.fits, tile_r.weight.fits).
    """
    folder, _, name = template.rpartition("/")
    one, other, parts = (re.split(r"([._-])", text) for text in (image, plane, name))
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    backwards = zip(one[start:][::-1], other[start:][::-1], strict=False)
    end = next((i for i, (a, b) in enumerate(backwards) if a != b), min(len(one), len(other)) - start)
    old, new, tail = one[start : len(one) - end], other[start : len(other) - end], one[len(one) - end :]
    if len(old) == 1 and parts.count(old[0]) == 1:
        changed = "".join("".join(new) if part == old[0] else part for part in parts)
    elif not old and tail and parts[-len(tail) :] == tail:
        changed = "".join([*parts[: -len(tail)], *new, *tail])
    else:
        return None
    return f"{folder}/{changed}" if folder else changed
