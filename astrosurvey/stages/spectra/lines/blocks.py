"""Which lines are fitted together, in which windows, and which of them share a flux, a velocity and a width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..velocity import LIGHT
from .linelist import ABSORPTION, BY_KEY, DOUBLETS, EMISSION

MARGIN = 2000.0
"""km/s beside a narrow line that its window reaches: enough for the continuum there, and for lines up to `Group.widest`."""
BROAD_MARGIN = 9000.0
APART = 500.0
"""km/s around a line that another block fits, or a star's, which is left out."""
BROAD_BALMER = ("hgamma", "hbeta", "halpha")
"""Lines that may get a broad component. The higher ones are too faint and too blended to add to the fit."""


@dataclass(frozen=True)
class Group:
    """Lines of one velocity and one width: where the fit begins, and what is believed before it.

    Attributes:
        name: for people.
        sigma: km/s with which the fit begins.
        typical, scatter: km/s and natural logarithm: the log-normal prior on the width.
        velocity: km/s, standard deviation of the prior on the velocity.
        narrowest, widest: km/s, bounds on the width, instrument included.
    """

    name: str
    sigma: float
    typical: float
    scatter: float
    velocity: float
    narrowest: float
    widest: float

    @property
    def fastest(self) -> float:
        """Greatest velocity that is allowed, km/s."""
        return 4 * self.velocity


NARROW = (
    Group("balmer", 180.0, 130.0, 0.8, 300.0, 15.0, 600.0),
    Group("forbidden", 180.0, 130.0, 0.8, 300.0, 15.0, 800.0),
)
BROAD = Group("broad", 1800.0, 1800.0, 0.7, 1000.0, 500.0, 4500.0)
QUASAR = Group("quasar", 2000.0, 2000.0, 0.8, 2000.0, 200.0, 6000.0)


@dataclass(frozen=True)
class Profile:
    """One Gaussian.

    Attributes:
        log_wave: natural logarithm of the rest wavelength, Å.
        group: index of its group.
        column: index of the flux it takes, among its block's.
        ratio: of its flux to that one.
    """

    log_wave: float
    group: int
    column: int
    ratio: float


@dataclass(frozen=True)
class Block:
    """Lines whose windows overlap or whose fluxes are tied, fitted over the same pixels.

    Attributes:
        columns: key of the line whose flux each amplitude is.
        profiles: the Gaussians.
        windows: (w, 2) natural logarithm of rest wavelengths; a continuum of its own in each.
        left_out: (o, 2) intervals within them that do not count.
    """

    columns: tuple[str, ...]
    profiles: tuple[Profile, ...]
    windows: np.ndarray
    left_out: np.ndarray


@dataclass(frozen=True)
class Problem:
    """What is fitted at once: blocks that share the velocities and widths of some groups."""

    groups: tuple[Group, ...]
    blocks: tuple[Block, ...]


def make_problem(groups: Sequence[Group], members: Mapping[str, int], margins: Mapping[str, float]) -> Problem:
    """Return the problem of some lines.

    Args:
        groups: which lines share velocity and width.
        members: key of each line -> index of its group. A key that ends in `_broad` is that line's second component.
        margins: key of each line -> km/s of window beside it.
    """
    tied = {doublet.weak: doublet for doublet in DOUBLETS if doublet.weak in members and doublet.strong in members}
    keys = sorted(members, key=lambda key: (_log_wave(key), key))
    spans = {key: (_log_wave(key) - margins[key] / LIGHT, _log_wave(key) + margins[key] / LIGHT) for key in keys}
    blocks = []
    for together in _components(keys, spans, tied):
        columns = tuple(key for key in together if key not in tied)
        profiles = []
        for key in together:
            column, ratio = (columns.index(tied[key].strong), 1 / tied[key].ratio) if key in tied else (columns.index(key), 1.0)
            profiles.append(Profile(_log_wave(key), members[key], column, ratio))
        windows = _merged([spans[key] for key in together])
        blocks.append(Block(columns, tuple(profiles), windows, _left_out(together, windows)))
    return Problem(tuple(groups), tuple(blocks))


def narrow_problem() -> Problem:
    """Return all lines but those of quasars: one velocity and width for hydrogen and helium, one for the forbidden ones."""
    members = {line.key: int(line.kind == "forbidden") for line in EMISSION if line.kind != "broad"}
    return make_problem(NARROW, members, dict.fromkeys(members, MARGIN))


def balmer_problem(*, broad: bool) -> Problem:
    """Return the lines around Hγ, Hβ and Hα in windows wide enough for broad components, with or without those.

    With them, all narrow lines share one velocity and width: else the broad component and the narrow one change places.
    """
    wanted = narrow_problem()
    near = {key for block in wanted.blocks for key in block.columns if any(_near(key, line) for line in BROAD_BALMER)}
    near |= {doublet.weak for doublet in DOUBLETS if doublet.strong in near}
    members = {key: 0 if broad else int(BY_KEY[key].kind == "forbidden") for key in near}
    if broad:
        members |= {f"{key}_broad": 1 for key in BROAD_BALMER}
    margins = {key: BROAD_MARGIN if key.removesuffix("_broad") in BROAD_BALMER else MARGIN for key in members}
    return make_problem((NARROW[1], BROAD) if broad else NARROW, members, margins)


def quasar_problems() -> list[Problem]:
    """Return the broad lines of the ultraviolet, each with its own velocity and width but those that overlap."""
    lines = [line.key for line in EMISSION if line.kind == "broad"]
    together = [("lya", "nv_1240"), *((key,) for key in lines if key not in ("lya", "nv_1240"))]
    return [make_problem((QUASAR,), dict.fromkeys(keys, 0), dict.fromkeys(keys, BROAD_MARGIN)) for keys in together]


def _log_wave(key: str) -> float:
    return float(np.log(BY_KEY[key.removesuffix("_broad")].wave))


def _near(key: str, line: str) -> bool:
    return abs(_log_wave(key) - _log_wave(line)) * LIGHT < BROAD_MARGIN + MARGIN


def _components(keys: Sequence[str], spans: Mapping[str, tuple[float, float]], tied: Mapping[str, object]) -> list[list[str]]:
    """Return the keys by block: those joined, by way of others even, by a tie or by windows that overlap."""
    number = {key: at for at, key in enumerate(keys)}
    for one in keys:
        for other in keys:
            tie = one in tied and getattr(tied[one], "strong", "") == other
            if (tie or (spans[one][0] < spans[other][1] and spans[other][0] < spans[one][1])) and number[one] != number[other]:
                low, high = sorted((number[one], number[other]))
                number = {key: low if value == high else value for key, value in number.items()}
    return [[key for key in keys if number[key] == value] for value in dict.fromkeys(number.values())]


def _merged(spans: Sequence[tuple[float, float]]) -> np.ndarray:
    windows: list[list[float]] = []
    for low, high in sorted(spans):
        if windows and low < windows[-1][1]:
            windows[-1][1] = max(windows[-1][1], high)
        else:
            windows.append([low, high])
    return np.array(windows)


def _left_out(own: Sequence[str], windows: np.ndarray) -> np.ndarray:
    """Return intervals around lines that are not of the block and lie in its windows, but apart from its own lines."""
    mine = np.array([_log_wave(key) for key in own])
    found = []
    for line in (*EMISSION, *ABSORPTION):
        place = float(np.log(line.wave))
        if line.key in own or line.kind == "broad" or np.abs(mine - place).min() * LIGHT < APART:
            continue
        if ((windows[:, 0] < place) & (place < windows[:, 1])).any():
            found.append((place - APART / 2 / LIGHT, place + APART / 2 / LIGHT))
    return np.array(found).reshape(-1, 2)
