"""The discriminator: it judges every pixel by itself, on an unbounded scale."""

import pytest
import torch
from torch import Tensor, nn

from scripts.networks.pixel_discriminator import PixelDiscriminator


@pytest.fixture
def discriminator() -> PixelDiscriminator:
    """With running statistics that differ from those of a fresh one."""
    torch.manual_seed(0)
    network = PixelDiscriminator(3, filters=4).train()
    network(torch.randn(4, 3, 8, 8))
    return network


@pytest.mark.parametrize(("in_channels", "height", "width"), [(1, 1, 1), (4, 8, 12), (21, 7, 5)])
def test_scores_every_pixel(in_channels: int, height: int, width: int) -> None:
    assert PixelDiscriminator(in_channels, filters=2)(torch.randn(2, in_channels, height, width)).shape == (
        2,
        1,
        height,
        width,
    )


def test_layers_are_the_papers() -> None:
    layers = PixelDiscriminator(4).layers
    kinds = [nn.Conv2d, nn.LeakyReLU, nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU, nn.Conv2d]
    assert [type(layer) for layer in layers] == kinds, "batch norm after the second, nothing after the last convolution"
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(4, 64), (64, 128), (128, 1)]
    assert all(c.kernel_size == (1, 1) and c.stride == (1, 1) and c.padding == (0, 0) for c in convolutions)
    assert [layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)] == [0.2, 0.2]


@pytest.mark.parametrize("pixel", [(0, 0, 0), (1, 3, 5), (1, 7, 7)])
def test_sees_one_pixel_only(discriminator: PixelDiscriminator, pixel: tuple[int, int, int]) -> None:
    discriminator.eval()
    image, row, column = pixel
    x = torch.randn(2, 3, 8, 8)
    changed = x.clone()
    changed[image, :, row, column] += 10
    difference = (discriminator(changed) - discriminator(x))[:, 0]
    assert difference[pixel] != 0
    difference[pixel] = 0
    assert not difference.any()


def test_scores_are_unbounded(discriminator: PixelDiscriminator) -> None:
    scores = discriminator.eval()(1e6 * torch.randn(2, 3, 8, 8))
    assert scores.min() < 0
    assert scores.max() > 1


def test_real_and_fake_in_one_batch_would_see_each_other(discriminator: PixelDiscriminator) -> None:
    def scores_of_first(second: Tensor) -> Tensor:
        return discriminator.train()(torch.cat([torch.ones(1, 3, 4, 4), second]))[:1]

    assert not torch.allclose(scores_of_first(torch.zeros(1, 3, 4, 4)), scores_of_first(torch.randn(1, 3, 4, 4)))
