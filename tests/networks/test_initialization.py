"""Weights are drawn from N(0, 0.02)."""

import pytest
import torch
from scipy.stats import kstest
from torch import nn

from scripts.networks.initialization import initialize_normal
from scripts.networks.pixel_discriminator import PixelDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator

NETWORKS = {
    "generator": lambda: ResNetGenerator(1, 4, filters=8, blocks=2),
    "discriminator": lambda: PixelDiscriminator(4),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("name", NETWORKS)
def test_convolutions_are_normal_and_biases_zero(name: str) -> None:
    convolutions = [m for m in NETWORKS[name]().modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    weights = torch.cat([c.weight.detach().flatten() for c in convolutions])
    assert kstest(weights.numpy(), "norm", args=(0, 0.02)).pvalue > 0.01
    assert not any(c.bias.any() for c in convolutions if c.bias is not None)


def test_batch_norm_scale_is_normal_around_one() -> None:
    norm = initialize_normal(nn.BatchNorm2d(4000))
    assert kstest(norm.weight.detach().numpy(), "norm", args=(1, 0.02)).pvalue > 0.01
    assert not norm.bias.any()


@pytest.mark.parametrize("layer", [nn.Conv2d(8, 64, 3), nn.ConvTranspose2d(8, 64, 3), nn.Linear(64, 64)], ids=repr)
def test_works_in_place_with_another_deviation(layer: nn.Module) -> None:
    assert initialize_normal(layer, std=0.5) is layer
    assert layer.weight.std().item() == pytest.approx(0.5, rel=0.05)
    assert layer.weight.mean().item() == pytest.approx(0, abs=0.05)


def test_leaves_layers_without_weights_alone() -> None:
    initialize_normal(
        nn.Sequential(nn.InstanceNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.Conv2d(1, 1, 1, bias=False))
    )
