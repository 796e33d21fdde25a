"""Instance norm: PyTorch's own numbers, whatever the kernel."""

import pytest
import torch
from torch import nn

from scripts.networks.instance_norm import InstanceNorm2d


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 1, 5, 7), (3, 16, 4, 2)])
def test_gives_the_numbers_and_gradients_of_pytorch(shape: tuple[int, ...]) -> None:
    x = (5 + 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    ours, theirs = InstanceNorm2d(shape[1])(x), nn.InstanceNorm2d(shape[1])(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    weights = torch.linspace(-1, 1, x.numel()).reshape(shape)
    (of_ours,) = torch.autograd.grad((ours * weights).sum(), x)
    (of_theirs,) = torch.autograd.grad((theirs * weights).sum(), x)
    torch.testing.assert_close(of_ours, of_theirs, rtol=1e-4, atol=1e-6)


def test_an_image_does_not_see_the_others_of_its_batch() -> None:
    x = torch.randn(3, 2, 6, 6)
    torch.testing.assert_close(InstanceNorm2d(2)(x)[1:2], InstanceNorm2d(2)(x[1:2]))
