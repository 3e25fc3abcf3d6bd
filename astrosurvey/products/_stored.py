"""What the products' stored forms share: checks, metadata, and arrays that nobody can write to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.product import ProductError

if TYPE_CHECKING:
    from ._fits import FitsFile, Plane

MAX_CARD = 1 << 20
"""Bytes of a product's card, at the most."""


def frozen(array: np.ndarray) -> np.ndarray:
    """Return the array, from now on read-only."""
    array.flags.writeable = False
    return array


def check_array(name: str, array: Any, dtype: Any, shape: tuple[int | None, ...]) -> None:
    """Raise `ProductError` unless `array` is a native, C-contiguous array of this type and shape.

    Args:
        name: what to call it in the message.
        array: what is checked.
        dtype: the type it must have.
        shape: the length of each axis; None where any positive length will do.
    """
    if not isinstance(array, np.ndarray):
        raise ProductError(f"{name} must be a NumPy array, not {type(array).__name__}")
    if array.dtype != np.dtype(dtype) or not array.dtype.isnative:
        raise ProductError(f"{name} must be {np.dtype(dtype).name} in native byte order, not {array.dtype.str}")
    fits = array.ndim == len(shape) and all(
        (want is None and have > 0) or want == have for want, have in zip(shape, array.shape, strict=False)
    )
    if not fits:
        raise ProductError(f"{name} must have the shape {_shown(shape)}, not {array.shape}")
    if not array.flags.c_contiguous:
        raise ProductError(f"{name} must be C-contiguous; use np.ascontiguousarray")


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("≥1" if n is None else str(n) for n in shape) + ")"


def to_json(name: str, value: Any) -> str:
    """Return `value` as JSON with sorted keys in plain ASCII.

    Raises:
        ProductError: it holds what JSON cannot, such as NaN, an array or a path.
    """
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ProductError(f"{name} must hold JSON values only: {error}") from error


def check_folder(folder: Path, card: str, *others: str, perhaps: tuple[str, ...] = ()) -> set[str]:
    """Return the names of what is in a product's folder.

    Args:
        folder: where it is stored.
        card: the file in it that `read_card` reads.
        others: the other files that must be there.
        perhaps: those that may be.

    Raises:
        ProductError: a file is missing or too many, or none; or the card is too large.
    """
    there = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if there - {*perhaps} != {card, *others}:
        wanted = ", ".join([*sorted({card, *others}), *(f"perhaps {name}" for name in perhaps)])
        raise ProductError(f"{folder} must be a folder with {wanted} and nothing else, but holds {', '.join(sorted(there)) or 'nothing'}")
    if not all((folder / name).is_file() for name in there) or (folder / card).stat().st_size > MAX_CARD:
        raise ProductError(f"{folder}: its entries must be regular files, and {card} at most {MAX_CARD} bytes")
    return there


def write_card(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON values for people and programs, the same bytes each time.

    Raises:
        ProductError: some are no JSON values.
    """
    text = json.dumps(json.loads(to_json(path.name, content)), sort_keys=True, indent=1)
    path.write_text(text + "\n", encoding="ascii")


def read_card(path: Path, kind: str, *keys: str, perhaps: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what `write_card` wrote of a product of this kind.

    Args:
        path: of the card.
        kind: of product.
        keys: that it must have.
        perhaps: keys that it may have.

    Raises:
        ProductError: it is damaged, or lacks one of the keys, or has others.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if set(content) - {*perhaps} != {"kind", *keys} or content["kind"] != kind:
            raise ValueError(f"it must say that it is of the kind {kind}, and {', '.join(keys)}")
    except (TypeError, ValueError, KeyError) as error:
        raise ProductError(f"{path} is damaged or no stored {kind}: {error}") from error
    return dict(content)


def check_meta(name: str, meta: Any) -> None:
    """Raise `ProductError` unless `meta` is a mapping that comes back from JSON as it went in."""
    if not isinstance(meta, Mapping):
        raise ProductError(f"{name} must be a mapping, not {type(meta).__name__}")
    if json.loads(to_json(name, dict(meta))) != dict(meta):
        raise ProductError(f"{name} does not come back from JSON as it went in; use lists for tuples and text for keys")


def meta_plane(meta: Mapping[str, Any]) -> list[Plane]:
    """Return the extension META that holds `meta` as JSON bytes; none when it is empty."""
    from ._fits import Plane

    if not meta:
        return []
    return [Plane("META", np.frombuffer(to_json("meta", dict(meta)).encode("ascii"), np.uint8))]


def read_meta(file: FitsFile) -> dict[str, Any]:
    """Return what `meta_plane` stored; {} when there is none."""
    if not any(hdu.name == "META" for hdu in file.hdus):
        return {}
    hdu = file.find("META")
    try:
        meta = json.loads(file.raw(hdu))
    except ValueError as error:
        raise file.bad("holds no JSON", hdu, fix="run the stage that wrote it again") from error
    if not isinstance(meta, dict):
        raise file.bad("holds no JSON object", hdu, fix="run the stage that wrote it again")
    return meta


@contextmanager
def open_stored(path: Path, kind: str) -> Iterator[FitsFile]:
    """Open a product's FITS file and check that it holds this kind of product."""
    from ._fits import BadInput, FitsFile

    with FitsFile(path) as file:
        found = file.hdus[0].cards.text("PRODUCT")
        if found != kind:
            raise BadInput(
                path,
                f"is no stored {kind}" + (f" but a {found!r}" if found else ""),
                hdu=0,
                keyword="PRODUCT",
                fix="read other files with a stage of the family `io`",
            )
        with file.cards(file.hdus[0]):
            count = file.hdus[0].cards.integer("NEXTEND")
        if len(file.hdus) != count + 1:  # a file cut short between two HDUs is whole for every other check
            raise BadInput(
                path,
                f"is cut short: it has {len(file.hdus) - 1} of {count} extensions",
                keyword="NEXTEND",
                fix="run the stage that wrote it again",
            )
        yield file


def text_column(name: str, values: np.ndarray) -> np.ndarray:
    """Return texts as bytes for a FITS column.

    Raises:
        ProductError: one is empty, ends in a blank or holds other than printable ASCII.
    """
    for value in values.tolist():
        if not value or value != value.rstrip() or not all(" " <= c <= "~" for c in value):
            raise ProductError(f"{name}: {value!r} must be printable ASCII, not empty and without blanks at its end")
    return values.astype("S")


def check_ids(name: str, ids: Any, count: int) -> None:
    """Raise `ProductError` unless `ids` are `count` different int64 or texts."""
    if not isinstance(ids, np.ndarray) or not (ids.dtype == np.int64 or ids.dtype.kind == "U") or ids.shape != (count,):
        raise ProductError(f"{name} must be an array of {count} int64 or texts")
    if len(np.unique(ids)) != count:
        raise ProductError(f"{name} must not repeat")
    if ids.dtype.kind == "U":
        text_column(name, ids)
