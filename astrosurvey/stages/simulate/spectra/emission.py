"""Narrow emission lines of galaxies: which there are, their ratios by what excites the gas, and their light on a grid.

References:
    Osterbrock & Ferland (2006), Astrophysics of Gaseous Nebulae (recombination and doublet ratios); Kewley et al. (2013),
    ApJ 774, 100 (the sequence of star-forming galaxies); Kewley et al. (2006), MNRAS 372, 961 (Seyferts and LINERs).
"""

from __future__ import annotations

import numpy as np

from .dust import milky_way
from .grid import LIGHT, LogGrid

CENTERS = {
    "NeV": 3426.8, "OII_3726": 3727.1, "OII_3729": 3729.9, "NeIII_3869": 3869.9, "H8": 3890.2, "NeIII_3968": 3968.6, "He": 3971.2,
    "Hd": 4102.9, "Hg": 4341.7, "OIII_4363": 4364.4, "HeII": 4687.0, "Hb": 4862.7, "OIII_4959": 4960.3, "OIII_5007": 5008.2,
    "HeI": 5877.2, "OI_6300": 6302.0, "OI_6364": 6365.5, "NII_6548": 6549.9, "Ha": 6564.6, "NII_6584": 6585.3, "HeI_6678": 6680.0,
    "SII_6717": 6718.3, "SII_6731": 6732.7, "ArIII": 7137.8, "OII_7320": 7322.0, "SIII_9069": 9071.1, "SIII_9531": 9533.2,
}  # fmt: skip
"""Å in vacuum."""
NAMES = tuple(CENTERS)
WAVES = np.array(list(CENTERS.values()))

BALMER = 2.86
"""Hα/Hβ without dust, at 10 000 K."""


def star_forming(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) log10([N II]/Hα) and log10([O III]/Hβ) along the sequence of star-forming galaxies, with its scatter."""
    nitrogen = rng.uniform(-1.7, -0.3, n)
    oxygen = np.where(nitrogen < -0.2, 1.1 + 0.61 / np.minimum(nitrogen + 0.08, -0.1), -1.0)
    return nitrogen, np.clip(oxygen + rng.normal(0, 0.12, n), -1.0, 0.95)


def active(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) the same of Seyferts, LINERs and composites of an active nucleus and young stars."""
    kind = rng.choice(3, n, p=[0.45, 0.35, 0.2])
    nitrogen = np.array([-0.10, 0.08, -0.15])[kind] + rng.normal(0, 0.16, n)
    oxygen = np.array([0.80, 0.35, 0.35])[kind] + rng.normal(0, 0.16, n)
    return nitrogen, oxygen


def fluxes(rng: np.random.Generator, nitrogen: np.ndarray, oxygen: np.ndarray, hard: np.ndarray) -> np.ndarray:
    """Return the fluxes of all lines before dust, with Hα = 1.

    Args:
        rng: draws the ratios that `nitrogen` and `oxygen` leave open.
        nitrogen: (n,) log10([N II]6584/Hα).
        oxygen: (n,) log10([O III]5007/Hβ).
        hard: (n,) bool, excited by an active nucleus.

    Returns:
        (n, line) in the order of `NAMES`.
    """
    n = len(nitrogen)
    out = {name: np.zeros(n) for name in NAMES}
    hb = 1 / BALMER
    out["Ha"], out["Hb"] = np.ones(n), np.full(n, hb)
    for name, ratio in (("Hg", 0.469), ("Hd", 0.259), ("He", 0.159), ("H8", 0.105)):
        out[name] = np.full(n, ratio * hb)
    out["NII_6584"] = 10**nitrogen
    out["NII_6548"] = out["NII_6584"] / 3.06
    out["OIII_5007"] = 10**oxygen * hb
    out["OIII_4959"] = out["OIII_5007"] / 2.98
    out["OIII_4363"] = out["OIII_5007"] * 10 ** rng.normal(-1.9, 0.2, n)
    oxygen_two = hb * 10 ** (np.where(hard, 0.45, 0.62 - 0.25 * (nitrogen + 1) ** 2) + rng.normal(0, 0.17, n))
    density = rng.uniform(0.35, 1.0, n)  # 0: dense gas; 1: the low-density limit
    out["OII_3729"] = oxygen_two * (0.26 + 0.34 * density)
    out["OII_3726"] = oxygen_two - out["OII_3729"]
    sulphur = 10 ** (np.where(hard, -0.25, -0.45) + 0.3 * np.clip(nitrogen + 0.5, -0.7, 0.5) + rng.normal(0, 0.12, n))
    out["SII_6717"] = sulphur * (0.31 + 0.28 * density)
    out["SII_6731"] = sulphur - out["SII_6717"]
    out["NeIII_3869"] = out["OIII_5007"] * 10 ** rng.normal(-1.1, 0.15, n)
    out["NeIII_3968"] = out["NeIII_3869"] * 0.31
    out["HeI"] = hb * np.where(hard, 0.11, 0.125) * 10 ** rng.normal(0, 0.06, n)
    out["HeI_6678"] = 0.28 * out["HeI"]
    out["HeII"] = np.where(hard, hb * 10 ** rng.normal(-0.85, 0.2, n), 0)
    out["NeV"] = np.where(hard, hb * 10 ** rng.normal(-0.35, 0.3, n), 0)
    out["OI_6300"] = 10 ** (np.where(hard, -0.85, -1.55) + rng.normal(0, 0.2, n))
    out["OI_6364"] = out["OI_6300"] / 3.1
    out["ArIII"] = 0.035 * 10 ** rng.normal(0, 0.15, n)
    out["OII_7320"] = 0.02 * oxygen_two
    out["SIII_9069"] = 0.09 * 10 ** rng.normal(0, 0.15, n)
    out["SIII_9531"] = 2.44 * out["SIII_9069"]
    return np.stack([out[name] for name in NAMES], axis=1)


def dimmed(flux: np.ndarray, a_v: np.ndarray) -> np.ndarray:
    """Return line fluxes behind dust, Hα still 1.

    Args:
        flux: (n, line) in the order of `NAMES`.
        a_v: (n,) magnitudes, of the gas.
    """
    curve = milky_way(WAVES) - milky_way(WAVES[[NAMES.index("Ha")]])
    return np.asarray(flux * 10 ** (-0.4 * a_v[:, None] * curve))


def add_lines(flux: np.ndarray, grid: LogGrid, centers: np.ndarray, sigma: np.ndarray, total: np.ndarray) -> None:
    """Add Gaussian lines, integrated over each pixel, so that their fluxes are conserved.

    Args:
        flux: (n, grid.pixels), changed in place.
        grid: with `bins` of 1.
        centers: (n, line) Å as observed; lines beyond the grid are left out.
        sigma: (n, line) km/s, of the line as the spectrograph shows it.
        total: (n, line) flux: flux density times Å.
    """
    from scipy.special import erf

    step = grid.wave[1] / grid.wave[0]
    place = np.log(centers / grid.start) / np.log(step)
    width = sigma / (LIGHT * np.log(step))
    reach = int(np.ceil(5 * width.max())) + 1 if width.size else 0
    offsets = np.arange(-reach, reach + 1)
    rows = np.arange(len(flux))[:, None]
    for k in range(centers.shape[1]):
        nearest = np.rint(place[:, k]).astype(int)
        pixel = nearest[:, None] + offsets
        edge = (np.concatenate([pixel, pixel[:, -1:] + 1], axis=1) - 0.5 - place[:, k, None]) / (np.sqrt(2) * width[:, k, None])
        part = np.diff(erf(edge), axis=1) / 2
        inside = (pixel >= 0) & (pixel < grid.pixels) & (total[:, k] != 0)[:, None]
        pixel = np.clip(pixel, 0, grid.pixels - 1)
        pixel_width = grid.wave[pixel] * (np.sqrt(step) - 1 / np.sqrt(step))
        np.add.at(flux, (np.broadcast_to(rows, pixel.shape), pixel), np.where(inside, total[:, k, None] * part / pixel_width, 0))
