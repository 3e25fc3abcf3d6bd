"""Data of any shape as a moderate number of features, and features brought to one scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST = 512
"""Features, at most; larger data are told by the mean and the scatter within as many blocks."""
LINEAR = 5.0
"""Robust standard deviations up to which a feature is left as it is; beyond, it grows as a logarithm."""
WIDTHS = (0.0, 2.0, 3.0, 5.0, 8.0, 12.0, 18.0)
"""Full widths at half maximum of bells of features that may stand out together, such as the pixels of a line; 0: a single one."""
FWHM = 2.3548
"""Of a bell of unit standard deviation."""
TINY = 1e-6


def features(data: np.ndarray) -> np.ndarray:
    """Return (n, f) float64 features of (n, …) data: the values, or, of more than `MOST`, means and log scatters of blocks.

    A block is a box of neighbouring values. Its scatter tells noise, which its mean hides.
    """
    n = len(data)
    shape = data.shape[1:]
    if np.prod(shape) <= MOST:
        return np.asarray(data.reshape(n, -1), np.float64)
    across = max(1, int((MOST / 2) ** (1 / len(shape))))
    found = np.asarray(data, np.float64)
    edges = [np.linspace(0, length, min(across, length) + 1).astype(int)[:-1] for length in shape]
    size = np.ones(())
    for cuts, length in zip(edges, shape, strict=True):
        size = np.multiply.outer(size, np.diff([*cuts, length]))
    mean, square = found, found**2
    for axis, cuts in enumerate(edges, 1):
        mean, square = np.add.reduceat(mean, cuts, axis=axis), np.add.reduceat(square, cuts, axis=axis)
    mean, square = mean / size, square / size
    scatter = 0.5 * np.log(np.maximum(square - mean**2, TINY**2 * np.maximum(square, TINY)))
    return np.concatenate([mean.reshape(n, -1), scatter.reshape(n, -1)], axis=1)


@dataclass(frozen=True, eq=False)
class Whitening:
    """An affine map to features of mean zero and unit covariance, behind a curb on outliers.

    Attributes:
        middle, scale: (f,) median and robust standard deviation; a scale of 0 drops a feature that is constant.
        mean: (f,) of the curbed features.
        axes: (f, k) whose product with these is white.
    """

    middle: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def learnt(cls, values: np.ndarray) -> Whitening:
        """Return the map that whitens (n, f) values."""
        middle = np.median(values, axis=0)
        low, high = np.quantile(values, [0.16, 0.84], axis=0)
        scale = (high - low) / 2
        scale = np.where(scale > 0, scale, values.std(axis=0))
        scale = np.where(scale > TINY * np.abs(middle), scale, 0.0)
        curbed = _curbed(values, middle, scale)
        mean = curbed.mean(axis=0)
        variance, axes = np.linalg.eigh((curbed - mean).T @ (curbed - mean) / max(len(values) - 1, 1))
        # Of fewer rows than features the smallest variances are nothing but their lack.
        kept = variance > TINY * max(variance.max(initial=0.0), TINY)
        kept[: max(0, len(mean) - len(values) // 2)] = False
        return cls(middle, scale, mean, axes[:, kept] / np.sqrt(variance[kept]))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return (n, k) white values of (n, f) ones, those of the largest variance last."""
        return np.asarray((_curbed(values, self.middle, self.scale) - self.mean) @ self.axes)

    def outstanding(self, white: np.ndarray) -> np.ndarray:
        """Return (n,) how far features, or bells of neighbouring features, stand out from what all others make of them.

        It is what responses of matched filters for bells of `WIDTHS` features, in standard deviations, come to together: the root of
        twice the log of the sum of exp(response^2 / 2), a mean of likelihood ratios over all places and widths. One that stands out
        clearly is nearly all of it. Near what chance does somewhere, it tells more than the highest response does, for something real
        is high at several places and widths side by side. A bell of w features has some 1 / w as many places that are not one and the
        same; it counts as 1 / sqrt(w), between one width being as likely as another and one place.

        Args:
            white: (n, k) what the map makes of values.

        References: Andrews & Ploberger (1994), Econometrica 62, 1383 (such means find the most, where place and width are unknown).
        """
        from scipy.ndimage import gaussian_filter1d
        from scipy.special import logsumexp

        parts = [np.zeros(len(white))]
        for width in WIDTHS:
            bell = gaussian_filter1d(self.axes, width / FWHM, axis=0, mode="constant", truncate=3.0) if width else self.axes
            norm = np.sqrt((bell**2).sum(axis=1))
            bell = bell[norm > 0] / norm[norm > 0, None]
            if len(bell):
                parts.append(logsumexp((white @ bell.T) ** 2 / 2, axis=1) - 0.5 * np.log(max(width, 1.0)))
        return np.asarray(np.sqrt(2 * logsumexp(parts, axis=0)))

    def impossible(self, values: np.ndarray) -> np.ndarray:
        """Return (n,) bool: a feature that never varied is another one in these (n, f) values."""
        return np.asarray(((self.scale == 0) & (np.abs(values - self.middle) > TINY * np.maximum(np.abs(self.middle), TINY))).any(axis=1))


def _curbed(values: np.ndarray, middle: np.ndarray, scale: np.ndarray) -> np.ndarray:
    z = np.where(scale > 0, (values - middle) / np.where(scale > 0, scale, 1.0), 0.0)
    size = np.abs(z)
    return np.asarray(np.sign(z) * (np.minimum(size, LINEAR) + np.log1p(np.maximum(size - LINEAR, 0.0))))
