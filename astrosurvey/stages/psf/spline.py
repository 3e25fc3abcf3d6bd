"""Stars as linear functions of a PSF on oversampled nodes: cubic B-splines, read off at each star's own sub-pixel place.

The nodes hold the coefficients of the splines. All pixels of a star lie at one phase between the nodes,
so reading a star off is a sum of four rows and four columns, and no star is ever resampled.
"""

from __future__ import annotations

import numpy as np

GUARD = 2
"""Pixels of nodes beyond the stamp on every side, for stars off their stamp's middle."""


def node_count(half: int, oversampling: int) -> int:
    """Return the nodes along a side for stamps of `half` pixels on every side of the middle one."""
    return 2 * (half + GUARD) * oversampling + 1


def samples(coefficients: np.ndarray) -> np.ndarray:
    """Return the function's values at the nodes, (…, y, x), from its spline coefficients; mirrored at the edge."""
    values = coefficients
    for axis in (-2, -1):
        padded = np.pad(np.moveaxis(values, axis, -1), [(0, 0)] * (values.ndim - 1) + [(1, 1)], mode="reflect")
        values = np.moveaxis((padded[..., :-2] + 4 * padded[..., 1:-1] + padded[..., 2:]) / 6, -1, axis)
    return values


def spline_coefficients(values: np.ndarray) -> np.ndarray:
    """Return the spline coefficients of (y, x) values at the nodes; the inverse of `samples`."""
    from scipy import ndimage

    return np.asarray(ndimage.spline_filter(values.astype(float), order=3, mode="mirror"))


def normalised_basis(basis: np.ndarray, oversampling: int) -> np.ndarray:
    """Return the stamps (coefficient, y, x) such that the first sums to `oversampling` squared and the others to zero.

    What the others sum to is a change of flux and not of shape: it goes into the fluxes of the stars.
    """
    sums = basis.sum(axis=(1, 2), keepdims=True) / oversampling**2
    first = basis[:1] / sums[:1]
    return np.concatenate([first, basis[1:] - first * sums[1:]])


class Reader:
    """Reads stars off spline coefficients, and carries star pixels back onto them (its transpose).

    Args:
        dx, dy: (n,) place of each star relative to the middle of its stamp, less than a pixel each.
        half: pixels from a stamp's middle to its edge.
        oversampling: nodes per pixel.
    """

    def __init__(self, dx: np.ndarray, dy: np.ndarray, half: int, oversampling: int) -> None:
        self._step, self._size = oversampling, 2 * half + 1
        self.nodes = node_count(half, oversampling)
        self.count = len(dx)
        first_x, self._wx, self._slope_x = _phase(dx, oversampling)
        first_y, self._wy, self._slope_y = _phase(dy, oversampling)
        # Stars whose stamps begin at one node are read together, by slices.
        groups: dict[tuple[int, int], list[int]] = {}
        for star, place in enumerate(zip(first_y.tolist(), first_x.tolist(), strict=True)):
            groups.setdefault(place, []).append(star)
        self._groups = [(y, x, np.array(stars)) for (y, x), stars in sorted(groups.items())]

    def read(self, coefficients: np.ndarray, slope: str = "") -> np.ndarray:
        """Return every star's pixels, (n, y, x), of a function with (n, nodes, nodes) or (nodes, nodes) coefficients.

        `slope` "x" or "y" gives the derivative, per pixel, towards larger offsets along that axis.
        """
        found = np.empty((self.count, self._size, self._size))
        wx, wy = (self._slope_x if slope == "x" else self._wx), (self._slope_y if slope == "y" else self._wy)
        own = coefficients.ndim == 3
        for y, x, stars in self._groups:
            rows = sum(
                wy[stars, k, None, None] * (coefficients[stars, self._cut(y + k)] if own else coefficients[self._cut(y + k)][None])
                for k in range(4)
            )
            found[stars] = sum(wx[stars, k, None, None] * rows[:, :, self._cut(x + k)] for k in range(4))
        return found

    def back(self, pixels: np.ndarray, factors: np.ndarray, squared: bool = False) -> np.ndarray:
        """Return, for each coefficient of a polynomial, the sum over stars of factor times transposed reading.

        Args:
            pixels: (n, y, x).
            factors: (n, coefficient).
            squared: with the squares of the weights.

        Returns:
            (coefficient, nodes, nodes).
        """
        wx, wy = (self._wx**2, self._wy**2) if squared else (self._wx, self._wy)
        total = np.zeros((factors.shape[1], self.nodes, self.nodes))
        for y, x, stars in self._groups:
            columns = np.zeros((len(stars), self._size, self.nodes))
            for k in range(4):
                columns[:, :, self._cut(x + k)] += wx[stars, k, None, None] * pixels[stars]
            for k in range(4):
                weighted = wy[stars, k, None] * factors[stars]
                total[:, self._cut(y + k)] += np.einsum("nk,nyx->kyx", weighted, columns)
        return total

    def _cut(self, first: int) -> slice:
        return slice(first, first + self._step * (self._size - 1) + 1, self._step)


def _phase(offset: np.ndarray, oversampling: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first of the four nodes at each stamp's first pixel, (n,), their weights and the weights' slopes, (n, 4)."""
    place = oversampling * (GUARD - np.clip(offset, -0.999, 0.999))
    node = np.floor(place).astype(int)
    t = place - node
    u = 1 - t
    weights = np.stack([u**3, 4 - 3 * t * t * (1 + u), 4 - 3 * u * u * (1 + t), t**3], axis=1) / 6
    slopes = np.stack([-u * u, t * (3 * t - 4), u * (4 - 3 * u), t * t], axis=1) / 2
    return node - 1, weights, oversampling * slopes
