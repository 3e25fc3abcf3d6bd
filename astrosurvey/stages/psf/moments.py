"""Stamps about sources, and their adaptive Gaussian moments: place, width and shape of what is in the middle.

References:
    Bernstein & Jarvis (2002), AJ 123, 583; Hirata & Seljak (2003), MNRAS 343, 459.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
ROUNDS = 14
"""Iterations of the adaptive weight; each halves its distance from the profile's own width, or better."""
NARROWEST, NARROWEST_WEIGHT = 0.3, 1.0
"""Least sigma of a source and of the weight in pixels: the sums over pixels under a narrower one would depend on where in a pixel it is."""
FURTHEST = 1.5
"""The weight's centre stays within so many pixels of where the source was said to be."""


@dataclass(frozen=True)
class Stamps:
    """Square cut-outs of one band about n sources; every array is (n, y, x) unless said otherwise.

    Attributes:
        data: float64 flux; 0 where not good.
        ivar: float64 inverse variance; 0 where the pixel is unusable, off the tile or another source's.
        x, y: (n,) int, the pixel of the tile in the middle of each stamp.
    """

    data: np.ndarray
    ivar: np.ndarray
    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    @property
    def half(self) -> int:
        """Pixels from the middle to the edge."""
        return int(self.data.shape[-1] // 2)

    def take(self, which: np.ndarray) -> Stamps:
        """Return the stamps that an index or a boolean array picks."""
        return Stamps(self.data[which], self.ivar[which], self.x[which], self.y[which])


@dataclass(frozen=True)
class Moments:
    """Adaptive moments of n sources; every array is (n,).

    Attributes:
        dx, dy: place relative to the middle of the stamp, in pixels.
        sigma: width in pixels: (det C)^(1/4) of the covariance C of the best-matching Gaussian.
        e1, e2: components of (a - b) / (a + b).
        flux: that Gaussian's.
        snr: its signal-to-noise ratio.
    """

    dx: np.ndarray
    dy: np.ndarray
    sigma: np.ndarray
    e1: np.ndarray
    e2: np.ndarray
    flux: np.ndarray
    snr: np.ndarray


def cut(
    data: np.ndarray, variance: np.ndarray, good: np.ndarray, labels: np.ndarray, own: np.ndarray, x: np.ndarray, y: np.ndarray, half: int
) -> Stamps:
    """Cut stamps out of a band, in which pixels of other sources count as missing.

    Args:
        data, variance: (y, x) of the band.
        good: (y, x) bool, usable pixels.
        labels: (y, x) int, the footprints; 0 is sky.
        own: (n,) the label of each source.
        x, y: (n,) positions in pixels; each stamp is centred on the pixel that holds it.
        half: pixels from a stamp's middle to its edge.
    """
    size = 2 * half + 1
    px, py = np.rint(x).astype(int), np.rint(y).astype(int)

    def windows(plane: np.ndarray, fill: float) -> np.ndarray:
        padded = np.pad(plane, half, constant_values=fill)
        return np.lib.stride_tricks.sliding_window_view(padded, (size, size))[py, px]

    label = windows(labels, 0)
    use = windows(good, False) & ((label == 0) | (label == own[:, None, None]))
    values = np.where(use, windows(data, 0.0), 0.0).astype(float)
    ivar = np.divide(1.0, windows(variance, 1.0), out=np.zeros(use.shape), where=use)
    return Stamps(values, ivar, px, py)


def offsets(half: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y) of a stamp's pixels relative to its middle, (1, 1, x) and (1, y, 1)."""
    step = np.arange(-half, half + 1, dtype=float)
    return step[None, None, :], step[None, :, None]


def adaptive_moments(data: np.ndarray, good: np.ndarray, ivar: np.ndarray | None = None, sigma: float = 1.5) -> Moments:
    """Return the moments under the elliptical Gaussian weight that has, in the end, the source's own place and shape.

    A missing pixel takes the value of the one opposite, for stars are symmetric enough; where that is missing too, zero.

    Args:
        data: (n, y, x) stamps.
        good: (n, y, x) bool, pixels to use.
        ivar: (n, y, x) inverse variance for `snr`, which is NaN without it.
        sigma: width of the first weight in pixels.
    """
    n, half = len(data), data.shape[-1] // 2
    both = good & good[:, ::-1, ::-1]
    filled = np.where(good, data, np.where(~both & good[:, ::-1, ::-1], data[:, ::-1, ::-1], 0.0))
    gx, gy = offsets(half)
    dx, dy = np.zeros(n), np.zeros(n)
    cxx, cyy, cxy = np.full(n, sigma**2), np.full(n, sigma**2), np.zeros(n)
    widest = (max(half, 1) / 2.0) ** 2
    weight = filled
    wxx, wyy, wxy = cxx, cyy, cxy
    with np.errstate(invalid="ignore", divide="ignore"):
        for _ in range(ROUNDS):
            wxx, wyy, wxy = np.maximum(cxx, NARROWEST_WEIGHT**2), np.maximum(cyy, NARROWEST_WEIGHT**2), cxy
            weight, rx, ry = _gaussian(gx, gy, dx, dy, wxx, wyy, wxy)
            light = weight * filled
            total = light.sum(axis=(1, 2))
            total = np.where(total > 0, total, np.nan)
            mx, my = (light * rx).sum(axis=(1, 2)) / total, (light * ry).sum(axis=(1, 2)) / total
            # Weight and profile of equal shape: the product's centre lies half-way between theirs.
            dx, dy = (np.clip(np.nan_to_num(d + 2 * m), -FURTHEST, FURTHEST) for d, m in ((dx, mx), (dy, my)))
            xx, yy, xy = (
                (light * a * b).sum(axis=(1, 2)) / total - m for a, b, m in ((rx, rx, mx * mx), (ry, ry, my * my), (rx, ry, mx * my))
            )
            cxx, cyy, cxy = _unweighted(xx, yy, xy, wxx, wyy, wxy)
            cxx, cyy = (np.clip(np.nan_to_num(c), NARROWEST**2, widest) for c in (cxx, cyy))
            limit = 0.95 * np.sqrt(cxx * cyy)
            cxy = np.clip(np.nan_to_num(cxy), -limit, limit)
    determinant = cxx * cyy - cxy**2
    light = (weight * filled).sum(axis=(1, 2))
    flux = light * np.sqrt(((cxx + wxx) * (cyy + wyy) - (cxy + wxy) ** 2) / (wxx * wyy - wxy**2))
    snr = np.full(n, np.nan)
    if ivar is not None:
        known = np.where(ivar > 0, 1.0 / np.where(ivar > 0, ivar, 1.0), 0.0)
        noise = np.sqrt((np.square(weight) * known).sum(axis=(1, 2)))
        snr = np.divide(light, noise, out=np.zeros(n), where=noise > 0)
    # (a - b) / (a + b) from the sum and difference of the variances.
    spread = cxx + cyy + 2 * np.sqrt(determinant)
    return Moments(dx, dy, determinant**0.25, (cxx - cyy) / spread, 2 * cxy / spread, flux, snr)


def _unweighted(
    xx: np.ndarray, yy: np.ndarray, xy: np.ndarray, wxx: np.ndarray, wyy: np.ndarray, wxy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the covariance of which a Gaussian weight leaves `xx, yy, xy`: the inverse of the difference of the inverses."""
    m, w = xx * yy - xy**2, wxx * wyy - wxy**2
    a, b, c = yy / m - wyy / w, xx / m - wxx / w, -xy / m + wxy / w
    determinant = a * b - c * c
    fine = (m > 0) & (a > 0) & (determinant > 0)
    # Noise may leave more than the weight itself has; then the next weight is twice as large as what was seen.
    return tuple(np.where(fine, of / determinant, 2 * seen) for of, seen in ((b, xx), (a, yy), (-c, xy)))  # type: ignore[return-value]


def _gaussian(
    gx: np.ndarray, gy: np.ndarray, dx: np.ndarray, dy: np.ndarray, cxx: np.ndarray, cyy: np.ndarray, cxy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weight and the coordinates about its centre, (n, y, x) each."""
    rx, ry = np.broadcast_arrays(gx - dx[:, None, None], gy - dy[:, None, None])
    determinant = cxx * cyy - cxy**2
    a, b, c = (np.asarray(v / determinant)[:, None, None] for v in (cyy, -cxy, cxx))
    return np.exp(-0.5 * (a * rx * rx + 2 * b * rx * ry + c * ry * ry)), rx, ry


def fwhm_of(nodes: np.ndarray, oversampling: int) -> float:
    """Return the full width at half maximum in pixels: of the circle with the area above half of the peak.

    Args:
        nodes: (y, x) PSF, its peak near the middle.
        oversampling: nodes per pixel.
    """
    from scipy import ndimage

    fine = 8
    middle = np.array(nodes.shape) // 2
    reach = np.minimum(middle, np.array(nodes.shape) - 1 - middle)
    axes = [m + np.arange(-r * fine, r * fine + 1) / fine for m, r in zip(middle, reach, strict=True)]
    smooth = ndimage.map_coordinates(nodes.astype(float), np.meshgrid(*axes, indexing="ij"), order=3, mode="mirror")
    half = 0.5 * smooth.max()
    above = smooth > half
    labels, _ = ndimage.label(above)
    core = labels == labels[np.unravel_index(smooth.argmax(), smooth.shape)]
    # The contour's pixels count by how far they are above half maximum, on the scale of the gradient there.
    gradient = np.hypot(*np.gradient(smooth)) if min(smooth.shape) > 1 else np.ones_like(smooth)
    part = np.clip((smooth - half) / np.maximum(gradient, 1e-30) + 0.5, 0, 1)
    near = ndimage.binary_dilation(core, iterations=2)
    area = float(part[near].sum()) / (fine * oversampling) ** 2
    return float(2.0 * np.sqrt(area / np.pi))


def shape_of(nodes: np.ndarray) -> tuple[float, float]:
    """Return e1 and e2, components of (a - b) / (a + b), of a PSF (y, x)."""
    side = min(nodes.shape)
    middle = np.array(nodes.shape) // 2
    square = nodes[middle[0] - side // 2 : middle[0] + side // 2 + 1, middle[1] - side // 2 : middle[1] + side // 2 + 1]
    found = adaptive_moments(square[None].astype(float), np.ones((1, *square.shape), bool), sigma=side / 12 + 0.5)
    return float(found.e1[0]), float(found.e2[0])
