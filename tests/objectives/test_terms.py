"""What objectives share: weights, masks, means over known pixels, passes through a network."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scripts.labels import VOID
from scripts.objectives.terms import (
    Weights,
    forward_together,
    has_batch_statistics,
    masked_mean,
    one_hot,
    straight_through_one_hot,
    valid_pixels,
)


@dataclass(frozen=True)
class TwoWeights(Weights):
    first: float = 1.0
    second: float = 0.0


def label_with_void(num_classes: int = 4) -> Tensor:
    label = torch.randint(0, num_classes, (2, 5, 6), generator=torch.Generator().manual_seed(0))
    label[0, 1:3, 2:] = VOID
    return label


def test_misspelt_weight_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="secnod"):
        TwoWeights(secnod=1.0)  # type: ignore[call-arg]


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "1", None])
def test_weight_that_is_no_finite_number_from_zero_on_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"weight second must be a finite number >= 0, got"):
        TwoWeights(second=value)  # type: ignore[arg-type]


def test_weights_that_train_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="all weights are 0, so nothing would be trained: give one of first, second"):
        TwoWeights(first=0)


def test_weights_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TwoWeights().first = 2.0  # type: ignore[misc]


def test_active_weights_are_those_above_zero() -> None:
    assert TwoWeights().active() == {"first"}
    assert TwoWeights(0, 1e-9).active() == {"second"}


def test_total_is_the_weighted_sum_of_the_given_terms() -> None:
    weights = TwoWeights(3, 0.5)
    terms = {"first": torch.tensor(2.0), "second": torch.tensor(-8.0)}
    assert weights.total(terms).item() == 2.0
    assert weights.total({"second": terms["second"]}).item() == -4.0


def test_one_hot_has_a_channel_a_class_and_nothing_where_void() -> None:
    label = label_with_void()
    expected = np.zeros((2, 4, 5, 6))
    for b, i, j in np.ndindex(*label.shape):
        if label[b, i, j] != VOID:
            expected[b, int(label[b, i, j]), i, j] = 1
    mask = one_hot(label, 4)
    assert mask.dtype == torch.float32
    np.testing.assert_array_equal(mask.numpy(), expected)


def test_valid_pixels_are_those_with_a_class() -> None:
    label = label_with_void()
    valid = valid_pixels(label)
    assert valid.dtype == torch.bool
    np.testing.assert_array_equal(valid.numpy(), (label.numpy() != 255)[:, None])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_straight_through_is_exactly_one_hot_forward(dtype: torch.dtype) -> None:
    probabilities = torch.randn(2, 4, 32, 32).softmax(1).to(dtype)
    mask = straight_through_one_hot(probabilities)
    assert mask.dtype == dtype
    assert torch.equal(mask, one_hot(probabilities.argmax(1), 4).to(dtype))


def test_straight_through_has_the_gradient_of_soft_probabilities() -> None:
    upstream = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    logits = torch.randn(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    (hard,) = torch.autograd.grad((straight_through_one_hot(logits.softmax(1)) * upstream).sum(), logits)
    (soft,) = torch.autograd.grad((logits.softmax(1) * upstream).sum(), logits)
    assert soft.abs().max() > 0
    torch.testing.assert_close(hard, soft)


@pytest.mark.parametrize("channels", [1, 3])
def test_masked_mean_is_over_known_pixels_of_all_channels(channels: int) -> None:
    values = torch.randn(2, channels, 5, 6, dtype=torch.float64)
    valid = valid_pixels(label_with_void())
    known = np.broadcast_to(valid.numpy(), values.shape)
    assert masked_mean(values, valid).item() == pytest.approx(values.numpy()[known].mean())


def test_masked_mean_of_nothing_is_zero_with_zero_gradient() -> None:
    values = torch.randn(2, 3, 4, 4, requires_grad=True)
    mean = masked_mean(values, torch.zeros(2, 1, 4, 4, dtype=torch.bool))
    mean.backward()
    assert mean.item() == 0
    assert values.grad is not None
    assert not values.grad.any()


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (nn.Conv2d(1, 1, 1), False),
        (nn.InstanceNorm2d(2), False),
        (nn.InstanceNorm2d(2, affine=True), False),
        (nn.InstanceNorm2d(2, track_running_stats=True), True),
        (nn.GroupNorm(1, 2), False),
        (nn.BatchNorm1d(2), True),
        (nn.BatchNorm2d(2), True),
        (nn.SyncBatchNorm(2), True),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sequential(nn.BatchNorm2d(2))), True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_batch_statistics_are_found(network: nn.Module, expected: bool) -> None:
    assert has_batch_statistics(network) is expected


@pytest.mark.parametrize(
    ("merge", "second_size", "calls"), [(True, (3, 4, 4), 1), (False, (3, 4, 4), 2), (True, (3, 8, 4), 2)]
)
def test_batches_go_together_where_they_may_and_fit(merge: bool, second_size: tuple[int, ...], calls: int) -> None:
    network, seen = nn.Conv2d(3, 2, 1), []
    network.register_forward_hook(lambda *_: seen.append(1))
    inputs = {"a": torch.randn(2, 3, 4, 4), "b": torch.randn(5, *second_size)}
    outputs = forward_together(network, merge, inputs)
    assert len(seen) == calls
    assert list(outputs) == ["a", "b"]
    for name, batch in inputs.items():
        torch.testing.assert_close(outputs[name], network(batch))


def test_no_batches_are_no_call() -> None:
    def refuse(batch: Tensor) -> Tensor:
        raise AssertionError("called without a batch")

    assert forward_together(refuse, True, {}) == {}  # type: ignore[arg-type]
