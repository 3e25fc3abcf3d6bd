"""The mock on which clustering methods are compared: rotated Gaussian clumps, curved streams and a background.

All lengths are in sides of a box from 0 to 1. What is drawn of the geometry does not depend on the number of points,
so generators of one seed give the same structures at every n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

CLUMP_SIZE = (0.008, 0.03)
"""Least and greatest standard deviation of a clump along one of its axes; even in the logarithm."""
STREAM_WIDTH = 0.008
"""Standard deviation of a stream across its track."""
STREAM_LENGTH = (0.35, 0.7)
"""Least and greatest distance of a stream's ends."""
STREAM_BEND = 0.12
"""How far a stream's middle lies off the straight line."""
INSIDE = 0.12
"""Structures' centres stay this far from the walls of the box."""
APART = 0.13
"""Least distance between the tracks of structures, where there is room."""
TRIES = 100
"""Places that are tried for each structure."""
HALO_WIDTH = 0.2
"""Standard deviation of the broad Gaussian that makes half of the background."""


@dataclass(frozen=True, eq=False)
class Structure:
    """One clump or stream.

    Attributes:
        kind: clump or stream.
        weight: its share of all structures' points.
        track: (3, d) control points of the quadratic curve along a stream; the centre, three times, of a clump.
        axes: (d, d) matrix that makes the offsets from the track out of standard normal numbers.
    """

    kind: Literal["clump", "stream"]
    weight: float
    track: np.ndarray
    axes: np.ndarray

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return (n, d) of its points."""
        return np.asarray(_on_track(self.track, rng.random(n)) + rng.standard_normal((n, len(self.axes))) @ self.axes.T)


@dataclass(frozen=True, eq=False)
class Mock:
    """A mock catalogue of n points in d dimensions.

    Attributes:
        values: (n, d) as observed: with errors, where there are any.
        labels: (n,) int32, the index of the structure that a point belongs to; -1 for the background.
        sigma: (n, d) standard errors of `values`; 0 without errors.
        true: (n, d) values without errors.
        structures: what is in it.
    """

    values: np.ndarray
    labels: np.ndarray
    sigma: np.ndarray
    true: np.ndarray
    structures: tuple[Structure, ...]


def structures(rng: np.random.Generator, d: int, *, clumps: int = 9, streams: int = 3) -> tuple[Structure, ...]:
    """Return clumps, and then streams, at random places of the unit box."""
    found: list[Structure] = []
    for _ in range(clumps):
        centres = rng.uniform(INSIDE, 1 - INSIDE, (TRIES, 1, d))
        track = np.tile(_farthest(centres, found)[0], (3, 1))
        sizes = np.exp(rng.uniform(np.log(CLUMP_SIZE[0]), np.log(CLUMP_SIZE[1]), d))
        found.append(Structure("clump", float(rng.uniform(0.5, 1.5)), track, _rotation(rng, d) * sizes))
    for _ in range(streams):
        tracks = np.stack([_track(rng, d) for _ in range(TRIES)])
        found.append(Structure("stream", float(rng.uniform(0.5, 1.5)), _farthest(tracks, found), np.eye(d) * STREAM_WIDTH))
    total = sum(s.weight for s in found)
    return tuple(Structure(s.kind, s.weight / total, s.track, s.axes) for s in found)


def mock(
    rng: np.random.Generator,
    n: int,
    d: int,
    *,
    clumps: int = 9,
    streams: int = 3,
    background: float = 0.5,
    noise: float = 0.0,
    noise_scatter: float = 0.0,
) -> Mock:
    """Return n points in d dimensions, in random order.

    Args:
        rng: all of its randomness.
        n: points.
        d: dimensions.
        clumps: rotated Gaussian clumps.
        streams: curved streams.
        background: share of the points in no structure: half of these uniform in the box, half in a broad Gaussian.
        noise: typical standard error of a value, in sides of the box.
        noise_scatter: standard deviation, between points, of the natural logarithm of their errors.
    """
    drawn = structures(rng, d, clumps=clumps, streams=streams)
    values, labels = populate(rng, drawn, n, d, background=background if drawn else 1.0)
    sigma = noise * np.exp(noise_scatter * rng.standard_normal((n, 1))) * np.ones(d)
    return Mock(values + sigma * rng.standard_normal((n, d)), labels, sigma, values, drawn)


def populate(
    rng: np.random.Generator, drawn: tuple[Structure, ...], n: int, d: int, *, background: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, d) points of structures and background, in random order, and (n,) int32 their labels."""
    n_structured = n - round(background * n)
    share = np.cumsum([0.0, *(s.weight for s in drawn)])
    edges = np.round(share / max(share[-1], 1e-300) * n_structured).astype(np.int64)
    parts = [s.draw(rng, int(count)) for s, count in zip(drawn, np.diff(edges), strict=True)]
    n_uniform = (n - n_structured) // 2
    parts += [rng.random((n_uniform, d)), 0.5 + HALO_WIDTH * rng.standard_normal((n - n_structured - n_uniform, d))]
    labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    labels[labels >= len(drawn)] = -1
    order = rng.permutation(n)
    return np.concatenate(parts)[order], labels[order].astype(np.int32)


def uniform_box(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Return (n, d) points uniform in the unit box: there is nothing to find."""
    return rng.random((n, d))


def gaussian_box(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Return (n, d) points of one Gaussian with different widths: there is nothing to find in it."""
    return np.asarray(0.5 + rng.standard_normal((n, d)) @ (_rotation(rng, d) * rng.uniform(0.05, 0.15, d)).T)


def _track(rng: np.random.Generator, d: int) -> np.ndarray:
    """Return (3, d) control points of a curve at a random place."""
    middle, turned = rng.uniform(INSIDE, 1 - INSIDE, d), _rotation(rng, d)
    along = turned[:, 0] * rng.uniform(*STREAM_LENGTH) / 2
    # A curve's second control point is twice as far out as its middle.
    bend = turned[:, 1] * 2 * STREAM_BEND if d > 1 else np.zeros(d)
    return np.stack([middle - along, middle + bend, middle + along])


def _on_track(track: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return (n, d) places on a quadratic Bézier curve with (3, d) control points, for (n,) parameters from 0 to 1."""
    t = t[:, None]
    return np.asarray((1 - t) ** 2 * track[0] + 2 * t * (1 - t) * track[1] + t**2 * track[2])


def _farthest(tried: np.ndarray, others: list[Structure]) -> np.ndarray:
    """Return the first of the tracks that keeps its distance from the other structures; the best where there is no room."""
    if not others:
        return np.asarray(tried[0])
    t = np.linspace(0, 1, 11)
    taken = np.concatenate([_on_track(s.track, t) for s in others])
    distance = np.empty(len(tried))
    for index, track in enumerate(tried):
        own = _on_track(track, t) if len(track) > 1 else track
        distance[index] = np.sqrt(((own[:, None] - taken) ** 2).sum(axis=2)).min()
    return np.asarray(tried[np.argmax(np.minimum(distance, APART))])


def _rotation(rng: np.random.Generator, d: int) -> np.ndarray:
    """Return a random (d, d) orthogonal matrix."""
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    return np.asarray(q * np.sign(np.diag(r)))
