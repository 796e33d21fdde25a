"""The patch discriminator: size, what a score sees, and how steep it can be."""

import pytest
import torch

from scripts.errors import InputError
from scripts.networks.patch_discriminator import PatchDiscriminator
from scripts.objectives.terms import has_batch_statistics


@pytest.mark.parametrize("size", [(32, 32), (48, 40), (33, 50)])
def test_a_score_for_each_pixel(size: tuple[int, int]) -> None:
    assert PatchDiscriminator(4, filters=4)(torch.randn(2, 4, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize(("layers", "seen"), [(1, 8), (2, 18), (3, 38), (4, 78)])
def test_a_score_sees_the_stated_patch(layers: int, seen: int) -> None:
    network = PatchDiscriminator(1, filters=2, layers=layers).eval()
    x = torch.randn(1, 1, 128, 128, requires_grad=True)
    scores = torch.nn.Sequential.forward(network, x)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert x.grad is not None
    rows = x.grad[0, 0].abs().sum(1).nonzero()
    assert int(rows.max() - rows.min()) + 1 == seen


def test_every_layer_has_spectral_norm_one_after_some_passes_and_no_batch_statistics() -> None:
    network = PatchDiscriminator(2, filters=4, layers=2)
    for _ in range(50):
        network(torch.randn(1, 2, 16, 16))
    network.eval()
    weights = [module.weight for module in network if isinstance(module, torch.nn.Conv2d)]
    assert len(weights) == 3
    for weight in weights:
        norm = torch.linalg.matrix_norm(weight.detach().flatten(1), 2)
        assert float(norm) == pytest.approx(1, abs=0.01)
    assert not has_batch_statistics(network)


def test_too_small_an_input_is_refused() -> None:
    with pytest.raises(InputError, match="at least 16, got"):
        PatchDiscriminator(1, layers=3)(torch.zeros(1, 1, 15, 32))
