"""Columns of binary tables are what astropy reads, in any rows; a malformed table is one clear error."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
from astropy.io import fits

from astrosurvey.products._fits import BadInput, BinaryTable, FitsFile

N = 37
RNG = np.random.default_rng(6)
COLUMNS = [
    fits.Column("FLAG", "L", array=RNG.random(N) > 0.5),
    fits.Column("BYTE", "B", array=RNG.integers(0, 255, N).astype(np.uint8)),
    fits.Column("SHORT", "I", array=RNG.integers(-9999, 9999, N).astype(np.int16)),
    fits.Column("UINT", "J", bzero=2**31, array=RNG.integers(0, 2**32, N).astype(np.uint32)),
    fits.Column("LONG", "K", array=RNG.integers(-(2**60), 2**60, N)),
    fits.Column("SINGLE", "E", array=RNG.normal(size=N).astype(np.float32)),
    fits.Column("DOUBLE", "D", unit="Angstrom", array=RNG.normal(size=N)),
    fits.Column("SCALED", "I", array=np.arange(N).astype(np.int16)),
    fits.Column("HOLED", "J", null=-99, array=np.where(np.arange(N) % 5, np.arange(N), -99).astype(np.int32)),
    fits.Column("TEXT", "7A", array=np.array([f"t{k}" for k in range(N)])),
    fits.Column("VECTOR", "5E", array=RNG.normal(size=(N, 5)).astype(np.float32)),
    fits.Column("WORDS", "3J", array=RNG.integers(-9, 9, (N, 3)).astype(np.int32)),
]


@pytest.fixture
def path(tmp_path):
    hdu = fits.BinTableHDU.from_columns(COLUMNS, name="T", header=fits.Header({"XSCAL8": 0.5, "XZERO8": 10.0}))
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "t.fits", checksum=True)
    raw = (tmp_path / "t.fits").read_bytes()  # astropy cannot write a scaled column of NumPy 2
    (tmp_path / "t.fits").write_bytes(raw.replace(b"XSCAL8", b"TSCAL8").replace(b"XZERO8", b"TZERO8"))
    return tmp_path / "t.fits"


@pytest.fixture
def table():
    """A function that opens the table of a file."""
    with ExitStack() as stack:

        def opened(path, hdu=1, **options):
            file = stack.enter_context(FitsFile(path, **options))
            return BinaryTable(file, file.hdus[hdu])

        yield opened


@pytest.mark.parametrize("rows", [(0, N), (0, 1), (5, 20), (36, 37), (4, 4)])
def test_every_type_agrees_with_astropy(path, table, rows, monkeypatch):
    monkeypatch.setattr("astrosurvey.products._fits.tables._CHUNK", 300)
    ours = table(path, checksum=False)
    found = ours.read([column.name for column in COLUMNS], *rows)
    with fits.open(path) as hdus:
        theirs = {name: np.array(hdus[1].data[name])[slice(*rows)] for name in found}
    for name, values in found.items():
        assert values.dtype.isnative
        if name == "TEXT":
            assert values.tolist() == theirs[name].tolist()
        elif name == "HOLED":
            assert np.array_equal(np.isnan(values), theirs[name] == -99)
            assert np.array_equal(np.nan_to_num(values, nan=-99), theirs[name])
        else:
            assert np.array_equal(values, theirs[name]), name
    assert found["SINGLE"].dtype == np.float32
    assert found["UINT"].dtype == np.int64
    assert ours.unit("DOUBLE") == "Angstrom"
    assert ours.length("VECTOR") == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("TFIELDS =                   12", "TFIELDS =                   11"), "NAXIS1: is"),
        (("TFIELDS =                   12", "TFIELDS =                 9999"), "TFIELDS: must be between"),
        (("TFORM12 = '3J      '", "TFORM12 = '4J      '"), "NAXIS1: is"),
        (("TFORM12 = '3J      '", "TFORM12 = 'what    '"), "TFORM12"),
        (("NAXIS2  =                   37", "NAXIS2  =                 3700"), "cut short"),
        (("TZERO4  =           2147483648", "TZERO4  =                  'x'"), "TZERO4"),
    ],
)
def test_malformed_tables(path, table, change, message):
    raw = path.read_bytes()
    old, new = (text.encode().ljust(30) for text in change)
    assert old in raw
    path.write_bytes(raw.replace(old, new))
    with pytest.raises(BadInput, match=message) as caught:
        table(path, checksum=False).read([column.name for column in COLUMNS])
    assert "t.fits" in str(caught.value)


def test_what_cannot_be_read_is_said(path, table, tmp_path):
    with pytest.raises(BadInput, match="no column NONE; there are FLAG, BYTE"):
        table(path).read(["NONE"])
    with pytest.raises(BadInput, match="no rows 30 to 40"):
        table(path).read(["BYTE"], 30, 40)
    ragged = fits.Column("R", "PE()", array=np.array([np.ones(3, "f4"), np.ones(2, "f4")], dtype=object))
    other = fits.Column("C", "C", array=np.ones(2, np.complex64))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([ragged, other])]).writeto(tmp_path / "r.fits")
    for name, form in (("R", "1PE"), ("C", "1C")):
        with pytest.raises(BadInput, match=f"column {name} is of the format {form}"):
            table(tmp_path / "r.fits").read([name])
    with pytest.raises(BadInput, match="no binary table"):
        table(path, hdu=0)


def test_a_table_read_whole_is_compared_with_its_checksum(path, table):
    raw = bytearray(path.read_bytes())
    raw[-2880] ^= 4
    path.write_bytes(raw)
    with pytest.raises(BadInput, match="DATASUM"):
        table(path).read(["BYTE"])
    table(path).read(["BYTE"], 0, 5)
    table(path, checksum=False).read(["BYTE"])
