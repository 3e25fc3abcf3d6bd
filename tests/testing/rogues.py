"""Stages that each break one law."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import ClassVar

import numpy as np
from toy import Number

from astrosurvey import Catalog, DataError, Field, Image, NoWork, Spectra, Stage, StageConfig, Tiles


class Honest(Stage):
    """Add one."""

    name = "rogue.honest"
    inputs = {"number": Number}
    outputs = {"number": Number}

    def run(self, ctx, *, number):
        return {"number": Number(number.value + 1)}


class Remembers(Honest):
    """Add up all that it has seen."""

    name = "rogue.remembers"
    seen: ClassVar[list[float]] = []

    def run(self, ctx, *, number):
        self.seen.append(number.value)
        return {"number": Number(sum(self.seen))}


class GlobalRandom(Honest):
    """Add a number of NumPy's global generator."""

    name = "rogue.global_random"

    def run(self, ctx, *, number):
        return {"number": Number(number.value + np.random.normal())}


class Draws(Honest):
    """Use up numbers of a global generator, and give no sign of it."""

    name = "rogue.draws"

    def run(self, ctx, *, number):
        random.random()
        return {"number": number}


class Hashes(Honest):
    """Depend on the hash seed of the process."""

    name = "rogue.hashes"

    def run(self, ctx, *, number):
        return {"number": Number(float(hash("a word")))}


class Batches(Honest):
    """Depend on the batch."""

    name = "rogue.batches"

    def run(self, ctx, *, number):
        return {"number": Number(number.value * ctx.batch)}


class Litters(Honest):
    """Leave a file where the process was started."""

    name = "rogue.litters"

    def run(self, ctx, *, number):
        with open("litter.txt", "w") as stream:
            stream.write("x")
        return {"number": number}


class Exports(Honest):
    """Set a variable of the environment."""

    name = "rogue.exports"

    def run(self, ctx, *, number):
        os.environ["ROGUE"] = "yes"
        return {"number": number}


class Overwrites(Honest):
    """Change the input."""

    name = "rogue.overwrites"

    def run(self, ctx, *, number):
        object.__setattr__(number, "value", 0.0)
        return {"number": Number(1.0)}


class Idle(Honest):
    """Never find work."""

    name = "rogue.idle"

    def run(self, ctx, *, number):
        raise NoWork("too lazy")


class Mute(Honest):
    """without a sentence"""

    name = "rogue.mute"


class Ordered(Stage):
    """Fail on one tile."""

    name = "rogue.ordered"
    scope = "survey"
    inputs = {"number": Tiles.of(Number)}
    outputs = {"number": Number}

    class Config(StageConfig):
        least: int = Field(2, description="tiles that there must be")

    def run(self, ctx, *, number):
        if len(number) < self.config.least:
            raise ValueError("one tile is not enough for me")
        return {"number": number[0]}


class Gullible(Honest):
    """Take anything."""

    name = "rogue.gullible"


class Rambles(Honest):
    """Refuse at length."""

    name = "rogue.rambles"

    def run(self, ctx, *, number):
        raise RuntimeError("no")


class Passes(Stage):
    """Hand sources on as they are."""

    name = "rogue.passes"
    inputs = {"image": Image, "sources": Catalog.of("source")}
    outputs = {"sources": Catalog.of("source", passes="sources")}

    def run(self, ctx, *, image, sources):
        return {"sources": sources}


class Forgets(Passes):
    """Hand on the columns that it knows."""

    name = "rogue.forgets"

    def run(self, ctx, *, image, sources):
        return {"sources": Catalog("source", sources.rows.select([c.name for c in sources.schema.columns]), sources.meta)}


class Shuffles(Passes):
    """Turn the columns that it does not know upside down."""

    name = "rogue.shuffles"

    def run(self, ctx, *, image, sources):
        foreign = [name for name in sources.rows.column_names if name.startswith("x_")]
        return {"sources": sources.replace(**{name: sources.rows.column(name).to_pylist()[::-1] for name in foreign})}


class NeedsRows(Passes):
    """Look at the first row."""

    name = "rogue.needs_rows"

    def run(self, ctx, *, image, sources):
        sources.rows.column("x")[0].as_py()
        return {"sources": sources}


class NeedsPixels(Passes):
    """Look at the brightest pixel."""

    name = "rogue.needs_pixels"

    def run(self, ctx, *, image, sources):
        np.nanargmax(image.data[:, :, 0][~np.isnan(image.data[:, :, 0])])
        return {"sources": sources}


class NeedsFinite(Passes):
    """Take it that every pixel is a number."""

    name = "rogue.needs_finite"

    def run(self, ctx, *, image, sources):
        if np.isnan(image.data).any() and np.isfinite(image.data).any():
            raise FloatingPointError("NaN")
        return {"sources": sources}


class NeedsWcs(Passes):
    """Take it that every image has coordinates."""

    name = "rogue.needs_wcs"

    def run(self, ctx, *, image, sources):
        image.wcs.pixel_to_world(0, 0)
        return {"sources": sources}


class AsksForWcs(Passes):
    """Say that coordinates are missing."""

    name = "rogue.asks_for_wcs"

    def run(self, ctx, *, image, sources):
        if image.wcs is None:
            raise DataError("the image has no coordinates; give one that has")
        return {"sources": sources}


class Scales(Stage):
    """Scale every spectrum to its median."""

    name = "rogue.scales"
    inputs = {"spectra": Spectra}
    outputs = {"spectra": Spectra}

    def run(self, ctx, *, spectra):
        levels = [np.median(row[good]) if good.any() else 1 for row, good in zip(spectra.flux, spectra.usable(), strict=True)]
        return {"spectra": replace(spectra, flux=spectra.flux / np.float32(levels)[:, None])}


class NeedsUsable(Scales):
    """Take it that there is something to see."""

    name = "rogue.needs_usable"

    def run(self, ctx, *, spectra):
        assert spectra.usable().any()
        return {"spectra": spectra}


class TrustsWeights(Scales):
    """Forget that what is masked may have weight."""

    name = "rogue.trusts_weights"

    def run(self, ctx, *, spectra):
        assert np.abs(spectra.flux[spectra.ivar > 0]).max(initial=0) < 1e20, "wild"
        return {"spectra": spectra}


class SharesGrids(Scales):
    """Take it that all spectra are on one grid."""

    name = "rogue.shares_grids"

    def run(self, ctx, *, spectra):
        np.interp(5000.0, spectra.wave, spectra.flux[0])
        return {"spectra": spectra}


class FirstOnly(Stage):
    """Take the first tile for the survey."""

    name = "rogue.first_only"
    scope = "survey"
    inputs = {"sources": Tiles.of(Catalog.of("source"))}
    outputs = {"sources": Catalog.of("source")}

    def run(self, ctx, *, sources):
        return {"sources": sources[0]}


class Invents(Passes):
    """Promise a column that there is not."""

    name = "rogue.invents"
    outputs = {"sources": Catalog.of("source", fills=["brightnes"])}


class Misdirects(Passes):
    """Pass on a port that there is not."""

    name = "rogue.misdirects"
    outputs = {"sources": Catalog.of("source", passes="source")}


class Confuses(Passes):
    """Pass on one table as another."""

    name = "rogue.confuses"
    outputs = {"sources": Catalog.of("photometry", passes="sources")}
