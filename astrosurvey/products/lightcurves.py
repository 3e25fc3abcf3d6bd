"""LightCurves: time series of flux in several bands, each of its own length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core.product import ProductError
from ._stored import check_array, check_ids, check_meta, frozen


@dataclass(frozen=True, eq=False)
class LightCurves:
    """Light curves of n objects with m measurements in all: object i has those from `offsets[i]` to `offsets[i + 1]`.

    Attributes:
        ids: (n,) int64 or text, each once.
        offsets: (n + 1,) int64, from 0 to m.
        time: (m,) float64, MJD, not decreasing within an object.
        band: (m,) int16, index into `bands`.
        flux: (m,) float32, nJy.
        flux_err: (m,) float32, nJy; positive.
        bands: the names of the bands.
        meta: JSON values that travel along.
    """

    ids: np.ndarray
    offsets: np.ndarray
    time: np.ndarray
    band: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    bands: tuple[str, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "lightcurves"
    suffix: ClassVar[str] = ".parquet"

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[Any, slice]]:
        """Yield (id, slice of the measurement arrays) of each object."""
        for i, name in enumerate(self.ids.tolist()):
            yield name, slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    def check(self) -> None:
        """Raise `ProductError`, naming the attribute, when a shape, type or value breaks the rules above."""
        check_ids("LightCurves.ids", self.ids, len(self.ids))
        check_array("LightCurves.offsets", self.offsets, np.int64, (len(self.ids) + 1,))
        count = len(self.time)
        if self.offsets[0] != 0 or self.offsets[-1] != count or (np.diff(self.offsets) < 0).any():
            raise ProductError(f"LightCurves.offsets must rise from 0 to the number of measurements, {count}")
        for name, dtype in (("time", np.float64), ("band", np.int16), ("flux", np.float32), ("flux_err", np.float32)):
            check_array(f"LightCurves.{name}", getattr(self, name), dtype, (count,))
        if len(set(self.bands)) != len(self.bands) or (count and not (self.band.min() >= 0 and self.band.max() < len(self.bands))):
            raise ProductError(f"LightCurves.band must index `bands`, {self.bands}, which must not repeat")
        if not np.isfinite(self.time).all():
            raise ProductError("LightCurves.time must be finite, in MJD")
        starts = np.zeros(count, bool)
        starts[self.offsets[:-1][self.offsets[:-1] < count]] = True
        if count and (np.diff(self.time, prepend=self.time[0]) < 0)[~starts].any():
            raise ProductError("LightCurves.time must not decrease within an object")
        if not (self.flux_err > 0).all():
            raise ProductError("LightCurves.flux_err must be positive")
        check_meta("LightCurves.meta", self.meta)

    def write(self, path: Path) -> None:
        """Write a Parquet file with one row an object and lists of its measurements."""
        import pyarrow as pa

        from ._parquet import write_table

        offsets = pa.array(self.offsets.astype(np.int32))
        names = pa.DictionaryArray.from_arrays(pa.array(self.band), pa.array(list(self.bands), pa.string()))
        columns = {"time": pa.array(self.time), "band": names, "flux": pa.array(self.flux), "flux_err": pa.array(self.flux_err)}
        lists = {name: pa.ListArray.from_arrays(offsets, values) for name, values in columns.items()}
        table = pa.table({"id": pa.array(self.ids.tolist(), pa.int64() if self.ids.dtype == np.int64 else pa.string()), **lists})
        footer = {
            "kind": self.kind,
            "bands": list(self.bands),
            "units": {"time": "d", "flux": "nJy", "flux_err": "nJy"},
            "meta": dict(self.meta),
        }
        leaves = [f"{name}.list.element" for name in ("time", "flux", "flux_err")]
        write_table(path, table, footer, dictionary=["band.list.element"], floats=leaves)

    @classmethod
    def read(cls, path: Path) -> LightCurves:
        """Return the light curves stored at `path`."""
        import pyarrow as pa

        from ._parquet import read_table

        table, footer = read_table(path, cls.kind)
        columns = {name: table[name].combine_chunks() for name in table.column_names}
        bands = tuple(footer["bands"])
        names = columns["band"].flatten()
        if not isinstance(names, pa.DictionaryArray):
            names = names.dictionary_encode()
        place = np.array([bands.index(name) for name in names.dictionary.to_pylist()], np.int16)
        codes = names.indices.to_numpy(zero_copy_only=False)
        ids = columns["id"]
        values = {name: frozen(np.array(columns[name].flatten().to_numpy(zero_copy_only=False))) for name in ("time", "flux", "flux_err")}
        return cls(
            ids=frozen(np.array(ids.to_pylist(), np.int64 if pa.types.is_integer(ids.type) else "U")),
            offsets=frozen(columns["time"].offsets.to_numpy().astype(np.int64)),
            band=frozen(place[codes] if len(place) else np.empty(0, np.int16)),
            bands=bands,
            meta=footer["meta"],
            **values,
        )

    def summary(self) -> dict[str, Any]:
        """Return numbers of objects and measurements, the bands and the time range."""
        return {
            "objects": len(self.ids),
            "measurements": len(self.time),
            "bands": list(self.bands),
            "mjd": [float(self.time.min()), float(self.time.max())] if len(self.time) else None,
        }
