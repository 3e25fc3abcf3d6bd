"""Small products of every kind for the laws, made once: two tiles that overlap, from pixels to photometry."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from astrosurvey import Box, Catalog, Context, Tile
from astrosurvey.stages.detection.stage import SegmentDetection
from astrosurvey.stages.photometry.stage import AperturePhotometry
from astrosurvey.stages.psf.stage import MeasurePsf
from astrosurvey.testing import make_image

TILES = (
    Tile("t0", number=7, index=0, window=Box(0, 0, 96, 96), core=Box(0, 0, 72, 96)),
    Tile("t1", number=8, index=1, window=Box(48, 0, 144, 96), core=Box(72, 0, 144, 96)),
)


@cache
def tile_image(index: int) -> Any:
    """Return the sky-subtracted image of a tile."""
    return make_image(seed=index + 1)


@cache
def detected(index: int) -> dict[str, Any]:
    """Return segmentation and sources of a tile."""
    return dict(_run(SegmentDetection, index, {}, image=tile_image(index)))


@cache
def measured(index: int) -> Any:
    """Return aperture photometry of a tile's sources."""
    sources = detected(index)["sources"]
    return _run(AperturePhotometry, index, {"radii": [3.0]}, image=tile_image(index), sources=sources, segmentation=None, photometry=None)[
        "photometry"
    ]


@cache
def psf(index: int) -> Any:
    """Return the PSF model of a tile."""
    return _run(MeasurePsf, index, {}, image=tile_image(index), **detected(index))["psf"]


@cache
def truth(index: int) -> Any:
    """Return what is in a tile's image."""
    from astrosurvey.catalog.ids import object_ids
    from astrosurvey.catalog.ownership import primary

    image, tile = tile_image(index), TILES[index]
    stars = image.meta["stars"]
    rows = [(i, band, x, y, flux * 1.5**b) for i, (x, y, flux) in enumerate(stars) for b, band in enumerate(image.bands)]
    numbers, bands, x, y, flux = (list(column) for column in zip(*rows, strict=True))
    ra, dec = image.wcs.pixel_to_world_values(x, y)
    ids = object_ids(tile.number, len(stars))
    columns = {"truth_id": [ids[i] for i in numbers], "band": bands, "x": x, "y": y, "ra": ra, "dec": dec, "flux": flux}
    return Catalog.from_columns("truth", {**columns, "tile_id": tile.number, "object_type": "star", "primary": primary(tile, x, y)})


@cache
def drawn(simulator: Any) -> Any:
    """Return a few draws of the prior that is usual with a simulator."""
    import numpy as np

    prior = simulator.usual_prior()
    return prior.samples(prior.draw(np.random.default_rng(4), 5))


@cache
def lumpy(side: int = 16, count: int = 6, seed: int = 6) -> Any:
    """Return images that a strength made, one of them with a gap."""
    import numpy as np

    from astrosurvey.products import Observations
    from astrosurvey.stages.sbi.priors import Prior

    rng = np.random.default_rng(seed)
    prior = Prior.declared({"strength": {"uniform": [1, 2]}})
    theta = prior.draw(rng, count)
    data = (theta[:, :, None] * rng.normal(size=(count, side, side))).astype(np.float32)
    data[-1, 3, 4] = np.nan
    return Observations(data, np.arange(count) + 1000 * seed, "", (), prior.samples(theta), {"failed": 0})


@cache
def small_summary() -> Any:
    """Return a moment network that has been trained for a moment on images."""
    from astrosurvey.stages.sbi.summaries.moments_stage import TrainMoments

    from ..stages.running import run, tiles_of

    settings = {"epochs": 1, "features": 3, "keep_back": 0.2, "max_missing": 0.1}
    return run(TrainMoments, settings, observations=tiles_of(t=lumpy(count=40)))["summary_model"]


@cache
def starry() -> Any:
    """Return the sources of two tiles, of a field with two clusters of stars in it, at the seam of right ascension."""
    import numpy as np

    rng = np.random.default_rng(3)
    ra = np.concatenate([rng.normal(0, 0.05, 50), rng.normal(0.5, 0.1, 50), rng.uniform(-1, 1.5, 100)]) % 360
    dec = np.concatenate([rng.normal(0, 0.05, 50), rng.normal(0.5, 0.1, 50), rng.uniform(-1, 1.5, 100)])
    pixels = {"x": (ra + 180) % 360 * 10, "y": dec * 10, "x_min": 0, "x_max": 1, "y_min": 0, "y_max": 1, "n_pixels": 1}
    rows = {"source_id": np.arange(200), "tile_id": 1, "ra": ra, "dec": dec, "significance": 9.0, "n_child": 0, "primary": True, "flags": 0}
    both = Catalog.from_columns("source", {**rows, **pixels})
    return [Catalog("source", both.rows.take(np.arange(k, 200, 2))) for k in range(2)]


@cache
def observed() -> tuple[Any, Any, Any]:
    """Return a catalogue of six spectra of sources of `starry`, the fourth without a position, and redshifts and classes of some."""
    import numpy as np

    sources = Catalog.concatenate(starry())
    rows, ids = [0, 3, 60, 3, 120, 150], np.arange(6) + 50
    ra, dec = (np.ma.MaskedArray(sources.column(name)[rows], np.arange(6) == 3) for name in ("ra", "dec"))
    known = {"tile_id": 2, "frame": "unknown", "n_pixel": 9, "wave_min": 4000.0, "wave_max": 9000.0, "flags": 0}
    redshift = {"spectrum_id": [50, 50, 52, 99], "rank": [0, 1, 0, 0], "z": 0.1, "z_err": 1e-4, "z_warning": 0, "method": "scan"}
    classes = {"object_table": ["spectrum", "source"], "object_id": [55, 50], "classifier": "net", "label": "star", "probability": 0.7}
    return (
        Catalog.from_columns("spectrum", {"spectrum_id": ids, "ra": ra, "dec": dec + 1 / 3600, **known}),
        Catalog.from_columns("redshift", redshift),
        Catalog.from_columns("classification", {**classes, "flags": 0}),
    )


@cache
def spectra() -> Any:
    """Return three spectra on one grid: one clean, one with bad pixels and a gap, one without data."""
    import numpy as np

    from astrosurvey.catalog.flags import SPECTRUM_PIXEL
    from astrosurvey.products import Spectra

    wave = 4000 * 10 ** (1e-4 * np.arange(120))
    flux = np.random.default_rng(8).normal(5, 1, (3, len(wave))).astype(np.float32)
    ivar, mask = np.ones_like(flux), np.zeros(flux.shape, np.int32)
    mask[1, ::9] = SPECTRUM_PIXEL["COSMIC_RAY"]
    flux[1, 40:60] = flux[2] = np.nan
    ivar[~np.isfinite(flux)] = 0
    mask[~np.isfinite(flux)] |= SPECTRUM_PIXEL["NO_DATA"]
    return Spectra(flux, ivar, mask, wave, np.array(["a", "b", "c"]), meta={"survey": "none"})


@cache
def redshifted() -> Any:
    """Return spectra of a star, a galaxy and a quasar of the analytic templates, numbered; and one without data."""
    import numpy as np

    from astrosurvey.catalog.flags import SPECTRUM_PIXEL
    from astrosurvey.products import Spectra
    from astrosurvey.stages.spectra.templates import read_library

    library, first, pixels = read_library(None), 36200, 1500
    cases = ((library.eigen_stars, 20, 2), (library.eigen_galaxies, 0, 415), (library.eigen_quasars, 0, 4700))
    rows = [s.flux[row, (begin := first - shift - s.first) : begin + pixels] for s, row, shift in cases]
    flux = np.stack([row / np.median(row) for row in [*rows, rows[0]]]).astype(np.float32)
    flux += np.random.default_rng(9).normal(0, 0.05, flux.shape).astype(np.float32)
    ivar, mask = np.full_like(flux, 400), np.zeros(flux.shape, np.int32)
    flux[3], ivar[3], mask[3] = np.nan, 0, SPECTRUM_PIXEL["NO_DATA"]
    return Spectra(flux, ivar, mask, 10 ** (1e-4 * (first + np.arange(pixels))), np.arange(70, 74))


@cache
def emission_lines() -> tuple[Any, Any]:
    """Return three spectra from Hβ to [S II] and their redshifts: of a galaxy, of one with bad pixels, and of one without data."""
    import numpy as np

    from astrosurvey.catalog.flags import SPECTRUM_PIXEL
    from astrosurvey.products import Catalog, Spectra

    wave, z = 4800 * 10 ** (2e-4 * np.arange(800)), np.array([0.01, 0.02, 0.015])
    flux = np.random.default_rng(4).normal(8, 1, (3, len(wave)))
    for at, height in ((4862.7, 20), (5008.2, 30), (6564.6, 60), (6585.3, 20)):
        flux += height * np.exp(-0.5 * ((wave / (at * (1 + z[:, None])) - 1) * 299792.458 / 160) ** 2)
    ivar, mask = np.ones_like(flux, np.float32), np.zeros(flux.shape, np.int32)
    mask[1, ::9] = SPECTRUM_PIXEL["COSMIC_RAY"]
    flux[1, 690:] = flux[2] = np.nan
    ivar[~np.isfinite(flux)] = 0
    mask[~np.isfinite(flux)] |= SPECTRUM_PIXEL["NO_DATA"]
    ids = np.array([11, 12, 13])
    rows = {"spectrum_id": ids, "rank": 0, "z": z, "spectral_class": "galaxy", "method": "test", "z_warning": 0}
    return Spectra(flux.astype(np.float32), ivar, mask, wave, ids), Catalog.from_columns("redshift", rows)


@cache
def judged_spectra(index: int) -> tuple[Any, Any, Any]:
    """Return the truth of a tile's four spectra, and classes and redshifts that are right in three."""
    import numpy as np

    from astrosurvey.products import Catalog
    from astrosurvey.stages.spectra.classes import COARSE

    ids, known = 4 * index + np.arange(1, 5), ["star", "galaxy", "quasar", "sky"]
    z = np.array([0.0, 0.1, 2.0, np.nan])
    truth = {"spectrum_id": ids, "tile_id": 7 + index, "spectral_class": known, "subclass": "", "z": z, "snr": [3.0, 8.0, 20.0, 0.1]}
    said = ["star", "galaxy", "quasar", "galaxy"]
    probability = [0.8 if label == name else 0.05 for name in said for label in COARSE]
    classes = {
        "object_table": "spectrum",
        "object_id": np.repeat(ids, 5),
        "classifier": "net/coarse",
        "label": list(COARSE) * 4,
        "flags": 0,
    }
    redshifts = {
        "spectrum_id": ids,
        "rank": 0,
        "z": np.nan_to_num(z, nan=0.3),
        "z_err": 1e-4,
        "spectral_class": said,
        "method": "scan",
        "z_warning": 0,
    }
    return (
        Catalog.from_columns("spectrum_truth", truth),
        Catalog.from_columns("classification", {**classes, "probability": probability}),
        Catalog.from_columns("redshift", redshifts),
    )


@cache
def moments() -> list[Any]:
    """Return five snapshots of the same 130 objects in two catalogues; two clumps last, and one forms in the course of time."""
    import numpy as np

    from astrosurvey.catalog.pixelless import pixel_columns

    rng = np.random.default_rng(6)
    clumps = [place + rng.normal(0, 0.02, (30, 2)) for place in ((0.2, 0.2), (0.2, 0.8), (0.8, 0.5))]
    field = rng.random((40, 2))
    columns: dict[str, list[Any]] = {name: [] for name in ("p1", "p2", "tracer", "time")}
    for time in range(5):
        late = clumps[2] if time < 3 else rng.random((30, 2))
        places = np.concatenate([*clumps[:2], late, field]) + rng.normal(0, 0.002, (130, 2))
        order = rng.permutation(130)
        for name, values in zip(columns, (places[order, 0], places[order, 1], order, np.full(130, 10 - time)), strict=True):
            columns[name].append(values)
    own = {f"x_demo_{name}": np.concatenate(values) for name, values in columns.items()}
    rows = {"source_id": rng.permutation(650), "tile_id": 1, **pixel_columns(np.arange(650)), "flags": 0}
    both = Catalog.from_columns("source", {**rows, **own})
    return [Catalog("source", both.rows.take(np.arange(k, 650, 2))) for k in range(2)]


@cache
def grouped() -> dict[str, list[Any]]:
    """Return twelve sources, the two structures that they belong to, and the clusters that a method finds, each in two parts."""
    import numpy as np

    from astrosurvey.stages.clustering.features import FeatureConfig, points_of
    from astrosurvey.stages.clustering.tables import Group, write_tables

    n, structure = 12, np.repeat([1, 2, 0], 4)
    values = structure + np.linspace(0, 0.1, n)
    pixels = {"x": values, "y": 0.0, "x_min": 0, "x_max": 4, "y_min": 0, "y_max": 1, "n_pixels": 1}
    rows = {"source_id": np.arange(n), "tile_id": 0, **pixels, "significance": 5.0, "n_child": 0, "primary": True, "flags": 0}
    sources = Catalog.from_columns("source", {**rows, "x_demo_structure": structure})
    points = points_of(sources, FeatureConfig(columns=["x"]), logging.getLogger("laws"))
    groups = [Group(np.arange(5), np.full(5, 0.8)), Group(np.arange(5, 8), np.full(3, 0.9))]
    kinds = np.array(["background", "clump", "stream"])[structure]
    truth = {"source_id": np.arange(n), "tile_id": 0, "structure": structure, "structure_type": kinds}
    tables = write_tables(sources, points, groups, "clustering.test")
    tables |= {"sources": sources, "truth": Catalog.from_columns("cluster_truth", truth)}
    return {
        name: [Catalog(whole.table, whole.rows.slice(0, 6)), Catalog(whole.table, whole.rows.slice(6))] for name, whole in tables.items()
    }


@cache
def solutions() -> dict[str, Any]:
    """Return what templates and a network say of four spectra, of which the templates could do nothing with the last."""
    from astrosurvey.catalog.flags import Z_WARNING

    scan = {
        "spectrum_id": [70, 70, 71, 72, 73],
        "rank": [0, 1, 0, 0, 0],
        "z": [0.1, 0.0, 2.0, 0.5, float("nan")],
        "z_err": [1e-4, 1e-4, 1e-3, 1e-3, float("nan")],
        "chi2": [1000.0, 1400.0, 5000.0, 900.0, float("nan")],
        "dof": [990, 990, 990, 990, None],
        "delta_chi2": [400.0, float("nan"), 50.0, 3.0, float("nan")],
        "spectral_class": ["galaxy", "star", "quasar", "galaxy", None],
        "template": ["g", "K3", "q", "g", None],
        "z_warning": [0, 0, 0, Z_WARNING["NO_FEATURES"], Z_WARNING["NO_DATA"]],
        "method": "spectra.redshift",
    }
    network = {
        "spectrum_id": [70, 71, 71, 72],
        "rank": [0, 0, 1, 0],
        "z": [0.1001, 2.5, 2.001, 0.8],
        "z_err": 1e-3,
        "spectral_class": ["galaxy", "quasar", "quasar", "star"],
        "probability": [0.9, 0.6, 0.3, 0.1],
        "z_warning": 0,
        "method": "spectra.classify",
    }
    shares = [[0.05, 0.9, 0.05, 0, 0], [0, 0.1, 0.9, 0, 0], [0.1, 0.1, 0, 0.8, 0]]
    classes = {
        "object_table": "spectrum",
        "object_id": [n for n in (70, 71, 72) for _ in range(5)],
        "classifier": "net/coarse",
        "label": ["star", "galaxy", "quasar", "sky", "unknown"] * 3,
        "probability": [p for row in shares for p in row],
        "ood_score": 0.3,
        "flags": 0,
    }
    tables = (("redshift", scan), ("redshift", network), ("classification", classes))
    made = (Catalog.from_columns(table, columns) for table, columns in tables)
    return dict(zip(("scan", "network", "network_classes"), made, strict=True))


@cache
def small_scorer() -> Any:
    """Return a model of spectra.combine with weights that anybody would choose."""
    import torch

    from astrosurvey.networks.candidates import CandidateScorer
    from astrosurvey.stages.models.load import to_model
    from astrosurvey.stages.spectra.combine.features import NAMES

    weight = {f"is a {kind} with a redshift": 5.0 for kind in ("star", "galaxy", "quasar")} | {"log of what the fit is behind by": -1.0}
    weight |= {"log of the class's probability": 1.0, "log of the redshift's probability": 1.0, "not a fit, only the network's": -1.0}
    scorer = CandidateScorer(len(NAMES))
    scorer.weights.data[:] = torch.tensor([weight.get(name, 0.0) for name in NAMES])
    return to_model(
        scorer, "candidates", {"features": len(NAMES)}, {"task": "combination", "features": list(NAMES), "trained_on": {"unknown": 0.01}}
    )


@cache
def small_detector() -> Any:
    """Return a detector that has learnt nothing, as a Model."""
    import torch

    from astrosurvey.networks.unet import UNet
    from astrosurvey.stages.models.load import to_model

    torch.manual_seed(3)
    config = {"in_channels": 4, "heads": [["centre", 1], ["offset", 2], ["mask", 1], ["star", 1]], "widths": [4, 6, 8]}
    calibration = {"shift": [0.0, 0.0], "evidence": [-8.0, 0.0, 8.0], "probability": [0.0, 0.5, 1.0], "threshold": 0.51, "purity": 0.97}
    card = {"task": "detection", "bands": None, "calibration": calibration, "trained_on": {"fwhm": [2.0, 7.0]}}
    return to_model(UNet(**config), "unet", config, card)


@cache
def small_deblender() -> Any:
    """Return a deblender that has learnt nothing, as a Model."""
    import torch

    from astrosurvey.networks.unet import UNet
    from astrosurvey.stages.models.load import to_model

    torch.manual_seed(4)
    config = {"in_channels": 5, "heads": [["change", 1], ["gain", 1]], "widths": [4, 6, 8], "dropout": 0.0}
    card = {"task": "deblending", "bands": None, "trained_on": {"fwhm": [2.0, 7.0]}}
    return to_model(UNet(**config), "unet", config, card)


@cache
def small_classifier() -> Any:
    """Return networks for spectra that have learnt nothing, as a Model."""
    import torch

    from astrosurvey.networks.spectrum import SpectrumEnsemble
    from astrosurvey.stages.models.load import to_model
    from astrosurvey.stages.spectra.classes import COARSE, FINE
    from astrosurvey.stages.spectra.classify.posterior import Calibration

    torch.manual_seed(5)
    config = {"channels": 4, "pixels": 2176, "bins": 1136, "coarse": 5, "fine": 13, "width": 4, "templates": 2, "latent": 8, "groups": 16}
    network = SpectrumEnsemble(2, **config)
    for member in network:
        member.learn_groups(torch.randn(50, 8), torch.arange(50) % 2)
    card = {
        "task": "spectra",
        "classes": {"coarse": list(COARSE), "fine": list(FINE)},
        "calibration": Calibration(coarse=1.2, redshift=0.9, error_floor=1e-4).to_card(),
        "distances": [0.0, 1.0, 2.0],
        "trained_on": {"shares": {"unknown": 0.05}},
    }
    return to_model(network, "spectrum", {"members": 2, **config}, card)


@cache
def numbered() -> Any:
    """Return the three spectra with numbers for ids, as `io.spectra` gives them."""
    from dataclasses import replace

    import numpy as np

    return replace(spectra(), ids=np.arange(41, 44))


@cache
def classified() -> dict[str, Any]:
    """Return classes and redshifts of the three spectra, by networks that have learnt nothing."""
    from astrosurvey.stages.spectra.classify.stage import ClassifySpectra

    return dict(_run(ClassifySpectra, 0, {}, spectra=numbered(), model=small_classifier()))


@cache
def known_spectra(number: int) -> Any:
    """Return a tile of simulated spectra of every class, with their truth."""
    import numpy as np

    from astrosurvey.stages.simulate.spectra.stage import SimulateSpectra

    log = logging.getLogger("astrosurvey.task.example")
    context = Context(TILES[number], np.random.default_rng(number), "cpu", log, lambda done, total: None, Path())
    stage = SimulateSpectra(SimulateSpectra.Config(number=16, log_step=2e-4))
    stage.setup(context)
    return dict(stage.run(context))


@cache
def simulated(number: int) -> Any:
    """Return a small simulated tile: sky-subtracted image, truth, true segmentation and fractions."""
    from astrosurvey.stages.simulate.field import SimulateField

    log = logging.getLogger("astrosurvey.task.example")
    import numpy as np

    tile = Tile(f"s{number}", number=20 + number, index=number, window=Box(0, 0, 192, 192), core=Box(0, 0, 192, 192))
    context = Context(tile, np.random.default_rng(number), "cpu", log, lambda done, total: None, Path())
    return dict(SimulateField(SimulateField.Config(sky=0.0, pairs=300.0)).run(context))


def _run(cls: Any, index: int, config: dict[str, Any], **inputs: Any) -> Any:
    import numpy as np

    log = logging.getLogger("astrosurvey.task.example")
    context = Context(TILES[index], np.random.default_rng(1), "cpu", log, lambda done, total: None, Path())
    return cls(cls.Config.model_validate(config)).run(context, **inputs)


@cache
def small_anomaly() -> Any:
    """Return a model of `spectra.anomaly` that has learnt nothing."""
    import numpy as np

    from astrosurvey.networks.determinism import seeded
    from astrosurvey.networks.spectral_autoencoder import SpectralAutoencoder
    from astrosurvey.networks.train import History
    from astrosurvey.stages.spectra.anomaly.calibrate import calibrate
    from astrosurvey.stages.spectra.anomaly.model import to_model
    from astrosurvey.stages.spectra.anomaly.rest import PIXELS
    from astrosurvey.stages.spectra.anomaly.score import STRANGE
    from astrosurvey.stages.spectra.anomaly.train import Trained

    config = {
        "pixels": PIXELS,
        "latent": 3,
        "encoder": [4, 4, 6, 6],
        "decoder": [6, 4],
        "flow": {"layers": 2, "hidden": 8},
        "forest": [1, 1],
    }
    rng = np.random.default_rng(5)
    with seeded(5):
        network = SpectralAutoencoder(**config).eval()
    named = (*STRANGE, "misfit", "nothing_known")
    found = {name: rng.normal(size=400) for name in named} | {"snr": rng.uniform(0.5, 30, 400), "pixels": np.full(400, 2000.0)}
    calibrations = {density: calibrate(found, density) for density in ("flow", "forest")}
    return to_model(Trained(network, config, History(), calibrations, {}), {"data": "none"}, 1e-3)


@cache
def lined_spectra(number: int) -> tuple[Any, Any]:
    """Return a few numbered spectra with a line at their redshifts, the last one of them empty sky, and the truth about them."""
    import numpy as np

    from astrosurvey.products import Spectra

    rng = np.random.default_rng(number)
    wave = 3800 * 10 ** (4e-4 * np.arange(900))
    z = np.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, np.nan])
    lines = 5 * np.exp(-0.5 * ((wave / 4100 / (1 + np.nan_to_num(z)[:, None]) - 1) / 0.003) ** 2)
    level = np.where(np.isfinite(z), 3.0, 0.0)[:, None]
    flux = (level * (1 + lines) + rng.normal(0, 0.3, (len(z), len(wave)))).astype(np.float32)
    ivar, mask = np.full_like(flux, 1 / 0.3**2), np.zeros(flux.shape, np.int32)
    ids = np.arange(len(z)) + 100 * (number + 1)
    truth = {
        "spectrum_id": ids,
        "tile_id": number,
        "spectral_class": ["star", *["galaxy"] * 6, "sky"],
        "subclass": "",
        "z": z,
        "snr": 10.0,
        "template": "a line",
    }
    return Spectra(flux, ivar, mask, wave, ids), Catalog.from_columns("spectrum_truth", truth)


@cache
def witnesses(number: int) -> dict[str, Any]:
    """Return what templates leave of `lined_spectra`, and what a classifier says of all but the last one."""
    import numpy as np

    from astrosurvey.stages.spectra.classes import COARSE

    spectra, _ = lined_spectra(number)
    smooth = np.where(spectra.mask == 0, 3.0, np.nan).astype(np.float32)
    ids = np.repeat(spectra.ids[:7], len(COARSE))
    probability = np.tile(np.array([0.1, 0.8, 0.05, 0.02, 0.03]), 7)
    columns = {"object_table": "spectrum", "object_id": ids, "classifier": "net/coarse", "label": list(COARSE) * 7, "flags": 0}
    return {
        "fits": replace(spectra, flux=smooth),
        "network_classes": Catalog.from_columns("classification", {**columns, "probability": probability}),
    }


@cache
def known_redshifts(number: int) -> Any:
    """Return the redshifts of `lined_spectra`; the last one has none."""
    spectra, truth = lined_spectra(number)
    n = len(spectra) - 1
    columns = {"spectrum_id": spectra.ids[:n], "rank": 0, "z": truth.column("z")[:n], "method": "truth", "z_warning": 0}
    return Catalog.from_columns("redshift", columns)


@cache
def two_moons(index: int) -> Any:
    """Return simulations of a tile."""
    import numpy as np

    from astrosurvey.products import Observations
    from astrosurvey.stages.sbi.simulators.two_moons import TwoMoons

    prior = TwoMoons.usual_prior()
    theta = prior.draw(np.random.default_rng(index), 24)
    ids = np.arange(24 * index, 24 * (index + 1), dtype=np.int64)
    return Observations(TwoMoons().draw(theta, index), ids, "", TwoMoons.features, prior.samples(theta))


@cache
def small_posterior() -> Any:
    """Return an estimator that has hardly learnt anything."""
    from astrosurvey.core.product import Tiles
    from astrosurvey.stages.sbi.stage import NeuralPosterior

    settings = {"members": 2, "layers": 2, "bins": 3, "hidden": [6], "epochs": 2, "calibration": "off"}
    return _run(NeuralPosterior, 0, settings, observations=Tiles(["t0"], lambda name: two_moons(0)))["posterior_model"]


@cache
def small_round() -> Any:
    """Return a round of marginal ratios that has hardly learnt anything, and so cut little."""
    from astrosurvey.core.product import Tiles
    from astrosurvey.stages.sbi.rounds.stage import TruncatedMarginals

    settings = {"members": 2, "hidden": [6], "epochs": 2, "calibration": "off"}
    simulations, target = Tiles(["t0"], lambda name: two_moons(0)), Tiles(["t0"], lambda name: two_moons(1))
    return _run(TruncatedMarginals, 0, settings, observations=simulations, target=target)["posterior_model"]


@cache
def answered(index: int) -> dict[str, Any]:
    """Return the posteriors of a tile's observations."""
    from astrosurvey.stages.sbi.stage import Posterior

    return dict(_run(Posterior, index, {"draws": 20, "keep": 12}, posterior_model=small_posterior(), observations=two_moons(index)))
