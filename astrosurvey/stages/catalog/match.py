"""Of which source each spectrum is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...core.product import Tiles, optional
from ...core.stage import Context, DataError, Stage, StageConfig
from ...products import Catalog

if TYPE_CHECKING:
    import numpy as np

ASIDE = 30
"""Radii by which spectra are moved to count what lies near a place by chance."""


class MatchSpectra(Stage):
    """Find the source of each spectrum by position: the nearest primary one within a radius.

    Spectra, their redshifts and their classes come out with `source_id` filled. A source may have several spectra, for
    objects are observed again; where more than one source lies within the radius, a flag says so. Spectra of empty sky,
    and those without a position, have no source; one that has been known before stays.

    References: Sutherland & Saunders (1992), MNRAS 259, 413 (what is near by chance).
    """

    name = "catalog.match"
    scope = "survey"
    inputs = {
        "sources": Tiles.of(Catalog.of("source")),
        "catalog": Tiles.of(Catalog.of("spectrum")),
        "redshifts": optional(Tiles.of(Catalog.of("redshift"))),
        "classes": optional(Tiles.of(Catalog.of("classification"))),
    }
    outputs = {
        "catalog": Catalog.of("spectrum", passes="catalog"),
        "redshifts": Catalog.of("redshift", passes="redshifts"),
        "classes": Catalog.of("classification", passes="classes"),
    }

    class Config(StageConfig):
        """Settings of `catalog.match`."""

        radius: float = Field(
            1.0, gt=0, le=3600, description="greatest separation of a spectrum and its source, in arcsec; half a fibre's width is usual"
        )

    def run(
        self,
        ctx: Context,
        *,
        sources: Tiles[Catalog],
        catalog: Tiles[Catalog],
        redshifts: Tiles[Catalog] | None,
        classes: Tiles[Catalog] | None,
    ) -> Mapping[str, Any]:
        """Return the spectra, redshifts and classes with the sources they are of; no rows of what was not wired."""
        import numpy as np

        spectra = _joined("spectrum", catalog)
        of_spectrum = spectra.column("spectrum_id")
        if len(np.unique(of_spectrum)) < len(of_spectrum):
            raise DataError("a spectrum is there more than once; wire the tiles' `catalog` of io.spectra, each once")
        owner, flags = self._owners(ctx, sources, spectra)
        order = np.argsort(of_spectrum)

        def of(ids: np.ndarray) -> np.ndarray:
            """Return the source of each spectrum, by its id; -1 for none."""
            if not len(order):
                return np.full(len(ids), -1)
            place = order[np.searchsorted(of_spectrum, ids, sorter=order).clip(max=len(order) - 1)]
            return np.where(of_spectrum[place] == ids, owner[place], -1)

        found, labels = _joined("redshift", redshifts), _joined("classification", classes)
        is_spectrum = labels.column("object_table") == "spectrum"
        return {
            "catalog": _with_source(spectra, owner).replace(flags=flags),
            "redshifts": _with_source(found, of(found.column("spectrum_id"))),
            "classes": _with_source(labels, np.where(is_spectrum, of(labels.column("object_id")), -1)),
        }

    def _owners(self, ctx: Context, sources: Tiles[Catalog], spectra: Catalog) -> tuple[np.ndarray, np.ndarray]:
        """Return (n,) the id of each spectrum's source, -1 for none, and its flags."""
        import numpy as np

        from ...catalog.flags import SPECTRUM
        from .nearest import nearest

        radius, flags = self.config.radius, spectra.column("flags").astype(np.int32)
        parts = [[one.column(name)[one.column("primary")] for name in ("source_id", "ra", "dec")] for _, one in sources.items()]
        ids, ra, dec = (np.concatenate(columns) for columns in zip([np.empty(0, np.int64), np.empty(0), np.empty(0)], *parts, strict=True))
        order = np.argsort(ids, kind="stable")
        ids, ra, dec = ids[order], ra[order], dec[order]
        on_object = (flags & SPECTRUM["SKY_FIBRE"]) == 0
        at_ra, at_dec = (np.where(on_object, spectra.column(name), np.nan) for name in ("ra", "dec"))
        near = nearest(at_ra, at_dec, ra, dec, radius)
        aside = np.where(at_dec > 0, -1, 1) * ASIDE * radius / 3600
        by_chance = nearest(at_ra, at_dec + aside, ra, dec, radius, counted=False)
        matched, several, known = near.index >= 0, near.number > 1, _source_of(spectra)
        ctx.log.info(
            "%d of %d spectra have a source within %g arcsec, %d of them several; moved aside, %d have one by chance",
            matched.sum(), len(spectra), radius, several.sum(), (by_chance.index >= 0).sum(),
        )  # fmt: skip
        if matched.any():
            ctx.log.info("the nearest source is %.2g arcsec away in the median", np.median(near.separation[matched]))
        elif len(spectra) and len(ids):
            ctx.log.warning(
                "no spectrum has a source within %g arcsec: do both have positions, of the same part of the sky? see `radius`", radius
            )
        owner = np.full(len(spectra), -1, np.int64)
        owner[matched] = ids[near.index[matched]]
        flags[several & (known < 0)] |= SPECTRUM["AMBIGUOUS_SOURCE"]
        return np.where(known >= 0, known, owner), flags


def _joined(table: str, tiles: Tiles[Catalog] | None) -> Catalog:
    """Return the rows of all tiles as one catalogue."""
    parts = [catalog for _, catalog in tiles.items()] if tiles is not None else []
    return Catalog.concatenate(parts) if parts else Catalog.empty(table)


def _source_of(catalog: Catalog) -> np.ndarray:
    """Return the sources that rows name; -1 for none."""
    import numpy as np

    return np.asarray(catalog.rows.column("source_id").fill_null(-1).to_numpy(), np.int64)


def _with_source(catalog: Catalog, owner: np.ndarray) -> Catalog:
    """Return rows of which those that named no source name the one found; -1 for none."""
    import numpy as np

    known = _source_of(catalog)
    filled = np.where(known >= 0, known, owner)
    return catalog.replace(source_id=np.ma.MaskedArray(filled, filled < 0))
