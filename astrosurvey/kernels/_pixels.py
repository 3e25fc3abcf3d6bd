"""What the measuring kernels see: the pixels of an image, the sources on it, and each source's radial model.

A model is a brightness that depends on the elliptical radius alone, given at nodes and straight between them
in `node`'s scale. A source's flux is seen without its neighbours' in one of two ways: where there is no model
image, other footprints are left out; where there is one, it is subtracted, the source's own model excepted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ._numba import inlined, read_only

PER_OCTAVE = 4
"""Nodes of a radial profile per octave of 1 + r^2 / core^2, evenly spread over it."""


@dataclass(frozen=True)
class Planes:
    """An image, as the kernels take it.

    Attributes:
        data: (band, y, x) float32, sky-subtracted flux per pixel.
        variance: (band, y, x) float32; neither positive nor finite where a pixel is of no use.
        mask: (band, y, x) int32, or no bands where there is none.
        unusable: the bits of it that make a pixel useless.
        labels: (y, x) int32, whose footprint a pixel is in, source i's being i + 1; no rows where that is not to matter.
        model: (band, y, x) float32, the sum of all sources' models; no bands where there is none.
    """

    data: np.ndarray
    variance: np.ndarray
    mask: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), np.int32))
    unusable: int = 0
    labels: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    model: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.int32, np.ndarray, np.ndarray]:
        """Return all of it in the kernels' order, contiguous, of their types and read-only."""
        data, variance, model = read_only(*(np.ascontiguousarray(a, np.float32) for a in (self.data, self.variance, self.model)))
        mask, labels = read_only(*(np.ascontiguousarray(a, np.int32) for a in (self.mask, self.labels)))
        return data, variance, mask, np.int32(self.unusable), labels, model

    def usable(self) -> np.ndarray:
        """Return (band, y, x) bool, which pixels tell a flux; for the references."""
        good = np.isfinite(self.data) & np.isfinite(self.variance) & (self.variance > 0)
        return good & ((self.mask & self.unusable) == 0) if len(self.mask) else good


@dataclass(frozen=True)
class Places:
    """Sources on an image, with their models.

    Attributes:
        pixels: (n, 2) int32, column and row of the pixel they are in.
        offsets: (n, 2) float32, their position from that pixel's centre.
        form: (n, 3) float32 quadratic form (xx, xy, yy) of the squared elliptical radius, in pixels along the major axis.
        models: (n, band, node) float32 brightness per pixel at the nodes.
        core: scale of the nodes, pixels.
    """

    pixels: np.ndarray
    offsets: np.ndarray
    form: np.ndarray
    models: np.ndarray
    core: float

    @classmethod
    def at(cls, x: np.ndarray, y: np.ndarray, bands: int, core: float) -> Places:
        """Return round sources without light at finite positions, (n,) each."""
        position = np.stack([x, y], 1).astype(float).reshape(-1, 2)
        form = np.tile(np.array([1, 0, 1], np.float32), (len(position), 1))
        return cls(
            np.zeros(position.shape, np.int32), position.astype(np.float32), form, np.zeros((len(position), bands, 2), np.float32), core
        ).moved(position)

    def moved(self, position: np.ndarray) -> Places:
        """Return the sources at other positions, (n, 2)."""
        pixels = np.rint(position).astype(np.int32)
        return replace(self, pixels=pixels, offsets=(position - pixels).astype(np.float32))

    @property
    def position(self) -> np.ndarray:
        """(n, 2) x and y."""
        position: np.ndarray = self.pixels + self.offsets.astype(float)
        return position

    @property
    def core2(self) -> np.float32:
        """The squared core as the kernels take it."""
        return np.float32(self.core**2)

    def radius2(self, i: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the squared elliptical radius about source i, for the references."""
        dx, dy = x - self.position[i, 0], y - self.position[i, 1]
        xx, xy, yy = self.form[i].astype(float)
        r2: np.ndarray = xx * dx * dx + 2 * xy * dx * dy + yy * dy * dy
        return r2

    def brightness(self, i: int, b: int, r2: np.ndarray) -> np.ndarray:
        """Return source i's model in band b at squared radii, for the references."""
        nodes = self.models.shape[2]
        at = node_places(self.core, r2)
        values = np.interp(at, np.arange(nodes), self.models[i, b].astype(float))
        return np.where(at < nodes - 1, values, 0)


def node_places(core: float, r2: np.ndarray) -> np.ndarray:
    """Return the places among the nodes of squared radii."""
    mantissa, exponent = np.frexp(1 + np.asarray(r2, float) / core**2)
    places: np.ndarray = PER_OCTAVE * (exponent + 2 * mantissa - 2)
    return places


def node_radii(core: float, places: np.ndarray) -> np.ndarray:
    """Return the radii of places among the nodes, in the unit of `core`."""
    octave, part = np.divmod(np.asarray(places) / PER_OCTAVE, 1)
    radii: np.ndarray = core * np.sqrt(2.0**octave * (1 + part) - 1)
    return radii


def nodes_within(core: float, radius: np.ndarray) -> np.ndarray:
    """Return how many nodes it takes to reach a radius."""
    return np.ceil(node_places(core, np.square(radius))).astype(np.int32) + 1


@inlined
def node(r2: Any, core2: Any) -> Any:
    """Return the place among the nodes of a squared radius: the logarithm to base 2, straight between its whole values.

    That is what the bits of a floating-point number are, its exponent before its mantissa, so no logarithm is taken.
    """
    bits = np.float32(np.float32(1) + r2 / core2).view(np.int32)
    return np.float32(bits - np.int32(0x3F800000)) * np.float32(PER_OCTAVE / 8388608.0)


@inlined
def radius2(form: Any, i: Any, dx: Any, dy: Any) -> Any:
    """Return the squared elliptical radius of a point from source i."""
    return form[i, 0] * dx * dx + np.float32(2) * form[i, 1] * dx * dy + form[i, 2] * dy * dy


@inlined
def half_extent(form: Any, i: Any, reach2: Any, axis: Any) -> Any:
    """Return how far the ellipse of squared radius reach2 extends along x (axis 0) or y (axis 1), in pixels."""
    return math.sqrt(reach2 * form[i, 2 - 2 * axis] / (form[i, 0] * form[i, 2] - form[i, 1] * form[i, 1]))


@inlined
def brightness(models: Any, i: Any, b: Any, place: Any) -> Any:
    """Return the model of source i in band b at a place among its nodes; 0 beyond the last."""
    k = np.int32(place)
    if k + 1 >= models.shape[2]:
        return np.float32(0)
    low = models[i, b, k]
    return low + (place - np.float32(k)) * (models[i, b, k + 1] - low)


@inlined
def worth(d: Any, v: Any) -> Any:
    """Return the variance v of a pixel of flux d, or 0 if it tells nothing."""
    tells = (v > np.float32(0)) & (v < np.float32(np.inf)) & (abs(d) < np.float32(np.inf))
    return v if tells else np.float32(0)


@inlined
def noise(data: Any, variance: Any, mask: Any, unusable: Any, b: Any, y: Any, x: Any) -> Any:
    """Return the variance of a pixel, or 0 if it is outside the image or tells nothing."""
    if y < 0 or x < 0 or y >= data.shape[1] or x >= data.shape[2]:
        return np.float32(0)
    if mask.shape[0] > 0 and (mask[b, y, x] & unusable) != 0:
        return np.float32(0)
    return worth(data[b, y, x], variance[b, y, x])


@inlined
def taken(labels: Any, y: Any, x: Any, label: Any) -> Any:
    """Return whether a pixel of the image is in another source's footprint."""
    if labels.shape[0] == 0:
        return False
    there = labels[y, x]
    return there not in (0, label)
