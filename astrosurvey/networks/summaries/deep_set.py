"""Deep sets: summaries of catalogues, which say the same in whatever order the rows stand.

References:
    Zaheer et al. (2017), arXiv:1703.06114.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WIDTHS = (64, 64)
"""Of the network for each row and of that for all of them."""


class DeepSet(nn.Module):
    """Summarise sets of rows; a row with a value that is not finite is none.

    Args:
        columns: of each row.
        features: numbers that come out.
        widths: of the hidden layers.

    Shapes: (batch, row, columns) -> (batch, features).
    """

    def __init__(self, columns: int, features: int, *, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        first, last = widths[0], widths[-1]
        self.each = nn.Sequential(nn.Linear(columns, first), nn.GELU(), nn.Linear(first, last), nn.GELU())
        # Mean, spread and largest of each number, and how many rows there are.
        self.all = nn.Sequential(nn.Linear(3 * last + 1, first), nn.GELU(), nn.Linear(first, last), nn.GELU(), nn.Linear(last, features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the summaries."""
        there = x.isfinite().all(dim=2, keepdim=True)
        rows = self.each(torch.where(there, x, 0.0))
        weight = there.to(rows.dtype)
        number = weight.sum(dim=1)
        mean = (rows * weight).sum(dim=1) / number.clamp(min=1)
        square = ((rows - mean[:, None]).square() * weight).sum(dim=1) / number.clamp(min=1)
        largest = torch.where(there, rows, -torch.inf).amax(dim=1)
        largest = torch.where(number > 0, largest, 0.0)
        return torch.as_tensor(self.all(torch.cat([mean, (square + 1e-6).sqrt(), largest, number.log1p()], dim=1)))
