"""What the built-in plugin registers, through the same hooks as any other plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..hookspecs import hookimpl

astrosurvey_api = 1


@hookimpl
def register_products(register: Callable[[type], None]) -> None:
    """Register the products that ship with astrosurvey."""
    from .. import products

    for name in products.__all__:
        register(getattr(products, name))


@hookimpl
def register_stages(register: Callable[[type], None]) -> None:
    """Register the stages that ship with astrosurvey."""
    from .background.stage import MeshBackground
    from .catalog.crossmatch import CrossMatch
    from .catalog.match import MatchSpectra
    from .catalog.stage import MergeCatalogs
    from .clustering.astrolink.stage import AstroLink
    from .clustering.friends.stage import FriendsOfFriends
    from .clustering.fuzzy.stage import FuzzyClustering
    from .clustering.hdbscan.stage import Hdbscan
    from .clustering.kmeans.stage import KMeans
    from .clustering.mixture.stage import GaussianMixture
    from .clustering.project.stage import Project
    from .deblending.fractional import TemplateDeblending
    from .deblending.persistence import PersistenceDeblending
    from .deblending.stage import WatershedDeblending
    from .deblending.unet.stage import TrainDeblender, UNetDeblending
    from .detection.stage import MatchedDetection, SegmentDetection
    from .detection.unet.explain import ExplainDetection
    from .detection.unet.stage import CalibrateUNet, TrainUNet, UNetDetection
    from .evaluate.agreement import EvaluateAgreement
    from .evaluate.blends import EvaluateDeblending, EvaluateSegmentation
    from .evaluate.clustering.stage import EvaluateClustering
    from .evaluate.posterior.stage import EvaluatePosterior
    from .evaluate.spectra.stage import EvaluateSpectra
    from .evaluate.stage import EvaluateDetection
    from .export.stage import ExportFits, ExportRegions, ExportVOTable
    from .io.catalog.stage import ReadCatalog
    from .io.observations.stage import ReadObservations
    from .io.stage import ReadImage
    from .models.stage import LoadModel
    from .photometry.model_stage import ForcedPhotometry, TotalPhotometry
    from .photometry.stage import AperturePhotometry, KronPhotometry
    from .psf.stage import MeasurePsf, StarGalaxy
    from .sbi.stages import STAGES as SBI
    from .simulate.clusters.stage import SimulateClusters
    from .simulate.field import SimulateField
    from .simulate.spectra.stage import SimulateSpectra
    from .simulate.stage import SimulateSky
    from .spectra.anomaly.stage import SpectralAnomaly, TrainAnomaly
    from .spectra.classify.explain import ExplainSpectra
    from .spectra.classify.stage import ClassifySpectra, TrainSpectra
    from .spectra.combine.stage import CombineSpectra
    from .spectra.labels.stage import LabelSpectra
    from .spectra.lines.stage import MeasureLines
    from .spectra.redshift.stage import MeasureRedshift
    from .spectra.resample.stage import ResampleSpectra
    from .spectra.stage import ReadSpectra

    for stage in (
        ReadImage,
        ReadCatalog,
        ReadSpectra,
        ReadObservations,
        LabelSpectra,
        SimulateSky,
        SimulateField,
        SimulateSpectra,
        SimulateClusters,
        MeshBackground,
        SegmentDetection,
        MatchedDetection,
        UNetDetection,
        TrainUNet,
        CalibrateUNet,
        ExplainDetection,
        LoadModel,
        PersistenceDeblending,
        WatershedDeblending,
        TemplateDeblending,
        UNetDeblending,
        TrainDeblender,
        MeasurePsf,
        StarGalaxy,
        KronPhotometry,
        AperturePhotometry,
        TotalPhotometry,
        ForcedPhotometry,
        ResampleSpectra,
        SpectralAnomaly,
        TrainAnomaly,
        ClassifySpectra,
        TrainSpectra,
        ExplainSpectra,
        MeasureRedshift,
        CombineSpectra,
        MeasureLines,
        MergeCatalogs,
        MatchSpectra,
        CrossMatch,
        AstroLink,
        Hdbscan,
        FriendsOfFriends,
        FuzzyClustering,
        GaussianMixture,
        KMeans,
        Project,
        *SBI,
        EvaluateDetection,
        EvaluateAgreement,
        EvaluateDeblending,
        EvaluateSegmentation,
        EvaluateSpectra,
        EvaluateClustering,
        EvaluatePosterior,
        ExportFits,
        ExportVOTable,
        ExportRegions,
    ):
        register(stage)


@hookimpl
def register_models(register: Callable[[str, Path], None]) -> None:
    """Register the trained models that ship with astrosurvey, one folder each."""
    for folder in sorted((Path(__file__).parents[1] / "models").iterdir()):
        register(folder.name, folder)


@hookimpl
def report_sections(run: Path, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Show the pictures of `detection.explain` and `spectra.explain`."""
    from .detection.unet import explain as sources
    from .spectra.classify import explain as spectra

    return [*sources.report_section(run, summary["stages"]), *spectra.report_section(run, summary["stages"])]
