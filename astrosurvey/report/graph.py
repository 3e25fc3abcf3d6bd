"""A picture of the pipeline: layers from left to right, few crossings, drawn as SVG.

References: Sugiyama, Tagawa & Toda (1981), IEEE Trans. SMC 11, 109.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

from markupsafe import Markup, escape

from .text import visible

BOX_WIDTH, BOX_HEIGHT = 148, 46
GAP_X, GAP_Y = 56, 18
THREAD = 10
"""Height that an edge takes up where it passes a layer without a stop."""
SWEEPS = 8


@dataclass
class _Node:
    """A stage, or a bend of an edge that spans several layers (then `stage` is "")."""

    layer: int
    stage: str = ""
    before: list[_Node] = field(default_factory=list)
    after: list[_Node] = field(default_factory=list)
    y: float = 0.0

    @property
    def height(self) -> float:
        return BOX_HEIGHT if self.stage else THREAD


def picture(stages: dict[str, str], edges: dict[tuple[str, str], list[str]], states: dict[str, str]) -> Markup:
    """Return the graph as an SVG element; each box links to its stage's card.

    Args:
        stages: name -> the `use` line below it, in pipeline order.
        edges: (from, to) -> what flows, for the tooltip.
        states: name -> a CSS class.
    """
    edges = {ends: what for ends, what in edges.items() if ends[0] in stages and ends[1] in stages and ends[0] != ends[1]}
    layers, chains = _layers(stages, list(edges))
    _order(layers)
    _place(layers)
    top = min((node.y - node.height / 2 for layer in layers for node in layer), default=0.0)
    bottom = max((node.y + node.height / 2 for layer in layers for node in layer), default=0.0)
    width, height = len(layers) * (BOX_WIDTH + GAP_X) - GAP_X + 4, bottom - top + 4
    parts = [
        f'<svg class="graph" role="img" aria-label="graph of the pipeline" viewBox="-2 {top - 2:.0f} {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}">'
    ]
    for ends, chain in chains.items():
        parts.append(f'<path class="edge" d="{_path(chain)}"><title>{_text("; ".join(edges[ends]))}</title></path>')
    for layer in layers:
        parts += [_box(node, stages[node.stage], states.get(node.stage, "")) for node in layer if node.stage]
    return Markup("".join(parts) + "</svg>")


def _layers(stages: dict[str, str], edges: list[tuple[str, str]]) -> tuple[list[list[_Node]], dict[tuple[str, str], list[_Node]]]:
    """Put each stage after all that it depends on, and bends into the layers that an edge passes."""
    depth = dict.fromkeys(stages, 0)
    for _ in stages:  # longest path; a cycle, which no checked pipeline has, ends after so many rounds
        moved = False
        for start, end in edges:
            if depth[end] < depth[start] + 1 <= len(stages):
                depth[end], moved = depth[start] + 1, True
        if not moved:
            break
    layers: list[list[_Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    nodes = {name: _Node(layer, name) for name, layer in depth.items()}
    for node in nodes.values():
        layers[node.layer].append(node)
    chains = {}
    for start, end in edges:
        chain = [nodes[start]]
        for layer in range(depth[start] + 1, depth[end]):
            chain.append(_Node(layer))
            layers[layer].append(chain[-1])
        chain.append(nodes[end])
        for a, b in pairwise(chain):
            a.after.append(b)
            b.before.append(a)
        chains[start, end] = chain
    return layers, chains


def _order(layers: list[list[_Node]]) -> None:
    """Sort each layer by the mean place of its neighbours, back and forth: the barycentre heuristic."""
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        for layer in layers if forward else reversed(layers):
            places = {id(node): place for other in layers for place, node in enumerate(other)}

            def mean(node: _Node, places: dict[int, int] = places, forward: bool = forward) -> float:
                near = node.before if forward else node.after
                return fmean(places[id(n)] for n in near) if near else places[id(node)]

            layer.sort(key=mean)


def _place(layers: list[list[_Node]]) -> None:
    """Give each node its height: near its neighbours, and never nearer to the next than a gap."""
    for layer in layers:
        y = 0.0
        for node in layer:
            node.y = y + node.height / 2
            y += node.height + GAP_Y
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 else reversed(layers):
            wished = [fmean(n.y for n in near) if (near := node.before if sweep % 2 else node.after) else node.y for node in layer]
            _spread(layer, wished)


def _spread(layer: list[_Node], wished: list[float]) -> None:
    """Move nodes to where they wish to be as far as their order and their sizes allow: merge blocks that collide."""
    blocks: list[tuple[float, list[_Node], float]] = []  # (wished middle of the first node, nodes, weight)
    for node, wish in zip(layer, wished, strict=True):
        start, nodes, weight = wish, [node], 1.0
        while blocks and blocks[-1][0] + _length(blocks[-1][1], nodes[0]) > start:
            before, first, heavy = blocks.pop()
            start = (before * heavy + (start - _length(first, nodes[0])) * weight) / (heavy + weight)
            nodes, weight = first + nodes, heavy + weight
        blocks.append((start, nodes, weight))
    for start, nodes, _ in blocks:
        for place, node in enumerate(nodes):
            node.y = start + (_length(nodes[:place], node) if place else 0.0)


def _length(nodes: list[_Node], following: _Node) -> float:
    """Return the distance from the middle of the first node to the middle of one that follows them all."""
    return sum(n.height + GAP_Y for n in nodes) - nodes[0].height / 2 + following.height / 2


def _x(node: _Node) -> float:
    return node.layer * (BOX_WIDTH + GAP_X)


def _path(chain: list[_Node]) -> str:
    x, y = _x(chain[0]) + BOX_WIDTH, chain[0].y
    steps = [f"M{x:.0f} {y:.1f}"]
    for node in chain[1:]:
        end = _x(node)
        bend = (end - x) / 2
        steps.append(f"C{x + bend:.0f} {y:.1f} {end - bend:.0f} {node.y:.1f} {end:.0f} {node.y:.1f}")
        x, y = (end if node.stage else end + BOX_WIDTH), node.y
        if not node.stage:
            steps.append(f"H{x:.0f}")
    return "".join(steps)


def _box(node: _Node, use: str, state: str) -> str:
    x, y = _x(node), node.y - BOX_HEIGHT / 2
    return (
        f'<a href="#stage-{_text(node.stage)}"><g class="box {_text(state)}"><title>{_text(f"{node.stage}: {use}")}</title>'
        f'<rect x="{x}" y="{y:.1f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="7"/>'
        f'<rect class="state" x="{x}" y="{y:.1f}" width="5" height="{BOX_HEIGHT}" rx="2"/>'
        f'<text class="name" x="{x + 14}" y="{y + 20:.1f}">{_text(_cut(node.stage, 18))}</text>'
        f'<text class="use" x="{x + 14}" y="{y + 36:.1f}">{_text(_cut(use, 22))}</text></g></a>'
    )


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _text(text: str) -> Markup:
    return escape(visible(text))
