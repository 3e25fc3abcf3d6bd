"""The wide view: one row a source, a column for every flux."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from astrosurvey.catalog.arrow import to_astropy
from astrosurvey.catalog.schema import SchemaError
from astrosurvey.catalog.wide import wide_view, with_posteriors
from astrosurvey.products import Catalog


def photometry(rows):
    ids, bands, methods, flux = zip(*rows, strict=True)
    return Catalog.from_columns(
        "photometry", {"source_id": ids, "band": bands, "method": methods, "tile_id": 1, "flux": np.float32(flux), "flags": 0}
    ).rows


def test_each_flux_has_its_column_and_each_source_its_row(random_catalog):
    sources = random_catalog("source", 4).replace(source_id=[9, 5, 7, 6]).rows
    rows = [(5, "r", "kron", 1), (9, "r", "kron", 2), (5, "g", "aperture_2.5", 3), (7, "r", "kron", 4), (8, "r", "kron", 5)]
    wide = wide_view(sources, photometry(rows))
    assert wide.select(sources.column_names).equals(sources)
    new = wide.column_names[len(sources.column_names) :]
    assert new == ["r_kron_flux", "r_kron_flags", "g_aperture_2_5_flux", "g_aperture_2_5_flags"]
    assert wide.column("r_kron_flux").to_pylist() == [2, 1, 4, None]
    assert wide.column("g_aperture_2_5_flux").to_pylist() == [None, 3, None, None]
    assert wide.column("r_kron_flags").to_pylist() == [0, 0, 0, None]
    table = to_astropy(wide, {})
    assert str(table["r_kron_flux"].unit) == "nJy"
    assert table["r_kron_flux"].description.endswith("(r, kron)")
    assert table["r_kron_flux"].mask.tolist() == [False, False, False, True]


def test_nothing_measured_adds_nothing(random_catalog):
    sources = random_catalog("source", 2).rows
    assert wide_view(sources, Catalog.empty("photometry").rows).equals(sources)
    assert len(wide_view(Catalog.empty("source").rows, photometry([(5, "r", "kron", 1)]))) == 0


def test_two_names_that_come_out_the_same_are_refused(random_catalog):
    rows = photometry([(5, "3.6um", "kron", 1), (5, "3_6um", "kron", 2)])
    with pytest.raises(SchemaError, match="two columns of the wide view would be called '3_6um_kron_flux'"):
        wide_view(random_catalog("source", 2).rows, rows)


def test_chunks_do_not_matter(random_catalog):
    sources = random_catalog("source", 4).replace(source_id=[9, 5, 7, 6]).rows
    rows = photometry([(5, "r", "kron", 1), (9, "r", "kron", 2)])
    chunked = pa.concat_tables([rows.slice(0, 1), rows.slice(1)])
    assert wide_view(sources, chunked).equals(wide_view(sources, rows))


def posteriors(**changes):
    columns = {
        "posterior_id": [1, 2, 3],
        "source_id": pa.array([7, 9, None]),
        "model": "sed",
        "method": "sbi.npe",
        "parameter_names": "z,log mass",
        "parameter_units": ",dex",
        "quantile_levels": [np.float32([0.05, 0.5])] * 3,
        "quantiles": [[0.1, 0.2, 9.0, 10.0], [0.3, 0.4, 8.0, 9.0], [0.0] * 4],
        "mean": [[0.2, 10.0], [0.4, 9.0], [0.0] * 2],
        "std": [[0.1, 0.5]] * 3,
        "n_draw": 100,
        "log_density": [1.0, 2.0, 3.0],
        "flags": [0, 2, 0],
    }
    return Catalog.from_columns("posterior", {**columns, **changes}).rows


def test_posteriors_stand_beside_their_sources(random_catalog):
    sources = random_catalog("source", 3).replace(source_id=[9, 5, 7]).rows
    wide = with_posteriors(sources, posteriors())
    new = wide.select(wide.column_names[len(sources.column_names) :]).to_pydict()
    assert list(new) == [
        *(f"sbi_{name}_{number}" for name in ("z", "log_mass") for number in ("mean", "std", "q05", "q50")),
        *("sbi_logq", "sbi_ood_p", "sbi_flag"),
    ]
    assert new["sbi_z_q50"] == [0.4, None, 0.2]
    assert new["sbi_log_mass_mean"] == [9.0, None, 10.0]
    assert new["sbi_flag"] == [2, None, 0]
    assert str(to_astropy(wide, {})["sbi_log_mass_std"].unit) == "dex"
    assert with_posteriors(sources, posteriors().slice(2)).equals(sources)
    with pytest.raises(SchemaError, match="several"):
        with_posteriors(sources, posteriors(source_id=[7, 7, 9]))
    with pytest.raises(SchemaError, match="same parameters"):
        with_posteriors(sources, posteriors(parameter_names=["z,log mass", "z,age", "z,age"]))
