"""The laws of products: what the store relies on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..core.digests import digest_path
from ..core.product import Product, ProductError

LAWS: list[Callable[[type[Any], Any, Path], None]] = []


def law(check: Callable[[type[Any], Any, Path], None]) -> Callable[[type[Any], Any, Path], None]:
    """Register a law of every product."""
    LAWS.append(check)
    return check


@law
def follows_the_protocol(cls: type[Any], product: Any, folder: Path) -> None:
    """It is a frozen dataclass with kind, suffix, read, write, check and summary."""
    assert isinstance(product, Product)
    parameters: Any = getattr(cls, "__dataclass_params__", None)
    assert dataclasses.is_dataclass(cls) and parameters.frozen, f"declare {cls.__name__} with @dataclass(frozen=True)"  # noqa: PT018
    kind, suffix = product.kind, product.suffix
    assert kind.isidentifier() and kind == kind.lower(), f"kind must be a lower-case word, not {kind!r}"  # noqa: PT018
    assert suffix == "" or suffix.startswith("."), f"suffix must be like '.fits', or '' for a folder, not {suffix!r}"


@law
def a_sound_one_passes_its_check(cls: type[Any], product: Any, folder: Path) -> None:
    """`check` accepts a sound product."""
    product.check()


@law
def comes_back_as_it_was(cls: type[Any], product: Any, folder: Path) -> None:
    """What is read back is sound and is stored as the same bytes."""
    first, second = folder / f"first{cls.suffix}", folder / f"second{cls.suffix}"
    product.write(first)
    back = cls.read(first)
    assert type(back) is cls
    back.check()
    back.write(second)
    assert digest_path(first) == digest_path(second), "what is read back is stored as other bytes"


@law
def is_read_only_when_read(cls: type[Any], product: Any, folder: Path) -> None:
    """Arrays of a product that was read cannot be written to, so that no stage changes another's input."""
    import numpy as np

    path = folder / f"one{cls.suffix}"
    product.write(path)
    back = cls.read(path)
    arrays = {field.name: getattr(back, field.name) for field in dataclasses.fields(back)}
    writeable = [name for name, value in arrays.items() if isinstance(value, np.ndarray) and value.flags.writeable]
    assert not writeable, f"`read` returns arrays that can be written to: {', '.join(writeable)}"


@law
def equal_products_are_equal_bytes(cls: type[Any], product: Any, folder: Path) -> None:
    """Writing twice makes the same bytes, whatever the file is called."""
    first, second = folder / f"a{cls.suffix}", folder / "deeper" / f"quite-another-name{cls.suffix}"
    second.parent.mkdir()
    product.write(first)
    product.write(second)
    assert digest_path(first) == digest_path(second), "the stored form depends on the file's name, or on when it was written"


@law
def says_what_it_is(cls: type[Any], product: Any, folder: Path) -> None:
    """`summary` gives JSON values."""
    summary = product.summary()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary, "summary holds more than JSON values"


def refuses(cls: type[Any], product: Any, folder: Path) -> None:
    """A product that is called wrong is refused by `check` with a ProductError."""
    with pytest.raises(ProductError):
        product.check()
