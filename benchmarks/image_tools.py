"""The tools that `images.py` compares, each in a process of its own: what they find on one image, and what it costs.

python image_tools.py TOOL SCENE.npz OUT.npz

A tool returns columns (x, y, rank, flux, flux_err, wx, wy: windowed place) and the CPU and wall seconds of its steps.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

Columns = dict[str, np.ndarray]
CHAINS: dict[str, tuple[str, ...]] = {
    "segment": ("background.mesh", "detection.segment", "deblending.watershed", "photometry.kron"),
    "classical": ("background.mesh", "detection.matched", "deblending.persistence", "photometry.total"),
    "unet": ("background.mesh", "detection.unet", "photometry.total|photometry.kron"),
    "unet+deblender": ("background.mesh", "detection.unet", "deblending.unet", "photometry.total|photometry.kron"),
    "unet+templates": ("background.mesh", "detection.unet", "deblending.templates", "photometry.total|photometry.kron"),
}
"""Our pipelines, of which those can be compared whose stages are all installed; of alternatives, the first that is."""

SEP_THRESHOLDS = (1.5, 1.1, 1.05, 1.0)
"""Scalar thresholds of sep, in units of the noise; which of them is as pure as wanted depends on the sky."""


class Clock:
    """CPU and wall seconds by step, and the peak memory at its end; a step's name may come again."""

    def __init__(self) -> None:
        self.steps: dict[str, list[float]] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        cpu, wall = _cpu(), time.perf_counter()
        yield
        before = self.steps.setdefault(step, [0.0, 0.0, 0.0])
        self.steps[step] = [before[0] + _cpu() - cpu, before[1] + time.perf_counter() - wall, _peak()]

    def to_labels(self) -> dict[str, float]:
        """Return the costs of the steps from the image to the labels; nothing of a tool whose steps are not told apart."""
        steps = [costs for step, costs in self.steps.items() if not step.startswith(("photometry", "everything"))]
        if not steps:
            return {}
        cpu, wall, peak = zip(*steps, strict=True)
        return {"cpu_s": sum(cpu), "wall_s": sum(wall), "peak_mib": max(peak)}


def _peak() -> float:
    """Return the most memory that this process has had resident, in MiB; what getrusage says is the parent's if that had more."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _cpu() -> float:
    """User and system seconds of this process and of the children it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def sep(scene: dict[str, np.ndarray], clock: Clock, threshold: float) -> Columns:
    """sep with a scalar threshold: background, extraction, Kron, an aperture, half-light radii and windowed places."""
    import sep

    data = scene["data"]
    sep.set_extract_pixstack(max(300_000, data.size // 2))
    with clock("background"):
        background = sep.Background(data, bw=64, bh=64)
        pixels = data - background.back()
    with clock("detection"):
        found, labels = sep.extract(pixels, threshold, err=background.globalrms, segmentation_map=True)
    # As SExtractor does, neighbours' pixels are left out.
    others: dict[str, Any] = {"segmap": labels, "seg_id": np.arange(1, len(found) + 1, dtype=np.int32)}
    x, y, shape = found["x"], found["y"], (found["a"], found["b"], np.clip(found["theta"], -np.pi / 2, np.pi / 2))
    with clock("photometry"):
        radius, _ = sep.kron_radius(pixels, x, y, *shape, 6.0, **others)
        flux, error, _ = sep.sum_ellipse(pixels, x, y, *shape, 2.5 * np.maximum(radius, 1.4), err=background.globalrms, subpix=1, **others)
        sep.sum_circle(pixels, x, y, 5.0, err=background.globalrms, subpix=5, **others)
        half, _ = sep.flux_radius(pixels, x, y, 6.0 * found["a"], 0.5, normflux=flux, subpix=5, **others)
        wx, wy, _ = sep.winpos(pixels, x, y, 2.0 / 2.35 * np.where(np.isfinite(half) & (half > 0), half, 2.0))
    rank = found["flux"] / (background.globalrms * np.sqrt(found["npix"]))
    return {"x": x, "y": y, "rank": rank, "flux": flux, "flux_err": error, "wx": wx, "wy": wy}


def sextractor(scene: dict[str, np.ndarray], clock: Clock) -> Columns:
    """SExtractor as Debian has it, thresholds 1.5; the files it reads are written before, and its catalogue read after, the clock runs."""
    from astropy.io import fits

    names = (
        "NUMBER X_IMAGE Y_IMAGE XWIN_IMAGE YWIN_IMAGE FLUX_AUTO FLUXERR_AUTO FLUX_APER(1) FLUX_RADIUS FLUX_MAX CLASS_STAR FLAGS "
        "A_IMAGE B_IMAGE THETA_IMAGE ISOAREA_IMAGE"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fits.PrimaryHDU(scene["data"]).writeto(folder / "image.fits")
        (folder / "names.param").write_text("\n".join(names.split()) + "\n")
        share = "/usr/share/source-extractor"
        command = [
            "source-extractor", "image.fits", "-c", f"{share}/default.sex", "-PARAMETERS_NAME", "names.param",
            "-FILTER_NAME", f"{share}/default.conv", "-STARNNW_NAME", f"{share}/default.nnw", "-CATALOG_TYPE", "FITS_1.0",
            "-CATALOG_NAME", "out.fits", "-CHECKIMAGE_TYPE", "SEGMENTATION", "-CHECKIMAGE_NAME", "seg.fits", "-VERBOSE_TYPE", "QUIET",
            "-DETECT_THRESH", "1.5", "-ANALYSIS_THRESH", "1.5", "-PHOT_APERTURES", "10", "-SATUR_LEVEL", "1e9", "-GAIN", "0",
            "-SEEING_FWHM", "4", "-PIXEL_SCALE", "1", "-MEMORY_PIXSTACK", "3000000", "-MEMORY_OBJSTACK", "30000",
        ]  # fmt: skip
        with clock("everything"):
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
        rows = fits.getdata(folder / "out.fits", 1)
    columns = {
        "x": rows["X_IMAGE"] - 1.0, "y": rows["Y_IMAGE"] - 1.0, "rank": rows["FLUX_MAX"], "flux": rows["FLUX_AUTO"],
        "flux_err": rows["FLUXERR_AUTO"], "wx": rows["XWIN_IMAGE"] - 1.0, "wy": rows["YWIN_IMAGE"] - 1.0,
    }  # fmt: skip
    return {key: np.asarray(values, np.float64) for key, values in columns.items()}


def photutils(scene: dict[str, np.ndarray], clock: Clock) -> Columns:
    """photutils: background of 64 pixels, 3 x 3 filter, threshold 1.5, deblending, Kron."""
    from photutils.background import Background2D, SExtractorBackground
    from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources
    from scipy.ndimage import convolve

    data = scene["data"].astype(np.float64)
    with clock("background"):
        background = Background2D(data, 64, filter_size=3, bkg_estimator=SExtractorBackground())
        pixels = data - background.background
        rms = float(background.background_rms_median)
    with clock("detection"):
        kernel = np.array([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16.0
        smooth = convolve(pixels, kernel)
        # Named arguments have changed between versions; these places have not.
        islands = detect_sources(smooth, 1.5 * rms, 5)
        labels = deblend_sources(smooth, islands, 5, progress_bar=False)
    with clock("photometry"):
        catalog = SourceCatalog(pixels, labels, convolved_data=smooth, error=np.full_like(pixels, rms))
        x, y, flux, error, peak = catalog.x_centroid, catalog.y_centroid, catalog.kron_flux, catalog.kron_flux_err, catalog.max_value
    nothing = np.full(len(x), np.nan)
    return {"x": x, "y": y, "rank": peak / rms, "flux": flux, "flux_err": error, "wx": nothing, "wy": nothing}


def ours(scene: dict[str, np.ndarray], clock: Clock, chain: str) -> Columns:
    """One of our pipelines, stage by stage, on products in memory."""
    from astrosurvey import Box, Image, Tile, plugins

    registry = plugins.load()
    ny, nx = scene["data"].shape
    tile = Tile("benchmark", number=1, index=0, window=Box(0, 0, nx, ny), core=Box(0, 0, nx, ny))
    data = np.ascontiguousarray(scene["data"][None])
    image = Image(data, ("r",), variance=np.full_like(data, float(scene["noise"]) ** 2), psf=np.ascontiguousarray(scene["psf"][None]))
    products: dict[str, Any] = {"image": image}
    wishes = json.loads(str(scene["wishes"]))
    for name in stages_of(chain, registry):
        cls = registry.stages[name]
        stage = cls(cls.Config(**wishes["settings"].get(name, {})))
        inputs = {port: product_for(cls, port, products, registry, wishes["models"].get(name)) for port in cls.inputs}
        surroundings = context(tile)
        stage.setup(surroundings)
        with clock(name):
            products.update(stage.run(surroundings, **inputs))
    sources, photometry = products["sources"], products.get("photometry")
    columns = {key: np.asarray(sources.column(key), np.float64) for key in ("x", "y")}
    rank = sources.column("probability") if "detection.unet" in CHAINS[chain] else sources.column("significance")
    columns["rank"] = np.nan_to_num(np.asarray(rank, np.float64), nan=1.0)  # bright ones that the network is blind for have no probability
    columns["flux"], columns["flux_err"] = total(sources, photometry)
    return {**columns, "wx": columns["x"], "wy": columns["y"]}


def stages_of(chain: str, registry: Any) -> list[str]:
    """Return the stages of one of our pipelines; none if one of them, or the model it falls back to, is not installed."""
    chosen = [next((name for name in step.split("|") if name in registry.stages), "") for step in CHAINS[chain]]
    return chosen if all(chosen) else []


def default_models(name: str, registry: Any) -> list[str]:
    """Return the built-in models that a stage falls back to."""
    from astrosurvey.core.stage import ports

    return [p.default.removeprefix("builtin:") for p in ports(registry.stages[name], "inputs").values() if p.default]


def product_for(cls: Any, port: str, products: dict[str, Any], registry: Any, model: str | None) -> Any:
    from astrosurvey.core.stage import ports
    from astrosurvey.products import Model

    declared = ports(cls, "inputs")[port]
    if port not in products and declared.default:
        return Model.read(Path(model or registry.models[declared.default.removeprefix("builtin:")]))
    return products.get(port)


def context(tile: Any) -> Any:
    from astrosurvey import Context

    log = logging.getLogger("astrosurvey.benchmark")
    return Context(tile, np.random.default_rng(1), "cpu", log, lambda done, total: None, Path(tempfile.mkdtemp()))


def total(sources: Any, photometry: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return flux and error of each source by the first method that is not an aperture; NaN where there is none."""
    flux, error = np.full(len(sources), np.nan), np.full(len(sources), np.nan)
    if photometry is None:
        return flux, error
    methods = [m for m in dict.fromkeys(photometry.column("method").tolist()) if not m.startswith("aperture")]
    here = photometry.column("method") == (methods or [""])[0]
    place = {source: i for i, source in enumerate(sources.column("source_id").tolist())}
    at = np.array([place[source] for source in photometry.column("source_id")[here].tolist()], np.int64)
    flux[at], error[at] = photometry.column("flux")[here], photometry.column("flux_err")[here]
    return flux, error


TOOLS: dict[str, Callable[[dict[str, np.ndarray], Clock], Columns]] = {
    **{f"sep-{t:g}": lambda scene, clock, t=t: sep(scene, clock, t) for t in SEP_THRESHOLDS},  # type: ignore[misc]
    "sextractor": sextractor,
    "photutils": photutils,
    **{chain: lambda scene, clock, chain=chain: ours(scene, clock, chain) for chain in CHAINS},  # type: ignore[misc]
}


def available(models: dict[str, str]) -> list[str]:
    """Return the tools that are installed.

    Args:
        models: folders of models by the stage that shall use them.
    """
    from importlib.util import find_spec
    from shutil import which

    from astrosurvey import plugins

    registry = plugins.load()
    there = [f"sep-{threshold:g}" for threshold in SEP_THRESHOLDS if find_spec("sep")]
    there += ["sextractor"] * bool(which("source-extractor")) + ["photutils"] * bool(find_spec("photutils") and find_spec("skimage"))
    for chain in CHAINS:
        stages = stages_of(chain, registry)
        if stages and all(s in models or set(default_models(s, registry)) <= set(registry.models) for s in stages):
            there.append(chain)
    return there


def work(tool: str, scene_file: Path, out: Path) -> None:
    """Run one tool: once on a small part, which compiles what is compiled, and then on the whole."""
    with np.load(scene_file) as stored:
        scene = {key: stored[key] for key in stored.files}
    small = {**scene, "data": np.ascontiguousarray(scene["data"][:256, :256])}
    first = Clock()
    with first("warm-up"):
        TOOLS[tool](small, Clock())
    clock, start = Clock(), _peak()
    columns = TOOLS[tool](scene, clock)
    # A tool that is a program of its own is not charged for this process.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024 if tool == "sextractor" else _peak()
    notes = {
        "steps": clock.steps, "labels": clock.to_labels(), "start_mib": start, "peak_mib": peak,
        "warm_up_s": first.steps["warm-up"][1], "threads": os.environ["NUMBA_NUM_THREADS"],
    }  # fmt: skip
    np.savez(out, notes=json.dumps(notes), **columns)


if __name__ == "__main__":
    work(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
