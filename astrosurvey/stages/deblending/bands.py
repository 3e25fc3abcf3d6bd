"""Every band as the sum of the same sources: amounts of the templates, parts of the pixels, fluxes and their errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from . import profiles
from .scene import Plane, Scene
from .stamps import Batch

SWEEPS = 5
"""Rounds of coordinate descent over the sources' amounts; one suffices where the scene has found them already."""
SOFT = 3.0
"""Pixels in which a source is this many times brighter than the noise count by half in its flux."""
SCATTER, SHARED, PROFILE = 1.5, 0.25, 0.01
"""What flux errors hold beside the noise of the pixels, relative to the flux, as simulated fields have it: times the scatter over
the profiles that fit, times the part of the source's light in pixels that are others', and for what no profile describes."""
SKY = 1e-3
"""Light below this part of the noise belongs to nobody."""


class Measured(NamedTuple):
    """One band's results; arrays are (n,), in the units of the plane, NaN where no pixel is usable in the band or the scene."""

    flux: np.ndarray
    flux_err: np.ndarray
    masked_fraction: np.ndarray


class Band:
    """The sources of a scene in one band.

    Args:
        scene: fitted.
        plane: the band.
        same: whether the band is the plane of the scene itself, so that its models serve as they are.

    Attributes:
        models: for each size of stamp, the models of its sources.
        amount: (n,) of each model, in units of the scene's.
        star: sum over the pixels of the square of the PSF.
        total: the sum of all models, a padded plane.
        residual: what they leave over of the data.
    """

    def __init__(self, scene: Scene, plane: Plane, same: bool) -> None:
        self.scene, self.layout = scene, scene.layout
        self.data, self.ivar = (scene.data, scene.ivar) if same else (self.layout.plane(plane.data), self.layout.plane(plane.ivar))
        self.star = float(np.square(plane.psf, dtype=float).sum() / plane.psf.sum(dtype=float) ** 2)
        self.models = {size: model.clamp_min(0.0) for size, model in scene.models.items()}  # transforms ring a little below zero
        self.whole = scene.coefficients.sum(1)
        for row, extra in scene.extra.items():
            self.whole[row] += extra.sum()
        amount = torch.ones_like(self.whole) if same else torch.zeros_like(self.whole)
        self.residual = scene.residual.clone() if same else self.data.clone()
        if not same:
            bases = {size: profiles.Basis(plane.psf, scene.psf_sigma, size, self.layout.device) for size in self.models}
            for batch in scene.batches:
                self.models[batch.size][scene.place[batch.rows]] = self._rendered(batch, bases[batch.size])
        self.amount = amount
        self._solve(1 if same else SWEEPS)

    def model(self, batch: Batch) -> torch.Tensor:
        """Return the models of a batch, (b, size * size)."""
        return self.models[batch.size][self.scene.place[batch.rows]]

    def _rendered(self, batch: Batch, basis: profiles.Basis) -> torch.Tensor:
        """Return the scene's sources through this band's PSF."""
        scene, rows = self.scene, batch.rows
        model = basis.mix(scene.dx[rows], scene.dy[rows], scene.shape[rows], scene.coefficients[rows, : basis.count])
        for k, row in enumerate(rows.tolist()):
            if row in scene.extra:
                model[k] += scene.extra[row]
        return model.clamp_min(0.0)

    def _solve(self, sweeps: int) -> None:
        """Find the non-negative amounts of all templates together, by coordinate descent, brightest first."""
        amount = self.amount
        for _ in range(sweeps):
            for batch in self.scene.batches:
                template, ivar, rows = self.model(batch), batch.cut(self.ivar), batch.rows
                weighted = template * ivar
                norm = (weighted * template).sum(1)
                residual = batch.cut(self.residual)
                step = (weighted * residual).sum(1) / norm.clamp_min(1e-20)
                new = torch.where(norm > 0, (amount[rows] + step).clamp_min(0.0), 0.0)
                batch.put(self.residual, residual - (new - amount[rows])[:, None] * template)
                amount[rows] = new
        for batch in self.scene.batches:
            self.models[batch.size][self.scene.place[batch.rows]] *= amount[batch.rows, None]
        self.whole = self.whole * amount
        self.total = torch.zeros_like(self.data)
        for batch in self.scene.batches:
            batch.add(self.total, self.model(batch))

    def fractions(self, batch: Batch) -> torch.Tensor:
        """Return the part of every pixel that is each source's, (b, size * size)."""
        return self.model(batch) / batch.cut(self.total).clamp_min(SKY)

    def measure(self) -> Measured:
        """Return the fluxes: of its part of the data where a source stands out of the noise, completed by its model.

        The sum runs over the source's part of every pixel, with weights that fall from one in its bright pixels to the
        optimal ones of its model in the faint; what they leave out is in the model. The error of a source without light is a
        star's; a source without a pixel in the scene has no shape, and so no flux.
        """
        n = len(self.whole)
        flux, error, masked = (torch.zeros(n, device=self.layout.device) for _ in range(3))
        for batch in self.scene.batches:
            model, ivar, rows = self.model(batch), batch.cut(self.ivar), batch.rows
            known = ivar > 0
            part = self.fractions(batch)
            weight = model / (model + SOFT * torch.rsqrt(ivar.clamp_min(1e-12))) * known
            seen = (weight * model).sum(1)
            scale = self.whole[rows] / seen.clamp_min(1e-20)
            sums = (weight * part * batch.cut(self.data)).sum(1)
            noise = (torch.square(weight * part) / ivar.clamp_min(1e-12)).sum(1)
            shared = (weight * model * (1 - part)).sum(1) / seen.clamp_min(1e-20)
            unsure = SCATTER * self.scene.scatter[rows] + SHARED * shared + PROFILE
            shape = torch.square(unsure * self.whole[rows])
            there = known.any(1) & self.scene.covered[rows]
            flux[rows] = torch.where(seen > 0, scale * sums, torch.where(there, 0.0, torch.nan))
            least = torch.rsqrt(self.star * ivar.sum(1) / known.sum(1).clamp_min(1))
            error[rows] = torch.where(seen > 0, torch.sqrt(scale**2 * noise + shape), torch.where(there, least, torch.nan))
            light = model.sum(1).clamp_min(1e-20)
            masked[rows] = 1 - (model * known).sum(1) / light
        return Measured(flux.cpu().numpy(), error.cpu().numpy(), masked.clamp(0, 1).cpu().numpy())
