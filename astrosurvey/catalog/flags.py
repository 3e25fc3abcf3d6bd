"""The one registry of flags: what each bit of a pixel mask and of a source's `flags` means.

A bit, once given a meaning, keeps it: the registry only grows. Docs and FITS headers are made from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """One bit with its name and meaning."""

    bit: int
    name: str
    meaning: str

    @property
    def value(self) -> int:
        """The bit as an integer: 1, 2, 4, …"""
        return 1 << self.bit


class FlagSet:
    """Flags by name; `flags["SAT"]` is the bit's integer value.

    Raises:
        ValueError: two flags share a bit or a name.
    """

    def __init__(self, *flags: tuple[int, str, str]) -> None:
        self.flags = tuple(Flag(*flag) for flag in flags)
        self._by_name = {flag.name: flag for flag in self.flags}
        if len(self._by_name) != len(self.flags) or len({flag.bit for flag in self.flags}) != len(self.flags):
            raise ValueError("two flags share a bit or a name")

    def __getitem__(self, name: str) -> int:
        try:
            return self._by_name[name].value
        except KeyError:
            raise KeyError(f"no flag {name!r}; there are {', '.join(self._by_name)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def combine(self, names: Iterable[str]) -> int:
        """Return the integer in which the bits of all `names` are set."""
        value = 0
        for name in names:
            value |= self[name]
        return value

    def decode(self, value: int) -> list[str]:
        """Return the names of the bits set in `value`, lowest first."""
        return [flag.name for flag in self.flags if value & flag.value]


PIXEL = FlagSet(
    (0, "BAD", "known bad pixel or column, or flagged by the observatory for a reason not listed here"),
    (1, "SAT", "saturated, or in the bleed trail of a saturated star"),
    (2, "CR", "hit by a cosmic ray"),
    (3, "NO_DATA", "no exposure: outside the detector, NaN, BLANK or zero weight"),
    (4, "EDGE", "in the outer, unreliable rows or columns of the detector"),
    (5, "INTERP", "value interpolated from neighbours"),
    (6, "BRIGHT", "in the halo or on a spike of a bright star"),
    (7, "CROSSTALK", "ghost of a bright star read out elsewhere"),
)
"""Bits of an image's mask. All of them but INTERP and BRIGHT make a pixel unusable."""

UNUSABLE = PIXEL.combine(["BAD", "SAT", "CR", "NO_DATA", "EDGE", "CROSSTALK"])
"""Pixels with one of these bits carry no usable flux."""

SOURCE = FlagSet(
    (0, "EDGE", "the footprint touches the edge of the tile"),
    (1, "BLENDED", "split off from, or overlapping with, another source"),
    (2, "SATURATED", "the footprint holds saturated pixels"),
    (3, "MASKED", "the footprint holds unusable pixels"),
    (4, "COSMIC_RAY", "the footprint holds pixels hit by a cosmic ray"),
    (5, "APERTURE_TRUNCATED", "a photometric aperture reaches beyond the tile"),
    (6, "APERTURE_MASKED", "a photometric aperture holds unusable pixels; their flux is not in the sum"),
    (7, "NO_SHAPE", "second moments could not be measured; the shape is that of the point-spread function or empty"),
    (8, "NO_FLUX", "the flux could not be measured"),
    (9, "NO_SKY_POSITION", "the image has no usable world coordinates, so ra and dec are empty"),
    (10, "DEBLEND_SKIPPED", "too large or too many peaks: kept as one source"),
    (11, "NO_CENTROID", "the centroid fell outside the footprint; the brightest pixel stands in for it"),
    (12, "SEEDED", "found by another detector, whose seed it is; too faint for this one's own threshold"),
    (14, "SHOULDER", "split off on the shoulder of another source: there is no saddle between them unless the image is sharpened"),
    (15, "NO_WINDOW", "no windowed centroid could be found: the position is that of the detection"),
    (16, "EXTRAPOLATED", "more than a quarter of the total flux is the model's, where no pixel was measured"),
    (19, "NO_STAR_PROBABILITY", "no usable pixel in the core, or no flux there: whether it is a star cannot be told"),
    (20, "STAR_DOUBTFUL", "a neighbour or masked pixels in the core, or a PSF not measured on stars: its star probability may be wrong"),
    (21, "DEBLEND_NO_FLUX", "its neighbours account for all of its light: no flux was left for it"),
    (22, "DEBLEND_POOR", "the deblender's templates leave more than the noise in the source's pixels, or do not reach to its end"),
    (24, "NETWORK_BLIND", "bright, but not seen by the network that detected the others; its probability is unknown"),
)
"""Bits of the `flags` columns of the source and photometry tables."""

SPECTRUM_PIXEL = FlagSet(
    (0, "BAD", "flagged by the survey for a reason not listed here"),
    (1, "SAT", "saturated on the detector"),
    (2, "COSMIC_RAY", "hit by a cosmic ray"),
    (3, "NO_DATA", "no measurement: outside the range, NaN, without weight, or filling behind a shorter spectrum"),
    (4, "BAD_SKY", "the survey does not trust its sky subtraction here"),
    (5, "BAD_CALIBRATION", "the survey does not trust its flat field or flux calibration here"),
    (6, "SKY_LINE", "on a bright line of the night sky, where subtracting it leaves residuals"),
    (7, "TELLURIC", "in a strong absorption band of the atmosphere"),
    (8, "JOINED", "two arms overlap and both contribute"),
    (9, "SUSPECT", "some of the exposures or detector pixels behind it were rejected"),
    (10, "PARTIAL", "resampled from too few usable pixels: those cover too little of it; its flux is theirs, its ivar 0"),
)
"""Bits of a spectrum's mask. All of them but SKY_LINE, TELLURIC, JOINED and SUSPECT make a pixel unusable."""

SPECTRUM_UNUSABLE = SPECTRUM_PIXEL.combine(["BAD", "SAT", "COSMIC_RAY", "NO_DATA", "BAD_SKY", "BAD_CALIBRATION", "PARTIAL"])
"""Pixels of a spectrum with one of these bits carry no usable flux."""

SPECTRUM = FlagSet(
    (0, "NO_DATA", "not one usable pixel"),
    (1, "FEW_DATA", "fewer than half of the pixels in its range are usable"),
    (2, "SKY_FIBRE", "taken of empty sky, on purpose"),
    (3, "BAD_FIBRE", "the survey warns of the fibre, its place or the whole spectrum"),
    (4, "RELATIVE_FLUX", "the flux has no physical unit: only its shape means something"),
    (5, "MEASURED_ERRORS", "the file holds no errors: they were measured from the scatter between pixels"),
    (6, "WAVE_REPAIRED", "wavelengths were out of order, doubled or impossible; the pixels concerned were sorted or left out"),
    (7, "ARMS_DISAGREE", "the arms differ by more than 5 sigma and 5 % where they overlap"),
    (8, "NO_SKY_POSITION", "the file says no position, so ra and dec are empty"),
    (9, "AMBIGUOUS_SOURCE", "several sources lie within the radius of the match; the nearest is taken"),
)
"""Bits of the column `flags` of the table `spectrum`."""

SPECTRAL_LINE = FlagSet(
    (0, "OUTSIDE", "outside the range of the spectrum: nothing was measured"),
    (1, "MASKED", "too many of its pixels are unusable: nothing was measured"),
    (2, "PARTLY_MASKED", "some of its pixels are unusable"),
    (3, "TIED", "its flux is a fixed part of another line's"),
    (4, "UNRESOLVED", "not significantly wider than the instrument's resolution"),
    (5, "INSTRUMENT_WIDTH", "the resolution is not known, so the width is the instrument's and the line's together"),
    (6, "WIDTH_AT_BOUND", "the width or the velocity ran to the end of what is allowed"),
    (7, "NO_CONTINUUM", "no significant continuum: there is no equivalent width, and no index"),
    (8, "POOR_FIT", "chi-square is too large for the noise; the errors were raised by its root"),
    (9, "HAS_BROAD", "a broad component was fitted beside this one"),
)
"""Bits of the columns `flags` of the tables `spectral_line` and `spectral_index`."""

CLASSIFICATION = FlagSet(
    (0, "NO_DATA", "nothing to classify: not one usable pixel where the classifier looks"),
    (1, "NO_REDSHIFT", "a redshift is needed, and none is known"),
    (2, "NO_SIGNAL", "less signal than the faintest known objects show: it may be empty sky"),
    (3, "FEW_DATA", "usable in fewer than half of the pixels where the classifier looks"),
    (4, "OUTSIDE_TRAINING", "unlike what the classifier was trained on: its probabilities mean little"),
    (5, "DOUBTFUL", "no class is more probable than two thirds"),
    (6, "FAINT_LINES", "rests on emission lines of which one has a signal-to-noise ratio below 3"),
)
"""Bits of the column `flags` of the table `classification`."""

Z_WARNING = FlagSet(
    (0, "SKY_FIBRE", "taken of empty sky, on purpose"),
    (1, "LITTLE_COVERAGE", "fewer than half of the pixels from the first to the last are usable, or they cover less than a tenth of a dex"),
    (2, "SMALL_DELTA_CHI2", "another redshift, or another class, fits nearly as well"),
    (3, "NEGATIVE_MODEL", "the best fit needs light below zero: more than a tenth of the light that it gives the object"),
    (4, "MANY_OUTLIERS", "more than a twentieth of the pixels lie further than 5 sigma from the best fit"),
    (5, "Z_FITLIMIT", "the best fit is at the edge of the range of redshifts or velocities that was searched"),
    (6, "NO_FEATURES", "a smooth curve fits nearly as well as the best template: nothing is seen that could have a redshift"),
    (7, "BAD_FIBRE", "the survey warns of the fibre, its place or the whole spectrum"),
    (8, "NOT_SETTLED", "the fit did not come to rest at a redshift"),
    (9, "NO_DATA", "too few usable pixels where the templates are: nothing was fitted"),
    (10, "MEASURED_ERRORS", "the errors were measured from the scatter between pixels, so chi-squares mean little"),
    (11, "DISAGREEMENT", "the network and the template fit give different classes or redshifts"),
    (12, "DOUBTFUL", "the probability that this redshift is right is below nine tenths"),
)
"""Bits of the column `z_warning` of the table `redshift`; 0 is a safe redshift."""

CLUSTERING = FlagSet(
    (0, "MISSING_VALUE", "a chosen column is empty, NaN or infinite: kept, but not clustered"),
    (1, "NOT_PRIMARY", "another tile sees this source better, and it is clustered as that tile's: not clustered again"),
    (2, "DUPLICATE", "coincides with another source in every chosen column"),
)
"""Bits of the column `flags` of the table `cluster_point`."""

CROSSMATCH = FlagSet(
    (0, "NO_POSITION", "the source has no place on the sky: nothing was looked for"),
    (1, "AMBIGUOUS", "several of the other catalogue are within reach of the source"),
    (2, "SHARED", "several sources are within reach of the counterpart"),
    (3, "NO_ERROR", "no error is known of one of the two positions"),
    (4, "NO_MOTION", "no proper motion is known of the counterpart: its position is of its own epoch"),
)
"""Bits of the column `flags` of the table `crossmatch`."""

SBI = FlagSet(
    (0, "INVALID_INPUT", "a value of the data is missing: there is no posterior"),
    (1, "PRIOR_EDGE", "much of the posterior lies at an end of the prior, which may cut it off"),
    (
        2,
        "LOW_ACCEPTANCE",
        "fewer than one in a hundred draws was within the prior, or moves accepted: what there is may not be the posterior",
    ),
    (3, "OUT_OF_DISTRIBUTION", "the data are unlike all simulations that the estimator was trained on"),
    (4, "CALIBRATION_FAILED", "posteriors of this estimator do not mean what they say, as simulations that were kept back show"),
    (5, "CALIBRATION_OFF", "nobody has tested whether the posteriors mean what they say: switched off, or too few simulations"),
    (6, "LOW_EFFICIENCY", "weighed by the likelihood fewer than a hundred draws are effective, or the tail of the weights is too heavy"),
)
"""Bits of the column `flags` of the table `posterior`."""
