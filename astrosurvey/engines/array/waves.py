"""From the graph of stages to waves: what an array of jobs can do on its tiles without waiting for other tiles."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from ...core.pipeline import Pipeline


@dataclass(frozen=True)
class Group:
    """The stages that one array of jobs runs.

    Attributes:
        stages: their names, each after all that it depends on.
        scope: "tile" or "survey"; of scope survey it is one stage.
        resources: what each job asks for.
        after: the places, in the list of all groups, of those whose products it reads.
    """

    stages: tuple[str, ...]
    scope: str
    resources: Any
    after: tuple[int, ...]


def group_stages(pipeline: Pipeline, resources_for: Callable[[str], Hashable]) -> list[Group]:
    """Return the groups of a pipeline, each after all that it reads from.

    Tile-scope stages that follow one another and ask for the same resources are one group: a job takes a tile
    through all of them. A survey-scope stage waits for every tile, and a stage with other resources needs another
    kind of job; so each of these begins a new one.

    Args:
        pipeline: the checked pipeline.
        resources_for: what a stage of a class, such as "detection.segment", asks for.
    """
    level: dict[str, int] = {}
    kind: dict[str, Hashable] = {}
    for name, node in pipeline.nodes.items():
        resources = resources_for(node.cls.name)
        kind[name] = (node.cls.scope, resources, name if node.cls.scope == "survey" else "")
        level[name] = max((level[parent] + (kind[parent] != kind[name]) for parent in node.parents()), default=0)
    members: dict[tuple[int, Hashable], list[str]] = {}
    for name in pipeline.nodes:
        members.setdefault((level[name], kind[name]), []).append(name)
    ordered = sorted(members, key=lambda key: key[0])
    place = {name: number for number, key in enumerate(ordered) for name in members[key]}
    groups = []
    for number, key in enumerate(ordered):
        stages = members[key]
        node = pipeline.nodes[stages[0]]
        after = {place[parent] for name in stages for parent in pipeline.nodes[name].parents()} - {number}
        groups.append(Group(tuple(stages), node.cls.scope, resources_for(node.cls.name), tuple(sorted(after))))
    return groups
