"""Which objects of another catalogue the sources are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from ...core.product import Tiles, optional
from ...core.stage import Context, DataError, FilePath, NoWork, Stage, StageConfig
from ...products import Catalog, Metrics

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from .sides import Motion

ASIDE, FARTHEST = 30, 45 * 3600.0
"""Radii by which sources are moved to count what lies near a place by chance, and the most, in arcsec."""
Two = tuple[str, str]


class OtherFile(StageConfig):
    """A catalogue in a file, in any format that `io.catalog` reads; its settings mean the same here."""

    path: FilePath = Field(min_length=1, description="the file")
    id: str | None = Field(None, description="column that names the objects, whole numbers or texts; unset: they go by their rows")
    columns: dict[str, str] = Field({}, description="what the file calls `ra` and `dec`, or galactic `l` and `b`, if not by a usual name")
    units: dict[str, str] = Field({}, description="by column of the file, its unit where the file says none or a wrong one")
    missing: list[float | str] = Field([], description="numbers and texts that stand for no value, such as -99")
    hdu: int | str | None = Field(None, description="number or EXTNAME of the table in a FITS file; unset: the first one")


class CrossMatch(Stage):
    """Match the sources with another catalogue by position: a published one in a file, or one of another survey.

    For each source its counterparts within a radius, or within so many standard errors, come out with separation and offset; flags say
    where several compete on either side, and the log how many sources would have one by chance. Catalogues that memory does not hold are
    matched part after part of the sky.

    References: de Ruiter, Willis & Arp (1977), A&AS 28, 211 (separations over errors); Sutherland & Saunders (1992), MNRAS 259, 413 (what
    is near by chance); Górski et al. (2005), ApJ 622, 759 (HEALPix).
    """

    name = "catalog.crossmatch"
    scope = "survey"
    inputs = {
        "sources": Tiles.of(Catalog.of("source")),
        "tiles": optional(Tiles.of(Catalog.of("tile"))),
        "others": optional(Tiles.of(Catalog.of("source"))),
        "other_tiles": optional(Tiles.of(Catalog.of("tile"))),
    }
    outputs = {"matches": Catalog.of("crossmatch"), "metrics": Metrics}

    class Config(StageConfig):
        """Settings of `catalog.crossmatch`."""

        file: OtherFile | None = Field(None, description="the other catalogue, if it is a file: `{path: gaia.fits, id: source_id}`")
        radius: float = Field(1.0, gt=0, le=18000, description="greatest separation, in arcsec")
        sigma: float | None = Field(
            None, gt=0, description="greatest separation in units of the combined standard error of both positions; unset: no such limit"
        )
        pairs: Literal["best", "all"] = Field("best", description="best: the best counterpart of each source; all: every one within reach")
        error: float = Field(0.0, ge=0, description="standard error of the sources' positions, in arcsec, added to what is known of each")
        errors: Two | None = Field(
            None, description="columns with the standard errors of the sources' positions along both axes; unset: from their covariance"
        )
        other_error: float = Field(0.0, ge=0, description="as `error`, of the other catalogue")
        other_errors: Two | None = Field(None, description="as `errors`, of the other catalogue, such as [ra_error, dec_error]")
        epoch: float | None = Field(
            None, gt=0, description="Julian year to which the other catalogue's positions are moved; unset: they stay"
        )
        other_epoch: float | str | None = Field(None, description="their own epoch: a Julian year, or the column that has it")
        other_motion: Two | None = Field(None, description="columns with their proper motions, such as [pmra, pmdec]")
        extra: list[str] = Field([], description="columns of the other catalogue to keep beside each counterpart")
        partition_rows: int = Field(
            1_000_000, ge=1, description="most rows of a catalogue in memory at once; a larger one is matched cell after cell of the sky"
        )

        @model_validator(mode="after")
        def _whole(self) -> CrossMatch.Config:
            given = [name for name in ("epoch", "other_epoch", "other_motion") if getattr(self, name) is not None]
            if len(given) not in (0, 3):
                raise ValueError("`epoch`, `other_epoch` and `other_motion` are of use only together; give all of them, or none")
            return self

        def motion(self) -> Motion | None:
            """Return how the other catalogue's objects are moved; None if they stay."""
            from .sides import Motion

            if self.epoch is None or self.other_epoch is None or self.other_motion is None:
                return None
            return Motion(self.other_motion, self.other_epoch, self.epoch)

    @classmethod
    def check_inputs(cls, config: Any, wired: Mapping[str, tuple[type[Stage], Any]]) -> Iterable[tuple[str, str]]:
        """Yield what is wrong unless the other catalogue is either a file or wired."""
        if (config.file is None) != ("others" in wired):
            has = "both" if "others" in wired else "neither"
            yield f"the other catalogue is a `file`, or wired to `others`; {has} is given", "give one of the two"

    def run(
        self,
        ctx: Context,
        *,
        sources: Tiles[Catalog],
        tiles: Tiles[Catalog] | None,
        others: Tiles[Catalog] | None,
        other_tiles: Tiles[Catalog] | None,
    ) -> Mapping[str, Any]:
        """Return the matches, and how many and how good they are."""
        import numpy as np
        import pyarrow as pa

        from ...catalog.margins import Spread
        from .counterparts import Reach, by_chance, columns, links, without_place
        from .matches import Matches
        from .sides import aside, pixel_scales, source_rows, without_rows
        from .summary import Summary

        config = self.config
        if len(sources) == 0:
            raise NoWork("no tile has a catalogue")
        if (config.file is None) == (others is None):
            raise DataError("the other catalogue is a `file`, or wired to `others`; give one of the two")
        reach = Reach(config.radius, config.sigma)
        spill = ctx.scratch / "spill"
        spill.mkdir()
        spread = Spread(("sources", "aside", "others"), config.partition_rows, spill)
        lost = [np.empty(0, np.int64)]
        for rows in source_rows(sources, config, pixel_scales(tiles)):
            placed, known = _placed(rows)
            lost.append(rows.column("source_id").to_numpy()[~known])
            spread.add("sources", placed)
            spread.add("aside", aside(placed, min(ASIDE * config.radius, FARTHEST)))
        none = True
        for rows in self._others(ctx, others, other_tiles):
            spread.add("others", _placed(rows)[0])
            none = False
        if none:
            spread.add("others", without_rows())
        nowhere = np.sort(np.concatenate(lost))
        made, summary = Matches(ctx.scratch / "matches", config.partition_rows), Summary(config.radius)
        for cell, part in spread.parts(2 * config.radius):
            (mine, core), (moved, of_cell), (theirs, _) = (part[name] for name in ("sources", "aside", "others"))
            found = links(mine, theirs, reach, ctx.device)
            rows = columns(mine, core, theirs, found, best=config.pairs == "best")
            chance = by_chance(moved.filter(pa.array(of_cell)), theirs, reach)
            summary.add(core, found, _offsets(rows), int(chance.sum()))
            made.add(cell, rows)
        summary.tell(ctx.log, len(nowhere))
        return {"matches": made.close(without_place(nowhere)), "metrics": Metrics(summary.values())}

    def _others(self, ctx: Context, others: Tiles[Catalog] | None, other_tiles: Tiles[Catalog] | None) -> Iterator[pa.Table]:
        from .sides import file_rows, other_rows, pixel_scales

        if self.config.file is not None:
            return file_rows(self.config.file, self.config, ctx.log)
        assert others is not None
        return other_rows(others, self.config, pixel_scales(other_tiles))


def _placed(rows: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """Return the rows that have a place on the sky, and (n,) bool which they are."""
    import numpy as np
    import pyarrow as pa

    known = np.isfinite(rows.column("ra").to_numpy()) & np.isfinite(rows.column("dec").to_numpy())
    return rows.filter(pa.array(known)), known


def _offsets(rows: pa.Table) -> np.ndarray:
    """Return (3, matched) separations of the best counterparts and their offsets along both axes, arcsec."""
    import numpy as np
    import pyarrow.compute as pc

    best = rows.filter(pc.and_(pc.equal(rows.column("rank"), 0), pc.is_valid(rows.column("separation"))))
    return np.stack([best.column(name).to_numpy() for name in ("separation", "delta_ra", "delta_dec")])
