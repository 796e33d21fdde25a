"""The discriminator of Hung et al., "Adversarial learning for semi-supervised semantic segmentation" (1802.07934)."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from scripts.errors import InputError

SMALLEST = 32
"""Height and width of which five convolutions of stride 2 leave one score."""


class FullyConvolutionalDiscriminator(nn.Sequential):
    """Five 4 x 4 convolutions of stride 2 (64, 128, 256, 512, 1 channels), leaky ReLU 0.2 between, then up-sampled.

    A score sees 94 x 94 pixels of the mask before up-sampling mixes neighbours, so it can judge shape. No batch norm, as
    in the paper.

    Args:
        in_channels: channels of a mask.
        filters: of the first convolution; doubled at each of the next three.

    Raises:
        InputError: in ``forward`` for H or W below 32.
    """

    def __init__(self, in_channels: int, filters: int = 64) -> None:
        widths = [in_channels, filters, 2 * filters, 4 * filters, 8 * filters]
        layers: list[nn.Module] = []
        for inward, outward in pairwise(widths):
            layers += [nn.Conv2d(inward, outward, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 4, stride=2, padding=1))

    def forward(self, mask: Tensor) -> Tensor:
        """Masks (B, in_channels, H, W), H and W at least 32, to logits (B, 1, H, W): "this is a true mask"."""
        if min(mask.shape[-2:]) < SMALLEST:
            raise InputError(
                f"the discriminator halves a mask five times, so H and W must be at least {SMALLEST}, got "
                f"{mask.shape[-2]} x {mask.shape[-1]}: give a larger size."
            )
        scores = super().forward(mask)
        return F.interpolate(scores, size=mask.shape[-2:], mode="bilinear", align_corners=False)
