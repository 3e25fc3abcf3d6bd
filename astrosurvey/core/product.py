"""What an edge may carry: the product protocol, port contracts, and tiles gathered from many.

The core moves products about without knowing what they mean. A product class says how it is read,
written and checked; a contract says whether what one port offers is what another port needs. Image,
Catalog and the others (`astrosurvey.products`) implement both, so column flow is checked when a
pipeline is planned although nothing in this package knows what a column is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable


class ProductError(ValueError):
    """A product breaks its own rules: a wrong shape, dtype, unit or column."""


@runtime_checkable
class Product(Protocol):
    """A value that can travel between stages: frozen, on the host, with one stored form.

    `write` must be deterministic: equal products give equal bytes, whenever and wherever they are
    written, because digests of the stored form decide what is run again.
    """

    kind: ClassVar[str]
    suffix: ClassVar[str]
    """The stored form's file name ending, such as ".fits"; "" when it is a folder."""

    def write(self, path: Path) -> None:
        """Store the product as a new file (or folder) at `path`."""

    @classmethod
    def read(cls, path: Path) -> Any:
        """Return the product stored at `path`."""

    def check(self) -> None:
        """Raise `ProductError` when the product breaks its own rules."""

    def summary(self) -> dict[str, Any]:
        """Return a few JSON values that describe the product, such as its shape or row count."""


P = TypeVar("P")


@dataclass(frozen=True)
class Contract:
    """What a port asks for or promises; by itself, only the product's class.

    A product with finer promises subclasses this (`Catalog.of("source")`): `resolve` turns what an
    output declares into what it promises once its stage's inputs are known, and `refuses` compares
    an offer with a need.
    """

    product: type[Any]

    def __str__(self) -> str:
        return self.product.__name__

    def problems(self) -> list[str]:
        """Return what is wrong with the declaration itself, such as a column that no schema knows."""
        return []

    def resolve(self, inputs: Mapping[str, Contract]) -> Contract:
        """Return the contract an output fulfils, given the resolved contracts at the inputs."""
        return self

    def refuses(self, offered: Contract) -> str:
        """Return why `offered` does not satisfy this contract, or "" when it does."""
        if issubclass(offered.product, self.product):
            return ""
        return f"needs {self}, is offered {offered}"

    def check(self, value: Any) -> None:
        """Raise `ProductError` unless `value` is sound and is what this contract promises."""
        if not isinstance(value, self.product):
            raise ProductError(f"expected {self}, got {type(value).__name__}")
        value.check()


class Tiles(Sequence[P], Generic[P]):
    """The products of many tiles in tile order, each read when it is asked for.

    A survey-scope stage that declares `Tiles.of(Image)` gets one of these: the gather. Fed by
    another survey-scope stage, it holds that stage's one product under the name "survey".
    """

    def __init__(self, names: Sequence[str], load: Callable[[str], P]) -> None:
        self.names = tuple(names)
        self._load = load

    @staticmethod
    def of(declared: Any) -> Gather:
        """Declare an input port that gathers `declared` (a product class or contract)."""
        return Gather(as_contract(declared))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Tiles(self.names[index], self._load)
        return self._load(self.names[index])

    def items(self) -> Iterator[tuple[str, P]]:
        """Yield (tile name, product), reading one product at a time."""
        for name in self.names:
            yield name, self._load(name)

    def __repr__(self) -> str:
        return f"<Tiles of {len(self)}>"


@dataclass(frozen=True)
class Gather:
    """A port declaration: the products of all tiles (see `Tiles.of`)."""

    contract: Contract


@dataclass(frozen=True)
class Optional:
    """A port declaration: a port that may stay unwired (see `optional`)."""

    declared: Any
    default: str | None


def optional(declared: Any, default: str | None = None) -> Optional:
    """Declare an input port that may stay unwired; `run` then gets None.

    `default` names the built-in model that an unwired Model port falls back to, such as
    "builtin:unet-v1"; the model's content is keyed and recorded like any other input.
    """
    return Optional(declared, default)


@dataclass(frozen=True)
class Port:
    """A named input or output of a stage, as `inputs` and `outputs` declare it."""

    name: str
    contract: Contract
    gather: bool = False
    optional: bool = False
    default: str | None = None

    @classmethod
    def declared(cls, name: str, declared: Any) -> Port:
        """Return the port that a stage declares as `name: declared`."""
        is_optional = isinstance(declared, Optional)
        default = declared.default if isinstance(declared, Optional) else None
        inner = declared.declared if isinstance(declared, Optional) else declared
        gather = isinstance(inner, Gather)
        contract = inner.contract if isinstance(inner, Gather) else as_contract(inner)
        return cls(name, contract, gather, is_optional, default)


def as_contract(declared: Any) -> Contract:
    """Return `declared` as a contract: a contract as it is, a product class as its plain contract.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(declared, Contract):
        return declared
    if isinstance(declared, type) and all(hasattr(declared, a) for a in ("kind", "suffix", "read", "write", "check")):
        return Contract(declared)
    raise TypeError(f"a port must be a product class such as Image or a contract such as Catalog.of('source'), not {declared!r}")
