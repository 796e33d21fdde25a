"""The moving average: what it holds after some updates, and that a resumed run has it."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from scripts.errors import InputError
from scripts.training.averaging import MovingAverage, average_of


def updated(decay: float, values: list[float]) -> float:
    """The average of a single weight that takes ``values`` in turn."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 7.0)
    handler = MovingAverage(network, average_of(network), decay)
    for iteration, value in enumerate(values, 1):
        nn.init.constant_(network.weight, value)
        handler._update(SimpleNamespace(accumulating=False, state=SimpleNamespace(iteration=iteration)))
    return float(next(handler.average.parameters()))


def test_the_average_moves_as_stated() -> None:
    expected = 7.0
    for n, value in enumerate([1.0, -2.0, 3.0, 5.0], 1):
        kept = min(0.25, n / (n + 9))
        expected = kept * expected + (1 - kept) * value
    assert updated(0.25, [1.0, -2.0, 3.0, 5.0]) == pytest.approx(expected, abs=1e-6)


def test_a_copy_takes_no_gradient_and_shares_nothing() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout())
    average = average_of(network)
    assert not average.training
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
    nn.init.zeros_(network[0].weight)
    assert average[0].weight.abs().sum() > 0


def test_buffers_are_copied_and_an_accumulation_waits_for_its_update() -> None:
    network = nn.BatchNorm2d(2)
    handler = MovingAverage(network, average_of(network), 0.9)
    network(torch.randn(4, 2, 3, 3) + 5)
    engine = SimpleNamespace(accumulating=True, state=SimpleNamespace(iteration=1))
    handler._update(engine)
    assert not handler.average.running_mean.any()
    engine.accumulating = False
    handler._update(engine)
    assert torch.equal(handler.average.running_mean, network.running_mean)


def test_its_state_is_the_averages_weights() -> None:
    network = nn.Linear(2, 2)
    handler = MovingAverage(network, average_of(network), 0.9)
    nn.init.zeros_(network.weight)
    handler.load_state_dict(network.state_dict())
    assert not handler.state_dict()["weight"].any()


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_an_impossible_decay_is_refused(decay: float) -> None:
    with pytest.raises(InputError, match=r"ema_decay must lie in \[0, 1\)"):
        MovingAverage(nn.Linear(1, 1), nn.Linear(1, 1), decay)
