"""The pool of fakes that discriminators learn from."""

import pytest
import torch
from torch import Tensor

from scripts.training.pool import FakePool


def numbered(first: int, count: int = 1) -> Tensor:
    """(count, 1, 1, 1) images of the numbers from ``first`` on."""
    return torch.arange(first, first + count, dtype=torch.float32).reshape(-1, 1, 1, 1)


def numbers(fakes: tuple[Tensor, ...]) -> list[int]:
    return [int(value) for value in fakes[0].flatten()]


def full_pool(size: int, seed: int = 0) -> FakePool:
    """Holding the numbers 0 to size - 1."""
    pool = FakePool(size, seed)
    pool.exchange((numbered(0, size),))
    return pool


def test_size_zero_answers_with_what_it_is_given() -> None:
    fakes = (numbered(0, 3),)
    assert FakePool(0).exchange(fakes) is fakes


def test_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more, got -1"):
        FakePool(-1)


def test_answers_with_the_new_fakes_until_it_is_full() -> None:
    pool = FakePool(7)
    for first in (0, 3):
        assert numbers(pool.exchange((numbered(first, 3),))) == [first, first + 1, first + 2]
    assert len(pool.items) == 6


def test_half_of_the_answers_are_older_fakes_that_the_new_ones_replace() -> None:
    pool, kept, older = full_pool(10), set(range(10)), 0
    for new in range(10, 1010):
        (answer,) = numbers(pool.exchange((numbered(new),)))
        if answer != new:
            older += 1
            assert answer in kept, "an older fake is given back once"
            kept = kept - {answer} | {new}
        assert {int(item[0]) for item in pool.items} == kept
    assert 430 < older < 570  # 4.4 standard deviations of 1000 fair coins


def test_every_place_of_the_pool_is_drawn() -> None:
    pool = full_pool(5)
    answers = [numbers(pool.exchange((numbered(new),)))[0] for new in range(5, 200)]
    assert set(range(5)) <= set(answers)


def test_tensors_of_a_fake_travel_together() -> None:
    pool = FakePool(4)
    for first in range(0, 60, 3):
        image, valid = pool.exchange((numbered(first, 3), -numbered(first, 3)))
        assert torch.equal(image, -valid)


def test_keeps_copies() -> None:
    pool, fake = FakePool(1), numbered(1)
    pool.exchange((fake,))
    fake += 100
    assert [int(item[0]) for item in pool.items] == [1]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.bool, torch.bool),
    ],
)
def test_keeps_formats_in_which_another_precision_can_go_on(given: torch.dtype, kept: torch.dtype) -> None:
    pool = FakePool(2)
    (answer,) = pool.exchange((numbered(0, 2).to(given),))
    assert answer.dtype == kept
    assert [item[0].dtype for item in pool.items] == [kept, kept]


def test_same_seed_same_answers() -> None:
    def answers(seed: int) -> list[int]:
        pool = full_pool(5, seed)
        return [numbers(pool.exchange((numbered(new),)))[0] for new in range(5, 60)]

    assert answers(3) == answers(3)
    assert answers(3) != answers(4)


def test_goes_on_from_its_state_as_if_never_stopped() -> None:
    pool, restored = full_pool(5, seed=1), FakePool(5, seed=99)
    pool.exchange((numbered(5, 20),))
    restored.load_state_dict(pool.state_dict())
    for new in range(25, 60):
        assert numbers(pool.exchange((numbered(new),))) == numbers(restored.exchange((numbered(new),)))


def test_state_of_an_empty_pool() -> None:
    restored = full_pool(3)
    restored.load_state_dict(FakePool(3).state_dict())
    assert restored.items == []


def test_leaves_the_global_random_numbers_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    full_pool(3).exchange((numbered(0, 50),))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_within_a_batch_is_kept() -> None:
    """A batch at a time is one fake after the other: later ones may be answered with earlier ones of their own batch."""
    one_by_one, at_a_time = full_pool(3, seed=5), full_pool(3, seed=5)
    within = 0
    for first in range(3, 203, 8):
        expected = [numbers(one_by_one.exchange((numbered(number),)))[0] for number in range(first, first + 8)]
        given = numbers(at_a_time.exchange((numbered(first, 8),)))
        assert given == expected
        within += sum(first <= answer < first + number for number, answer in enumerate(given))
        assert [int(i[0]) for i in one_by_one.items] == [int(i[0]) for i in at_a_time.items]
    assert within > 10, "the case that this is about"
