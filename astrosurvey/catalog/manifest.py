"""The checksums that stand beside published files: `MANIFEST.sha256`, which `sha256sum --check` reads."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .schema import SchemaError

NAME = "MANIFEST.sha256"


def write_manifest(folder: Path) -> Path:
    """Write the sha256 of every file in a folder and below to its MANIFEST.sha256, and return that path.

    Raises:
        SchemaError: a file's name holds a line break or a backslash, which the format has no plain way to write.
    """
    lines = []
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if any(character in name for character in "\n\r\\"):
            raise SchemaError(f"{name!r} cannot stand in a manifest; rename the file")
        lines.append(f"{_sha256(path)}  {name}\n")
    manifest = folder / NAME
    manifest.write_text("".join(lines), encoding="utf-8")
    return manifest


def verify_manifest(folder: Path) -> list[str]:
    """Return what is wrong with the files in a folder that has a manifest: changed, missing, or not listed in it."""
    listed = {}
    for line in (folder / NAME).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    present = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    problems = [f"{name} is missing" for name in listed if name not in present]
    problems += [f"{name} is not in the manifest" for name in present if name not in listed]
    problems += [f"{name} has changed" for name, path in present.items() if name in listed and _sha256(path) != listed[name]]
    return sorted(problems)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / NAME)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
