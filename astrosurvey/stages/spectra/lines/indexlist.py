"""The definitions of spectral indices: Lick's, and the break at 4000 Å.

The bands were published in air; here they are in vacuum, as all wavelengths of astrosurvey. An index compares the flux within its band
with a straight line through the mean fluxes of the two bands beside it: as an equivalent width, or, for molecular bands, in magnitudes.
A break is the mean of F_ν redward over that blueward.

References:
    Trager et al. (1998), ApJS 116, 1, table 1; Worthey & Ottaviani (1997), ApJS 111, 377, for Hδ and Hγ; Balogh et al. (1999), ApJ 527, 54,
    for Dn4000.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from ..vacuum import to_vacuum

Span = tuple[float, float]
"""Å in vacuum, from and to."""


class Index(NamedTuple):
    """One index.

    Attributes:
        key: its name in tables.
        label: its name for people.
        band: of the feature; of a break, nothing.
        blue, red: the bands beside it.
        unit: "Angstrom" for an equivalent width, "mag", or "" for a break, which is a ratio.
    """

    key: str
    label: str
    band: Span | None
    blue: Span
    red: Span
    unit: Literal["Angstrom", "mag", ""]


def _vacuum(low: float, high: float) -> Span:
    first, last = to_vacuum(np.array([low, high])).tolist()
    return first, last


def _lick(key: str, label: str, *air: float, unit: Literal["Angstrom", "mag"] = "Angstrom") -> Index:
    band, blue, red = (_vacuum(air[at], air[at + 1]) for at in (0, 2, 4))
    return Index(key, label, band, blue, red, unit)


INDICES = (
    Index("dn4000", "Dn4000", None, _vacuum(3850, 3950), _vacuum(4000, 4100), ""),
    _lick("cn1", "CN1", 4142.125, 4177.125, 4080.125, 4117.625, 4244.125, 4284.125, unit="mag"),
    _lick("cn2", "CN2", 4142.125, 4177.125, 4083.875, 4096.375, 4244.125, 4284.125, unit="mag"),
    _lick("ca4227", "Ca4227", 4222.250, 4234.750, 4211.000, 4219.750, 4241.000, 4251.000),
    _lick("g4300", "G4300", 4281.375, 4316.375, 4266.375, 4282.625, 4318.875, 4335.125),
    _lick("fe4383", "Fe4383", 4369.125, 4420.375, 4359.125, 4370.375, 4442.875, 4455.375),
    _lick("ca4455", "Ca4455", 4452.125, 4474.625, 4445.875, 4454.625, 4477.125, 4492.125),
    _lick("fe4531", "Fe4531", 4514.250, 4559.250, 4504.250, 4514.250, 4560.500, 4579.250),
    _lick("c24668", "C₂4668", 4634.000, 4720.250, 4611.500, 4630.250, 4742.750, 4756.500),
    _lick("hbeta", "Hβ", 4847.875, 4876.625, 4827.875, 4847.875, 4876.625, 4891.625),
    _lick("fe5015", "Fe5015", 4977.750, 5054.000, 4946.500, 4977.750, 5054.000, 5065.250),
    _lick("mg1", "Mg1", 5069.125, 5134.125, 4895.125, 4957.625, 5301.125, 5366.125, unit="mag"),
    _lick("mg2", "Mg2", 5154.125, 5196.625, 4895.125, 4957.625, 5301.125, 5366.125, unit="mag"),
    _lick("mgb", "Mg b", 5160.125, 5192.625, 5142.625, 5161.375, 5191.375, 5206.375),
    _lick("fe5270", "Fe5270", 5245.650, 5285.650, 5233.150, 5248.150, 5285.650, 5318.150),
    _lick("fe5335", "Fe5335", 5312.125, 5352.125, 5304.625, 5315.875, 5353.375, 5363.375),
    _lick("fe5406", "Fe5406", 5387.500, 5415.000, 5376.250, 5387.500, 5415.000, 5425.000),
    _lick("fe5709", "Fe5709", 5696.625, 5720.375, 5672.875, 5696.625, 5722.875, 5736.625),
    _lick("fe5782", "Fe5782", 5776.625, 5796.625, 5765.375, 5775.375, 5797.875, 5811.625),
    _lick("na_d", "Na D", 5876.875, 5909.375, 5860.625, 5875.625, 5922.125, 5948.125),
    _lick("tio1", "TiO1", 5936.625, 5994.125, 5816.625, 5849.125, 6038.625, 6103.625, unit="mag"),
    _lick("tio2", "TiO2", 6189.625, 6272.125, 6066.625, 6141.625, 6372.625, 6415.125, unit="mag"),
    _lick("hdelta_a", "HδA", 4083.500, 4122.250, 4041.600, 4079.750, 4128.500, 4161.000),
    _lick("hgamma_a", "HγA", 4319.750, 4363.500, 4283.500, 4319.750, 4367.250, 4419.750),
    _lick("hdelta_f", "HδF", 4091.000, 4112.250, 4057.250, 4088.500, 4114.750, 4137.250),
    _lick("hgamma_f", "HγF", 4331.250, 4352.250, 4283.500, 4319.750, 4354.750, 4384.750),
)

INDEX_BY_KEY = {index.key: index for index in INDICES}
