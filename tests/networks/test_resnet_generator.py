"""The generator: the paper's layers and size, its shapes, its refusals, its export."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from scripts.errors import InputError
from scripts.networks.resnet_generator import ResidualBlock, ResNetGenerator


def tiny(in_channels: int = 1, out_channels: int = 4, **options: object) -> ResNetGenerator:
    torch.manual_seed(0)
    return ResNetGenerator(in_channels, out_channels, **({"filters": 2, "blocks": 1} | options))


def count(network: nn.Module, wanted: Callable[[nn.Module], bool]) -> int:
    return sum(wanted(module) for module in network.modules())


@pytest.fixture(scope="module")
def of_paper_size() -> ResNetGenerator:
    return ResNetGenerator(1, 4)


def test_has_the_papers_number_of_parameters(of_paper_size: ResNetGenerator) -> None:
    assert sum(parameter.numel() for parameter in of_paper_size.parameters()) == 11_375_044


@pytest.mark.parametrize(
    ("layer", "number", "wanted"),
    [
        ("residual block", 9, lambda m: isinstance(m, ResidualBlock)),
        ("stride-2 convolution", 2, lambda m: isinstance(m, nn.Conv2d) and m.stride == (2, 2)),
        ("transposed convolution", 2, lambda m: isinstance(m, nn.ConvTranspose2d)),
        ("7x7 convolution", 2, lambda m: isinstance(m, nn.Conv2d) and m.kernel_size == (7, 7)),
        ("reflection by 3", 2, lambda m: isinstance(m, nn.ReflectionPad2d) and m.padding == (3, 3, 3, 3)),
        ("instance norm", 1 + 2 + 2 * 9 + 2, lambda m: isinstance(m, nn.InstanceNorm2d)),
        (
            "learned or running norm",
            0,
            lambda m: isinstance(m, nn.InstanceNorm2d) and (m.affine or m.track_running_stats),
        ),
        ("batch norm", 0, lambda m: isinstance(m, nn.BatchNorm2d)),
        ("dropout", 0, lambda m: isinstance(m, nn.Dropout | nn.Dropout2d)),
    ],
)
def test_has_the_papers_layers(
    of_paper_size: ResNetGenerator, layer: str, number: int, wanted: Callable[[nn.Module], bool]
) -> None:
    assert count(of_paper_size, wanted) == number, layer


@pytest.mark.parametrize(
    ("in_channels", "out_channels", "height", "width"), [(1, 4, 8, 8), (4, 1, 16, 24), (3, 21, 20, 12)]
)
def test_output_has_the_inputs_size(in_channels: int, out_channels: int, height: int, width: int) -> None:
    output = tiny(in_channels, out_channels)(torch.randn(2, in_channels, height, width))
    assert output.shape == (2, out_channels, height, width)
    assert torch.isfinite(output).all()


@pytest.mark.parametrize("size", [(30, 32), (32, 31), (4, 8), (8, 4), (1, 1)])
def test_refuses_sizes_that_it_cannot_halve_twice(size: tuple[int, int]) -> None:
    message = rf"divisible by 4 and at least 8, got \({size[0]}, {size[1]}\): wrap it in .*PadToMultiple"
    with pytest.raises(ValueError, match=message):
        tiny()(torch.zeros(1, 1, *size))


def test_refuses_an_unknown_activation() -> None:
    with pytest.raises(ValueError, match=r"one of \['none', 'tanh'\], got 'softmax'"):
        tiny(activation="softmax")


def test_resizing_has_no_transposed_convolution_and_the_same_size() -> None:
    network = tiny(upsampling="resize")
    assert not count(network, lambda module: isinstance(module, nn.ConvTranspose2d))
    assert network(torch.randn(1, 1, 20, 28)).shape == (1, 4, 20, 28)
    with pytest.raises(InputError, match="upsampling must be one of"):
        tiny(upsampling="bilinear")


def test_tanh_bounds_the_image_and_logits_are_unbounded() -> None:
    image, logits = tiny(activation="tanh"), tiny(activation="none")
    x = torch.randn(1, 1, 16, 16)
    for network in (image, logits):
        for parameter in network.parameters():
            parameter.data *= 50
    assert image(x).abs().max() <= 1
    assert logits(x).abs().max() > 1
    torch.testing.assert_close(image(x), logits(x).tanh())


def test_images_of_a_batch_do_not_see_each_other_while_training() -> None:
    network, x = tiny().train(), torch.randn(3, 1, 16, 16)
    torch.testing.assert_close(network(x), torch.cat([network(image[None]) for image in x]))


def test_residual_block_adds_to_its_input() -> None:
    block = ResidualBlock(3)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(block(x) - x, block.body(x))
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(block(x), x)


def test_exports_with_dynamic_batch_and_size() -> None:
    network = tiny().eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    quarters = [torch.export.Dim(name, min=2, max=256) for name in ("height_in_4s", "width_in_4s")]
    shapes = {"x": {0: batch, 2: 4 * quarters[0], 3: 4 * quarters[1]}}
    exported = torch.export.export(network, (torch.randn(2, 1, 16, 24),), dynamic_shapes=shapes).module()
    for shape in [(1, 1, 8, 8), (3, 1, 40, 12)]:
        x = torch.randn(shape)
        torch.testing.assert_close(exported(x), network(x))
