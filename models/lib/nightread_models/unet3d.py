"""The demonstration's 3-D U-Net: small, InstanceNorm and LeakyReLU, one convolution a side where voxels are finest."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WIDTHS = (8, 24, 48, 96, 128)


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution 3x3x3, norm over the patch, LeakyReLU."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False),
        nn.InstanceNorm3d(outputs, affine=True),
        nn.LeakyReLU(0.01, inplace=True),
    )


class UNet3d(nn.Module):
    """(batch, 1, x, y, z) -> logits (batch, outputs, x, y, z); sides are multiples of 2^(levels - 1).

    Half of a U-Net's time goes into its finest level, so that one has a single convolution on each side. In training
    mode the two next levels give logits too (deep supervision, as nnU-Net does): a list, finest first.
    """

    def __init__(self, outputs: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        levels = range(len(widths))
        self.encoder = nn.ModuleList(
            nn.Sequential(block(1, widths[0]))
            if level == 0
            else nn.Sequential(block(widths[level - 1], widths[level], 2), block(widths[level], widths[level]))
            for level in levels
        )
        self.up = nn.ModuleList(nn.ConvTranspose3d(widths[level + 1], widths[level], 2, 2) for level in levels[:-1])
        self.decoder = nn.ModuleList(block(2 * widths[level], widths[level]) for level in levels[:-1])
        self.heads = nn.ModuleList(nn.Conv3d(widths[level], outputs, 1) for level in levels[:3])

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits; in training those of three levels."""
        skips = []
        features = image
        for stage in self.encoder:
            features = stage(features)
            skips.append(features)
        logits = []
        for level in reversed(range(len(self.up))):
            features = self.decoder[level](torch.cat([skips[level], self.up[level](features)], 1))
            if level == 0 or (self.training and level < len(self.heads)):
                logits.append(self.heads[level](features))
        return logits[::-1] if self.training else logits[-1]
