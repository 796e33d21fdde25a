"""The discriminator: it judges every pixel by itself, on an unbounded scale."""

import pytest
import torch
from torch import Tensor, nn

from scripts.benchmarks.plain_step import as_convolutions
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
    kinds = [nn.Linear, nn.LeakyReLU, nn.Linear, nn.BatchNorm1d, nn.LeakyReLU, nn.Linear]
    assert [type(layer) for layer in layers] == kinds, "batch norm after the second, nothing after the last convolution"
    convolutions = [layer for layer in layers if isinstance(layer, nn.Linear)]
    assert [(c.in_features, c.out_features) for c in convolutions] == [(4, 64), (64, 128), (128, 1)]
    assert [layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)] == [0.2, 0.2]


def test_is_the_paper_discriminator_of_1x1_convolutions(discriminator: PixelDiscriminator) -> None:
    """The same scores, gradients and running statistics."""
    plain = as_convolutions(discriminator)
    x = torch.randn(2, 3, 8, 12, requires_grad=True)
    scores, expected = discriminator(x), plain(x)
    torch.testing.assert_close(scores, expected)
    weights = torch.randn_like(scores)
    torch.testing.assert_close(
        torch.autograd.grad((scores * weights).sum(), x), torch.autograd.grad((expected * weights).sum(), x)
    )
    torch.testing.assert_close(discriminator.layers[3].running_var, plain[3].running_var)


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
