"""io.image: FITS images of one tile, in one or more bands, into a calibrated Image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from ...catalog.flags import PIXEL
from ...core.stage import Context, FilePath, Stage, StageConfig
from ...core.tiles import Tile, fill
from ...products import Image

Where = int | str | dict[str, int | str] | None
"""An HDU: number, EXTNAME, one of these for each band, or None for the only image of the file."""

PerBand = float | dict[str, float] | None
"""A number for all bands, or one for each."""

_HDU = "HDU number (0 is the primary) or EXTNAME, or {band: HDU}; unset: the only image in the file, or the one named SCI"
_PATH = "template of the file; unset: the image's own file"


class VariancePlane(StageConfig):
    """Where the noise of each pixel is found, and what the numbers there mean."""

    path: FilePath = Field("", description=_PATH)
    hdu: Where = Field(None, description=_HDU)
    kind: Literal["variance", "inverse_variance", "error", "weight"] = Field(
        description="what the numbers are; `error` is one standard deviation, `weight` is proportional to the inverse variance"
    )
    scale: float | None = Field(None, gt=0, description="for `weight` only: inverse variance = scale x weight")
    unit: str | None = Field(None, description='unit of the numbers; unset: BUNIT there, "": that of the image to the fitting power')

    @model_validator(mode="after")
    def _scaled(self) -> VariancePlane:
        if (self.kind == "weight") != (self.scale is not None):
            raise ValueError("`scale` is needed with kind `weight`, whose zero point is arbitrary, and means nothing with another kind")
        return self


class MaskPlane(StageConfig):
    """Where bad pixels are marked, and what the survey's numbers there mean in our mask bits."""

    path: FilePath = Field("", description=_PATH)
    hdu: Where = Field(None, description=_HDU)
    bits: dict[str, list[int]] | None = Field(None, description="our bit name -> bit values (1, 2, 4, …) of the survey's mask")
    codes: dict[str, list[int]] | None = Field(None, description="our bit name -> whole values of a mask that holds one code a pixel")
    nonzero: str | None = Field(None, description="our bit name for every pixel that is not 0, whatever its value")
    other: str | None = Field("BAD", description="our bit name for what `bits` or `codes` leave out; null: leave such pixels unmarked")
    ignore: list[int] = Field([], description="bit values or codes that mark nothing bad")

    @model_validator(mode="after")
    def _one_way(self) -> MaskPlane:
        if sum(setting is not None for setting in (self.bits, self.codes, self.nonzero)) != 1:
            raise ValueError("set one of `bits`, `codes` and `nonzero`")
        named = [*(self.bits or {}), *(self.codes or {}), *(name for name in (self.nonzero, self.other) if name is not None)]
        for name in named:
            if name not in PIXEL:
                raise ValueError(f"no mask bit {name!r}; there are {', '.join(flag.name for flag in PIXEL.flags)}")
        values = [v for listed in (self.bits or {}).values() for v in listed] + (self.ignore if self.bits else [])
        if any(value < 1 or value >= 2**63 for value in values):
            raise ValueError("bit values must be positive: 1 for the lowest bit, then 2, 4, 8, …")
        return self


class PsfPlane(StageConfig):
    """Where the image of a point source at the tile's centre is found."""

    path: FilePath = Field("", description=_PATH)
    hdu: Where = Field(None, description=_HDU)


class ReadImage(Stage):
    """Read FITS images, with their variance, mask and PSF, and calibrate them to nJy."""

    name, version, scope = "io.image", 1, "tile"
    inputs: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, Any]] = {"image": Image}

    class Config(StageConfig):
        """Settings; nothing that a header leaves open is guessed."""

        path: FilePath = Field("{image}", description="template of the file; `{tile}`, `{band}` and the tile's columns are filled in")
        bands: list[str] = Field(min_length=1, description="band names; one file, one HDU or one plane of a cube each, in this order")
        hdu: Where = Field(None, description=_HDU)
        unit: str | None = Field(None, description="unit of the pixels, such as nJy, nanomaggy, MJy/sr or adu; unset: BUNIT")
        zeropoint: PerBand = Field(None, description="AB magnitude of one unit of the pixels; needed for counts, adu and electrons")
        zeropoint_keyword: str | None = Field(None, description="header keyword that holds the zero point, such as MAGZERO")
        pixel_scale: float | None = Field(None, gt=0, description="arcsec a pixel, for images without WCS")
        saturate: PerBand = Field(None, description="pixels at or above this level, in the unit of the file, are saturated")
        saturate_keyword: str | None = Field(None, description="header keyword that holds the saturation level, such as SATURATE")
        variance: VariancePlane | None = Field(None, description="the noise of each pixel")
        mask: MaskPlane | None = Field(None, description="the survey's mask of bad pixels")
        psf: PsfPlane | None = Field(None, description="the point-spread function")
        wcs: Literal["optional", "required", "ignore"] = Field(
            "optional", description="what to do when coordinates are missing or broken: go on without and warn, fail, or never read them"
        )
        checksum: bool = Field(True, description="refuse an HDU read as a whole that disagrees with its own DATASUM")

        @model_validator(mode="after")
        def _consistent(self) -> ReadImage.Config:
            if len(set(self.bands)) != len(self.bands):
                raise ValueError("`bands` names a band twice")
            for first, second in (("zeropoint", "zeropoint_keyword"), ("saturate", "saturate_keyword")):
                if getattr(self, first) is not None and getattr(self, second) is not None:
                    raise ValueError(f"set `{first}` or `{second}`, not both")
            planes = [("", self), *((f"{name}.", plane) for name in ("variance", "mask", "psf") if (plane := getattr(self, name)))]
            per_band = [(f"{prefix}hdu", plane.hdu) for prefix, plane in planes]
            for name, value in [*per_band, ("zeropoint", self.zeropoint), ("saturate", self.saturate)]:
                if isinstance(value, dict) and set(value) != set(self.bands):
                    raise ValueError(f"`{name}` must name each of the bands {', '.join(self.bands)}, but names {', '.join(value)}")
            return self

    @classmethod
    def external_files(cls, config: Any, tile: Tile | None) -> list[str]:
        """Return the files of all bands and planes, each once."""
        templates = [config.path, *(plane.path for plane in (config.variance, config.mask, config.psf) if plane and plane.path)]
        return list(dict.fromkeys(fill(template, tile, band=band) for template in templates for band in config.bands))

    def run(self, ctx: Context) -> Mapping[str, Any]:
        """Read the tile's image."""
        from .assemble import read_image

        return {"image": read_image(self.config, ctx.tile, ctx.log)}
