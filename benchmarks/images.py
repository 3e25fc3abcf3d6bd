"""Detection, deblending and photometry: sep, SExtractor, photutils and ours on the same simulated images.

python benchmarks/images.py --out images.json --size 2048 --seeds 1 2 3

Peers: `pip install astrosurvey[benchmarks]` for sep and photutils, Debian's `source-extractor`; what is not installed is left out.

The images are those of `simulate.field` as it is set: seeing 4 pixels, 715 objects and 89 pairs in a million pixels.
Purity is one to one: a galaxy that is split in two counts against it. A tool that is less pure than 0.97 is cut at the
rank (signal to noise of the island, significance, probability) where it reaches that; `n` and `purity` are before the cut.
Every tool runs in a process of its own, on one thread, ours on two as well (`--threads`); what is compiled is compiled on a small image
before. Medians over the seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import coindeblend
from image_tools import CHAINS, available

from astrosurvey.stages.evaluate import scorer

VARIANTS: dict[str, dict[str, Any]] = {
    "standard": {},
    "sharp": {"seeing": 2.5},
    "blurred": {"seeing": 6.0},
    "elliptical": {"psf_ellipticity": 0.15},
    "correlated": {"noise_correlation": 1.0},
    "sparse": {"density": 715.3 / 2, "pairs": 89.4 / 2},
    "crowded": {"density": 715.3 * 2, "pairs": 89.4 * 2},
    "deep": {"depth": 2.0},
    # The protocol of coindeblend: pairs of real galaxies alone, at the resolution of Hubble, of stamps that training never saw.
    "cosmos": {"sky": 0.0, "real_keep": "held out"},
}


def simulate(seed: int, size: int, settings: dict[str, Any], wishes: dict[str, Any], out: Path) -> tuple[scorer.Known, float]:
    """Write an image for the tools to read; return what is in it, and its seeing in pixels."""
    from astrosurvey import Box, Tile
    from astrosurvey.stages.simulate.field import SimulateField
    from astrosurvey.stages.simulate.field_image import field, imaged
    from astrosurvey.stages.simulate.real import read_templates

    window = Box(0, 0, size, size)
    config = SimulateField.Config(**settings)
    tile = Tile("benchmark", number=1, index=0, window=window, core=window)
    templates = read_templates(config.real_galaxies, config.real_keep) if config.real_galaxies else None
    rng = np.random.default_rng(seed)
    if templates is None:
        made = field(config, tile, rng)
    else:
        made = imaged(coindeblend.draw(rng, window.shape, config.noise, len(templates)), config, tile, rng, templates=templates)
    assert made.image.psf is not None
    np.savez(out, data=made.image.data[0], psf=made.image.psf[0], noise=config.noise, wishes=json.dumps(wishes))
    bodies = made.field.bodies
    points = np.stack([bodies.x, bodies.y], axis=1)
    snr = made.truth.column("snr").astype(float)
    return scorer.Known(points, bodies.flux[:, 0], snr, made.field.pair), float(made.field.psf.fwhm[0])


def run_tool(tool: str, scene: Path, threads: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Run a tool in a process of its own; return its columns and its costs."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.npz"
        command = [sys.executable, str(Path(__file__).with_name("image_tools.py")), tool, str(scene), str(out)]
        subprocess.run(command, check=True, env={**os.environ, **limits})
        with np.load(out) as stored:
            columns = {key: stored[key] for key in stored.files if key != "notes"}
            return columns, json.loads(str(stored["notes"]))


def score(known: scorer.Known, seeing: float, columns: dict[str, np.ndarray], purity: float) -> dict[str, Any]:
    """Return the figures of one catalogue: as it is (`purity`, `n`), and all others at the purity asked for."""
    points = np.stack([columns["x"], columns["y"]], axis=1)
    detected = scorer.Detected(points, columns["rank"])
    plain = scorer.match(known, detected)
    matched, cut = scorer.match_at_purity(known, detected, purity)
    kept = np.flatnonzero(columns["rank"] >= cut) if np.isfinite(cut) else np.arange(len(points))
    alone, snr = matched.isolated, known.snr
    couples = scorer.pairs(matched)
    result: dict[str, Any] = {
        "n": len(points),
        "purity": plain.purity.value,
        "n_at_purity": len(kept),
        "purity_reached": matched.purity.value,
        "isolated": dict(zip(_names(scorer.SNR_BINS), (f.value for f in scorer.completeness(matched)), strict=True)),
        "all_5": scorer.Fraction.among(matched.hit, snr > 5).value,
        "isolated_5": scorer.Fraction.among(matched.hit, alone & (snr > 5)).value,
        "all_5_uncut": scorer.Fraction.among(plain.hit, snr > 5).value,
        "pairs": dict(zip(_names(scorer.SEPARATION_BINS), _values(couples.found, couples.separation, scorer.SEPARATION_BINS), strict=True)),
        "pairs_seeing": _by_seeing(couples, seeing),
        # Deeper, blurred or correlated noise makes other members faint: of pairs that could both be found alone.
        "pairs_seeing_5": _by_seeing(couples.take((snr[couples.members] > 5).all(axis=1)), seeing),
        "ratio": {},
        "flux": {},
        "position": {},
    }
    middle = couples.take((couples.separation >= 6) & (couples.separation < 12))
    result["ratio"] = dict(zip(_names(scorer.RATIO_BINS), _values(middle.found, middle.ratio, scorer.RATIO_BINS), strict=True))
    members = np.zeros(len(known), bool)
    members[middle.members[middle.found].ravel()] = True
    for name, which in (("50", alone & (snr > 50)), ("10-30", alone & (snr >= 10) & (snr < 30)), ("members", members)):
        at = np.flatnonzero(which & matched.hit)
        of = kept[matched.match[at]]
        errors = scorer.flux_errors(known.flux[at], columns["flux"][of], columns["flux_err"][of])
        result["flux"][name] = {
            "bias": errors.bias, "nmad": errors.scatter, "outliers": errors.outliers.value, "pull": errors.pull, "n": errors.n
        }  # fmt: skip
    at = couples.members[couples.found].ravel()
    with np.errstate(invalid="ignore"):
        wrong = np.abs(columns["flux"][kept[matched.match[at]]] / known.flux[at] - 1.0)
    result["mape"] = float(np.nanmean(wrong)) if np.isfinite(wrong).any() else float("nan")
    bright = np.flatnonzero(alone & (snr > 20) & matched.hit)
    of = kept[matched.match[bright]]
    for name, (x, y) in {"centroid": ("x", "y"), "windowed": ("wx", "wy")}.items():
        apart = np.hypot(columns[x][of] - known.points[bright, 0], columns[y][of] - known.points[bright, 1])
        result["position"][name] = float(np.nanmedian(apart)) if np.isfinite(apart).any() else float("nan")
    return result


def _names(edges: tuple[float, ...]) -> list[str]:
    return [f"{low:g}-{high:g}" for low, high in pairwise(edges)]


def _by_seeing(couples: scorer.Pairs, seeing: float) -> dict[str, float]:
    apart = couples.separation / seeing
    return dict(zip(_names(scorer.SEEING_BINS), _values(couples.found, apart, scorer.SEEING_BINS), strict=True))


def _values(hit: np.ndarray, values: np.ndarray, edges: tuple[float, ...]) -> list[float]:
    return [fraction.value for fraction in scorer.in_bins(hit, values, edges)]


def middle(values: list[Any]) -> Any:
    """Return the median, leaf by leaf, of equal trees of numbers."""
    if isinstance(values[0], dict):
        return {key: middle([value[key] for value in values]) for key in values[0]}
    finite = [v for v in values if isinstance(v, int | float) and np.isfinite(v)]
    return float(np.median(finite)) if finite else None


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all figures by sky and tool."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.npz"
        skies = {"with pairs": {}} if arguments.variant == "cosmos" else {"with pairs": {}, "without pairs": {"pairs": 0.0}}
        for sky, more in skies.items():
            collected: dict[str, list[dict[str, Any]]] = {}
            for seed in arguments.seeds:
                known, seeing = simulate(seed, arguments.size, {**arguments.settings, **more}, arguments.wishes, scene)
                runs = [(tool, threads) for tool in arguments.tools for threads in (arguments.threads if tool in CHAINS else (1,))]
                for tool, threads in runs:
                    name = tool if threads == 1 else f"{tool}, 2 threads"
                    columns, costs = run_tool(tool, scene, threads)
                    figures = {**costs_of(costs), **score(known, seeing, columns, arguments.purity)}
                    collected.setdefault(name, []).append(figures)
                    print(f"{sky}, seed {seed}, {name}: {figures['cpu_s']:.2f} CPU-s", file=sys.stderr)
            results[sky] = {name: middle(runs) for name, runs in collected.items()}
    return results


def costs_of(notes: dict[str, Any]) -> dict[str, Any]:
    """Return CPU and wall seconds, by step, up to the labels and in all, and the peak memory."""
    steps = notes["steps"]
    cpu, wall = (sum(seconds[k] for seconds in steps.values()) for k in (0, 1))
    by_step = {step: {"cpu_s": seconds[0], "wall_s": seconds[1]} for step, seconds in steps.items()}
    whole = {"cpu_s": cpu, "wall_s": wall, **{key: notes[key] for key in ("peak_mib", "start_mib", "warm_up_s")}}
    return {**whole, "steps": by_step, "labels": notes["labels"]}


HEADER = (
    *("tool", "n", "purity", "CPU s", "wall s", "MiB", "to labels: CPU s / wall s / MiB"),
    *("3-4", "4-5", "5-7", "7-10", "10-20", "all S/N>5"),
    *(
        "pairs 2-4 / 4-6 / 6-8 / 8-10 / 10-12 / 12-16 px",
        "1-1.5 / 1.5-2 / 2-2.5 seeing",
        "both S/N>5",
        "by ratio .1-.2 / .2-.5 / .5-1",
        "flux S/N>50",
        "10-30",
    ),
    *("of pairs (>50 % off)", "mean error, pairs", "place / windowed"),
)


def table(tools: dict[str, Any]) -> str:
    """Return the figures of one sky as a Markdown table, one tool a row."""
    rows = [HEADER, ("---",) * len(HEADER)]
    for name, r in tools.items():
        flux = [f"{_n(r['flux'][k]['bias'], 3)} / {_n(r['flux'][k]['nmad'], 3)}" for k in ("50", "10-30", "members")]
        pairs, ratio = (" / ".join(_n(v) for v in r[key].values()) for key in ("pairs", "ratio"))
        widths = (" / ".join(_n(r[key][name]) for name in ("1-1.5", "1.5-2", "2-2.5")) for key in ("pairs_seeing", "pairs_seeing_5"))
        labels = " / ".join(_n(r["labels"].get(key), digits) for key, digits in (("cpu_s", 2), ("wall_s", 2), ("peak_mib", 0)))
        costs = (_n(r["cpu_s"]), _n(r["wall_s"]), _n(r["peak_mib"], 0), labels)
        place = f"{_n(r['position']['centroid'], 3)} / {_n(r['position']['windowed'], 3)}"
        members = f"{flux[2]} ({_n(r['flux']['members']['outliers'], 3)})"
        complete = (*(_n(v) for v in r["isolated"].values()), _n(r["all_5"], 3))
        rows.append(
            (name, _n(r["n"], 0), _n(r["purity"], 3), *costs, *complete, pairs, *widths, ratio, *flux[:2], members, _n(r["mape"], 3), place)
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _n(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096, help="pixels a side")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="one image each")
    parser.add_argument("--tools", nargs="+", help="which of those installed; all when left out")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="for our tools; the others have one")
    parser.add_argument("--variant", choices=list(VARIANTS), default="standard", help="another sky or camera")
    parser.add_argument("--purity", type=float, help="to which all are cut; 0.97, and none for the variant cosmos, when left out")
    parser.add_argument("--stamps", type=Path, help="FITS file of real galaxies, a stamp in each HDU, for the variant cosmos")
    parser.add_argument("--model", nargs=2, action="append", default=[], metavar=("STAGE", "FOLDER"), help="a model for one of our stages")
    parser.add_argument("-c", nargs=2, action="append", default=[], metavar=("STAGE.KEY", "VALUE"), help="a setting of one of our stages")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    models = dict(arguments.model)
    there = available(models)
    arguments.tools = arguments.tools or there
    missing = sorted(set(arguments.tools) - set(there))
    if missing:
        parser.error(f"not installed: {', '.join(missing)}; there are {', '.join(there)}")
    arguments.settings = dict(VARIANTS[arguments.variant])
    if arguments.variant == "cosmos":
        if arguments.stamps is None:
            parser.error("the variant cosmos needs --stamps")
        arguments.settings["real_galaxies"] = str(arguments.stamps)
    if arguments.purity is None:
        # Splitting a real galaxy is no false detection that the protocol asks about.
        arguments.purity = 0.0 if arguments.variant == "cosmos" else 0.97
    settings: dict[str, dict[str, Any]] = {}
    for place, value in arguments.c:
        stage, _, key = place.rpartition(".")
        settings.setdefault(stage, {})[key] = json.loads(value)
    arguments.wishes = {"settings": settings, "models": models}
    results = measure(arguments)
    for sky, tools in results.items():
        print(f"\n{sky}, {arguments.size}², {arguments.variant}, seeds {arguments.seeds}; from 3-4 on at purity {arguments.purity:g}\n")
        print(table(tools))
    if arguments.out:
        about = {"size": arguments.size, "seeds": arguments.seeds, "variant": arguments.variant, "purity": arguments.purity}
        arguments.out.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
