"""Metrics: numbers that say how well something works, and the bars they are held to."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from ..core.product import ProductError
from ._stored import check_meta, to_json


@dataclass(frozen=True)
class Metric:
    """One number.

    Attributes:
        name: such as "completeness"; unique within its `Metrics`.
        value: the number; NaN when it could not be computed.
        unit: as FITS writes it; "" when dimensionless.
        error: its standard error. None: unknown.
        bar: what it is held to. None: nothing.
        better: which side of the bar is good.
        description: one line that says what it is, and of what.
    """

    name: str
    value: float
    unit: str = ""
    error: float | None = None
    bar: float | None = None
    better: Literal["higher", "lower"] = "higher"
    description: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the bar is met, exactly on it included; None without a bar. NaN meets none."""
        if self.bar is None:
            return None
        return bool(self.value >= self.bar if self.better == "higher" else self.value <= self.bar)


@dataclass(frozen=True)
class Metrics:
    """Numbers with names, units and bars, and curves behind them.

    Attributes:
        values: the numbers.
        curves: figures for the report: name -> column -> numbers of one length (None where there is
            none), such as {"completeness by magnitude": {"magnitude": […], "completeness": […]}}.
        meta: JSON values that travel along.
    """

    values: tuple[Metric, ...]
    curves: Mapping[str, Mapping[str, list[float | None]]] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "metrics"
    suffix: ClassVar[str] = ".json"

    def __getitem__(self, name: str) -> Metric:
        for metric in self.values:
            if metric.name == name:
                return metric
        raise KeyError(f"no metric {name!r}; there are {', '.join(m.name for m in self.values)}")

    def check(self) -> None:
        """Raise `ProductError` for names that repeat, infinite numbers, or ragged curves."""
        names = [metric.name for metric in self.values]
        if len(set(names)) != len(names) or not all(names):
            raise ProductError(f"Metrics.values must have different names, not {names}")
        for metric in self.values:
            if math.isinf(metric.value) or any(v is not None and not math.isfinite(v) for v in (metric.error, metric.bar)):
                raise ProductError(f"Metrics.values: {metric.name} must be finite, or NaN when it could not be computed")
            if metric.better not in ("higher", "lower"):
                raise ProductError(f"Metrics.values: {metric.name}: better must be 'higher' or 'lower', not {metric.better!r}")
        for name, columns in self.curves.items():
            if len({len(numbers) for numbers in columns.values()}) != 1:
                raise ProductError(f"Metrics.curves: the columns of {name!r} must have one length")
        check_meta("Metrics.curves", self.curves)
        check_meta("Metrics.meta", self.meta)

    def write(self, path: Path) -> None:
        """Write a JSON file; NaN becomes null."""
        values = [asdict(m) | {"value": None if math.isnan(m.value) else float(m.value), "passed": m.passed} for m in self.values]
        content = {"kind": self.kind, "values": values, "curves": dict(self.curves), "meta": dict(self.meta)}
        text = json.dumps(json.loads(to_json("Metrics", content)), sort_keys=True, indent=1)
        with open(path, "x", encoding="ascii") as file:
            file.write(text + "\n")

    @classmethod
    def read(cls, path: Path) -> Metrics:
        """Return the metrics stored at `path`."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["kind"] != cls.kind:
                raise ValueError(f"it holds {content['kind']!r}")
            values = []
            for entry in content["values"]:
                fields = {k: v for k, v in entry.items() if k != "passed"}
                values.append(Metric(**fields | {"value": math.nan if fields["value"] is None else fields["value"]}))
            return cls(tuple(values), content["curves"], content["meta"])
        except (KeyError, TypeError, ValueError) as error:
            raise ProductError(f"{path} is no stored metrics: {error}; run the stage that wrote it again") from error

    def summary(self) -> dict[str, Any]:
        """Return the values by name, and the names of those below their bar."""
        return {
            "values": {m.name: None if math.isnan(m.value) else m.value for m in self.values},
            "failed": [m.name for m in self.values if m.passed is False],
        }
