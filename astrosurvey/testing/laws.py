"""The laws of stages: what a pipeline relies on, each a function that fails when a stage breaks it.

A law's docstring is the law; the reference page lists them.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..core.product import Port
from ..core.stage import DataError, NoWork, Stage, StageConfig, check_stage, ports
from .examples import Example, bare, damaged, emptied, on_own_grids, without_data
from .listing import imported_with
from .trial import Trial

HEAVY = ("astropy", "fitsio", "matplotlib", "numba", "photutils", "pyarrow", "scipy", "torch")
"""Packages that knowing a stage must not import: they take up to seconds."""

TAG = "x_laws_tag"


@dataclass(frozen=True)
class Law:
    """A law: what it is called, how it is tried, and on which kinds of stages."""

    check: Callable[..., None]
    applies: Callable[[type[Stage]], bool]
    per_example: bool = True

    @property
    def name(self) -> str:
        """The law's name, as test ids show it."""
        return self.check.__name__


LAWS: list[Law] = []


def law(check: Callable[[Trial], None]) -> Callable[[Trial], None]:
    """Register a law of every stage, tried on every example."""
    LAWS.append(Law(check, lambda stage: True))
    return check


def class_law(check: Callable[[type[Stage]], None]) -> Callable[[type[Stage]], None]:
    """Register a law of every stage that needs no example."""
    LAWS.append(Law(check, lambda stage: True, per_example=False))
    return check


def law_where(applies: Callable[[type[Stage]], bool]) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """Register a law of the stages for which `applies` holds."""

    def register(check: Callable[[Trial], None]) -> Callable[[Trial], None]:
        LAWS.append(Law(check, applies))
        return check

    return register


def _takes(*kinds: str) -> Callable[[type[Stage]], bool]:
    return lambda stage: any(port.contract.product.kind in kinds for port in ports(stage, "inputs").values())


def _table(port: Port) -> str:
    return getattr(port.contract, "table", "")


def _handed_on(stage: type[Stage]) -> list[str]:
    """Return the names of the catalogue ports that a stage both takes and gives, as the same table."""
    outputs = ports(stage, "outputs")
    return [
        name for name, port in ports(stage, "inputs").items() if _table(port) and name in outputs and _table(outputs[name]) == _table(port)
    ]


def _gathers(stage: type[Stage]) -> bool:
    return any(port.gather for port in ports(stage, "inputs").values())


@class_law
def follows_the_protocol(stage: type[Stage]) -> None:
    """The class passes the checks made at registration, and the first line of its docstring is one short sentence.

    Registration checks the name, the ports and `run`'s keywords, that settings are described, and that
    every table and column that the ports name is in the catalogue schema.
    """
    check_stage(stage)
    first = (stage.__doc__ or "").strip().splitlines()[0]
    assert first.endswith("."), f"the docstring's first line is shown as help and must be one sentence, not {first!r}"
    assert len(first) <= 120, f"the docstring's first line is shown as help; shorten it to 120 characters: {first!r}"


@class_law
def is_listed_without_heavy_imports(stage: type[Stage]) -> None:
    """Its name, help and settings are known without importing torch, numba, astropy, scipy, pyarrow or other large packages."""
    imported, error = imported_with(stage.__module__, stage.__qualname__, HEAVY)
    assert not error, f"the stage's module cannot be imported by itself:\n{error}"
    assert not imported, f"importing {stage.__module__} imports {', '.join(imported)}; import them inside `run`"


@class_law
def passes_on_what_it_takes(stage: type[Stage]) -> None:
    """A port that an output says it passes on is one of its inputs, and of the same table."""
    taken = ports(stage, "inputs")
    for name, port in ports(stage, "outputs").items():
        passes = getattr(port.contract, "passes", "")
        assert not passes or passes in taken, f"output {name!r} passes on {passes!r}, which is no input port"
        assert not passes or _table(taken[passes]) == _table(port), f"output {name!r} passes on {passes!r}, which is of another table"


@law
def settings_survive_json(trial: Trial) -> None:
    """Its settings come back from JSON as they went in, have a JSON schema, and each has a description."""
    config: StageConfig = trial.config
    assert type(config).model_validate_json(config.model_dump_json()) == config, "the settings do not come back from JSON as they went in"
    schema = type(config).model_json_schema()
    json.dumps(schema)
    undescribed = [name for name, value in schema.get("properties", {}).items() if not value.get("description")]
    assert not undescribed, f"settings without a description: {undescribed}"


@law
def makes_what_it_declares(trial: Trial) -> None:
    """It returns every declared output, and each keeps its contract."""
    run = trial.plain.sound()
    assert run.state == "done", f"it raised NoWork on an example: {run.outcome.log}"
    assert set(run.outputs) == set(trial.stage.outputs)


@law
def outputs_survive_storing(trial: Trial) -> None:
    """An output that is read back keeps its contract, and is stored as the same bytes again."""
    from ..core.digests import digest_path

    run = trial.plain
    for name, product in run.outputs.items():
        ports(trial.stage, "outputs")[name].contract.check(product)
        again = trial.folder / f"again-{name}{product.suffix}"
        product.write(again)
        assert digest_path(again)[0] == run.digests[name], (
            f"output {name!r} is not stored as the same bytes when it is read and written again"
        )


@law
def equal_inputs_give_equal_bytes(trial: Trial) -> None:
    """Equal inputs give the same bytes, the second time and whatever the global random generators hold."""
    import numpy as np

    first = trial.plain.digests
    state, legacy = random.getstate(), np.random.get_state()
    try:
        random.seed(1234)
        np.random.seed(1234)
        second = trial.run().digests
    finally:
        random.setstate(state)
        np.random.set_state(legacy)
    _same(first, second, "a second time", "take randomness from ctx.rng alone, and keep nothing on self")


@law
def other_processes_give_equal_bytes(trial: Trial) -> None:
    """Another process, with other hash seeds and another number of threads, makes the same bytes."""
    here, there = trial.plain.digests, trial.run(elsewhere=True).digests
    _same(here, there, "in another process", "iterate over no set, and add up in a fixed order")


@law
def batch_changes_nothing(trial: Trial) -> None:
    """The result does not depend on `ctx.batch`."""
    whole = trial.plain.digests
    for batch in (0.5, 0.0625):
        _same(whole, trial.run(batch=batch).digests, f"with ctx.batch = {batch}", "a smaller batch may only need less memory")


def _same(first: dict[str, str], second: dict[str, str], when: str, hint: str) -> None:
    differing = [port for port in first if first[port] != second.get(port)]
    assert not differing, f"output {differing[0]!r} differs {when}; {hint}"


@law
def leaves_its_inputs_alone(trial: Trial) -> None:
    """It does not modify its inputs; the arrays that it gets in a run are read-only."""
    before = trial.input_digests()
    with contextlib.suppress(NoWork):
        trial.direct()
    assert trial.input_digests() == before, "it modified one of its inputs; work on a copy"


@law
def leaves_no_traces(trial: Trial) -> None:
    """It changes neither the environment, the working directory and what is in it, nor a global random generator."""
    import numpy as np

    place = trial.folder / "cwd"
    place.mkdir()
    before = os.getcwd()
    os.chdir(place)
    try:
        held = _traces(np)
        trial.run().sound()
        now = _traces(np)
    finally:
        os.chdir(before)
    changed = [name for name in held if held[name] != now[name]]
    assert not changed, f"it changed {', '.join(changed)}; files belong into ctx.scratch, randomness comes from ctx.rng"


def _traces(np: Any) -> dict[str, Any]:
    torch = sys.modules.get("torch")
    return {
        "the environment": dict(os.environ),
        "the working directory": os.getcwd(),
        "the files in the working directory": sorted(path.name for path in Path.cwd().iterdir()),
        "random's generator": random.getstate(),
        "NumPy's global generator": repr(np.random.get_state()),
        "NumPy's error state": np.geterr(),
        "torch's global generator": torch.random.get_rng_state().tolist() if torch else None,
    }


@law_where(_takes("catalog", "segmentation"))
def copes_with_nothing(trial: Trial) -> None:
    """Catalogues without rows and segmentations without labels give sound outputs, or NoWork."""
    trial.with_example(trial.example.changed(emptied)).run().sound()


@law_where(_takes("image"))
def copes_with_unexposed_images(trial: Trial) -> None:
    """An image of which no pixel was exposed gives sound outputs, or NoWork."""
    trial.with_example(trial.example.changed(without_data)).run().sound()


@law_where(_takes("image"))
def copes_with_damaged_images(trial: Trial) -> None:
    """An image with a block of NaN, saturated stars and a dead column gives sound outputs, the same each time."""
    hurt = trial.with_example(trial.example.changed(damaged))
    _same(hurt.run().digests, hurt.run().digests, "a second time on a damaged image", "mind what NaN does to sums and sorting")


@law_where(_takes("image"))
def copes_with_bare_images(trial: Trial) -> None:
    """An image without variance, mask, PSF and WCS gives sound outputs, NoWork, or a DataError that says what is missing."""
    run = trial.with_example(trial.example.changed(bare)).run()
    assert run.failure is None or run.failure.final, f"{run.failure.message}\n{run.failure.traceback}"


@law_where(_takes("spectra"))
def copes_with_spectra_without_data(trial: Trial) -> None:
    """Spectra without one usable pixel give sound outputs, or NoWork."""
    trial.with_example(trial.example.changed(without_data)).run().sound()


@law_where(_takes("spectra"))
def copes_with_damaged_spectra(trial: Trial) -> None:
    """Spectra with a gap, wild values in masked pixels and one row without data give sound outputs, the same each time."""
    hurt = trial.with_example(trial.example.changed(damaged))
    _same(hurt.run().digests, hurt.run().digests, "a second time on damaged spectra", "mind what NaN does to sums and sorting")


@law_where(_takes("spectra"))
def copes_with_spectra_on_their_own_grids(trial: Trial) -> None:
    """Spectra that share no wavelengths give sound outputs, NoWork, or a DataError that says so."""
    run = trial.with_example(trial.example.changed(on_own_grids)).run()
    assert run.failure is None or run.failure.final, f"{run.failure.message}\n{run.failure.traceback}"


@law_where(lambda stage: bool(_handed_on(stage)))
def hands_on_foreign_columns(trial: Trial) -> None:
    """Columns `x_…` of another plugin come through in every catalogue that it takes and gives again."""
    names = [name for name in _handed_on(trial.stage) if trial.example.inputs.get(name) is not None]
    tags: dict[str, dict[Any, int]] = {name: {} for name in names}

    def tagged(name: str, catalog: Any) -> Any:
        keys = _keys(catalog)
        known = tags[name]
        values = [known.setdefault(key, len(known) + 1) for key in keys]
        return catalog.replace(**{TAG: values})

    inputs = dict(trial.example.inputs)
    for name in names:
        value = inputs[name]
        inputs[name] = [tagged(name, c) for c in value] if trial.ports[name].gather else tagged(name, value)
    outputs = trial.with_example(Example(inputs, trial.example.config, trial.example.tile)).run().outputs
    for name in names:
        catalog = outputs[name]
        assert TAG in catalog.rows.column_names, f"output {name!r} has lost the column {TAG} that the input had"
        found = dict(zip(_keys(catalog), catalog.rows.column(TAG).to_pylist(), strict=True))
        common = [key for key in found if key in tags[name]]
        assert common or not found, f"output {name!r} has no row of the input {name!r}, although it hands the table on"
        wrong = [key for key in common if found[key] != tags[name][key]]
        assert not wrong, f"output {name!r} has other values of {TAG} than the input, first in row {wrong[0]}"


def _keys(catalog: Any) -> list[Any]:
    return list(zip(*(catalog.rows.column(name).to_pylist() for name in catalog.schema.key), strict=True))


@law_where(_gathers)
def works_on_any_tiles(trial: Trial) -> None:
    """It works on one tile and on several, and the rows of its catalogues do not depend on the tiles' order."""
    gathered = {
        name: list(trial.example.inputs[name]) for name, port in trial.ports.items() if port.gather and trial.example.inputs.get(name)
    }
    if max(map(len, gathered.values())) < 2:
        pytest.fail("the example gives one tile; give at least two, so that gathering is tried")

    def rows(cut: slice) -> dict[str, Any]:
        inputs = {**trial.example.inputs, **{name: products[cut] for name, products in gathered.items()}}
        run = trial.with_example(Example(inputs, trial.example.config)).run().sound()
        catalogs = {name: product for name, product in run.outputs.items() if product.kind == "catalog"}
        return {name: sorted(zip(*c.rows.to_pydict().values(), strict=True), key=repr) for name, c in catalogs.items()}

    rows(slice(0, 1))
    forwards, backwards = rows(slice(None)), rows(slice(None, None, -1))
    for name, found in forwards.items():
        assert repr(found) == repr(backwards[name]), f"the rows of output {name!r} depend on the order of the tiles"


@law_where(lambda stage: stage.scope == "tile" and any(_table(port) == "source" for port in ports(stage, "outputs").values()))
def says_which_tile_it_is_of(trial: Trial) -> None:
    """Sources of a tile carry the tile's footprint in `meta["tile"]`, which the merge of the survey needs."""
    for name, product in trial.plain.outputs.items():
        if product.kind == "catalog" and product.table == "source":
            footprint = product.meta.get("tile")
            assert footprint, f"output {name!r} has no meta['tile']; make it with astrosurvey.catalog.footprint.describe, or pass it on"
            assert footprint["tile_id"] == trial.tile.number, f"output {name!r} says it is of tile {footprint['tile_id']}"


def gives_nothing(trial: Trial) -> None:
    """An example that is called empty gives NoWork, or catalogues without rows."""
    run = trial.plain.sound()
    rows = {name: len(product) for name, product in run.outputs.items() if product.kind == "catalog"}
    assert not any(rows.values()), f"found something in an example that holds nothing: rows {rows}"


def refuses(trial: Trial) -> None:
    """An example that is called wrong is refused by a DataError of one line that says what is wrong and what to try."""
    with pytest.raises(DataError) as caught:
        trial.direct()
    text = str(caught.value)
    assert text.strip(), "the DataError says nothing"
    assert "\n" not in text, f"the DataError must be one line, not {text!r}"
