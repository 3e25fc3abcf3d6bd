"""Examples that laws are tried on, and what the kit makes of them: emptied, bare and damaged inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.tiles import Tile

TILE = Tile("t0", number=7, index=0)


@dataclass(frozen=True)
class Example:
    """An input on which a stage is tried.

    Attributes:
        inputs: a product for each input port; for a port that gathers tiles, a list of products.
            Optional ports may be left out.
        config: the settings, as they would stand in a pipeline file.
        tile: the tile that a stage of scope tile works on.
    """

    inputs: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    tile: Tile = TILE

    def changed(self, change: Callable[[Any], Any]) -> Example:
        """Return the example with `change` applied to every product at its inputs."""
        return replace(self, inputs={port: _each(value, change) for port, value in self.inputs.items()})

    def products(self) -> list[Any]:
        """Return every product at the inputs."""
        return [p for value in self.inputs.values() for p in (value if isinstance(value, Sequence) else [value])]


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    return [change(v) for v in value] if isinstance(value, Sequence) else change(value)


def emptied(product: Any) -> Any:
    """Return a catalogue without rows and a segmentation without labels; other products as they are."""
    from ..products import Catalog, Segmentation

    if isinstance(product, Catalog):
        return replace(product, rows=product.rows.slice(0, 0))
    if isinstance(product, Segmentation):
        return replace(product, labels=product.labels * 0)
    return product


def without_data(product: Any) -> Any:
    """Return an image of which no pixel was exposed, spectra without one usable pixel; other products as `emptied` leaves them."""
    import numpy as np

    from ..catalog.flags import PIXEL, SPECTRUM_PIXEL
    from ..products import Image, Spectra

    if isinstance(product, Spectra):
        return replace(
            product,
            flux=np.full_like(product.flux, np.nan),
            ivar=np.zeros_like(product.ivar),
            mask=np.full_like(product.mask, SPECTRUM_PIXEL["NO_DATA"]),
        )
    if not isinstance(product, Image):
        return emptied(product)
    return replace(
        product,
        data=np.full_like(product.data, np.nan),
        variance=np.full_like(product.data, np.inf),
        mask=np.full(product.data.shape, PIXEL["NO_DATA"], np.int32),
    )


def bare(product: Any) -> Any:
    """Return an image of which only the pixels are known; other products as they are."""
    from ..products import Image

    return replace(product, variance=None, mask=None, psf=None, wcs=None) if isinstance(product, Image) else product


def damaged(product: Any) -> Any:
    """Return an image with a block of NaN, saturated pixels and a dead column, or spectra with holes; others as they are."""
    import numpy as np

    from ..catalog.flags import PIXEL
    from ..products import Image, Spectra

    if isinstance(product, Spectra):
        return _with_holes(product)
    if not isinstance(product, Image):
        return product
    _, ny, nx = product.data.shape
    data, mask = product.data.copy(), np.zeros(product.data.shape, np.int32)
    variance = np.ones_like(data) if product.variance is None else product.variance.copy()
    mask |= 0 if product.mask is None else product.mask
    data[:, : ny // 4, : nx // 4] = np.nan
    mask[:, : ny // 4, : nx // 4] |= PIXEL["NO_DATA"]
    variance[:, : ny // 4, : nx // 4] = np.inf
    data[:, :, nx // 2] = 0
    mask[:, :, nx // 2] |= PIXEL["BAD"]
    # Saturated at the brightest pixel of each band, as real stars are.
    for band, peak in enumerate(np.nanargmax(np.where(np.isfinite(data), data, -np.inf).reshape(len(data), -1), axis=1)):
        y, x = divmod(int(peak), nx)
        mask[band, max(y - 2, 0) : y + 3, max(x - 1, 0) : x + 2] |= PIXEL["SAT"]
    return replace(product, data=data, variance=variance, mask=mask)


def _with_holes(spectra: Any) -> Any:
    """Return spectra with a gap, every tenth pixel bad but of full weight, weights of 0 at the end, and nothing in the last one."""
    import numpy as np

    from ..catalog.flags import SPECTRUM_PIXEL

    flux, ivar, mask = spectra.flux.copy(), spectra.ivar.copy(), spectra.mask.copy()
    pixels = flux.shape[1]
    gap, end, every = slice(pixels // 3, pixels // 2), slice(pixels - pixels // 8, None), slice(None, None, 10)
    flux[:, gap], flux[-1] = np.nan, np.nan
    ivar[:, gap], ivar[:, end], ivar[-1] = 0, 0, 0
    flux[:-1, every] = np.where(np.isfinite(flux[:-1, every]), 1e30, np.nan)
    mask[:, every] |= SPECTRUM_PIXEL["BAD"]
    mask[ivar == 0] |= SPECTRUM_PIXEL["NO_DATA"]
    return replace(spectra, flux=flux, ivar=ivar, mask=mask)


def on_own_grids(product: Any) -> Any:
    """Return spectra each of which has a wavelength grid of its own; other products as they are."""
    import numpy as np

    from ..products import Spectra

    if not isinstance(product, Spectra) or not product.shared:
        return product
    return replace(product, wave=product.wave * (1 + 1e-4 * np.arange(len(product)))[:, None])
