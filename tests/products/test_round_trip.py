"""Every product comes back from its stored form as it went in, and equal products make equal bytes."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.wcs import WCS

from astrosurvey.core.product import Product, ProductError
from astrosurvey.core.stage import DataError
from astrosurvey.products import (
    Cube,
    Export,
    Fractions,
    Image,
    LightCurves,
    Metric,
    Metrics,
    Model,
    Observations,
    PsfModel,
    Samples,
    Segmentation,
    Spectra,
)
from astrosurvey.products.psf import STAR


def sky_wcs() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 150.1163213, 2.2010000000000001
    wcs.wcs.crpix = 33.3, 1 / 3
    wcs.wcs.cd = np.array([[-7.3e-5, 1.1e-9], [1.3e-9, 7.3e-5]]) / 3
    return wcs


def image() -> Image:
    rng = np.random.default_rng(1)
    data = rng.normal(0, 10, (3, 70, 301)).astype(np.float32)
    variance = rng.uniform(1, 3, data.shape).astype(np.float32)
    mask = (rng.random(data.shape) < 0.1).astype(np.int32) * 200
    data[0, :3], variance[0, :3], mask[0, :3] = np.nan, np.inf, 8
    psf = np.ones((3, 5, 7), np.float32) / 35
    return Image(data, ("g", "r", "O'III"), variance, mask, psf, sky_wcs(), meta={"seeing": [0.7, 0.1 + 0.2], "note": "é\n<b>"})


def cube() -> Cube:
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = "RA---SIN", "DEC--SIN", "FREQ"
    wcs.wcs.crval = 10.1, -33.2, 1.42e9
    wcs.wcs.cdelt = -0.001, 0.001, 1e4 / 3
    data = np.random.default_rng(2).normal(size=(4, 6, 5)).astype(np.float32)
    data[1, 2] = np.nan
    return Cube(data, "Jy/beam", wcs, (0.003, 0.002, 31.7), 1420405751.786, {"survey": "x"})


def spectra() -> Spectra:
    rng = np.random.default_rng(3)
    flux = rng.normal(size=(4, 50)).astype(np.float32)
    mask = rng.integers(0, 2**20, flux.shape).astype(np.int32)
    return Spectra(flux, np.ones_like(flux), mask, 10 ** np.linspace(3.5, 4, 50), np.array(["a-1", "b'2", "c", "long name 4"]))


def own_grids() -> Spectra:
    several = spectra()
    return dataclasses.replace(several, wave=several.wave * np.linspace(1, 1.1, 4)[:, None], ids=np.array([5, 2**52, 1, 3]))


def light_curves() -> LightCurves:
    rng = np.random.default_rng(4)
    time = np.concatenate([np.sort(rng.uniform(59000, 60000, n)) for n in (5, 0, 8)])
    flux = rng.normal(size=13).astype(np.float32)
    return LightCurves(
        np.array([3, 1, 2]),
        np.array([0, 5, 5, 13]),
        time,
        rng.integers(0, 2, 13).astype(np.int16),
        flux,
        np.ones(13, np.float32),
        ("z", "g", "unused"),
    )


def samples() -> Samples:
    rng = np.random.default_rng(5)
    return Samples(rng.normal(size=(100, 2)), ("theta", "log M"), ("", "dex(Msun)"), rng.random(100), {"seed": 3})


def observations() -> Observations:
    data = np.random.default_rng(8).normal(size=(100, 2)).astype(np.float32)
    data[3] = np.nan
    return Observations(data, np.arange(100) + 2**40, "", ("flux", "error"), samples(), {"failed": 1}, ("nJy", ""))


def metrics() -> Metrics:
    values = (
        Metric("completeness", 0.93, bar=0.9, error=0.01),
        Metric("purity", math.nan, bar=0.9),
        Metric("bias", 1e-3 / 3, "mag", better="lower"),
    )
    return Metrics(values, {"completeness by magnitude": {"magnitude": [20.0, 21.0], "completeness": [1.0, None]}}, {"band": "r"})


def model() -> Model:
    rng = np.random.default_rng(6)
    weights = {f"layer.{i}.weight": rng.normal(size=(3, 4, i + 1)).astype(np.float32) for i in range(9)}
    weights["scale"] = np.array(3.0)
    return Model("unet", {"depth": 3, "widths": [8, 16]}, weights, {"licence": "BSD-3-Clause"})


def psf_model() -> PsfModel:
    rng = np.random.default_rng(7)
    basis = rng.uniform(size=(2, 3, 13, 17))
    basis[:, 0] *= 4 / basis[:, 0].sum(axis=(1, 2), keepdims=True)
    basis[:, 1:] -= basis[:, 1:].mean(axis=(2, 3), keepdims=True)
    stars = np.zeros(3, STAR)
    stars["source_id"], stars["band"], stars["x"], stars["chi2"] = [2**52, 3, 4], [0, 0, 1], 1 / 3, math.nan
    numbers = np.array([2.5, 1 / 3]), np.array([0.1, 0.0]), np.array([2, 1])
    return PsfModel(basis.astype(np.float32), ("g", "O'III"), 2, (100, 1), *numbers, stars, {"g": {"origin": "stars"}})


def segmentation() -> Segmentation:
    labels = np.zeros((300, 270), np.int32)
    labels[10:40, 250:] = 2**31 - 1
    labels[290:, :40] = 2
    return Segmentation(labels, {"connectivity": 8})


def fractions() -> Fractions:
    rng = np.random.default_rng(7)
    first, second = rng.random((2, 9, 11)), rng.random((2, 7, 8))
    first[:, 4:, 5:] *= 0.5
    second[:, :5, :6] *= 0.5
    return Fractions.from_stamps((30, 40), np.array([[3, 14, 2, 11], [8, 16, 6, 13]]), [first, second], ("g", "r"), {"method": "templates"})


MAKERS = [image, cube, spectra, own_grids, light_curves, samples, observations, metrics, model, psf_model, segmentation, fractions]


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return {file.name if file == path else str(file.relative_to(path)): file.read_bytes() for file in files if file.is_file()}


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, WCS):
        grid = np.random.default_rng(0).uniform(0, 60, (50, a.naxis))
        return isinstance(b, WCS) and a.all_pix2world(grid, 0).tobytes() == b.all_pix2world(grid, 0).tobytes()
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, Metric):
        return isinstance(b, Metric) and repr(a) == repr(b)
    if isinstance(a, Samples):
        return isinstance(b, Samples) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("make", MAKERS, ids=lambda f: f.__name__)
class TestRoundTrip:
    def test_comes_back_exactly(self, make, tmp_path):
        product = make()
        product.check()
        assert isinstance(product, Product)
        product.write(tmp_path / f"a{product.suffix}")
        back = type(product).read(tmp_path / f"a{product.suffix}")
        back.check()
        for field in dataclasses.fields(product):
            assert same(getattr(product, field.name), getattr(back, field.name)), field.name

    def test_equal_products_make_equal_bytes(self, make, tmp_path):
        product = make()
        product.write(tmp_path / f"a{product.suffix}")
        type(product).read(tmp_path / f"a{product.suffix}").write(tmp_path / f"b{product.suffix}")
        make().write(tmp_path / f"c{product.suffix}")
        first, second, third = (list(contents(tmp_path / f"{name}{product.suffix}").values()) for name in "abc")
        assert first == second == third

    def test_what_is_read_is_read_only(self, make, tmp_path):
        product = make()
        product.write(tmp_path / f"a{product.suffix}")
        back = type(product).read(tmp_path / f"a{product.suffix}")
        values = [*vars(back).values(), *(back.weights.values() if isinstance(back, Model) else ())]
        for array in (value for value in values if isinstance(value, np.ndarray)):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0

    def test_summary_is_json(self, make, tmp_path):
        assert json.loads(json.dumps(make().summary(), allow_nan=False))

    def test_damage_is_an_error(self, make, tmp_path):
        product = make()
        path = tmp_path / f"a{product.suffix}"
        product.write(path)
        victim = path if path.is_file() else path / ("data.npy" if isinstance(product, Observations) else "model.safetensors")
        raw = bytearray(victim.read_bytes())
        victim.write_bytes(raw[: len(raw) // 2])
        with pytest.raises((ProductError, DataError), match=r"damaged|cut short|no stored"):
            type(product).read(path)


WRONG = [
    (image, {"data": np.zeros((3, 70, 301))}, "Image.data must be float32"),
    (image, {"data": np.zeros((2, 70, 301), np.float32)}, r"shape \(3, ≥1, ≥1\)"),
    (image, {"data": np.zeros((3, 70, 602), np.float32)[:, :, ::2]}, "C-contiguous"),
    (image, {"bands": ("g", "g", "r")}, "each band once"),
    (image, {"bands": ("g", "r", "i\n")}, "printable ASCII"),
    (image, {"variance": np.full((3, 70, 301), -1, np.float32)}, "negative values or NaN"),
    (image, {"mask": np.zeros((3, 70, 301), np.int64)}, "Image.mask must be int32"),
    (image, {"psf": np.full((3, 4, 7), 1 / 28, np.float32)}, "odd sides"),
    (image, {"psf": np.ones((3, 5, 7), np.float32)}, "sum to one"),
    (image, {"unit": "Jy"}, "must be 'nJy'"),
    (image, {"meta": {"x": math.nan}}, "JSON values only"),
    (image, {"meta": {"x": (1, 2)}}, "as it went in"),
    (psf_model, {"bands": ("g", "g")}, "each band once"),
    (psf_model, {"basis": np.zeros((2, 2, 13, 17), np.float32)}, "no whole polynomial"),
    (psf_model, {"basis": np.zeros((2, 3, 12, 17), np.float32)}, "odd number of pixels"),
    (psf_model, {"basis": np.ones((2, 3, 13, 17), np.float32)}, "must sum to one"),
    (psf_model, {"fwhm": np.array([1.0, -1.0])}, "widths must be positive"),
    (psf_model, {"n_star": np.array([1, 1])}, "must hold the stars"),
    (segmentation, {"labels": -np.ones((4, 4), np.int32)}, "must not be negative"),
    (cube, {"beam": (0.001, 0.002, 0.0)}, "0 < minor <= major"),
    (cube, {"rest_frequency": -1.0}, "rest_frequency must be positive"),
    (spectra, {"wave": np.linspace(2, 1, 50)}, "increasing"),
    (own_grids, {"wave": np.ones((4, 50))}, "increasing"),
    (own_grids, {"wave": np.ones((3, 50))}, r"shape \(4, 50\)"),
    (spectra, {"ivar": np.full((4, 50), np.inf, np.float32)}, "finite and not negative"),
    (spectra, {"ids": np.array([1, 2, 2, 3])}, "must not repeat"),
    (light_curves, {"offsets": np.array([0, 5, 4, 13])}, "must rise"),
    (light_curves, {"band": np.full(13, 3, np.int16)}, "must index"),
    (light_curves, {"time": np.linspace(2, 1, 13)}, "must not decrease"),
    (light_curves, {"flux_err": np.zeros(13, np.float32)}, "must be positive"),
    (samples, {"parameters": ("theta", "weight")}, "not 'weight'"),
    (samples, {"units": ("",)}, "must name a unit for each"),
    (samples, {"weights": np.zeros(100)}, "not all zero"),
    (metrics, {"values": (Metric("a", 1.0), Metric("a", 2.0))}, "different names"),
    (metrics, {"values": (Metric("a", math.inf),)}, "must be finite"),
    (metrics, {"curves": {"c": {"x": [1.0], "y": []}}}, "one length"),
    (model, {"weights": {}}, "is empty"),
    (model, {"weights": {"w": np.array([np.nan])}}, "diverged"),
    (model, {"weights": {"w": np.array(["x"])}}, "must be a native NumPy array"),
]


@pytest.mark.parametrize(("make", "change", "message"), WRONG)
def test_check_names_what_is_wrong(make, change, message):
    with pytest.raises(ProductError, match=message):
        dataclasses.replace(make(), **change).check()


def test_export_copies_the_folder(tmp_path):
    folder = tmp_path / "made"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.reg").write_text("circle")
    (folder / "sub" / "b.txt").write_bytes(b"x")
    Export(folder).check()
    Export(folder).write(tmp_path / "stored")
    back = Export.read(tmp_path / "stored")
    assert contents(back.folder) == {"a.reg": b"circle", "sub/b.txt": b"x"}
    assert back.summary() == {"files": {"a.reg": 6, "sub/b.txt": 1}}


def test_export_refuses_links_and_emptiness(tmp_path):
    with pytest.raises(ProductError, match="does not exist"):
        Export(tmp_path / "none").check()
    folder = tmp_path / "made"
    folder.mkdir()
    with pytest.raises(ProductError, match="is empty"):
        Export(folder).check()
    (folder / "passwords").symlink_to("/etc/passwd")
    with pytest.raises(ProductError, match="link"):
        Export(folder).write(tmp_path / "stored")


def test_model_folder_is_strict(tmp_path):
    model().write(tmp_path / "m")
    (tmp_path / "m" / "extra.pt").write_bytes(b"")
    with pytest.raises(ProductError, match="nothing else"):
        Model.read(tmp_path / "m")
    (tmp_path / "m" / "extra.pt").unlink()
    (tmp_path / "m" / "card.json").write_text("[]")
    with pytest.raises(ProductError, match="damaged or no stored model"):
        Model.read(tmp_path / "m")


def test_products_of_another_kind_are_refused(tmp_path):
    segmentation().write(tmp_path / "a.fits")
    with pytest.raises(DataError, match="is no stored image but a 'segmentation'"):
        Image.read(tmp_path / "a.fits")
    samples().write(tmp_path / "a.parquet")
    with pytest.raises(ProductError, match="no stored lightcurves"):
        LightCurves.read(tmp_path / "a.parquet")


def test_every_flipped_bit_is_found(tmp_path):
    rng = np.random.default_rng(9)
    for make in (image, segmentation, samples, light_curves, spectra):
        product = make()
        path = tmp_path / f"flip{product.suffix}"
        product.write(path)
        raw = path.read_bytes()
        for _ in range(12):
            bad = bytearray(raw)
            bad[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
            path.write_bytes(bad)
            try:
                back = type(product).read(path)
                back.check()
            except (ProductError, DataError):
                continue
            for field in dataclasses.fields(product):
                assert same(getattr(product, field.name), getattr(back, field.name)), (make.__name__, field.name)
        path.unlink()
