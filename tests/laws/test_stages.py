"""Every built-in stage goes through the conformance kit, as a stranger's would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from astrosurvey import Catalog, Observations, Tile, plugins
from astrosurvey.stages.background.stage import MeshBackground
from astrosurvey.stages.catalog.crossmatch import CrossMatch
from astrosurvey.stages.catalog.match import MatchSpectra
from astrosurvey.stages.catalog.stage import MergeCatalogs
from astrosurvey.stages.clustering.astrolink.stage import AstroLink
from astrosurvey.stages.clustering.friends.stage import FriendsOfFriends
from astrosurvey.stages.clustering.fuzzy.stage import FuzzyClustering
from astrosurvey.stages.clustering.hdbscan.stage import Hdbscan
from astrosurvey.stages.clustering.kmeans.stage import KMeans
from astrosurvey.stages.clustering.mixture.stage import GaussianMixture
from astrosurvey.stages.clustering.project.stage import Project
from astrosurvey.stages.deblending.fractional import TemplateDeblending
from astrosurvey.stages.deblending.persistence import PersistenceDeblending
from astrosurvey.stages.deblending.stage import WatershedDeblending
from astrosurvey.stages.deblending.unet.stage import TrainDeblender, UNetDeblending
from astrosurvey.stages.detection.stage import MatchedDetection, SegmentDetection
from astrosurvey.stages.detection.unet.explain import ExplainDetection
from astrosurvey.stages.detection.unet.stage import CalibrateUNet, TrainUNet, UNetDetection
from astrosurvey.stages.evaluate.agreement import EvaluateAgreement
from astrosurvey.stages.evaluate.blends import EvaluateDeblending, EvaluateSegmentation
from astrosurvey.stages.evaluate.clustering.stage import EvaluateClustering
from astrosurvey.stages.evaluate.posterior.stage import EvaluatePosterior
from astrosurvey.stages.evaluate.spectra.stage import EvaluateSpectra
from astrosurvey.stages.evaluate.stage import EvaluateDetection
from astrosurvey.stages.export.stage import ExportFits, ExportRegions, ExportVOTable
from astrosurvey.stages.io.catalog.stage import ReadCatalog
from astrosurvey.stages.io.observations.stage import ReadObservations
from astrosurvey.stages.io.stage import ReadImage
from astrosurvey.stages.models.stage import LoadModel
from astrosurvey.stages.photometry.model_stage import ForcedPhotometry, TotalPhotometry
from astrosurvey.stages.photometry.stage import AperturePhotometry, KronPhotometry
from astrosurvey.stages.psf.stage import MeasurePsf, StarGalaxy
from astrosurvey.stages.sbi.observe import ObserveSources
from astrosurvey.stages.sbi.prior_stage import DrawPrior
from astrosurvey.stages.sbi.rounds.stage import PoolSimulations, Restrict, Truncate, TruncatedMarginals
from astrosurvey.stages.sbi.simulators.enrichment import Enrichment
from astrosurvey.stages.sbi.simulators.gaussian_linear import GaussianLinear
from astrosurvey.stages.sbi.simulators.gaussian_mixture import SpikeAndSlab
from astrosurvey.stages.sbi.simulators.lightcone import LightCone
from astrosurvey.stages.sbi.simulators.lotka_volterra import LotkaVolterra
from astrosurvey.stages.sbi.simulators.sed import SimulateSed
from astrosurvey.stages.sbi.simulators.sir import Sir
from astrosurvey.stages.sbi.simulators.slcp import Slcp
from astrosurvey.stages.sbi.simulators.stream import Stream
from astrosurvey.stages.sbi.simulators.two_moons import TwoMoons
from astrosurvey.stages.sbi.stage import NeuralLikelihood, NeuralPosterior, NeuralRatio, Posterior
from astrosurvey.stages.sbi.summaries.moments_stage import Summarise, TrainMoments
from astrosurvey.stages.sbi.summaries.power_stage import PowerSpectrum
from astrosurvey.stages.sbi.summaries.scattering_stage import Scattering
from astrosurvey.stages.simulate.clusters.stage import SimulateClusters
from astrosurvey.stages.simulate.field import SimulateField
from astrosurvey.stages.simulate.spectra.stage import SimulateSpectra
from astrosurvey.stages.simulate.stage import SimulateSky
from astrosurvey.stages.spectra.anomaly.stage import SpectralAnomaly, TrainAnomaly
from astrosurvey.stages.spectra.classify.explain import ExplainSpectra
from astrosurvey.stages.spectra.classify.stage import ClassifySpectra, TrainSpectra
from astrosurvey.stages.spectra.combine.stage import CombineSpectra
from astrosurvey.stages.spectra.labels.stage import LabelSpectra
from astrosurvey.stages.spectra.lines.stage import MeasureLines
from astrosurvey.stages.spectra.redshift.stage import MeasureRedshift
from astrosurvey.stages.spectra.resample.stage import ResampleSpectra
from astrosurvey.stages.spectra.stage import ReadSpectra
from astrosurvey.testing import Example, StageLaws, make_image

from ..products.test_round_trip import observations
from ..products.test_round_trip import samples as made_samples
from ..stages.running import run
from ..stages.spectra import files
from .examples import (
    TILES,
    answered,
    classified,
    detected,
    drawn,
    emission_lines,
    grouped,
    judged_spectra,
    known_redshifts,
    known_spectra,
    lined_spectra,
    lumpy,
    measured,
    moments,
    numbered,
    observed,
    psf,
    redshifted,
    simulated,
    small_anomaly,
    small_classifier,
    small_deblender,
    small_detector,
    small_posterior,
    small_round,
    small_scorer,
    small_summary,
    solutions,
    spectra,
    starry,
    tile_image,
    truth,
    two_moons,
    witnesses,
)


def test_every_built_in_stage_is_tried():
    registry = plugins.load()
    built_in = {name for name in registry.stages if registry.origins["stages", name].plugin == "builtin"}
    tried = {cls.stage.name for name, cls in globals().items() if name.startswith("Test")}
    assert built_in - tried == set()


def test_every_built_in_product_is_known_to_the_laws_of_products():
    registry = plugins.load()
    assert {"image", "segmentation", "catalog", "metrics", "export", "model"} <= set(registry.products)


class TestReadImage(StageLaws):
    stage = ReadImage

    @pytest.fixture
    def file(self, tmp_path):
        path = tmp_path / "t0.fits"
        make_image().write(path)
        return path

    def example(self, file):
        return Example(config={"path": str(file.with_name("{tile}.fits")), "bands": ["g", "r"], "hdu": "SCI"})

    def example_with_planes(self, file):
        planes = {
            "variance": {"hdu": "ERR", "kind": "variance"},
            "mask": {"hdu": "MASK", "bits": {"SAT": [2], "CR": [4]}},
            "psf": {"hdu": "PSF"},
        }
        return Example(config={"path": str(file), "bands": ["g", "r"], "hdu": "SCI", **planes})

    def wrong_hdu(self, file):
        return Example(config={"path": str(file), "bands": ["g", "r"], "hdu": 9})

    def wrong_file(self, tmp_path):
        (tmp_path / "no.fits").write_text("this is no FITS file")
        return Example(config={"path": str(tmp_path / "no.fits"), "bands": ["g"]})


class TestReadCatalog(StageLaws):
    stage = ReadCatalog

    @pytest.fixture
    def file(self, tmp_path):
        path = tmp_path / "stars.csv"
        path.write_text("name,RA_ICRS,DE_ICRS,Plx\na,10.5,-3,4.5\nb,359.5,2,\nc,,,1\n")
        return path

    def example(self, file):
        return Example(config={"path": str(file)})

    def example_with_settings(self, file):
        return Example(config={"path": str(file), "id": "name", "extra": ["plx"], "units": {"Plx": "mas"}, "missing": [4.5]})

    def wrong_column(self, file):
        return Example(config={"path": str(file), "extra": ["parallax"]})

    def empty(self, tmp_path):
        (tmp_path / "none.csv").write_text("ra,dec\n")
        return Example(config={"path": str(tmp_path / "none.csv")})


class TestReadSpectra(StageLaws):
    stage = ReadSpectra

    def example(self, tmp_path):
        return Example(config={"path": str(files.sdss(tmp_path / "spec.fits"))})

    def example_of_many_files_on_their_own_grids(self, tmp_path):
        for k in range(3):
            files.csv(tmp_path / f"s{k}.csv", files.WAVE[: 300 + k] * (1 + k / 1000), files.FLUX[: 300 + k])
        return Example(config={"path": str(tmp_path / "s*.csv"), **files.SETTINGS, "medium": "air"})

    def example_of_a_block(self, tmp_path):
        path = files.csv(tmp_path / "s.csv")
        return Example(config={"path": str(path), **files.SETTINGS}, tile=Tile("b0", 9, 0, rows=(0, 5)))

    def empty_block(self, tmp_path):
        path = files.csv(tmp_path / "s.csv")
        return Example(config={"path": str(path), **files.SETTINGS}, tile=Tile("b1", 9, 1, rows=(5, 10)))

    def wrong_without_settings(self, tmp_path):
        return Example(config={"path": str(files.csv(tmp_path / "s.csv"))})

    def wrong_file(self, tmp_path):
        return Example(config={"path": str(tmp_path / "none.fits")})


class TestClassifySpectra(StageLaws):
    stage = ClassifySpectra

    def example(self):
        return Example({"spectra": numbered(), "model": small_classifier()}, tile=TILES[0])

    def example_with_dropout(self):
        return Example({"spectra": numbered(), "model": small_classifier()}, {"samples": 3, "precision": "bfloat16"}, tile=TILES[0])

    def example_of_a_single_pixel(self):
        one = numbered()
        pixel = replace(
            one, flux=one.flux[:, :1].copy(), ivar=one.ivar[:, :1].copy(), mask=one.mask[:, :1].copy(), wave=one.wave[:1].copy()
        )
        return Example({"spectra": pixel, "model": small_classifier()}, tile=TILES[0])

    def wrong_task(self):
        model = small_classifier()
        return Example({"spectra": numbered(), "model": replace(model, card={**model.card, "task": "detection"})}, tile=TILES[0])

    def wrong_architecture(self):
        model = small_detector()
        return Example({"spectra": numbered(), "model": replace(model, card=small_classifier().card)}, tile=TILES[0])

    def wrong_classes(self):
        model = small_classifier()
        return Example({"spectra": numbered(), "model": replace(model, card={**model.card, "classes": {}})}, tile=TILES[0])

    def wrong_names(self):
        return Example({"spectra": spectra(), "model": small_classifier()}, tile=TILES[0])


class TestTrainSpectra(StageLaws):
    stage = TrainSpectra

    def example(self):
        return Example(self.two_tiles(), {"steps": 2, "batch": 4, "members": 1, "width": 4, "bayesian": True})

    def example_that_goes_on_from_a_model(self):
        return Example({**self.two_tiles(), "model": small_classifier()}, {"steps": 1, "batch": 4})

    @staticmethod
    def two_tiles():
        return {port: [known_spectra(number)[port] for number in range(2)] for port in ("spectra", "truth")}

    def wrong_model(self):
        return Example({**self.two_tiles(), "model": small_detector()}, {"steps": 2})


class TestExplainSpectra(StageLaws):
    stage = ExplainSpectra

    def example(self):
        made = classified()
        return Example({"spectra": numbered(), **made, "model": small_classifier()}, {"count": 2}, tile=TILES[0])

    def example_of_one(self):
        made = classified()
        number = int(numbered().ids[0])
        return Example({"spectra": numbered(), **made, "model": small_classifier()}, {"ids": [number, number, -5]}, tile=TILES[0])

    def empty(self):
        none = {"classes": Catalog.empty("classification"), "redshifts": Catalog.empty("redshift")}
        return Example({"spectra": numbered(), **none, "model": small_classifier()}, tile=TILES[0])


class TestSimulateSky(StageLaws):
    stage = SimulateSky

    def example(self):
        return Example(config={"bands": ["r"], "galaxy_density": 0.5}, tile=TILES[1])

    def wrong_without_window(self):
        return Example()


class TestSimulateField(StageLaws):
    stage = SimulateField

    def example(self):
        return Example(config={"seeing": [2.4, 6.5], "psf_ellipticity": [0.0, 0.1]}, tile=TILES[0])

    def example_bands(self):
        return Example(config={"bands": ["g", "r"], "noise_correlation": 0.8, "pairs": 2000.0, "pair_unit": "seeing"}, tile=TILES[1])

    def example_empty(self):
        return Example(config={"density": 0.0, "pairs": 0.0}, tile=TILES[0])

    def wrong_without_window(self):
        return Example()


class TestSimulateSpectra(StageLaws):
    stage = SimulateSpectra

    def example(self):
        return Example(config={"number": 12, "log_step": 4e-4}, tile=TILES[0])

    def example_of_one_class_without_calibration(self):
        return Example(config={"number": 3, "classes": {"galaxy": 1}, "start": 4000, "stop": 5000, "calibrated": False}, tile=TILES[1])

    def wrong_folder(self, tmp_path):
        return Example(config={"templates": str(tmp_path)})


class TestDrawPrior(StageLaws):
    stage = DrawPrior

    def example(self):
        parameters = {"z": {"log_uniform": [0.01, 2]}, "v": {"truncated_normal": [0, 100, -50, 300], "unit": "km/s"}}
        return Example(config={"number": 20, "parameters": parameters})


class _Simulates:
    def example(self):
        return Example({"parameters": drawn(self.stage)})

    def wrong_names(self):
        return Example({"parameters": made_samples()})


class TestTwoMoons(_Simulates, StageLaws):
    stage = TwoMoons


class TestScattering(StageLaws):
    stage = Scattering

    def example(self):
        return Example({"observations": lumpy()}, {"scales": 2})

    def example_that_has_a_direction(self):
        return Example({"observations": lumpy()}, {"isotropic": False, "angles": 2})

    def wrong_shape(self):
        return Example({"observations": Observations(np.ones((2, 4), np.float32), np.arange(2))})

    def wrong_scales(self):
        return Example({"observations": lumpy()}, {"scales": 9})


class TestPowerSpectrum(StageLaws):
    stage = PowerSpectrum

    def example(self):
        return Example({"observations": lumpy()}, {"bins": 4})

    def example_with_a_line_of_sight(self):
        return Example({"observations": lumpy()}, {"bins": 3, "along": 2, "spacing": "linear", "pixel": [1, 0.5]})

    def wrong_shape(self):
        return Example({"observations": Observations(np.ones((2, 2, 2, 2, 2), np.float32), np.arange(2))})

    def wrong_pixel(self):
        return Example({"observations": lumpy()}, {"pixel": [1]})


class TestTrainMoments(StageLaws):
    stage = TrainMoments

    def example(self):
        return Example(
            {"observations": [lumpy(count=40), lumpy(count=40, seed=7)]},
            {"epochs": 1, "features": 3, "keep_back": 0.2, "max_missing": 0.1, "symmetry": "torus"},
        )

    def wrong_shape_for_sets(self):
        return Example({"observations": [two_moons(0)]}, {"network": "deep_set"})

    def wrong_symmetry(self):
        return Example({"observations": [two_moons(0)]}, {"symmetry": "square"})

    def wrong_number(self):
        return Example({"observations": [lumpy(count=3), lumpy(count=3, seed=7)]})


class TestSummarise(StageLaws):
    stage = Summarise

    def example(self):
        return Example({"summary_model": small_summary(), "observations": lumpy()})

    def wrong_shape(self):
        return Example({"summary_model": small_summary(), "observations": two_moons(0)})

    def wrong_model(self):
        return Example({"summary_model": small_posterior(), "observations": lumpy()})


class TestSlcp(_Simulates, StageLaws):
    stage = Slcp


class TestGaussianLinear(_Simulates, StageLaws):
    stage = GaussianLinear


class TestSpikeAndSlab(_Simulates, StageLaws):
    stage = SpikeAndSlab


class TestSir(_Simulates, StageLaws):
    stage = Sir


class TestLotkaVolterra(_Simulates, StageLaws):
    stage = LotkaVolterra


class TestStream(_Simulates, StageLaws):
    stage = Stream


class TestEnrichment(_Simulates, StageLaws):
    stage = Enrichment

    def example_of_stars(self):
        return Example({"parameters": drawn(self.stage)}, {"data": "stars", "stars": 20})


class TestLightCone(_Simulates, StageLaws):
    stage = LightCone

    def example_of_bubbles(self):
        return Example({"parameters": drawn(self.stage)}, {"field": "bubbles", "shape": [4, 6, 6]})


class TestSimulateSed(_Simulates, StageLaws):
    stage = SimulateSed

    def wrong_observations(self):
        return Example({"parameters": drawn(self.stage), "observations": observations()})


class TestObserveSources(StageLaws):
    stage = ObserveSources

    def example(self):
        inputs = {"sources": detected(0)["sources"], "photometry": measured(0)}
        return Example(inputs, {"columns": ["r_aperture_3_flux", "ra"]}, tile=TILES[0])

    def wrong_column(self):
        return Example({"sources": detected(0)["sources"]}, {"columns": ["r_kron_flux"]}, tile=TILES[0])


class TestReadObservations(StageLaws):
    stage = ReadObservations

    def example(self, tmp_path):
        (tmp_path / "t0.csv").write_text("a,b\n1,2\n,4\n")
        return Example(config={"path": str(tmp_path / "{tile}.csv")})

    def wrong_file(self, tmp_path):
        (tmp_path / "t0.npy").write_bytes(b"\x93NUMPY\x01\x00")
        return Example(config={"path": str(tmp_path / "t0.npy")})


class _Infers:
    SMALL: ClassVar = {"members": 2, "layers": 2, "bins": 3, "hidden": [6], "epochs": 2, "keep_back": 0.5, "tests": 4, "draws": 10}

    def example(self):
        return Example({"observations": [two_moons(number) for number in (0, 1)]}, self.SMALL)


class TestNeuralPosterior(_Infers, StageLaws):
    stage = NeuralPosterior

    def wrong_tuning(self):
        return Example({"observations": [two_moons(0)]}, {**self.SMALL, "tuning": {}})

    def wrong_summary(self):
        return Example({"observations": [two_moons(0)], "summary_model": small_summary()}, self.SMALL)


class TestNeuralPosteriorTuned(_Infers, StageLaws):
    stage = NeuralPosterior

    def example(self):
        inputs = {"observations": [lumpy(count=40), lumpy(count=40, seed=7)], "summary_model": small_summary()}
        return Example(inputs, {**self.SMALL, "max_missing": 0.1, "tuning": {"epochs": 1}})


class TestNeuralLikelihood(_Infers, StageLaws):
    stage = NeuralLikelihood


class TestNeuralRatio(_Infers, StageLaws):
    stage = NeuralRatio
    SMALL: ClassVar = {"members": 2, "hidden": [6], "epochs": 2, "keep_back": 0.5, "tests": 4, "draws": 10}


class TestTruncatedMarginals(StageLaws):
    stage = TruncatedMarginals
    SMALL: ClassVar = {"members": 2, "hidden": [6], "epochs": 2, "keep_back": 0.5, "tests": 4, "draws": 10, "keep": 4}

    def example(self):
        observations = [two_moons(number) for number in (0, 1)]
        return Example({"observations": observations, "target": [two_moons(2), two_moons(2)]}, self.SMALL)

    def wrong_pair(self):
        return Example({"observations": [two_moons(0)], "target": [two_moons(2)]}, {**self.SMALL, "pairs": [["theta_1", "theta_3"]]})


class TestRestrict(StageLaws):
    stage = Restrict

    def example(self):
        return Example({"posterior_model": small_posterior(), "target": [two_moons(1), two_moons(2)]}, {"draws": 1000})

    def wrong_missing(self):
        observed = two_moons(1)
        blind = replace(observed, data=np.full_like(observed.data, np.nan))
        return Example({"posterior_model": small_posterior(), "target": [blind]}, {"draws": 1000})


class TestTruncate(StageLaws):
    stage = Truncate

    def example(self):
        return Example({"posterior_model": small_round()}, {"number": 20})

    def wrong_model(self):
        return Example({"posterior_model": small_posterior()})


class TestPoolSimulations(StageLaws):
    stage = PoolSimulations

    def example(self):
        return Example({"observations": two_moons(0), "earlier": two_moons(1)})

    def wrong_parameters(self):
        return Example({"observations": two_moons(0), "earlier": replace(two_moons(1), parameters=None)})


class TestPosterior(StageLaws):
    stage = Posterior

    def example(self):
        return Example({"posterior_model": small_posterior(), "observations": two_moons(0)}, {"draws": 20, "keep": 3})

    def example_with_missing_values(self):
        observed = two_moons(1)
        data = observed.data.copy()
        data[1, 0] = np.nan
        return Example({"posterior_model": small_posterior(), "observations": replace(observed, data=data)}, {"draws": 20})

    def example_of_a_moment_network(self):
        return Example({"posterior_model": small_summary(), "observations": lumpy()}, {"draws": 20, "keep": 5})


class TestEvaluatePosterior(StageLaws):
    stage = EvaluatePosterior

    @staticmethod
    def answered(**more):
        tables = {port: [answered(number)[port] for number in (0, 1)] for port in ("posterior", "posterior_sample")}
        return tables | {"observations": [two_moons(number) for number in (0, 1)]} | more

    def example(self):
        return Example(self.answered(), {"tests": 40})

    def example_with_the_density_of_the_model(self):
        return Example(self.answered(posterior_model=small_posterior()), {"leave_out": ["OUT_OF_DISTRIBUTION"]})

    def wrong_truth(self):
        return Example(self.answered(observations=[replace(two_moons(number), parameters=None) for number in (0, 1)]))

    def wrong_observations(self):
        return Example(self.answered(observations=[replace(two_moons(number), about="source") for number in (0, 1)]))


class TestMeshBackground(StageLaws):
    stage = MeshBackground

    def example(self):
        return Example({"image": make_image(sky=120.0)}, {"box": 24})

    def example_measured_noise(self):
        return Example({"image": make_image(sky=120.0)}, {"box": 24, "variance": "measure", "gain": 0.8})


class TestSegmentDetection(StageLaws):
    stage = SegmentDetection

    def example(self):
        return Example({"image": tile_image(0)}, tile=TILES[0])

    def example_chi(self):
        return Example({"image": tile_image(0)}, {"combine": "chi", "threshold": 6.0}, tile=TILES[0])

    def empty(self):
        return Example({"image": make_image(noise=1e6)}, {"threshold": 30.0})

    def wrong_band(self):
        return Example({"image": tile_image(0)}, {"bands": ["z"]})


class TestMatchedDetection(StageLaws):
    stage = MatchedDetection

    def example(self):
        return Example({"image": tile_image(0)}, tile=TILES[0])

    def example_bank(self):
        return Example({"image": tile_image(0)}, {"scales": [1.0, 1.5], "floor": 3.0, "noise": "measured"}, tile=TILES[0])

    def example_chi(self):
        return Example({"image": tile_image(0)}, {"combine": "chi", "threshold": 6.0}, tile=TILES[0])

    def example_seeds(self):
        return Example({"image": tile_image(0), "seeds": detected(0)["sources"]}, {"threshold": 8.0}, tile=TILES[0])

    def empty(self):
        return Example({"image": make_image(noise=1e6)}, {"threshold": 30.0})

    def wrong_band(self):
        return Example({"image": tile_image(0)}, {"bands": ["z"]})


class TestUNetDetection(StageLaws):
    stage = UNetDetection

    def example(self):
        return Example({"image": tile_image(0), "model": small_detector()}, {"window": 128}, tile=TILES[0])

    def example_with_dropout(self):
        return Example({"image": tile_image(0), "model": small_detector()}, {"samples": 3, "precision": "float32"}, tile=TILES[0])

    def wrong_task(self):
        model = small_detector()
        return Example({"image": tile_image(0), "model": replace(model, card={**model.card, "task": "spectra"})}, tile=TILES[0])

    def wrong_bands(self):
        model = small_detector()
        return Example({"image": tile_image(0), "model": replace(model, card={**model.card, "bands": ["u"]})}, tile=TILES[0])

    def wrong_card(self):
        model = small_detector()
        return Example({"image": tile_image(0), "model": replace(model, card={"task": "detection"})}, tile=TILES[0])

    def wrong_number_of_bands(self):
        model, image = small_detector(), tile_image(0)
        return Example({"image": image, "model": replace(model, card={**model.card, "bands": list(image.bands)})}, tile=TILES[0])


class TestTrainUNet(StageLaws):
    stage = TrainUNet

    def example(self):
        return Example(self.two_skies(), {"steps": 2, "widths": [4, 6, 8]})

    def example_that_goes_on_from_a_model(self):
        return Example({**self.two_skies(), "model": small_detector()}, {"steps": 2})

    @staticmethod
    def two_skies():
        return {port: [simulated(number)[port] for number in range(2)] for port in ("image", "truth", "segmentation")}

    def wrong_size(self):
        tiny = {port: [tile_image(0) if port == "image" else simulated(0)[port]] for port in ("image", "truth", "segmentation")}
        return Example(tiny, {"steps": 2})

    def wrong_bands(self):
        return Example({**self.two_skies(), "model": small_detector()}, {"steps": 2, "bands": ["r"]})


class TestCalibrateUNet(StageLaws):
    stage = CalibrateUNet

    def example(self):
        tiles = {port: [simulated(number)[port] for number in range(2)] for port in ("image", "truth")}
        return Example({**tiles, "model": small_detector()})

    def wrong_task(self):
        tiles = {port: [simulated(0)[port]] for port in ("image", "truth")}
        model = small_detector()
        return Example({**tiles, "model": replace(model, card={**model.card, "task": "spectra"})})


class TestExplainDetection(StageLaws):
    stage = ExplainDetection

    def example(self):
        return Example({"image": tile_image(0), "sources": detected(0)["sources"], "model": small_detector()}, {"count": 2}, tile=TILES[0])

    def example_of_places(self):
        places = {"near": [[30.0, 40.0], [1.0, 1.0]]}
        return Example({"image": tile_image(0), "sources": detected(0)["sources"], "model": small_detector()}, places, tile=TILES[0])


class TestLoadModel(StageLaws):
    stage = LoadModel

    def example(self, tmp_path):
        small_detector().write(tmp_path / "detector")
        return Example(config={"path": str(tmp_path / "detector")})

    def wrong_name(self):
        return Example(config={"model": "builtin:no-such-model"})


class TestWatershedDeblending(StageLaws):
    stage = WatershedDeblending

    def example(self):
        return Example({"image": tile_image(0), **detected(0)}, tile=TILES[0])

    def wrong_pair(self):
        return Example(
            {"image": tile_image(0), "segmentation": detected(0)["segmentation"], "sources": detected(1)["sources"].empty("source")}
        )


class TestTemplateDeblending(StageLaws):
    stage = TemplateDeblending

    def example(self):
        return Example({"image": tile_image(0), **detected(0)}, tile=TILES[0])

    def example_after_apertures(self):
        return Example({"image": tile_image(0), **detected(0), "photometry": measured(0)}, {"bands": ["r"]}, tile=TILES[0])

    def wrong_band(self):
        return Example({"image": tile_image(0), **detected(0)}, {"bands": ["z"]})

    def wrong_pair(self):
        return Example(
            {"image": tile_image(0), "segmentation": detected(0)["segmentation"], "sources": detected(1)["sources"].empty("source")}
        )


class TestUNetDeblending(StageLaws):
    stage = UNetDeblending

    def example(self):
        return Example({"image": tile_image(0), **detected(0), "model": small_deblender()}, tile=TILES[0])

    def example_after_apertures(self):
        settings = {"bands": ["r"], "precision": "float32", "rounds": 1}
        return Example(
            {"image": tile_image(0), **detected(0), "photometry": measured(0), "model": small_deblender()}, settings, tile=TILES[0]
        )

    def wrong_task(self):
        model = small_deblender()
        return Example({"image": tile_image(0), **detected(0), "model": replace(model, card={**model.card, "task": "detection"})})

    def wrong_bands(self):
        model = small_deblender()
        return Example({"image": tile_image(0), **detected(0), "model": replace(model, card={**model.card, "bands": ["u"]})})


class TestTrainDeblender(StageLaws):
    stage = TrainDeblender

    def example(self):
        tiles = {port: [simulated(number)[port] for number in range(2)] for port in ("image", "truth", "fractions")}
        return Example(tiles, {"steps": 2, "widths": [4, 6, 8]})

    def wrong_pair(self):
        mixed = {port: [simulated(number)[port]] for port, number in (("image", 0), ("truth", 0), ("fractions", 1))}
        return Example(mixed, {"steps": 2})


class TestPersistenceDeblending(StageLaws):
    stage = PersistenceDeblending

    def example(self):
        return Example({"image": tile_image(0), **detected(0)}, tile=TILES[0])

    def example_without_sharpening(self):
        return Example({"image": tile_image(0), **detected(0)}, {"sharpening": 0.0, "bands": ["r"]}, tile=TILES[0])

    def wrong_pair(self):
        return Example(
            {"image": tile_image(0), "segmentation": detected(0)["segmentation"], "sources": detected(1)["sources"].empty("source")}
        )


class TestKronPhotometry(StageLaws):
    stage = KronPhotometry

    def example(self):
        return Example({"image": tile_image(0), **detected(0)}, tile=TILES[0])

    def example_after_apertures(self):
        return Example({"image": tile_image(0), **detected(0), "photometry": measured(0)}, tile=TILES[0])

    def wrong_band(self):
        return Example({"image": tile_image(0), **detected(0)}, {"bands": ["z"]})


class TestTotalPhotometry(StageLaws):
    stage = TotalPhotometry

    def example(self):
        return Example({"image": tile_image(0), **detected(0)}, tile=TILES[0])

    def example_with_apertures(self):
        return Example(
            {"image": tile_image(0), **detected(0), "photometry": measured(0)}, {"apertures": [4.0, 6.0], "bands": ["r"]}, tile=TILES[0]
        )

    def wrong_band(self):
        return Example({"image": tile_image(0), **detected(0)}, {"bands": ["z"]})


class TestForcedPhotometry(StageLaws):
    stage = ForcedPhotometry

    def example(self):
        return Example({"image": tile_image(0), "sources": detected(0)["sources"]}, tile=TILES[0])

    def example_on_another_tile(self):
        return Example({"image": tile_image(1), "sources": detected(0)["sources"], "photometry": measured(0)}, tile=TILES[0])

    def wrong_without_variance(self):
        import dataclasses

        return Example({"image": dataclasses.replace(tile_image(0), variance=None), "sources": detected(0)["sources"]})


class TestAperturePhotometry(StageLaws):
    stage = AperturePhotometry

    def example(self):
        return Example({"image": tile_image(0), "sources": detected(0)["sources"]}, tile=TILES[0])

    def example_corrected(self):
        ring = {"radii": [1.0], "unit": "arcsec", "neighbours": "correct", "annulus": {"inner": 2.0, "outer": 3.0}}
        return Example({"image": tile_image(0), **detected(0), "photometry": measured(0)}, ring, tile=TILES[0])

    def wrong_without_segmentation(self):
        return Example({"image": tile_image(0), "sources": detected(0)["sources"]}, {"neighbours": "mask"})


class TestMeasurePsf(StageLaws):
    stage = MeasurePsf

    def example(self):
        return Example({"image": tile_image(0), **detected(0)}, tile=TILES[0])

    def example_oversampled(self):
        return Example({"image": tile_image(0), **detected(0)}, {"oversampling": 2, "min_snr": 8.0, "contamination": 0.2}, tile=TILES[0])

    def example_without_stars(self):
        return Example({"image": tile_image(0), **detected(0)}, {"min_snr": 1e6}, tile=TILES[0])

    def wrong_without_anything_known(self):
        image = replace(tile_image(0), psf=None, meta={})
        return Example({"image": image, **detected(0)}, {"min_snr": 1e6}, tile=TILES[0])


class TestStarGalaxy(StageLaws):
    stage = StarGalaxy

    def example(self):
        return Example({"image": tile_image(0), **detected(0)}, tile=TILES[0])

    def example_with_a_model(self):
        return Example({"image": tile_image(0), **detected(0), "psf": psf(0)}, tile=TILES[0])

    def wrong_bands(self):
        return Example({"image": tile_image(0), **detected(0), "psf": replace(psf(0), bands=("y", "z"))}, tile=TILES[0])

    def wrong_without_psf(self):
        return Example({"image": replace(tile_image(0), psf=None), **detected(0)}, tile=TILES[0])


class TestMeasureRedshift(StageLaws):
    stage = MeasureRedshift

    def example(self):
        return Example({"spectra": redshifted()}, {"peaks": 2})

    def example_on_another_grid_with_seeds(self):
        given = redshifted()
        coarse = run(ResampleSpectra, {"start": 4180.0, "stop": 5800.0, "step": 2.0}, spectra=given)["spectra"]
        seeds = Catalog.from_columns(
            "redshift", {"spectrum_id": given.ids[:3], "rank": 0, "z": [0.0, 0.1, 1.95], "method": "x", "z_warning": 0}
        )
        return Example({"spectra": coarse, "seeds": seeds}, {"peaks": 1, "quasars": [1.5, 2.5]})

    def wrong_names(self):
        return Example({"spectra": spectra()})


class TestCombineSpectra(StageLaws):
    stage = CombineSpectra

    def example(self):
        return Example({**solutions(), "model": small_scorer()})

    def example_of_templates_alone(self):
        return Example({"scan": solutions()["scan"], "model": small_scorer()})

    def wrong_task(self):
        return Example({**solutions(), "model": small_detector()})


class TestResampleSpectra(StageLaws):
    stage = ResampleSpectra

    def example(self):
        return Example({"spectra": spectra()}, {"start": 3990.0, "stop": 4100.0, "log_step": 2e-4})

    def example_of_a_linear_grid(self):
        return Example({"spectra": spectra()}, {"start": 4000.0, "stop": 4100.0, "step": 0.5, "threshold": 0.0})

    def example_like_the_first(self):
        return Example({"spectra": spectra()}, {"like": "first"})

    def example_of_own_grids(self):
        one = spectra()
        shifted = replace(one, wave=one.wave * 1.00003, ids=np.array(["d", "e", "f"]))
        return Example({"spectra": type(one).concatenate([one, shifted])}, {"like": "first"})

    def wrong_grid(self):
        return Example({"spectra": spectra()}, {"start": 7000.0, "stop": 8000.0, "step": 1.0})


class TestSpectralAnomaly(StageLaws):
    stage = SpectralAnomaly

    def example(self):
        return Example({"spectra": lined_spectra(0)[0], "redshifts": known_redshifts(0), "model": small_anomaly()})

    def example_baseline_with_witnesses(self):
        heard = {"spectra": lined_spectra(1)[0], "redshifts": known_redshifts(1), **witnesses(1)}
        return Example({**heard, "model": small_anomaly()}, {"density": "forest"})

    def wrong_model(self):
        return Example({"spectra": lined_spectra(0)[0], "redshifts": known_redshifts(0), "model": small_detector()})

    def wrong_ids(self):
        one = lined_spectra(0)[0]
        named = replace(one, ids=np.array([f"s{k}" for k in range(8)]))
        return Example({"spectra": named, "redshifts": known_redshifts(0), "model": small_anomaly()})


class TestTrainAnomaly(StageLaws):
    stage = TrainAnomaly
    SMALL: ClassVar = {"steps": 2, "rows": 8, "latent": 3, "encoder": [4, 4, 6, 6], "decoder": [6, 4]}

    def example(self):
        return Example(self.tiles(0, 1), self.SMALL)

    def empty_without_known_objects(self):
        tiles = self.tiles(0, 1)
        return Example({**tiles, "truth": [one.replace(spectral_class=["sky"] * 8) for one in tiles["truth"]]}, self.SMALL)

    @staticmethod
    def tiles(*numbers):
        return {port: [lined_spectra(number)[k] for number in numbers] for k, port in enumerate(("spectra", "truth"))}


class TestLabelSpectra(StageLaws):
    stage = LabelSpectra

    @pytest.fixture
    def table(self, tmp_path):
        path = tmp_path / "labels.csv"
        path.write_text("NAME,CLASS,Z\na,GALAXY,0.1\nb,QSO,1.5\nc,AGN,\n")
        return path

    def catalog(self):
        columns = {"spectrum_id": [11, 12, 13], "tile_id": 7, "name": ["c", "a", "x"], "frame": "unknown", "n_pixel": 9, "snr": 5.0}
        return Catalog.from_columns("spectrum", {**columns, "wave_min": 4000.0, "wave_max": 9000.0, "flags": 0})

    def example(self, table):
        return Example({"catalog": self.catalog()}, {"path": str(table), "name": "name"})

    def example_by_row(self, table):
        return Example({"catalog": self.catalog()}, {"path": str(table)})

    def wrong_column(self, table):
        return Example({"catalog": self.catalog()}, {"path": str(table), "z": "REDSHIFT"})


class TestMeasureLines(StageLaws):
    stage = MeasureLines

    def example(self):
        found, redshifts = emission_lines()
        return Example({"spectra": found, "redshifts": redshifts}, {"resolution": 2000.0})

    def example_of_quasars(self):
        found, redshifts = emission_lines()
        return Example({"spectra": found, "redshifts": redshifts.replace(spectral_class="quasar")})

    def wrong_names(self):
        found, redshifts = emission_lines()
        return Example({"spectra": replace(found, ids=np.array(["a", "b", "c"])), "redshifts": redshifts})


class TestEvaluateSpectra(StageLaws):
    stage = EvaluateSpectra

    def example(self):
        known, classes, redshifts = zip(judged_spectra(0), judged_spectra(1), strict=True)
        return Example({"truth": list(known), "classes": list(classes), "redshifts": list(redshifts)}, {"min_accuracy": 0.9})

    def example_of_redshifts(self):
        known, _, redshifts = zip(judged_spectra(0), judged_spectra(1), strict=True)
        return Example({"truth": list(known), "redshifts": list(redshifts)})

    def wrong_nothing_to_judge(self):
        return Example({"truth": [judged_spectra(0)[0]]})


class TestSimulateClusters(StageLaws):
    stage = SimulateClusters

    def example(self):
        return Example(config={"number": 60, "clumps": 2, "streams": 1, "noise": 0.01, "center": [150, 2]})

    def example_of_a_snapshot(self):
        return Example(config={"number": 60, "clumps": 4, "snapshots": 3}, tile=Tile("t0001", 5, 1))

    def wrong_snapshot(self):
        return Example(config={"number": 60, "snapshots": 3}, tile=Tile("t0003", 5, 3))


class TestEvaluateClustering(StageLaws):
    stage = EvaluateClustering

    def example(self):
        found = grouped()
        return Example({name: found[name] for name in ("points", "members", "truth")}, {"min_ari": 0.5})

    def example_with_labels(self):
        found = grouped()
        return Example({name: found[name] for name in ("points", "members", "sources")}, {"label": "structure"})

    def example_with_another_method(self):
        found = grouped()
        return Example({"points": found["points"], "members": found["members"], "reference": found["points"]}, {"min_ari": 1.0})

    def wrong_without_truth(self):
        found = grouped()
        return Example({name: found[name] for name in ("points", "members")})


class TestMergeCatalogs(StageLaws):
    stage = MergeCatalogs

    def example(self):
        return Example({"sources": [detected(0)["sources"], detected(1)["sources"]], "photometry": [measured(0), measured(1)]})

    def example_sources_alone(self):
        return Example({"sources": [detected(0)["sources"], detected(1)["sources"]]})

    def wrong_without_footprint(self):
        nameless = detected(0)["sources"]
        return Example({"sources": [type(nameless)(nameless.table, nameless.rows, {})]})


class TestMatchSpectra(StageLaws):
    stage = MatchSpectra

    def example(self):
        spectra, redshifts, classes = observed()
        return Example({"sources": starry(), "catalog": [spectra], "redshifts": [redshifts], "classes": [classes]}, {"radius": 2.0})

    def example_spectra_alone(self):
        return Example({"sources": starry(), "catalog": [observed()[0]]})

    def wrong_twice(self):
        return Example({"sources": starry(), "catalog": [observed()[0]] * 2})


class TestCrossMatch(StageLaws):
    stage = CrossMatch

    @pytest.fixture
    def stars(self, tmp_path):
        sources = starry()[0]
        path = tmp_path / "stars.csv"
        lines = [
            f"s{i},{ra!r},{dec!r}" for i, (ra, dec) in enumerate(zip(*(sources.column(c).tolist() for c in ("ra", "dec")), strict=True))
        ]
        path.write_text("\n".join(["name,ra,dec", *lines, ""]))
        return path

    def example(self):
        return Example({"sources": starry(), "others": starry()[:1]}, {"pairs": "all", "radius": 60.0, "sigma": 5.0, "error": 0.1})

    def example_of_a_file(self, stars):
        return Example({"sources": starry()}, {"file": {"path": str(stars), "id": "name"}})

    def wrong_neither(self):
        return Example({"sources": starry()})


class Clusters(StageLaws):
    """Examples that every method of clustering is tried on, with settings of its own."""

    settings: ClassVar[dict[str, Any]] = {}
    too_many: ClassVar[dict[str, Any]] = {}
    """Settings that ask for more sources than a few."""

    def example(self):
        return Example({"sources": starry()}, {"columns": ["ra", "dec"], **self.settings})

    def example_too_few(self):
        few = [detected(0)["sources"], detected(1)["sources"]]
        return Example({"sources": few}, {"columns": ["ra", "dec"], **self.settings, **self.too_many})

    def wrong_column(self):
        return Example({"sources": starry()}, {"columns": ["ra", "dec", "parralax"], **self.settings})


class TestAstroLink(Clusters):
    stage = AstroLink
    settings: ClassVar = {"neighbours": 7}
    too_many: ClassVar = {"neighbours": 60}

    def example_simulated(self):
        settings = {"columns": ["ra", "dec"], "neighbours": 7, "null": "simulation", "false_positive_rate": 0.5}
        return Example({"sources": starry()}, settings)


class TestFriendsOfFriends(Clusters):
    stage = FriendsOfFriends
    settings: ClassVar = {"unit": "distance", "linking_length": 0.002, "min_members": 3}

    def example_scaled(self):
        return Example({"sources": starry()}, {"columns": ["x", "y"], "metric": "scaled", "linking_length": 0.5, "min_members": 2})

    def wrong_redshift(self):
        return Example({"sources": starry()}, {"columns": ["ra", "dec", "redshift"], "line_of_sight": 1.0})


class TestHdbscan(Clusters):
    stage = Hdbscan
    settings: ClassVar = {"min_samples": 5}
    too_many: ClassVar = {"min_cluster_size": 500}

    def example_soft(self):
        settings = {"columns": ["ra", "dec"], "min_samples": 5, "select": "leaf", "min_cluster_size": 15, "soft": True}
        return Example({"sources": starry()}, settings)


class TestGaussianMixture(Clusters):
    stage = GaussianMixture
    settings: ClassVar = {"max_components": 3, "starts": 1}

    def example_without_background(self):
        return Example({"sources": starry()}, {"columns": ["ra", "dec"], "n_components": 2, "background": False})


class TestKMeans(Clusters):
    stage = KMeans
    settings: ClassVar = {"n_clusters": 3}


class TestProject(Clusters):
    stage = Project


class TestFuzzyClustering(StageLaws):
    stage = FuzzyClustering
    settings: ClassVar = {"columns": ["ra", "dec"], "neighbours": 8}

    def example(self):
        return Example({"sources": starry()}, {**self.settings, "errors": {"ra": 0.01, "dec": 0.02}, "draws": 4})

    def example_of_clusterings(self):
        given = grouped()
        whole = {f"given_{name}": [Catalog.concatenate(given[name])] for name in ("members", "clusters", "points")}
        return Example({"sources": given["sources"], **whole}, {**self.settings, "columns": ["x"]})

    def example_of_snapshots(self):
        return Example(
            {"sources": moments()}, {**self.settings, "method": "hdbscan", "columns": ["p1", "p2"], "tracer": "tracer", "time": "time"}
        )

    def wrong_without_errors(self):
        return Example({"sources": starry()}, self.settings)

    def wrong_objects(self):
        return Example({"sources": moments()}, {**self.settings, "columns": ["p1", "p2"], "tracer": "tile_id", "time": "time"})


class TestEvaluateDetection(StageLaws):
    stage = EvaluateDetection

    def example(self):
        sources = [detected(0)["sources"], detected(1)["sources"]]
        return Example({"sources": sources, "truth": [truth(0), truth(1)], "photometry": [measured(0), measured(1)]})

    def example_without_photometry(self):
        return Example({"sources": [detected(0)["sources"], detected(1)["sources"]], "truth": [truth(0), truth(1)]}, {"min_purity": 0.9})

    def wrong_band(self):
        return Example({"sources": [detected(0)["sources"]], "truth": [truth(0)]}, {"band": "z"})


class TestEvaluateDeblending(StageLaws):
    stage = EvaluateDeblending

    def example(self):
        sources = [detected(0)["sources"], detected(1)["sources"]]
        return Example({"sources": sources, "truth": [truth(0), truth(1)], "photometry": [measured(0), measured(1)]}, {"max_scatter": 0.1})

    def wrong_band(self):
        return Example({"sources": [detected(0)["sources"]], "truth": [truth(0)]}, {"band": "z"})

    def wrong_unit(self):
        return Example({"sources": [detected(0)["sources"]], "truth": [truth(0)]}, {"unit": "seeing"})


class TestEvaluateSegmentation(StageLaws):
    stage = EvaluateSegmentation

    def example(self):
        labels = [detected(i)["segmentation"] for i in (0, 1)]
        return Example({"segmentation": labels, "true_segmentation": labels[::-1]}, {"min_iou": 0.5})

    def wrong_number_of_tiles(self):
        labels = [detected(i)["segmentation"] for i in (0, 1)]
        return Example({"segmentation": labels, "true_segmentation": labels[:1]})


class TestEvaluateAgreement(StageLaws):
    stage = EvaluateAgreement

    def example(self):
        tiles = [detected(0)["sources"], detected(1)["sources"]]
        return Example({"sources": tiles, "reference": tiles}, {"min_found": 0.9})


class _Exports:
    def example(self):
        return Example({"sources": [detected(0)["sources"], detected(1)["sources"]], "photometry": [measured(0), measured(1)]})


class TestExportFits(_Exports, StageLaws):
    stage = ExportFits

    def example_of_spectra(self):
        _, classes, redshifts = zip(judged_spectra(0), judged_spectra(1), strict=True)
        return Example(
            {
                "classes": list(classes),
                "anomalies": [witnesses(0)["network_classes"], witnesses(1)["network_classes"]],
                "redshifts": list(redshifts),
            }
        )

    def example_of_clusters(self):
        found = grouped()
        return Example({name: found[name] for name in ("sources", "clusters", "members", "points")})

    def example_wide(self):
        return Example(self.example().inputs, {"layout": "wide"})


class TestExportVOTable(_Exports, StageLaws):
    stage = ExportVOTable

    def example_wide(self):
        return Example(self.example().inputs, {"layout": "wide"})


class TestExportRegions(StageLaws):
    stage = ExportRegions

    def example(self):
        return Example({"sources": [detected(0)["sources"], detected(1)["sources"]]}, {"labels": True})
