"""The guard against losses that are not finite."""

import math

import pytest
import torch
from torch import Tensor

from scripts.training.finite import FiniteGuard, NonFiniteLossError


def terms(**values: float) -> dict[str, Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_names_term_value_iteration_and_files(value: float) -> None:
    with pytest.raises(NonFiniteLossError) as caught:
        FiniteGuard().watch(7, terms(good=1.0, bad=value), ["a.nii.gz", "b.nii.gz"])
    assert f"loss term bad = {value} at iteration 7; batch of a.nii.gz, b.nii.gz." in str(caught.value)
    assert "good" not in str(caught.value)
    assert "resume with" in str(caught.value), "the remedy"


def test_names_all_bad_terms_and_nameless_files() -> None:
    with pytest.raises(NonFiniteLossError, match=r"first = nan, second = inf at iteration 1; batch of unnamed images"):
        FiniteGuard().watch(1, terms(first=math.nan, second=math.inf), ())


@pytest.mark.parametrize(("interval", "found_at"), [(1, 2), (2, 2), (3, 3), (5, 5)])
def test_looks_every_interval_of_iterations(interval: int, found_at: int) -> None:
    guard = FiniteGuard(interval)

    def run() -> None:
        for iteration in range(1, 12):
            reached.append(iteration)
            guard.watch(iteration, terms(generator=math.nan if iteration == 2 else 0.0), [f"file {iteration}"])
            guard.watch(iteration, terms(discriminator=0.0), [f"file {iteration}"])

    reached: list[int] = []
    with pytest.raises(NonFiniteLossError, match="generator = nan at iteration 2; batch of file 2"):
        run()
    assert reached[-1] == found_at


def test_remembers_no_more_than_an_interval() -> None:
    guard = FiniteGuard(3)
    for iteration in range(1, 100):
        guard.watch(iteration, terms(a=0.0), ())
        guard.watch(iteration, terms(b=0.0), ())
        assert len(guard.history) <= 2 * 3


def test_a_look_can_be_asked_for_and_forgets() -> None:
    guard = FiniteGuard(100)
    guard.watch(3, terms(a=math.nan), ["x"])
    guard.watch(4, terms(a=math.nan), ["y"])
    with pytest.raises(NonFiniteLossError, match="iteration 3; batch of x"):
        guard.check()
    guard.check()
    assert guard.history == []


def test_half_precision_terms_are_watched_without_a_graph() -> None:
    guard = FiniteGuard(10)
    value = torch.tensor(1.0, dtype=torch.bfloat16, requires_grad=True)
    guard.watch(1, {"a": value}, ())
    assert not guard.history[0][2].requires_grad


@pytest.mark.parametrize("interval", [0, -1])
def test_interval_is_at_least_one(interval: int) -> None:
    with pytest.raises(ValueError, match="1 iteration or more"):
        FiniteGuard(interval)
