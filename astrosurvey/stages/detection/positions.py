"""Positions by the peak of the matched-filtered image, the maximum of a star's likelihood."""

from __future__ import annotations

import numpy as np


def peaks(image: np.ndarray, snr: np.ndarray, y: np.ndarray, x: np.ndarray, sigma: float) -> tuple[np.ndarray, ...]:
    """Return where a paraboloid through 3 x 3 pixels of a filtered image has its top, by least squares.

    Where all nine values are positive their logarithms are taken, for a star's peak is nearly Gaussian.

    Args:
        image: (y, x) image filtered with a Gaussian.
        snr: (n,) signal-to-noise ratio at the brightest pixels.
        y: (n,) int, row of each source's brightest pixel.
        x: (n,) int, column.
        sigma: standard deviation of the filter in pixels, which correlates the noise.

    Returns:
        x, y, x_var, y_var, xy_cov, each (n,) float64; NaN where there is no top within a pixel of the brightest one. The
        covariance is H^-1 G H^-1, H being the peak's curvature and G the covariance of the noise's gradient.

    References:
        Lindegren (1978), IAU Coll. 48, 197.
    """
    ny, nx = image.shape
    n = x.size
    inside = (x > 0) & (y > 0) & (x < nx - 1) & (y < ny - 1)
    v, u = np.where(inside, y, 1 if ny > 2 else 0), np.where(inside, x, 1 if nx > 2 else 0)
    near = np.full((3, 3, n), np.nan)
    for j in range(3 if inside.any() else 0):
        for i in range(3):
            near[j, i] = image[v + j - 1, u + i - 1]
    positive = (near > 0).all(axis=(0, 1))
    top = near[1, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.where(positive, np.log(np.where(positive, near, 1.0)), near / top)
        gx, gy = (near[:, 2] - near[:, 0]).sum(axis=0) / 6, (near[2] - near[0]).sum(axis=0) / 6
        hxx = (near[:, 2] - 2 * near[:, 1] + near[:, 0]).sum(axis=0) / 3
        hyy = (near[2] - 2 * near[1] + near[0]).sum(axis=0) / 3
        hxy = (near[2, 2] - near[2, 0] - near[0, 2] + near[0, 0]) / 4
        determinant = hxx * hyy - hxy**2
        dx, dy = (hxy * gy - hyy * gx) / determinant, (hxy * gx - hxx * gy) / determinant
        good = inside & (top > 0) & (hxx < 0) & (determinant > 0) & (np.abs(dx) <= 1) & (np.abs(dy) <= 1)
        gradient = 1.0 / (2.0 * sigma**2 * (snr * determinant) ** 2)
        x_var, y_var = gradient * (hyy**2 + hxy**2), gradient * (hxx**2 + hxy**2)
        xy_cov = -gradient * hxy * (hxx + hyy)
    return tuple(np.where(good, values, np.nan) for values in (x + dx, y + dy, x_var, y_var, xy_cov))
