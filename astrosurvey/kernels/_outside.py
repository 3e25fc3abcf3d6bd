"""The nearest point outside one's own component: boxes around runs of points, and the search through them.

Points come in an order in which neighbours are near (`kernels.morton`). Every `RUN` of them in a row have a box, and
every two boxes a common one, up to the root: box 1 holds all, the boxes 2q and 2q + 1 lie in box q. A box that
holds only points of one component says which; a search of that component passes it by.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._numba import helper, inlined, parallel, prange, serial

RUN = 16
DEPTH = 32
"""The most boxes that wait in a search: one a level, and 2**31 points have 27 levels."""
MIXED = np.int32(-1)
NOBODY = np.int32(-2)
"""What a box says of its components when there are several, and when it is empty."""


def plant(points: np.ndarray, core: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the boxes around runs of points.

    Args:
        points: (n, d) float64, n at least 1.
        core: (n,) float64, squared core distances.

    Returns:
        low and high, (box, d) corners; least, (box,) the smallest core distance in each box, infinite in an empty one;
        blocks, (run, d, RUN) the coordinates; and cores, (run, RUN), infinite beyond the last point.
    """
    n, d = points.shape
    runs = -(-n // RUN)
    first = 1
    while first < runs:
        first *= 2
    low, high = np.full((2 * first, d), np.inf), np.full((2 * first, d), -np.inf)
    least = np.full(2 * first, np.inf)
    blocks, cores = np.zeros((runs, d, RUN)), np.full((runs, RUN), np.inf)
    _fill(points, core, first, low, high, least, blocks, cores)
    return low, high, least, blocks, cores


@serial
def _fill(points: Any, core: Any, first: Any, low: Any, high: Any, least: Any, blocks: Any, cores: Any) -> None:
    n, d = points.shape
    for i in range(n):
        run, t = i // RUN, i % RUN
        cores[run, t] = core[i]
        least[first + run] = min(least[first + run], core[i])
        for c in range(d):
            x = points[i, c]
            blocks[run, c, t] = x
            low[first + run, c] = min(low[first + run, c], x)
            high[first + run, c] = max(high[first + run, c], x)
    for q in range(first - 1, 0, -1):
        least[q] = min(least[2 * q], least[2 * q + 1])
        for c in range(d):
            low[q, c] = min(low[2 * q, c], low[2 * q + 1, c])
            high[q, c] = max(high[2 * q, c], high[2 * q + 1, c])


@serial
def survey(component: Any, owner: Any) -> None:
    """Write into `owner`, (box,) int32, of which component the points of each box are; MIXED, or NOBODY in an empty one."""
    first = len(owner) // 2
    for run in range(first):
        begin, end = run * RUN, min((run + 1) * RUN, len(component))
        mine = NOBODY if begin >= end else component[begin]
        for i in range(begin + 1, end):
            if component[i] != mine:
                mine = MIXED
                break
        owner[first + run] = mine
    for q in range(first - 1, 0, -1):
        owner[q] = joint(owner[2 * q], owner[2 * q + 1])


@helper
def joint(a: Any, b: Any) -> Any:
    """Return what a box says of its components whose two halves say `a` and `b`."""
    if b in (a, NOBODY):
        return a
    return b if a == NOBODY else MIXED


@inlined
def gap(low: Any, high: Any, p: Any, lows: Any, highs: Any, q: Any, box: Any) -> Any:
    """Return the squared distance between box p and box q of others; no two points of them are nearer, last digits included."""
    total = 0.0
    for c in range(box.size):
        apart = max(lows[q, c] - high[p, c], low[p, c] - highs[q, c], 0.0)
        if box[c] > 0.0:
            apart = min(apart, max(box[c] - (max(high[p, c], highs[q, c]) - min(low[p, c], lows[q, c])), 0.0))
        total += apart * apart
    return total


@inlined
def separation(a: Any, b: Any, period: Any) -> Any:
    """Return the distance of two coordinates, around the box where there is a period."""
    apart = abs(a - b)
    return min(apart, period - apart) if period > 0.0 else apart


@parallel
def search(
    points: Any, component: Any, box: Any, low: Any, high: Any, least: Any, blocks: Any, cores: Any, owner: Any, bound: Any,
    weight: Any, partner: Any,
) -> None:  # fmt: skip
    """Find, for every component, the nearest point outside.

    Threads tell each other of what they found, perhaps late. So it may depend on them what is found beside the nearest point, and
    which one if several are equally near; that the nearest is found does not.

    Args:
        points: (n, d) float64.
        component: (n,) int32.
        box: (d,) float64, periods.
        low, high, least, blocks, cores: what `plant` returned.
        owner: (box,) int32, what `survey` wrote.
        bound: (component,) float64, the squared distance of a known point outside; changed, and to be used no more.
        weight: (n,) float64, receives the squared mutual reachability distance of a point outside, nearer than all known before.
        partner: (n,) int32, receives that point; -1 where there is none.
    """
    first = len(owner) // 2
    for run in prange(len(blocks)):
        begin, end = run * RUN, min((run + 1) * RUN, len(points))
        for i in range(begin, end):
            partner[i] = -1
        waiting = np.empty(DEPTH, np.int64)
        far = np.empty(DEPTH, np.float64)
        apart = np.empty(RUN, np.float64)
        reach = _reach(component, cores, run, begin, end, bound)
        p = first + run
        waiting[0], far[0], left = 1, 0.0, 1
        while left > 0:
            left -= 1
            q = waiting[left]
            if far[left] >= reach or least[q] >= reach or (owner[q] == owner[p] and owner[q] != MIXED):
                continue
            if q >= first:
                if _compare(points, component, box, blocks, cores, run, begin, end, q - first, bound, weight, partner, apart):
                    reach = _reach(component, cores, run, begin, end, bound)
                continue
            one, two = gap(low, high, p, low, high, 2 * q, box), gap(low, high, p, low, high, 2 * q + 1, box)
            nearer = one <= two
            waiting[left], far[left] = (2 * q + 1, two) if nearer else (2 * q, one)
            waiting[left + 1], far[left + 1] = (2 * q, one) if nearer else (2 * q + 1, two)
            left += 2


@inlined
def _reach(component: Any, cores: Any, run: Any, begin: Any, end: Any, bound: Any) -> Any:
    """Return how far points of a run may have to look."""
    reach = 0.0
    for i in range(begin, end):
        b = bound[component[i]]
        if cores[run, i - begin] < b:
            reach = max(reach, b)
    return reach


@helper
def _compare(
    points: Any, component: Any, box: Any, blocks: Any, cores: Any, run: Any, begin: Any, end: Any, other: Any, bound: Any,
    weight: Any, partner: Any, apart: Any,
) -> Any:  # fmt: skip
    """Compare the points of a run with those of another; return whether a nearer one was found. The inner loops become vectors."""
    found = False
    there = other * RUN
    last = min(there + RUN, len(points)) - there
    for i in range(begin, end):
        mine = component[i]
        b = bound[mine]
        core = cores[run, i - begin]
        if core >= b:
            continue
        for t in range(RUN):
            apart[t] = 0.0
        for c in range(box.size):
            x, period = points[i, c], box[c]
            if period > 0.0:
                for t in range(RUN):
                    delta = separation(x, blocks[other, c, t], period)
                    apart[t] += delta * delta
            else:
                for t in range(RUN):
                    delta = x - blocks[other, c, t]
                    apart[t] += delta * delta
        for t in range(last):
            w = max(apart[t], cores[other, t])
            if w < b and component[there + t] != mine:
                b = max(w, core)
                bound[mine] = b
                weight[i] = b
                partner[i] = there + t
                found = True
                if core >= b:
                    break
    return found
