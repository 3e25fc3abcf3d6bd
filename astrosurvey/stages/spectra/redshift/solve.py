"""Many small linear systems side by side: the Cholesky decomposition, written out so that each step is one operation on all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

LEAST = 1e-9
"""Of the matrix's diagonal: what a pivot is at least. A vector that is nearly a sum of the ones before it then counts for nothing."""


def gains(matrix: Mapping[tuple[int, int], torch.Tensor], right: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return by how much chi-square falls when the vectors are fitted: y' A^-1 y.

    Args:
        matrix: lower triangle of the normal matrix by (row, column), of any shape.
        right: right-hand side by row, of the same shape.

    Returns:
        Of that shape.
    """
    lower: dict[tuple[int, int], torch.Tensor] = {}
    solved: list[torch.Tensor] = []
    total = torch.zeros_like(right[0])
    for k, value in enumerate(right):
        pivot = matrix[k, k]
        least = LEAST * pivot
        for m in range(k):
            pivot = torch.addcmul(pivot, lower[k, m], lower[k, m], value=-1)
        sound = pivot > least
        inverse = torch.where(sound, torch.rsqrt(torch.where(sound, pivot, torch.ones_like(pivot))), torch.zeros_like(pivot))
        for row in range(k + 1, len(right)):
            entry = matrix[row, k]
            for m in range(k):
                entry = torch.addcmul(entry, lower[row, m], lower[k, m], value=-1)
            lower[row, k] = entry * inverse
        rest = value
        for m in range(k):
            rest = torch.addcmul(rest, lower[k, m], solved[m], value=-1)
        solved.append(rest * inverse)
        total = torch.addcmul(total, solved[k], solved[k])
    return total
