"""The learning rate's course."""

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from scripts.training.schedule import ConstantThenLinear


@pytest.mark.parametrize(
    ("epoch", "factor"), [(0, 1), (99, 1), (100, 1), (101, 299 / 300), (250, 0.5), (399, 1 / 300), (400, 0), (401, 0)]
)
def test_papers_schedule(epoch: int, factor: float) -> None:
    assert ConstantThenLinear(400, 100)(epoch) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("max_epochs", "constant_epochs", "expected"),
    [(4, 0, [1, 0.75, 0.5, 0.25, 0]), (4, 4, [1, 1, 1, 1, 1]), (3, 1, [1, 1, 0.5, 0]), (1, 0, [1, 0])],
)
def test_short_schedules(max_epochs: int, constant_epochs: int, expected: list[float]) -> None:
    schedule = ConstantThenLinear(max_epochs, constant_epochs)
    assert [schedule(epoch) for epoch in range(max_epochs + 1)] == pytest.approx(expected)


@pytest.mark.parametrize("constant_epochs", [-1, 5])
def test_constant_part_lies_in_the_run(constant_epochs: int) -> None:
    with pytest.raises(ValueError, match=rf"constant_epochs must lie in \[0, max_epochs = 4\], got {constant_epochs}"):
        ConstantThenLinear(4, constant_epochs)


def test_drives_torchs_scheduler() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2)
    scheduler = LambdaLR(optimizer, ConstantThenLinear(4, 2))
    rates = []
    for _ in range(4):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.2, 0.2, 0.2, 0.1])
