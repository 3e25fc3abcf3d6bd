"""A small U-Net for images: several heads at full resolution, computed at half of it.

Pixels are folded two by two into channels first (space to depth) and unfolded in the heads, so that the costly first
level runs on a quarter of the pixels and no resolution is lost. Batch normalisation makes the trained network a
fixed, translation-equivariant filter: what it says of a pixel does not depend on the tile that the pixel lies in, and
`folded` melts it into the convolutions.

References:
    Ronneberger, Fischer & Brox (2015), arXiv:1505.04597; Shi et al. (2016), arXiv:1609.05158 (sub-pixel heads);
    Gal & Ghahramani (2016), arXiv:1506.02142 (dropout at prediction time).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

STEM = 2
"""Side of the squares of pixels that are folded into channels."""


class Block(nn.Module):
    """Two 3 x 3 convolutions, each normalised and rectified.

    Shapes: (batch, n_in, y, x) -> (batch, n_out, y, x).
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.first_norm: Any = nn.BatchNorm2d(n_out)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.second_norm: Any = nn.BatchNorm2d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        # In place once nothing is learnt: the largest maps are a prediction's peak of memory.
        in_place = not torch.is_grad_enabled()
        x = functional.relu(self.first_norm(self.first(x)), inplace=in_place)
        return functional.relu(self.second_norm(self.second(x)), inplace=in_place)

    def fold(self) -> None:
        """Melt the normalisations into the convolutions; only for a network in evaluation mode."""
        self.first, self.first_norm = fuse_conv_bn_eval(self.first, self.first_norm), nn.Identity()
        self.second, self.second_norm = fuse_conv_bn_eval(self.second, self.second_norm), nn.Identity()


class UNet(nn.Module):
    """A U-Net with named heads.

    Args:
        in_channels: channels of the input.
        heads: name and number of channels of each head; their order is that of the last layer's weights.
        widths: channels of each level, from half resolution down; each level halves the resolution again.
        dropout: chance for a channel of the decoder's lower levels to be dropped in training, and in
            evaluation mode when `sample_dropout` is set.

    Shapes: (batch, in_channels, y, x) with sides that are multiples of `multiple` -> a mapping of heads to (batch, channels, y, x).
    """

    def __init__(
        self, in_channels: int, heads: Sequence[tuple[str, int]], widths: Sequence[int] = (32, 48, 64, 96), dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.heads = {name: int(channels) for name, channels in heads}
        self.multiple = STEM * 2 ** (len(widths) - 1)
        self.dropout = dropout
        self.sample_dropout = False
        before = [in_channels * STEM**2, *widths[:-1]]
        self.down = nn.ModuleList(Block(n_in, n_out) for n_in, n_out in zip(before, widths, strict=True))
        self.up = nn.ModuleList(Block(low + here, here) for low, here in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.head = nn.Conv2d(widths[0], sum(self.heads.values()) * STEM**2, 1)
        nn.init.zeros_(cast(Tensor, self.head.bias))

    @property
    def reach(self) -> int:
        """How many pixels to each side an output may depend on; tiles overlap by twice as much."""
        levels = len(self.down)
        # Two 3 x 3 convolutions a block, going down and coming up; a pixel of level n covers 2^(n + 1) of the image.
        return STEM * sum(2 * 2**n * (2 if n < levels - 1 else 1) for n in range(levels)) + self.multiple

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return every head's map."""
        return self.decode(self.encode(x))

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the levels' features, from half resolution down."""
        x = functional.pixel_unshuffle(x, STEM)
        features = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            features.append(x)
        return features

    def decode(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return every head's map from what `encode` returned; the random part when dropout is sampled."""
        x = features[-1]
        for skip, block in zip(reversed(features[:-1]), self.up, strict=True):
            x = functional.dropout2d(x, self.dropout, training=self.training or self.sample_dropout)
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        maps = functional.pixel_shuffle(self.head(x), STEM)
        return dict(zip(self.heads, maps.split(list(self.heads.values()), dim=1), strict=True))


def folded(network: UNet) -> UNet:
    """Return a copy for prediction: in evaluation mode, normalisations melted into the convolutions, channels last in memory."""
    copy = deepcopy(network).eval()
    for block in (*copy.down, *copy.up):
        cast(Block, block).fold()
    return cast(UNet, copy.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
