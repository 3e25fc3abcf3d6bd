"""Fluxes of pairs of real galaxies, by the protocol of Boucaud et al. (2020): sep, SExtractor and our deblenders on the same pairs.

python benchmarks/coindeblend.py --stamps cosmos_real_galaxy_images_extension.fits --pairs 256 --seed 1 --out coindeblend.json

**The pairs.** Each square of 128 pixels holds one pair and nothing else, the first galaxy in its middle, with empty sky around the square.
Magnitudes, their differences, radii and the separation in units of the sum of the radii follow the table of results that the authors
published (4776 pairs of CANDELS; the deciles are below). Their stamps are not public, so the galaxies have the looks of real ones that
are given (Hubble, F814W), of which only those are used that training never saw, shrunk to the radius drawn and turned at random, behind a
Moffat PSF as wide as Hubble's at 1.6 micron in pixels of 0.06".

**The count.** The authors count the absolute relative error of both galaxies' fluxes in the pairs in which SExtractor detects two
sources, no more and no less (3550 of the 4776), whatever these two are: where the second is a shred of the first, it counts. Their
networks see the same pairs with the first galaxy in the middle, and no list of sources: that there are two, they know. So here, in each
square, sources go to galaxies one to one such that the distances sum to the least, and a galaxy that gets none has no flux, which is
100 % off. Counts, in percent:

- `peer`: pairs in which sep finds two sources, which is the authors' count;
- `parted`: those of them in which both of sep's sources lie within half the separation of their galaxies, so that it has parted the pair;
- `both`: those of `peer` in which the list at hand has two sources as well;
- `all`: all pairs, which is what a user gets who knows nothing of the sky.

Errors are standard errors over pairs. The lists are those of sep, of SExtractor, of our two detectors, and the truth, at which our
deblenders know as much as the authors' networks: that there are two galaxies, and where. sep measures Kron fluxes without neighbours'
pixels, and, as `sep, unmasked`, with them. All are told that there is no sky, but SExtractor and our detectors, which measure it.

Limits: the stamps' own noise makes knots in galaxies drawn brighter than they were, so that more of them fall to pieces than in the paper
(sep finds one, two, more sources in 45, 41, 14 % of the pairs; SExtractor in 17, 74, 3 % of theirs).

References:
    Boucaud et al. (2020), MNRAS 491, 2481, arXiv:1905.01324; Grogin et al. (2011), arXiv:1105.3753 (CANDELS: depth).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import image_tools

from astrosurvey import Box, Image, Segmentation, Tile, plugins
from astrosurvey.catalog.ids import object_ids
from astrosurvey.products import Catalog
from astrosurvey.stages.detection import filter as matched
from astrosurvey.stages.detection import footprints
from astrosurvey.stages.detection.rows import source_rows
from astrosurvey.stages.simulate.field import SimulateField
from astrosurvey.stages.simulate.field_draw import Field
from astrosurvey.stages.simulate.field_image import imaged
from astrosurvey.stages.simulate.real import read_templates
from astrosurvey.stages.simulate.render import Bodies, Moffat

SQUARE, PITCH = 128, 192
"""Side of the squares, and their distance, which keeps the light of one out of the next; pixels."""
DECILES = np.linspace(0.0, 1.0, 11)
MAGNITUDE = (18.02, 19.94, 20.64, 21.04, 21.41, 21.72, 21.96, 22.17, 22.42, 22.63, 22.98)
DIFFERENCE = (-2.0, -1.3, -0.87, -0.55, -0.26, 0.03, 0.32, 0.64, 1.03, 1.47, 2.0)
RADIUS = (0.81, 2.09, 3.71, 4.64, 5.46, 6.08, 7.11, 8.2, 9.63, 11.55, 15.0)
"""Pixels of 0.06"; the last decile of the table ends at 48, but such a galaxy does not fit a square."""
SEPARATION = (0.18, 0.64, 0.77, 0.83, 0.91, 1.0, 1.1, 1.23, 1.38, 1.56, 1.97)
"""In units of the sum of both radii."""
FAINTEST = 23.5
FWHM, BETA = 3.0, 3.5
LIMIT, LIMIT_RADIUS, LIMIT_SIGMA = 27.0, 0.17 / 0.06, 5.0
"""A point source of 27.0 mag has five times the noise of a circle of 0.17" radius."""


def draw(rng: np.random.Generator, shape: tuple[int, int], noise: float, n_templates: int) -> Field:
    """Return as many pairs as squares fit into an image.

    Args:
        rng: draws everything.
        shape: (ny, nx) of the image.
        noise: standard deviation of a pixel, in the unit of the fluxes.
        n_templates: number of real galaxies to choose from.
    """
    rows, columns = shape[0] // PITCH, shape[1] // PITCH
    n = rows * columns
    middle = PITCH * (np.stack([np.arange(n) % columns, np.arange(n) // columns], axis=1) + 0.5) - 0.5

    def drawn(table: tuple[float, ...], *size: int) -> np.ndarray:
        return np.interp(rng.random(size), DECILES, table)

    radius = drawn(RADIUS, n, 2)
    apart = np.minimum(drawn(SEPARATION, n) * radius.sum(axis=1), 0.4 * SQUARE)
    angle = rng.uniform(0.0, 2.0 * math.pi, n)
    first = middle + rng.uniform(-0.5, 0.5, (n, 2))
    second = first + apart[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    bright = drawn(MAGNITUDE, n)
    magnitude = np.minimum(np.stack([bright, bright + drawn(DIFFERENCE, n)], axis=1), FAINTEST)
    faintest_flux = LIMIT_SIGMA * noise * math.sqrt(math.pi) * LIMIT_RADIUS
    flux = (faintest_flux * 10.0 ** (0.4 * (LIMIT - magnitude))).ravel()
    place = np.stack([first, second], axis=1).reshape(-1, 2)
    order = np.argsort(-flux, kind="stable")
    one = np.ones(2 * n)
    bodies = Bodies(
        place[order, 0], place[order, 1], flux[order, None], radius.ravel()[order], one, one, rng.uniform(0.0, 2.0 * math.pi, 2 * n),
        rng.integers(0, n_templates, 2 * n),
    )  # fmt: skip
    psf = Moffat(BETA, np.array([FWHM]), np.zeros(1), np.zeros(1))
    return Field(psf, 0.0, 0.0, 0.0, bodies, np.repeat(np.arange(n), 2)[order])


@dataclass(frozen=True)
class Pairs:
    """The image and what is in it.

    Attributes:
        tile, image: as stages get them.
        place: (pair, 2, 2) true positions (x, y) of both galaxies.
        flux: (pair, 2) true fluxes.
        labels: (y, x) the pixels in which each galaxy is the brightest, 2 p + g + 1 for galaxy g of pair p.
    """

    tile: Tile
    image: Image
    place: np.ndarray
    flux: np.ndarray
    labels: np.ndarray

    def square_of(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the number of the square that each position is in, -1 for none."""
        columns = self.image.data.shape[2] // PITCH
        at = [np.floor((v + 0.5) / PITCH).astype(int) for v in (x, y)]
        inside = np.all([np.abs(v + 0.5 - PITCH * (k + 0.5)) <= SQUARE / 2 for v, k in zip((x, y), at, strict=True)], axis=0)
        return np.where(inside, at[1] * columns + at[0], -1)


def simulate(stamps: str, n: int, seed: int) -> Pairs:
    """Return an image with at least `n` pairs."""
    columns = math.ceil(math.sqrt(n))
    shape = (PITCH * math.ceil(n / columns), PITCH * columns)
    window = Box(0, 0, shape[1], shape[0])
    tile = Tile("pairs", number=1, index=0, window=window, core=window)
    config = SimulateField.Config(sky=0.0, real_galaxies=stamps, real_keep="held out")
    templates = read_templates(stamps, "held out")
    rng = np.random.default_rng(seed)
    made = imaged(draw(rng, shape, config.noise, len(templates)), config, tile, rng, templates=templates)
    bodies = made.field.bodies
    order = np.argsort(made.field.pair, kind="stable")
    number = np.zeros(len(order) + 1, np.int32)
    number[order + 1] = np.arange(1, len(order) + 1)
    return Pairs(
        tile,
        made.image,
        np.stack([bodies.x, bodies.y], 1)[order].reshape(-1, 2, 2),
        bodies.flux[order, 0].reshape(-1, 2),
        number[made.segmentation.labels],
    )


Products = dict[str, Any]


def run(stage: str, pairs: Pairs, products: Products, costs: dict[str, float] | None = None) -> Products:
    """Return the products and those of a stage, run with its settings as they are."""
    registry = plugins.load()
    cls = registry.stages[stage]
    made = cls(cls.Config())
    inputs = {port: image_tools.product_for(cls, port, products, registry, None) for port in cls.inputs}
    context = image_tools.context(pairs.tile)
    made.setup(context)
    began = time.process_time()
    result = made.run(context, **inputs)
    if costs is not None:
        costs[stage] = 1000 * (time.process_time() - began) / max(len(products["sources"]), 1)
    return {**products, **result}


def listed(pairs: Pairs, labels: np.ndarray, x: np.ndarray, y: np.ndarray) -> Products:
    """Return footprints and positions of others as the products of a detection, in the order of the labels that have a pixel."""
    fwhm, _ = matched.smoothing(pairs.image, None)
    there = np.flatnonzero(np.bincount(labels.ravel(), minlength=len(x) + 1)[1:])
    number = np.zeros(len(x) + 1, np.int32)
    number[there + 1] = np.arange(1, len(there) + 1)
    measured = {**footprints.measure(number[labels], matched.detection_image(pairs.image, None, fwhm)), "x": x[there], "y": y[there]}
    segmentation, columns = footprints.in_raster_order(number[labels], measured)
    sources = source_rows(pairs.tile, pairs.image, columns, source_id=object_ids(pairs.tile.number, len(there)))
    return {"image": pairs.image, "segmentation": Segmentation(segmentation), "sources": sources}


def detected(pairs: Pairs, stages: tuple[str, ...]) -> Products:
    """Return what our detectors find."""
    products: Products = {"image": pairs.image}
    for stage in stages:
        products = run(stage, pairs, products)
    return products


@dataclass(frozen=True)
class List:
    """A list of sources: where, and by each method their fluxes."""

    x: np.ndarray
    y: np.ndarray
    flux: Mapping[str, np.ndarray]


def deblended(pairs: Pairs, products: Products, costs: dict[str, float], own: str | None = None) -> List:
    """Return the fluxes of sources by our deblenders, and by another stage of photometry."""
    sources: Catalog = products["sources"]
    stages = {"templates": "deblending.templates", "network": "deblending.unet"} | ({own.rpartition(".")[2]: own} if own else {})
    flux = {}
    for name, stage in stages.items():
        made = run(stage, pairs, {**products, "photometry": None}, costs)
        flux[name] = image_tools.total(made["sources"], made["photometry"])[0]
    return List(sources.column("x"), sources.column("y"), flux)


def sep_list(pairs: Pairs) -> tuple[List, np.ndarray]:
    """Return what sep finds at its usual threshold, its Kron fluxes, and its footprints."""
    import sep

    data = pairs.image.data[0]
    assert pairs.image.variance is not None
    noise = float(np.sqrt(pairs.image.variance.flat[0]))
    found, labels = sep.extract(data, 1.5, err=noise, segmentation_map=True)
    x, y, shape = found["x"], found["y"], (found["a"], found["b"], np.clip(found["theta"], -np.pi / 2, np.pi / 2))
    flux = {}
    for name, more in (("sep", {"segmap": labels, "seg_id": np.arange(1, len(x) + 1, dtype=np.int32)}), ("sep, unmasked", {})):
        radius, _ = sep.kron_radius(data, x, y, *shape, 6.0, **more)
        flux[name] = sep.sum_ellipse(data, x, y, *shape, 2.5 * np.maximum(radius, 1.4), subpix=1, **more)[0]
    return List(x, y, flux), labels.astype(np.int32)


def sextractor_list(pairs: Pairs) -> List:
    """Return what SExtractor finds with the settings that `images.py` gives it, and its Kron fluxes."""
    found = image_tools.sextractor({"data": pairs.image.data[0]}, image_tools.Clock())
    return List(found["x"], found["y"], {"SExtractor": found["flux"]})


@dataclass(frozen=True)
class Score:
    """What a list says of the pairs by one method.

    Attributes:
        error: (pair, 2) relative flux errors, -1 where a galaxy has no source.
        distance: (pair, 2) of each galaxy's source, pixels.
        found: (pair,) sources in each square.
    """

    error: np.ndarray
    distance: np.ndarray
    found: np.ndarray


def score(pairs: Pairs, sources: List, method: str) -> Score:
    """Give sources to galaxies, one to one in each square such that the distances sum to the least."""
    from scipy.optimize import linear_sum_assignment

    square = pairs.square_of(sources.x, sources.y)
    flux, distance = np.zeros(pairs.flux.shape), np.full(pairs.flux.shape, np.inf)
    for pair in range(len(flux)):
        here = np.flatnonzero(square == pair)
        apart = np.hypot(*(pairs.place[pair, :, None, k] - v[here] for k, v in enumerate((sources.x, sources.y))))
        galaxy, of = linear_sum_assignment(apart)
        flux[pair, galaxy] = np.nan_to_num(sources.flux[method][here[of]])
        distance[pair, galaxy] = apart[galaxy, of]
    return Score(flux / pairs.flux - 1, distance, np.bincount(square[square >= 0], minlength=len(flux)))


def figures(error: np.ndarray) -> dict[str, float]:
    """Return mean absolute error with its standard error, median error, and the part more than 50 % off, of (pair, 2) errors."""
    if not len(error):
        return {"pairs": 0}
    size = np.abs(error)
    each = size.mean(axis=1)
    return {
        "mean": float(each.mean()), "error": float(each.std() / math.sqrt(len(each))), "median_size": float(np.median(size)),
        "bias": float(np.median(error)), "outliers": float((size > 0.5).mean()), "pairs": len(error),
    }  # fmt: skip


CLASSICAL = ("background.mesh", "detection.matched", "deblending.persistence")
UNET = ("background.mesh", "detection.unet")


def measure(pairs: Pairs, wanted: list[str]) -> dict[str, Any]:
    """Return the figures of each list and method, by count, and what our stages cost (CPU ms a source) at the true positions."""
    plain, labels = sep_list(pairs)
    costs: dict[str, float] = {}
    flat = pairs.place.reshape(-1, 2)
    makers: dict[str, Callable[[], List]] = {
        "sextractor": lambda: sextractor_list(pairs),
        "classical": lambda: deblended(pairs, detected(pairs, CLASSICAL), {}, "photometry.total"),
        "unet": lambda: deblended(pairs, detected(pairs, UNET), {}, "photometry.total"),
        "truth": lambda: deblended(pairs, listed(pairs, pairs.labels, flat[:, 0], flat[:, 1]), costs),
    }
    ours_at_sep = deblended(pairs, listed(pairs, labels, plain.x, plain.y), {})
    lists = {"sep": [plain, ours_at_sep], **{name: [makers[name]()] for name in wanted}}
    sep = score(pairs, plain, "sep")
    peer = sep.found == 2
    apart = np.hypot(*(pairs.place[:, 0] - pairs.place[:, 1]).T)
    parted = peer & (sep.distance < 0.5 * apart[:, None]).all(axis=1)
    results: dict[str, Any] = {}
    for name, sources, method in ((name, one, method) for name, some in lists.items() for one in some for method in one.flux):
        found = score(pairs, sources, method)
        counts = {"peer": peer, "parted": parted, "both": peer & (found.found == 2), "all": np.ones(len(peer), bool)}
        results[f"{method} | {name}"] = {count: figures(found.error[which]) for count, which in counts.items()}
    return {"figures": results, "ms_per_source": costs, "sep_finds": np.bincount(np.minimum(sep.found, 3), minlength=4).tolist()}


def table(results: dict[str, Any]) -> str:
    """Return the figures as a Markdown table: mean error, and in brackets the part of the galaxies more than 50 % off."""
    rows = []
    for name, counts in results["figures"].items():
        cells = [
            f"{100 * f['mean']:.1f} ± {100 * f['error']:.1f} ({100 * f['outliers']:.0f})" if f["pairs"] else "-" for f in counts.values()
        ]
        rows.append(f"| {name} | {' | '.join(cells)} | {counts['both']['pairs']} |")
    first = next(iter(results["figures"].values()))
    numbers = [f"{count}, {first[count]['pairs']} pairs" if count != "both" else "both" for count in first]
    return "\n".join([f"| fluxes | sources | {' | '.join(numbers)} | pairs in both |", "| --- " * 7 + "|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", required=True, help="FITS file of real galaxies, a stamp in each HDU")
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lists", nargs="*", default=["sextractor", "classical", "unet", "truth"], help="besides sep's")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    results = measure(simulate(arguments.stamps, arguments.pairs, arguments.seed), arguments.lists)
    print(f"mean absolute flux error (%), {arguments.pairs} pairs, seed {arguments.seed}\n\n{table(results)}\n")
    print(", ".join(f"{stage}: {cost:.1f} ms a source" for stage, cost in results["ms_per_source"].items()))
    if arguments.out:
        about = {"pairs": arguments.pairs, "seed": arguments.seed}
        arguments.out.write_text(json.dumps({**about, **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
