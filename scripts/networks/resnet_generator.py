"""The generator of both directions: CycleGAN's ResNet with nine residual blocks (Mondal et al., section 4.2)."""

from torch import Tensor, nn

from scripts.errors import InputError
from scripts.networks.initialization import initialize_normal
from scripts.networks.instance_norm import InstanceNorm2d

DOWNSAMPLING_FACTOR = 4
SMALLEST_SIZE = 2 * DOWNSAMPLING_FACTOR  # reflection needs two pixels where the network is coarsest
ACTIVATIONS = {"none": nn.Identity, "tanh": nn.Tanh}
UPSAMPLINGS = ("transposed", "resize")


class ResidualBlock(nn.Module):
    """Two 3x3 reflection-padded convolutions with instance norm, added to the input. (B, C, H, W) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution_block(channels, channels, kernel_size=3),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ResNetGenerator(nn.Module):
    """Image-to-image ResNet: 7x7 ends, two stride-2 convolutions, residual blocks, two up-samplings.

    Instance norm without learned scale or running statistics, so a batch is the sum of its images and images of
    several sources may share one pass. As the segmentor G_IS it returns logits (``activation="none"``; softmax is
    part of the objective), as the image generator G_SI an image in [-1, 1] (``activation="tanh"``).

    Args:
        in_channels: channels of the input (image channels for G_IS, classes for G_SI).
        out_channels: channels of the output (classes for G_IS, image channels for G_SI).
        filters: width of the first layer; 64 in the paper.
        blocks: number of residual blocks; 9 in the paper.
        activation: "none" or "tanh".
        upsampling: "transposed" convolutions (the paper), or "resize": the nearest pixel, then a convolution, which leaves no
            checkerboard in the image (Odena et al. 2016) and costs four times as much there.

    Raises:
        InputError: for an unknown activation or up-sampling, and in ``forward`` for H or W that 4 does not divide or that is below 8.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filters: int = 64,
        blocks: int = 9,
        activation: str = "none",
        upsampling: str = "transposed",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise InputError(f"activation must be one of {sorted(ACTIVATIONS)}, got {activation!r}.")
        if upsampling not in UPSAMPLINGS:
            raise InputError(f"upsampling must be one of {sorted(UPSAMPLINGS)}, got {upsampling!r}.")
        layers: list[nn.Module] = [*_convolution_block(in_channels, filters, kernel_size=7)]
        for width in (filters, 2 * filters):
            layers += [
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
                InstanceNorm2d(2 * width),
                nn.ReLU(inplace=True),
            ]
        layers += [ResidualBlock(4 * filters) for _ in range(blocks)]
        for width in (4 * filters, 2 * filters):
            if upsampling == "resize":
                layers += [nn.Upsample(scale_factor=2), *_convolution_block(width, width // 2, kernel_size=3)]
            else:
                layers += [
                    nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1),
                    InstanceNorm2d(width // 2),
                    nn.ReLU(inplace=True),
                ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(filters, out_channels, 7), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers)
        initialize_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Translate ``x`` (B, in_channels, H, W) float to (B, out_channels, H, W); H and W are multiples of 4, from 8 on."""
        if any(size % DOWNSAMPLING_FACTOR or size < SMALLEST_SIZE for size in x.shape[-2:]):
            raise InputError(
                f"the generator needs H and W divisible by {DOWNSAMPLING_FACTOR} and at least {SMALLEST_SIZE}, got "
                f"{tuple(x.shape[-2:])}: wrap it in scripts.networks.padding.PadToMultiple, which pads and crops back, or give --size in multiples of it."
            )
        return self.layers(x)


def _convolution_block(in_channels: int, out_channels: int, kernel_size: int) -> list[nn.Module]:
    return [
        nn.ReflectionPad2d(kernel_size // 2),
        nn.Conv2d(in_channels, out_channels, kernel_size),
        InstanceNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
