"""Single linkage of mutual reachability distances: in which order points join as the distance grows.

The tree is that of a minimum spanning tree, found by Borůvka's method: every component takes its shortest edge out,
components join, and so on. Most shortest edges lead to one of the nearest neighbours, which are given; whether an
edge to another point is shorter is searched for in boxes around runs of points. Which of several equally long edges
are taken does not matter, for what joins at the same distance joins at once in what is returned.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import neighbours
from ._numba import cuda, download, empty, helper, launch, upload
from ._outside import DEPTH, MIXED, RUN, gap, plant, search, separation, survey
from ._spanning import edges_to_neighbours, first_edge, first_edges, join, merges, shortest
from .spec import KernelSpec, Launch

THREADS = 128

Merges = tuple[np.ndarray, np.ndarray, np.ndarray]


def reference(points: np.ndarray, core: np.ndarray, indices: np.ndarray, box: np.ndarray) -> Merges:
    """Return the merges of single linkage by mutual reachability distance, max(core(a), core(b), distance(a, b)).

    At every distance at which components join, each of them is named by its first point, and all but the one that comes
    first end there, in it. So every point but the first ends once, and merges at one distance have no order
    that they could depend on.

    Args:
        points: (n, d) float64, in an order in which neighbours are near; any order gives the same tree.
        core: (n,) float64, squared core distances; 0 for plain single linkage.
        indices: (n, k) int32, neighbours of each point, itself perhaps among them, none farther away than its core distance; they make
            it faster.
        box: (d,) float64, periods of the coordinates, which lie in [0, period); 0 for none.

    Returns:
        point, (n - 1,) int32, that names the component that ends; into, (n - 1,) int32, that which names what it ends in; and
        height, (n - 1,) float64, the squared distance at which it does. Rising in height, then into, then point.

    References:
        Campello, Moulavi & Sander (2013), PAKDD 160 (mutual reachability); Borůvka (1926).
    """
    n = len(points)
    if n < 2:
        return _empty()
    apart = np.abs(points[:, None] - points)
    apart = np.where(box > 0, np.minimum(apart, box - apart), apart)
    total = np.zeros((n, n))
    for c in range(points.shape[1]):
        total += apart[..., c] ** 2
    reach = np.maximum(np.maximum(core, core[:, None]), total)
    # Prim: the nearest of the points that are not in the tree joins it.
    nearest, parent, inside = reach[0].copy(), np.zeros(n, int), np.zeros(n, bool)
    inside[0] = True
    edges = []
    for _ in range(n - 1):
        b = int(np.argmin(np.where(inside, np.inf, nearest)))
        edges.append((nearest[b], parent[b], b))
        inside[b] = True
        closer = reach[b] < nearest
        nearest[closer], parent[closer] = reach[b, closer], b
    name = np.arange(n)
    merges = []
    for height in sorted({edge[0] for edge in edges}):
        before = name.copy()
        for _, a, b in (edge for edge in edges if edge[0] == height):
            name[(name == name[a]) | (name == name[b])] = min(name[a], name[b])
        ended = np.unique(before[before != name])
        merges += sorted((height, name[r], r) for r in ended)
    return np.array([m[2] for m in merges], np.int32), np.array([m[1] for m in merges], np.int32), np.array([m[0] for m in merges])


def _empty() -> Merges:
    return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0)


def cpu(points: np.ndarray, core: np.ndarray, indices: np.ndarray, box: np.ndarray) -> Merges:
    """Return the merges of single linkage by mutual reachability distance; see `reference`. Threaded over points."""
    n = len(points)
    if n < 2:
        return _empty()
    low, high, least, blocks, cores = plant(points, core)
    owner = np.empty(len(least), np.int32)
    component, partner = np.arange(n, dtype=np.int32), np.empty(n, np.int32)
    weight, inner = np.empty(n), np.zeros(n, np.uint8)
    ends, lengths = np.empty((n - 1, 2), np.int32), np.empty(n - 1)
    first_edges(core, indices, partner)
    # What has no shortest edge among the neighbours waits until another component joins it.
    edges = np.stack([component, partner], axis=1)
    m, known = join(component, edges, core, n, ends, lengths, 0)
    while m > 1:
        length, edges = np.full(m, np.inf), np.full((m, 2), -1, np.int32)
        edges_to_neighbours(core, indices, component, inner, length, edges)
        survey(component, owner)
        search(points, component, box, low, high, least, blocks, cores, owner, length.copy(), weight, partner)
        shortest(component, weight, partner, length, edges)
        m, known = join(component, edges, length, m, ends, lengths, known)
    return merges(ends, lengths)


def on_cuda(points: np.ndarray, core: np.ndarray, indices: np.ndarray, box: np.ndarray) -> Merges:
    """Return the merges of single linkage by mutual reachability distance; see `reference`. A thread a point looks for edges."""
    n = len(points)
    if n < 2:
        return _empty()
    low, high, least, *_ = plant(points, core)
    owner = np.empty(len(least), np.int32)
    component = np.arange(n, dtype=np.int32)
    ends, lengths = np.empty((n - 1, 2), np.int32), np.empty(n - 1)
    places = [upload(a) for a in (points, box, low, high, least)]
    near = [upload(a) for a in (core, indices)]
    weight, partner = empty(n, np.float64), empty(n, np.int32)
    blocks = -(-n // THREADS)
    launch(_first_edges, blocks, THREADS, *near, partner)
    edges = np.stack([component, download(partner)], axis=1)
    m, known = join(component, edges, core, n, ends, lengths, 0)
    while m > 1:
        survey(component, owner)
        bound, claim = upload(np.full(m, np.inf)), upload(np.full(m, n, np.int32))
        of, holds = upload(component), upload(owner)
        launch(_near, blocks, THREADS, *near, of, bound, weight, partner)
        launch(_far, blocks, THREADS, *places, near[0], of, holds, bound, weight, partner)
        launch(_claim, blocks, THREADS, of, bound, weight, partner, claim)
        first, other = download(claim), np.append(download(partner), np.int32(-1))
        edges = np.stack([first, other[first]], axis=1)
        m, known = join(component, edges, download(bound), m, ends, lengths, known)
    return merges(ends, lengths)


def _first_edges(core, indices, partner):  # type: ignore[no-untyped-def]
    i = cuda.grid(1)
    if i < core.size:
        partner[i] = first_edge(core, indices, i)


def _near(core, indices, component, bound, weight, partner):  # type: ignore[no-untyped-def]
    """Find each point's shortest edge out of its component to a neighbour."""
    i = cuda.grid(1)
    if i >= core.size:
        return
    best = np.float64(np.inf)
    at = np.int32(-1)
    for s in range(indices.shape[1]):
        j = indices[i, s]
        if component[j] != component[i]:
            w = max(core[i], core[j])
            if w < best:
                best = w
                at = j
    weight[i] = best
    partner[i] = at
    if at >= 0:
        cuda.atomic.min(bound, component[i], best)


def _far(points, box, low, high, least, core, component, owner, bound, weight, partner):  # type: ignore[no-untyped-def]
    """Find a point outside the component that is nearer than all that threads know of."""
    i = cuda.grid(1)
    if i >= core.size:
        return
    mine = component[i]
    reach = bound[mine]
    if core[i] >= reach:
        return
    waiting = cuda.local.array(DEPTH, np.int32)
    far = cuda.local.array(DEPTH, np.float64)
    first = owner.size // 2
    waiting[0] = 1
    far[0] = 0.0
    left = 1
    while left > 0:
        left -= 1
        q = waiting[left]
        reach = min(reach, bound[mine])
        if far[left] >= reach or least[q] >= reach or (owner[q] == mine and owner[q] != MIXED):
            continue
        if q >= first:
            begin = (q - first) * RUN
            for j in range(begin, min(begin + RUN, core.size)):
                if component[j] != mine:
                    w = max(_squared(points, i, j, box), core[i], core[j])
                    if w < reach:
                        reach = w
                        weight[i] = w
                        partner[i] = np.int32(j)
                        cuda.atomic.min(bound, mine, w)
            continue
        one = gap(points, points, i, low, high, 2 * q, box)
        two = gap(points, points, i, low, high, 2 * q + 1, box)
        nearer = np.int32(one > two)
        waiting[left] = np.int32(2 * q + 1 - nearer)
        far[left] = max(one, two)
        waiting[left + 1] = np.int32(2 * q + nearer)
        far[left + 1] = min(one, two)
        left += 2


@helper
def _squared(points: Any, i: Any, j: Any, box: Any) -> Any:
    total = 0.0
    for c in range(box.size):
        apart = separation(points[i, c], points[j, c], box[c])
        total += apart * apart
    return total


def _claim(component, bound, weight, partner, claim):  # type: ignore[no-untyped-def]
    """Name, for each component, the first of the points whose edge is the shortest."""
    i = cuda.grid(1)
    if i < component.size and partner[i] >= 0 and weight[i] == bound[component[i]]:
        cuda.atomic.min(claim, component[i], np.int32(i))


def _example(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """Return points in clumps, on a grid, in a periodic box, coinciding, in two heaps far apart, few, one, and none."""
    found = []
    heap = rng.normal(size=(150, 3)) * rng.choice([0.1, 1, 5], (150, 1))
    apart = np.where(np.arange(150)[:, None] % 2, heap, heap + 1000)
    for points, k, period in (
        (heap, 5, 0.0),
        (np.round(rng.normal(size=(120, 2)), 1), 4, 0.0),
        (rng.random((130, 2)), 6, 1.0),
        (np.repeat(rng.normal(size=(12, 2)), 9, axis=0), 5, 0.0),
        (apart, 3, 0.0),
        (rng.normal(size=(40, 6)), 40, 0.0),
        (rng.normal(size=(2, 1)), 2, 0.0),
        (rng.normal(size=(1, 2)), 1, 0.0),
        (np.zeros((0, 2)), 1, 0.0),
    ):
        box = np.full(points.shape[1], period)
        indices, squared = neighbours.reference(points, k, box)
        core = np.ascontiguousarray(squared[:, -1]) if len(points) else np.zeros(0)
        found += [(points, core, indices, box)]
    points, core, _, box = found[0]
    alone = np.arange(len(points), dtype=np.int32)[:, None]
    return [*found, (points, np.zeros_like(core), alone, box)]


def _large(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return clumps in a field, as a catalogue of stars has them."""
    from . import morton

    points = np.concatenate([rng.normal(rng.random(3), 0.02, (20_000, 3)) for _ in range(5)] + [rng.random((100_000, 3))])
    points = points[morton.KERNEL.cpu(points)]
    indices, squared = neighbours.KERNEL.cpu(points, 20, np.zeros(3))
    return points, np.ascontiguousarray(squared[:, -1]), indices, np.zeros(3)


KERNEL = KernelSpec(
    name="linkage",
    summary="single linkage of mutual reachability distances: at which distance which points join, exactly",
    reference=reference,
    cpu=cpu,
    cuda=on_cuda,
    launches=(
        Launch(_first_edges, "void(float64[::1], int32[:, ::1], int32[::1])", THREADS),
        Launch(_near, "void(float64[::1], int32[:, ::1], int32[::1], float64[::1], float64[::1], int32[::1])", THREADS),
        Launch(
            _far,
            "void(float64[:, ::1], float64[::1], float64[:, ::1], float64[:, ::1], float64[::1], float64[::1], int32[::1], int32[::1], "
            "float64[::1], float64[::1], int32[::1])",
            THREADS,
        ),
        Launch(_claim, "void(int32[::1], float64[::1], float64[::1], int32[::1], int32[::1])", THREADS),
    ),
    example=_example,
    large=_large,
    rtol=0,
    float64="distances are compared with each other, and must come out the same on every device",
)
