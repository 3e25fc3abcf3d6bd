"""One image as the sum of its sources: profiles fitted source by source to what the others leave over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from . import moments, profiles
from .stamps import Batch, Layout
from .symmetric import monotone, symmetric

POOR = 1.5
"""Above this mean squared misfit in its own pixels, in units of the noise, a source is no sum of round profiles."""
DESCENTS = 30
"""Rounds of coordinate descent over one source's templates."""
FEWEST = 12
"""Pixels brighter than the noise that a source needs for its misfit to be told."""


@dataclass(frozen=True)
class Plane:
    """An image, in units of its typical noise.

    Attributes:
        data: (y, x) flux per pixel, 0 where unusable.
        ivar: (y, x) inverse variance, 0 where unusable.
        psf: (y, x) odd-sided stamp that sums to one.
        unit: what the data were divided by.
    """

    data: np.ndarray
    ivar: np.ndarray
    psf: np.ndarray
    unit: float

    @classmethod
    def of(cls, data: np.ndarray, variance: np.ndarray, good: np.ndarray, psf: np.ndarray) -> Plane:
        """Return the plane of an image whose usable pixels are `good`."""
        unit = float(np.sqrt(np.median(variance[good]))) if good.any() else 1.0
        ivar = np.divide(unit**2, variance, out=np.zeros(data.shape, np.float32), where=good)
        return cls(np.where(good, data, 0).astype(np.float32) / np.float32(unit), ivar, psf, unit)


class Scene:
    """The sources of an image and their models; tensors are indexed by source.

    Args:
        plane: the image in which the shapes are fitted.
        psf_sigma: the PSF's standard deviation as a Gaussian, pixels.
        x, y: (n,) positions.
        layout: the stamps.

    Attributes:
        dx, dy: centres relative to the stamp's middle pixel.
        seen: (n, 3) second moments xx, xy, yy as seen, pixels squared.
        shape: (n, 3) covariance of unit determinant before the PSF.
        coefficients: (n, k) flux in the Gaussians of the basis.
        scatter: (n,) relative standard deviation of the flux over the profiles that fit as well.
        misfit: (n,) mean squared misfit in the source's own pixels; 0 where it has too few.
        covered: (n,) bool, whether any pixel of the source's stamp is usable.
        extra: for sources that are no sum of profiles, a symmetric and monotone template beside it, by row.
        models: for each size of stamp, the models of its sources.
        place: (n,) where in `models` a source is.
        residual: what all models leave over, a padded plane.
    """

    def __init__(self, plane: Plane, psf_sigma: float, x: np.ndarray, y: np.ndarray, layout: Layout) -> None:
        device, n = layout.device, len(x)
        self.layout, self.psf_sigma = layout, psf_sigma
        self.data, self.ivar = layout.plane(plane.data), layout.plane(plane.ivar)
        self.batches = list(layout.batches())
        self.bases = {size: profiles.Basis(plane.psf, psf_sigma, size, device) for size in np.unique(layout.size).tolist()}
        self.libraries = {b.count: profiles.library(b.count) for b in self.bases.values()}
        origin = np.column_stack([x - layout.x0, y - layout.y0]).clip(-0.5, 0.5)
        self.origin = torch.tensor(origin, dtype=torch.float32, device=device)
        self.dx, self.dy = self.origin.clone().unbind(1)
        self.psf_shape = moments.of_psf(plane.psf, psf_sigma).to(device)
        self.seen = self.psf_shape.repeat(n, 1)
        self.shape = torch.tensor([1.0, 0.0, 1.0], device=device).repeat(n, 1)
        self.coefficients = torch.zeros(n, max(self.libraries, default=1), device=device)
        self.scatter, self.misfit = torch.zeros(n, device=device), torch.zeros(n, device=device)
        self.covered = torch.zeros(n, dtype=torch.bool, device=device)
        self.extra: dict[int, torch.Tensor] = {}
        self.models, self.place = layout.storage()
        self.residual = self.data

    def fit(self, rounds: int, progress: Callable[[int, int], None]) -> None:
        """Fit all sources `rounds` times to what their neighbours leave over; the first neighbours are symmetric templates."""
        self._begin()
        steps = rounds * len(self.batches)
        for k in range(rounds):
            for done, batch in enumerate(self.batches):
                self._update(batch)
                progress(k * len(self.batches) + done + 1, steps)
        for batch in self.batches:
            self._mend(batch)

    def model(self, batch: Batch) -> torch.Tensor:
        """Return the models of a batch, (b, size * size)."""
        return self.models[batch.size][self.place[batch.rows]]

    def _set(self, batch: Batch, model: torch.Tensor, residual: torch.Tensor) -> None:
        self.models[batch.size][self.place[batch.rows]] = model
        batch.put(self.residual, residual)

    def _begin(self) -> None:
        """Give each source the part of every pixel that its symmetric, monotone template has in all templates."""
        total = torch.zeros_like(self.data)
        for batch in self.batches:
            known = batch.cut(self.ivar) > 0
            lesser = symmetric(batch.cut(self.data), known, batch.size, self.dx[batch.rows], self.dy[batch.rows])
            template = monotone(lesser, batch.size)
            self.models[batch.size][self.place[batch.rows]] = template
            self.covered[batch.rows] = known.any(1)
            batch.add(total, template)
        scale = self.data.clamp_min(0.0) / total.clamp_min(1e-6)
        for batch in self.batches:
            self.models[batch.size][self.place[batch.rows]] *= batch.cut(scale)
        self.residual = self.data - scale * total

    def _update(self, batch: Batch) -> None:
        """Fit the sources of a batch to what the others leave over."""
        rows, size = batch.rows, batch.size
        basis = self.bases[size]
        old, ivar = self.model(batch), batch.cut(self.ivar)
        own = batch.cut(self.residual) + old
        start = moments.Moments(self.dx[rows], self.dy[rows], self.seen[rows])
        found = moments.adaptive(own * (ivar > 0), size, start, self.origin[rows], self.psf_sigma**2)
        snr = torch.sqrt((torch.square(old) * ivar).sum(1))
        shape = moments.intrinsic(found.shape, self.psf_shape, snr)
        templates = basis.render(found.dx, found.dy, shape)
        weighted = templates * ivar[:, None]
        gram = torch.bmm(weighted, templates.transpose(1, 2))
        coefficients, scatter = self._weigh(gram, (weighted * own[:, None]).sum(2), basis.count)
        model = torch.bmm(coefficients[:, None], templates)[:, 0]
        self.dx[rows], self.dy[rows], self.seen[rows], self.shape[rows] = *found, shape
        self.coefficients[rows, : basis.count], self.scatter[rows] = coefficients, scatter
        self._set(batch, model, own - model)

    def _weigh(self, gram: torch.Tensor, scores: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean over the library's profiles, each at its best flux and weighed by its chance, and the flux's scatter.

        Args:
            gram: (b, count, count) products of the basis under the inverse variance.
            scores: (b, count) products of the basis and the data.
            count: members of the basis.
        """
        table, prior = self.libraries[count]
        library = torch.from_numpy(table).to(scores)
        amount = (scores @ library.T).clamp_min(0.0)
        norm = torch.einsum("pk,bkl,pl->bp", library, gram, library).clamp_min(1e-20)
        chance = torch.softmax(0.5 * torch.square(amount) / norm + torch.log(torch.from_numpy(prior).to(scores)), 1)
        flux = amount / norm
        mean = (chance * flux).sum(1)
        variance = (chance * torch.square(flux - mean[:, None])).sum(1)
        return (chance * flux) @ library, torch.sqrt(variance) / mean.clamp_min(1e-20)

    def _mend(self, batch: Batch) -> None:
        """Measure the misfit; where it is large, free the profile from the library and put a symmetric, monotone template beside it."""
        rows, size = batch.rows, batch.size
        model, residual, ivar = self.model(batch), batch.cut(self.residual), batch.cut(self.ivar)
        own_pixels = (torch.square(model) * ivar > 1) & (ivar > 0)
        count = own_pixels.sum(1)
        misfit = (torch.square(residual) * ivar * own_pixels).sum(1) / count.clamp_min(1)
        self.misfit[rows] = torch.where(count >= FEWEST, misfit, 0.0)
        poor = self.misfit[rows] > POOR + 3 * torch.sqrt(2 / count.clamp_min(1))
        if not poor.any():
            return
        part = batch[poor]
        ivar, own = ivar[poor], (model + residual)[poor]
        basis, some = self.bases[size], part.rows
        extra = monotone(symmetric(own, ivar > 0, size, self.dx[some], self.dy[some]), size)
        templates = torch.cat([basis.render(self.dx[some], self.dy[some], self.shape[some]), extra[:, None]], 1)
        weighted = templates * ivar[:, None]
        start = torch.nn.functional.pad(self.coefficients[some, : basis.count], (0, 1))
        amounts = nnls(torch.bmm(weighted, templates.transpose(1, 2)), (weighted * own[:, None]).sum(2), start)
        self.coefficients[some, : basis.count] = amounts[:, :-1]
        for row, template in zip(some.tolist(), amounts[:, -1:] * extra, strict=True):
            self.extra[row] = template
        new = torch.bmm(amounts[:, None], templates)[:, 0]
        self._set(part, new, own - new)
        own_pixels = own_pixels[poor]
        self.misfit[some] = (torch.square(own - new) * ivar * own_pixels).sum(1) / own_pixels.sum(1)


def nnls(gram: torch.Tensor, scores: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Return the non-negative amounts of templates that fit best, by coordinate descent.

    Args:
        gram: (b, k, k) products of the templates.
        scores: (b, k) products of templates and data.
        start: (b, k) amounts to begin with, not negative.
    """
    amounts = start.clone()
    norm = gram.diagonal(dim1=1, dim2=2).clamp_min(1e-20)
    for _ in range(DESCENTS):
        for k in range(gram.shape[1]):
            amounts[:, k] += (scores[:, k] - (gram[:, k] * amounts).sum(1)) / norm[:, k]
            amounts[:, k].clamp_min_(0.0)
    return amounts
