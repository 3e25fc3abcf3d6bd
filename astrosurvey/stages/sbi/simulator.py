"""The base of simulators: parameters in, data out; an author writes the physics and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ...catalog.ids import object_ids
from ...catalog.schema import suggestion
from ...core.digests import digest_of
from ...core.settings import keyed_settings
from ...core.stage import Context, DataError, Stage
from ...products import Observations, Samples
from ...products._npy import NpyWriter, map_npy
from .prior_stage import DrawPrior
from .priors import Prior, normal_unit, same_unit
from .rows import RowRandom
from .source import file_digest, source_digest

SIMULATOR, FAILED = "simulator", "failed"
"""Keys of `Observations.meta`: what simulated (see `Simulator.identity`), and how many simulations are NaN."""

Simulate = Callable[[np.ndarray, RowRandom], np.ndarray]


class Simulator(Stage):
    """A stage that simulates data for each draw of parameters.

    A subclass sets `name`, `version`, `parameters` and writes `simulate`; names and units of the draws are checked here, rows that
    fail are kept as NaN and counted, and data larger than memory go to the disk block by block.

    Attributes:
        parameters: the names of what it needs, in the order of theta's columns, with their units.
        features: names of the data's values when an observation is a vector; may be empty.
        prior: the prior that is usual with it, as `sbi.prior` declares it; for benchmarks, docs and tests.
    """

    inputs: ClassVar[Mapping[str, Any]] = {"parameters": Samples}
    outputs: ClassVar[Mapping[str, Any]] = {"observations": Observations}
    parameters: ClassVar[Mapping[str, str]] = {}
    features: ClassVar[tuple[str, ...]] = ()
    prior: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def at_once(self) -> int:
        """Return how many simulations are made at a time; fewer where one is large."""
        return 1024

    def simulate(self, theta: np.ndarray, random: RowRandom) -> np.ndarray:
        """Return (n, …) data for (n, p) parameters.

        Args:
            theta: in the order and units of `parameters`; float64.
            random: random numbers for each row; the only ones to use.
        """
        raise DataError(f"{self.name} has no method `simulate`; write one: def simulate(self, theta, random)")

    def log_likelihood(self, theta: np.ndarray, data: np.ndarray) -> np.ndarray:
        """Return (n,) the natural logarithm of the likelihood of (n, p) parameters, given one observation or (n, …) of them.

        Only simulators whose likelihood has a formula override this; see `has_likelihood`.
        """
        raise NotImplementedError(f"{self.name} has no formula for its likelihood")

    def likelihood_of(self, observed: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return the log likelihood as a function of (n, p) parameters, given one (…) observation.

        Override it where what the likelihood needs of an observation can be had once for all parameters.
        """
        return lambda theta: self.log_likelihood(theta, observed)

    def stored_as(self) -> np.dtype:
        """Return the type that data are stored in: float32, or float16 to save space."""
        return np.dtype(np.float32)

    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the data's values; override it where they depend on the settings."""
        return self.features

    def feature_units(self) -> tuple[str, ...]:
        """Return the units of these values, "" for none; override it where they have some, so that observations in others are refused."""
        return ()

    @classmethod
    def has_likelihood(cls) -> bool:
        """Tell whether `log_likelihood` has a formula."""
        return cls.log_likelihood is not Simulator.log_likelihood

    @classmethod
    def usual_prior(cls) -> Prior:
        """Return the prior that is usual with this simulator."""
        return Prior.declared(cls.prior)

    def draw(self, theta: np.ndarray, seed: int) -> np.ndarray:
        """Return (n, …) data, as they are stored, for (n, p) parameters, outside of any run."""
        return np.asarray(self._rows(self.simulate, theta, RowRandom(seed, 0, len(theta))))

    def run(self, ctx: Context, *, parameters: Samples) -> Mapping[str, Any]:
        """Return the simulations of a tile's draws."""
        return self.simulated(ctx, parameters, self.simulate)

    def simulated(self, ctx: Context, parameters: Samples, simulate: Simulate) -> Mapping[str, Any]:
        """Return what `run` returns, of a function that simulates; for simulators that have other inputs beside the parameters."""
        theta = self._theta(parameters)
        seed, count = int(ctx.rng.integers(2**63)), len(theta)
        rows = max(1, round(self.at_once() * ctx.batch))
        path, failed, file = ctx.scratch / "simulations.npy", 0, None
        try:
            for start in range(0, count, rows):
                stop = min(start + rows, count)
                part = self._rows(simulate, theta[start:stop], RowRandom(seed, start, stop))
                file = file or NpyWriter(path, part.dtype, (count, *part.shape[1:]))
                file.write(part)
                failed += int(np.isnan(part.reshape(len(part), -1)).all(axis=1).sum())
                ctx.progress(stop, count)
        finally:
            if file is not None:
                file.close()
        if failed:
            ctx.log.warning("%d of %d simulations failed; they are kept as NaN", failed, count)
        tile = ctx.tile.number if ctx.tile is not None else 0
        meta = {SIMULATOR: self.identity(), FAILED: failed}
        names, units = self.feature_names(), self.feature_units()
        return {"observations": Observations(map_npy(path), object_ids(tile, count), "", names, parameters, meta, units)}

    def identity(self) -> dict[str, Any]:
        """Return what stands with the simulations, and on the cards of models that learn from them.

        Name, version and settings, paths blank; `files`, the digests of those that settings name, where there are some; and `digest`, of
        all this and of the source, which is another when the simulator is.
        """
        made_of = [cls.__module__ for cls in type(self).__mro__ if issubclass(cls, Simulator) and cls is not Simulator]
        said: dict[str, Any] = {"name": self.name, "version": self.version, "settings": keyed_settings(self.config)}
        if paths := self.config.paths():
            said["files"] = [file_digest(path) for path in paths]
        return {**said, "digest": digest_of({**said, "source": source_digest(tuple(dict.fromkeys(made_of)))})}

    def _rows(self, simulate: Simulate, theta: np.ndarray, random: RowRandom) -> np.ndarray:
        """Return (n, …) data as they are stored, NaN all over where a simulation is infinite anywhere."""
        with np.errstate(all="ignore"):  # what fails is counted
            data = np.array(simulate(theta, random), self.stored_as(), order="C")
        if data.ndim < 2 or len(data) != len(theta):
            raise DataError(f"{self.name}.simulate must return ({len(theta)}, …) for {len(theta)} rows of theta, not {data.shape}")
        if (names := self.feature_names()) and len(names) != data.shape[-1]:
            raise DataError(f"{self.name} names {len(names)} features, and simulate gives {data.shape[-1]}: correct `features`")
        data[np.isinf(data.reshape(len(data), -1)).any(axis=1)] = np.nan
        return data

    @classmethod
    def check_inputs(cls, config: Any, wired: Mapping[str, tuple[type[Stage], Any]]) -> Iterable[tuple[str, str]]:
        """Yield what is wrong with a prior that the pipeline declares."""
        _, prior = wired.get("parameters", (None, None))
        return cls._unlike({name: one.unit for name, one in prior.parameters.items()}) if isinstance(prior, DrawPrior.Config) else ()

    @classmethod
    def details(cls) -> Mapping[str, Mapping[str, str]]:
        """Return the parameters with their units and usual priors, and names and units of the features as the settings are by default."""
        said = {name: unit or "no unit" for name, unit in cls.parameters.items()}
        for name, prior in cls.prior.items():
            said[name] += "".join(f", usually {kind} {list(args)}" for kind, args in prior.items() if kind != "unit")
        try:
            one = cls()
            features = dict.fromkeys(one.feature_names(), "") | dict(zip(one.feature_names(), one.feature_units(), strict=False))
        except ValueError:  # a setting without a default
            features = dict.fromkeys(cls.features, "")
        return {"parameters": said, **({"features, in this order": features} if features else {})}

    @classmethod
    def _unlike(cls, units: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with parameters of these names and units, and what to do."""
        for name in units:
            if name not in cls.parameters:
                yield f"{cls.name} has no parameter {name!r}", suggestion(name, cls.parameters).removeprefix("; ")
        if missing := [name for name in cls.parameters if name not in units]:
            yield f"{cls.name} needs a draw of {', '.join(map(repr, missing))}", "add it to `parameters` of sbi.prior"
        for name, unit in units.items():
            if name not in cls.parameters:
                continue
            try:
                own = normal_unit(cls.parameters[name])
            except ValueError as error:
                yield f"{cls.name} declares {name!r} in a unit that is none: {error}", "correct `parameters` of the class"
                continue
            if not same_unit(unit, own):
                wanted, given = cls.parameters[name] or "no unit", unit or "no unit"
                said = f"{cls.name} takes {name!r} in {wanted!r}, and it is drawn in {given!r}"
                yield said, "correct `unit` and the numbers of its prior"

    def _theta(self, samples: Samples) -> np.ndarray:
        """Return the draws' columns in the simulator's order, once their names and units are seen to agree.

        Raises:
            DataError: a parameter is missing, unknown, or in another unit.
        """
        for message, hint in self._unlike(dict(zip(samples.parameters, samples.units, strict=True))):
            raise DataError(f"{message}; {hint}")
        order = [samples.parameters.index(name) for name in self.parameters]
        return np.ascontiguousarray(samples.draws[:, order])
