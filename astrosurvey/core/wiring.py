"""From `in:` to edges: each input port gets the one listed output of its name, and the types are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

from .problems import did_you_mean
from .product import Contract, Port
from .stage import Stage, ports

Report = Callable[..., None]
"""report(path below the stage, message, hint) collects a problem of one stage."""


@dataclass(frozen=True)
class Wire:
    """An edge's origin: an output port of another stage of the pipeline."""

    stage: str
    port: str

    def __str__(self) -> str:
        return f"{self.stage}.{self.port}"


@dataclass(frozen=True)
class DefaultModel:
    """An edge's origin: the built-in model that an unwired Model port falls back to."""

    name: str

    def __str__(self) -> str:
        return f"builtin:{self.name}"


Source = Wire | DefaultModel | None


@dataclass
class Node:
    """One stage of a pipeline: the class, its settings, and where each input comes from."""

    name: str
    cls: type[Stage]
    config: Any
    wires: dict[str, Source] = field(default_factory=dict)
    offers: dict[str, Contract] = field(default_factory=dict)
    """Output ports with what they promise once the inputs are known."""

    @cached_property
    def inputs(self) -> dict[str, Port]:
        """The input ports by name."""
        return ports(self.cls, "inputs")

    @cached_property
    def outputs(self) -> dict[str, Port]:
        """The output ports by name."""
        return ports(self.cls, "outputs")

    def parents(self) -> list[str]:
        """Return the stages this one takes products from, each once, in port order."""
        return list(dict.fromkeys(w.stage for w in self.wires.values() if isinstance(w, Wire)))


def wire(node: Node, given: Any, nodes: Mapping[str, Node], *, unsound: frozenset[str], models: Mapping[str, Any], report: Report) -> None:
    """Fill `node.wires` from the value of its `in:`.

    Args:
        node: the stage whose inputs are wired.
        given: the value of `in`; None when it is left out.
        nodes: the sound stages of the pipeline by name.
        unsound: stages of the pipeline that have problems of their own, about which nothing is said here.
        models: the built-in models, for ports that default to one.
        report: collects problems.
    """
    if isinstance(given, dict):
        _wire_mapping(node, given, nodes, unsound, report)
        listed_unsound = any(str(v).partition(".")[0] in unsound for v in given.values())
    else:
        offers, listed_unsound = _offers(node, given, nodes, unsound, report)
        if offers is not None:
            _wire_by_name(node, offers, report)
    for name, port in node.inputs.items():
        if name in node.wires:
            continue
        node.wires[name] = None
        if port.default:
            model = port.default.removeprefix("builtin:")
            if model in models:
                node.wires[name] = DefaultModel(model)
            else:
                report(
                    ("in",),
                    f"port {name!r} falls back to the built-in model {model!r}, which is not installed",
                    f"wire a stage with a Model output to {name!r}",
                )
        elif not port.optional and not listed_unsound:
            report(("in",), f"nothing is wired to its port {name!r} ({port.contract})", _who_offers(node, port, nodes))


def _wire_mapping(node: Node, given: dict[str, Any], nodes: Mapping[str, Node], unsound: frozenset[str], report: Report) -> None:
    for name, value in given.items():
        port = node.inputs.get(name)
        if port is None:
            report(
                ("in", name),
                f"{node.cls.name} has no input port {name!r}",
                did_you_mean(name, node.inputs, otherwise=f"its ports: {', '.join(node.inputs) or 'none'}"),
            )
            continue
        if not isinstance(value, str):
            report(("in", name), f"must be `stage` or `stage.port`, not {value!r}", f"write {name}: <stage>.{name}")
            continue
        stage, _, output = value.partition(".")
        node.wires[name] = None
        if stage in unsound:
            continue
        other = _known(node, stage, nodes, ("in", name), report)
        if other is None:
            continue
        output = output or name
        if output not in other.outputs:
            report(
                ("in", name),
                f"{stage!r} ({other.cls.name}) has no output {output!r}",
                did_you_mean(output, other.outputs, otherwise=f"its outputs: {', '.join(other.outputs)}"),
            )
            continue
        node.wires[name] = Wire(stage, output)


def _offers(node: Node, given: Any, nodes: Mapping[str, Node], unsound: frozenset[str], report: Report) -> tuple[list[Wire] | None, bool]:
    """Return every output of the listed stages as a wire, and whether an unsound stage is listed."""
    listed = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(listed, list):
        report(("in",), f"must be a stage, a list of stages or a mapping of ports, not {given!r}", "write in: [stage, stage]")
        return None, True
    wires: list[Wire] = []
    incomplete = False
    for index, item in enumerate(listed):
        path = ("in",) if isinstance(given, str) else ("in", index)
        if not isinstance(item, str):
            report(path, f"must be the name of a stage, not {item!r}", "write in: [stage, stage]")
            incomplete = True
            continue
        stage, _, output = item.partition(".")
        if stage in unsound:
            incomplete = True
            continue
        other = _known(node, stage, nodes, path, report)
        if other is None:
            incomplete = True
            continue
        if output and output not in other.outputs:
            report(
                path,
                f"{stage!r} ({other.cls.name}) has no output {output!r}",
                did_you_mean(output, other.outputs, otherwise=f"its outputs: {', '.join(other.outputs)}"),
            )
            incomplete = True
            continue
        mine = [Wire(stage, name) for name in ([output] if output else other.outputs)]
        useful = [w for w in mine if w.port in node.inputs]
        if not useful:
            takes = ", ".join(f"{p.name} ({p.contract})" for p in node.inputs.values()) or "nothing"
            report(path, f"{stage!r} offers {', '.join(w.port for w in mine)}, of which {node.cls.name} takes nothing", f"it takes {takes}")
        wires += useful
    return wires, incomplete


def _wire_by_name(node: Node, offers: list[Wire], report: Report) -> None:
    for name in node.inputs:
        candidates = list(dict.fromkeys(w for w in offers if w.port == name))
        if len(candidates) == 1:
            node.wires[name] = candidates[0]
        elif candidates:
            node.wires[name] = None
            report(
                ("in",),
                f"port {name!r} could come from {' or '.join(map(str, candidates))}",
                f"say which: in: {{{name}: {candidates[-1]}, …}}",
            )


def _known(node: Node, stage: str, nodes: Mapping[str, Node], path: tuple[Any, ...], report: Report) -> Node | None:
    if stage == node.name:
        report(path, "a stage cannot take its own output", "name another stage")
        return None
    if stage not in nodes:
        report(path, f"there is no stage {stage!r} in this pipeline", did_you_mean(stage, nodes, otherwise=f"there are {', '.join(nodes)}"))
        return None
    return nodes[stage]


def _who_offers(node: Node, port: Port, nodes: Mapping[str, Node]) -> str:
    offering = [n.name for n in nodes.values() if n is not node and port.name in n.outputs]
    if offering:
        return f"list {' or '.join(repr(n) for n in offering)} in `in`"
    return f"add a stage that makes {port.name!r}; `astrosurvey stages --offers {port.name}` lists them"


def order(nodes: Mapping[str, Node], report: Callable[[str, str, str], None]) -> list[str]:
    """Return the stages' names so that each comes after what it needs, in file order where free.

    A cycle is reported on one of its stages, and an empty list is returned.
    """
    sorter = TopologicalSorter({name: [p for p in node.parents() if p in nodes] for name, node in nodes.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        report(cycle[0], f"the stages go round in a circle: {' → '.join(cycle)}", "take one of these inputs away")
        return []
    ranks = {name: rank for rank, name in enumerate(nodes)}
    result: list[str] = []
    ready = sorted(sorter.get_ready(), key=ranks.__getitem__)
    while ready:
        name = ready.pop(0)
        result.append(name)
        sorter.done(name)
        ready = sorted([*ready, *sorter.get_ready()], key=ranks.__getitem__)
    return result


def check_types(node: Node, nodes: Mapping[str, Node], report: Report) -> None:
    """Check scopes and contracts at the node's wired inputs, and settle what its outputs promise."""
    offered: dict[str, Contract] = {}
    for name, source in node.wires.items():
        if not isinstance(source, Wire) or source.stage not in nodes:
            continue
        port, origin = node.inputs[name], nodes[source.stage]
        contract = origin.offers.get(source.port, origin.outputs[source.port].contract)
        offered[name] = contract
        if node.cls.scope == "survey" and origin.cls.scope == "tile" and not port.gather:
            report(
                ("in",),
                f"port {name!r} of a survey-scope stage takes one product, but {source.stage!r} makes one a tile",
                "put `catalog.merge` between them",
            )
            continue
        if reason := port.contract.refuses(contract):
            report(("in",), f"port {name!r} {reason} (by {source})", "wire another stage to it, or add a stage that fills it before")
    for name, port in node.outputs.items():
        node.offers[name] = port.contract.resolve(offered)


def check_settings(node: Node, nodes: Mapping[str, Node], report: Report) -> None:
    """Let the stage compare its settings with those of the stages that are wired to it; stages with wrong settings are left alone."""
    wired = {port: nodes[source.stage] for port, source in node.wires.items() if isinstance(source, Wire) and source.stage in nodes}
    if node.config is not None:
        known = {port: (origin.cls, origin.config) for port, origin in wired.items() if origin.config is not None}
        for message, hint in node.cls.check_inputs(node.config, known):
            report(("in",), message, hint)
