"""Every built-in product goes through the conformance kit, as a stranger's would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from astrosurvey import (
    Catalog,
    Cube,
    Export,
    Fractions,
    Image,
    LightCurves,
    Metrics,
    Model,
    Observations,
    PsfModel,
    Samples,
    Segmentation,
    Spectra,
    plugins,
)
from astrosurvey.testing import ProductLaws, make_image
from tests.products import test_round_trip as made

from .examples import detected


def test_every_built_in_product_is_tried():
    registry = plugins.load()
    built_in = {name for name in registry.products if registry.origins["products", name].plugin == "builtin"}
    assert built_in == {cls.product.kind for cls in ProductLaws.__subclasses__() if cls.__module__ == __name__}


class TestImage(ProductLaws):
    product = Image

    def example(self):
        return make_image()

    def example_of_everything(self):
        return made.image()

    def wrong_dtype(self):
        return replace(make_image(), data=make_image().data.astype(np.float64))

    def wrong_variance(self):
        return replace(make_image(), variance=-make_image().variance)


class TestSegmentation(ProductLaws):
    product = Segmentation

    def example(self):
        return made.segmentation()

    def wrong_label(self):
        return Segmentation(np.full((4, 4), -1, np.int32))


class TestFractions(ProductLaws):
    product = Fractions

    def example(self):
        return made.fractions()

    def example_shared_by_bands(self):
        return Fractions.from_stamps((8, 9), np.array([[0, 9, 0, 8]]), [np.full((8, 9), 1 / 3)])

    def example_without_sources(self):
        return Fractions.from_stamps((8, 9), np.zeros((0, 4)), [], ("g",))

    def wrong_sum(self):
        return Fractions.from_stamps((8, 9), np.array([[0, 3, 0, 3]] * 2), [np.full((3, 3), 0.6)] * 2)

    def wrong_box(self):
        return Fractions.from_stamps((8, 9), np.array([[7, 10, 0, 3]]), [np.ones((3, 3))])

    def wrong_length(self):
        return replace(made.fractions(), values=made.fractions().values[1:])

    def wrong_value(self):
        return replace(made.fractions(), values=-made.fractions().values)

    def wrong_steps(self):
        return replace(made.fractions(), values=made.fractions().values * np.float32(0.99))


class TestCatalog(ProductLaws):
    product = Catalog

    def example(self):
        return detected(0)["sources"]

    def example_without_rows(self):
        return Catalog.empty("photometry", {"note": "nothing"})

    def wrong_column(self):
        sources = detected(0)["sources"]
        return Catalog("source", sources.rows.drop_columns(["flags"]))


class TestCube(ProductLaws):
    product = Cube

    def example(self):
        return made.cube()

    def wrong_axes(self):
        return replace(made.cube(), data=made.cube().data[0])


class TestSpectra(ProductLaws):
    product = Spectra

    def example(self):
        return made.spectra()

    def example_on_own_grids(self):
        return made.own_grids()

    def wrong_order(self):
        return replace(made.own_grids(), wave=np.ascontiguousarray(made.own_grids().wave[:, ::-1]))

    def wrong_shape(self):
        return replace(made.spectra(), ivar=np.ones((2, 50), np.float32))


class TestLightCurves(ProductLaws):
    product = LightCurves

    def example(self):
        return made.light_curves()

    def wrong_offsets(self):
        return replace(made.light_curves(), offsets=np.array([0, 9, 5, 13]))


class TestSamples(ProductLaws):
    product = Samples

    def example(self):
        return made.samples()

    def wrong_names(self):
        return replace(made.samples(), parameters=("theta", "theta"))


class TestMetrics(ProductLaws):
    product = Metrics

    def example(self):
        return made.metrics()

    def wrong_twice(self):
        return replace(made.metrics(), values=made.metrics().values[:1] * 2)


class TestModel(ProductLaws):
    product = Model

    def example(self):
        return made.model()

    def wrong_config(self):
        return replace(made.model(), config={"f": object()})


class TestObservations(ProductLaws):
    product = Observations

    def example(self):
        return made.observations()

    def example_of_half_cubes(self):
        return Observations(np.ones((2, 3, 4, 5), np.float16), np.array([5, 3]), "source")

    def wrong_infinite(self):
        return replace(made.observations(), data=np.full((100, 2), np.inf, np.float32))

    def wrong_parameters(self):
        return replace(made.observations(), data=made.observations().data[:9], ids=made.observations().ids[:9])

    def wrong_name(self):
        return replace(made.observations(), names=("flux", "flux"))

    def wrong_scalars(self):
        return replace(made.observations(), data=np.ones(100, np.float32))


class TestPsfModel(ProductLaws):
    product = PsfModel

    def example(self):
        return made.psf_model()

    def example_without_stars(self):
        return replace(made.psf_model(), stars=made.psf_model().stars[:0], n_star=np.zeros(2, np.int64))

    def wrong_normalisation(self):
        return replace(made.psf_model(), basis=2 * made.psf_model().basis)

    def wrong_terms(self):
        return replace(made.psf_model(), basis=made.psf_model().basis[:, :2].copy())


class TestExport(ProductLaws):
    product = Export

    def example(self, tmp_path):
        folder = tmp_path / "export"
        folder.mkdir()
        (folder / "catalog.txt").write_text("1 2 3")
        return Export(folder)

    def wrong_empty(self, tmp_path):
        (tmp_path / "empty").mkdir()
        return Export(tmp_path / "empty")
