"""The discriminator of masks and of images: it judges each pixel by itself (Mondal et al., section 4.2)."""

from torch import Tensor, nn

from scripts.networks.initialization import initialize_normal


class PixelDiscriminator(nn.Module):
    """Three 1x1 convolutions: ``filters`` - 2 ``filters`` - 1, leaky ReLU 0.2, batch norm after the second.

    A 1x1 convolution is a linear layer on the channels of a pixel, and is computed as one, which takes half the time or
    less on a CPU. Nothing follows the last: the least-squares objective wants an unbounded score.

    Args:
        in_channels: classes for D_S, image channels for D_I.
        filters: width of the first layer; 64 in the paper.
    """

    def __init__(self, in_channels: int, filters: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_channels, filters),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(filters, 2 * filters, bias=False),
            nn.BatchNorm1d(2 * filters),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(2 * filters, 1),
        )
        initialize_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Score ``x`` (B, in_channels, H, W) per pixel: (B, 1, H, W), near 1 for real and 0 for fake."""
        batch, channels, height, width = x.shape
        pixels = x.movedim(1, -1).reshape(-1, channels)
        return self.layers(pixels).reshape(batch, height, width, 1).movedim(-1, 1)
