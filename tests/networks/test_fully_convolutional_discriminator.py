"""The discriminator of Hung et al.: its layers, what a score sees, and every image size it must bear."""

import pytest
import torch
from torch import nn

from scripts.errors import InputError
from scripts.networks.fully_convolutional_discriminator import FullyConvolutionalDiscriminator

SIZES = [(32, 32), (32, 33), (47, 63), (64, 95), (96, 96), (101, 50), (128, 97), (127, 200), (200, 200), (199, 61)]


def weights_of_ones(network: nn.Module) -> nn.Module:
    """All weights 1, biases 0, in double precision, so that no gradient is 0 by chance or cancels another."""
    for name, parameter in network.double().named_parameters():
        nn.init.constant_(parameter, 1.0 if name.endswith("weight") else 0.0)
    return network


def extent(gradient: torch.Tensor) -> tuple[range, range]:
    """Rows and columns in which (1, C, H, W) is not zero."""
    seen = gradient.abs().sum((0, 1))
    spans = [seen.sum(1 - axis).nonzero().flatten() for axis in (0, 1)]
    return tuple(range(int(span.min()), int(span.max()) + 1) for span in spans)  # type: ignore[return-value]


@pytest.mark.parametrize("size", SIZES)
def test_scores_every_pixel_and_sees_every_pixel(size: tuple[int, int]) -> None:
    mask = torch.ones(2, 3, *size, dtype=torch.float64, requires_grad=True)
    scores = weights_of_ones(FullyConvolutionalDiscriminator(3, filters=1))(mask)
    assert scores.shape == (2, 1, *size)
    (gradient,) = torch.autograd.grad(scores.sum(), mask)
    assert (gradient > 0).all(), "some pixels of the mask have no say in any score"


@pytest.mark.parametrize("size", [(31, 64), (64, 31), (16, 16)])
def test_smaller_images_are_refused_not_misjudged(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"at least 32, got {size[0]} x {size[1]}: give a larger size"):
        FullyConvolutionalDiscriminator(3, filters=1)(torch.zeros(1, 3, *size))


def test_layers_are_the_papers() -> None:
    layers = list(FullyConvolutionalDiscriminator(21))
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.LeakyReLU] * 4 + [nn.Conv2d]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    widths = [(c.in_channels, c.out_channels) for c in convolutions]
    assert widths == [(21, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    assert all(c.kernel_size == (4, 4) and c.stride == (2, 2) for c in convolutions)
    assert [layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)] == [0.2] * 4


@pytest.mark.parametrize(
    ("in_channels", "filters", "expected"), [(4, 64, 2_765_761), (21, 64, 2_783_169), (3, 2, 3_071)]
)
def test_number_of_parameters(in_channels: int, filters: int, expected: int) -> None:
    """By hand for 4 and 64: 16 (4 x 64 + 64 x 128 + 128 x 256 + 256 x 512 + 512) weights, 64 + 128 + 256 + 512 + 1 biases;
    17 channels more are 16 x 17 x 64 = 17,408 weights more."""
    network = FullyConvolutionalDiscriminator(in_channels, filters)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_a_score_before_upsampling_sees_94_pixels_each_way() -> None:
    convolutions = nn.Sequential(*weights_of_ones(FullyConvolutionalDiscriminator(1, filters=1)))
    mask = torch.ones(1, 1, 256, 256, dtype=torch.float64, requires_grad=True)
    scores = convolutions(mask)
    assert scores.shape == (1, 1, 8, 8)
    (gradient,) = torch.autograd.grad(scores[0, 0, 4, 3], mask)
    # 1 + 3 (1 + 2 + 4 + 8 + 16) pixels from 32 i - 31, as each layer pads by one.
    assert extent(gradient) == (range(97, 97 + 94), range(65, 65 + 94))


def test_an_upsampled_score_sees_the_two_nearest_each_way() -> None:
    mask = torch.ones(1, 1, 256, 256, dtype=torch.float64, requires_grad=True)
    scores = weights_of_ones(FullyConvolutionalDiscriminator(1, filters=1))(mask)
    (gradient,) = torch.autograd.grad(scores[0, 0, 130, 100], mask)
    rows, columns = extent(gradient)
    assert (len(rows), len(columns)) == (94 + 32, 94 + 32)
    assert 130 in rows
    assert 100 in columns


def test_judges_shape_not_one_pixel() -> None:
    """The same classes in the same numbers, elsewhere, score differently: what the pixel-wise discriminator cannot see."""
    torch.manual_seed(0)
    network = FullyConvolutionalDiscriminator(2, filters=4)
    square = torch.zeros(1, 1, 64, 64)
    square[..., 20:36, 20:36] = 1
    scattered = torch.zeros(1, 1, 64, 64)
    scattered[..., ::4, ::4] = 1
    assert square.sum() == scattered.sum()
    scores = [network(torch.cat([1 - mask, mask], 1)) for mask in (square, scattered)]
    assert (scores[0] - scores[1]).abs().mean() > 1e-3


def test_images_of_a_batch_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    network = FullyConvolutionalDiscriminator(3, filters=2).train()
    first, second = torch.randn(1, 3, 40, 40), torch.randn(1, 3, 40, 40)
    torch.testing.assert_close(network(torch.cat([first, second]))[:1], network(first))


def test_scores_are_logits() -> None:
    torch.manual_seed(0)
    scores = FullyConvolutionalDiscriminator(3, filters=2)(1e6 * torch.randn(2, 3, 64, 64))
    assert scores.min() < 0
    assert scores.max() > 1
