"""A discriminator that sees shape: patches, with spectral norm (Isola et al. 2017; Miyato et al. 2018)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from scripts.errors import InputError


class PatchDiscriminator(nn.Sequential):
    """4 x 4 convolutions of stride 2, widths doubling, leaky ReLU 0.2 between, then 3 x 3 to one score; up-sampled.

    A score sees 8, 18, 38 or 78 pixels across with 1 to 4 layers, before up-sampling. Spectral norm bounds how steeply
    scores can change, and so the pull on the generators; there are no batch statistics.

    Args:
        in_channels: channels of the input.
        filters: of the first convolution.
        layers: convolutions of stride 2.

    Raises:
        InputError: in ``forward`` for H or W below 2^(layers + 1).
    """

    def __init__(self, in_channels: int, filters: int = 32, layers: int = 3) -> None:
        widths = [in_channels, *(filters * 2**layer for layer in range(layers))]
        modules: list[nn.Module] = []
        for inward, outward in pairwise(widths):
            modules += [spectral_norm(nn.Conv2d(inward, outward, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        super().__init__(*modules, spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))
        self.smallest = 2 ** (layers + 1)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, in_channels, H, W) to scores (B, 1, H, W); float32 in any autocast; least squares, so without activation."""
        if min(x.shape[-2:]) < self.smallest:
            raise InputError(
                f"the discriminator needs H and W of at least {self.smallest}, got {tuple(x.shape[-2:])}: give a larger size, "
                "or fewer layers."
            )
        with torch.autocast(x.device.type, enabled=False):  # the norms are found by products that autocast would round
            scores = super().forward(x.float())
        return F.interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=False)
