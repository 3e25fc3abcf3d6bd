"""Toy colours and magnitudes: each structure is one population of one age at one distance, the background many.

The main sequence is that of nearby stars in Gaia's bands, coarsely; stars brighter than the turn-off of their age are giants.

References:
    Gaia Collaboration, Babusiaux et al. (2018), A&A 616, A10 (observed sequences); Kroupa (2001), MNRAS 322, 231 (initial mass function).
"""

from __future__ import annotations

import numpy as np

SEQUENCE = np.array([[-1.0, -0.2], [1.0, 0.05], [2.5, 0.35], [4.0, 0.7], [6.0, 1.0], [8.0, 1.6], [10.0, 2.2], [12.0, 2.9], [15.0, 4.0]])
"""Absolute magnitude in G, and BP - RP, of the main sequence."""
GIANTS = np.array([[-2.5, 1.9], [-1.0, 1.55], [0.5, 1.2], [2.0, 1.05], [4.0, 0.95]])
"""The same for the giant branch."""
BRIGHTEST, FAINTEST = -0.5, 12.0
"""Absolute magnitudes between which stars are drawn."""
STEEPNESS = 0.25
"""Stars become more numerous by this much, in the natural logarithm, with each magnitude."""
SCATTER = 0.02
"""Errors of the magnitudes, and of the colours."""


def photometry(rng: np.random.Generator, labels: np.ndarray, structures: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) apparent magnitudes in G, and (n,) colours BP - RP.

    Args:
        rng: all of its randomness.
        labels: (n,) the structure of each star; -1 for the background.
        structures: how many there are.
    """
    n = len(labels)
    own = labels >= 0
    modulus = np.where(own, np.append(rng.uniform(5, 10, structures), 0)[labels], rng.uniform(4, 12, n))
    turn_off = np.where(own, np.append(rng.uniform(0, 4, structures), 0)[labels], rng.uniform(0, 4.5, n))
    bright, faint = np.exp(STEEPNESS * BRIGHTEST), np.exp(STEEPNESS * FAINTEST)
    absolute = np.log(bright + rng.random(n) * (faint - bright)) / STEEPNESS
    giant = absolute < turn_off
    colour = np.where(giant, np.interp(absolute, *GIANTS.T), np.interp(absolute, *SEQUENCE.T))
    return absolute + modulus + SCATTER * rng.standard_normal(n), colour + SCATTER * rng.standard_normal(n)
