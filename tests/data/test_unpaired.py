"""Unpaired batches: each slice once a pass, the same whatever came before, and how long an epoch is."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise

import pytest
import torch
from torch import Tensor

from scripts.data.unpaired import ShuffledStream, UnpairedBatches
from scripts.errors import InputError


class Numbered:
    """Slices whose pixels are their number."""

    def __init__(self, count: int, labelled: bool = True, name: str = "slice") -> None:
        self.images = torch.arange(count).float().view(-1, 1, 1, 1).expand(-1, 1, 4, 6).contiguous()
        self.labelled = labelled
        self.name = name

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Sequence[int]) -> dict[str, Tensor]:
        images = self.images[indices]
        return {"image": images} | ({"label": images[:, 0].long()} if self.labelled else {})

    def names(self, indices: Iterable[int]) -> list[str]:
        return [f"{self.name} {index}" for index in indices]


def numbers(images: Tensor) -> list[int]:
    return images[:, 0, 0, 0].int().tolist()


def make(labelled: int = 7, unlabelled: int = 23, batch_size: int = 5, **options) -> UnpairedBatches:
    return UnpairedBatches(
        Numbered(labelled), Numbered(unlabelled, labelled=False, name="unlabelled"), batch_size, **options
    )


# Batches


def test_a_batch_is_what_it_promises() -> None:
    batch = make().batch(0)
    assert {name: (t.dtype, tuple(t.shape)) for name, t in batch.items() if name != "files"} == {
        "image": (torch.float32, (5, 1, 4, 6)),
        "label": (torch.int64, (5, 4, 6)),
        "unlabeled_image": (torch.float32, (5, 1, 4, 6)),
    }
    assert torch.equal(batch["label"].float(), batch["image"][:, 0])
    expected = [f"slice {n}" for n in numbers(batch["image"])]
    expected += [f"unlabelled {n}" for n in numbers(batch["unlabeled_image"])]
    assert batch["files"] == expected


@pytest.mark.parametrize(("kind", "count"), [("image", 7), ("unlabeled_image", 23)])
def test_each_slice_comes_once_a_pass(kind: str, count: int) -> None:
    batches = make()
    stream = [n for position in range(count) for n in numbers(batches.batch(position)[kind])]  # five passes
    passes = [stream[start : start + count] for start in range(0, len(stream), count)]
    assert all(Counter(one) == Counter(range(count)) for one in passes)
    assert all(one != two for one, two in pairwise(passes))


def test_labelled_and_unlabelled_slices_are_not_in_step() -> None:
    batches = make(labelled=20, unlabelled=20)
    first = batches.batch(0)
    assert numbers(first["image"]) != numbers(first["unlabeled_image"])


def test_a_batch_is_the_same_wherever_iteration_starts() -> None:
    one, two = make(seed=4), make(seed=4)
    two.position = 9
    straight = list(islice(one, 14))[9:]
    for position, (left, right) in enumerate(zip(straight, islice(two, 5), strict=True), 9):
        direct = make(seed=4).batch(position)
        for other in (right, direct):
            assert left["files"] == other["files"]
            assert all(torch.equal(left[k], other[k]) for k in ("image", "label", "unlabeled_image"))


def test_iterating_again_begins_at_the_position_again() -> None:
    batches = make()
    assert next(iter(batches))["files"] == next(iter(batches))["files"] == batches.batch(0)["files"]


def test_iteration_goes_on_beyond_an_epoch() -> None:
    batches = make()
    assert len(list(islice(batches, 3 * len(batches)))) == 3 * len(batches)


@pytest.mark.parametrize("kind", ["image", "unlabeled_image"])
def test_two_seeds_differ_and_one_does_not(kind: str) -> None:
    orders = [[numbers(make(seed=seed).batch(i)[kind]) for i in range(6)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_the_global_generators_have_no_say() -> None:
    torch.manual_seed(0)
    before = make().batch(0)["files"]
    torch.manual_seed(1)
    assert make().batch(0)["files"] == before


def test_fewer_labelled_slices_than_a_batch_come_more_than_once() -> None:
    counts = Counter(numbers(make(labelled=2, unlabelled=9).batch(0)["image"]))
    assert sorted(counts.values()) == [2, 3]


# Epochs


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "batch_size", "length"),
    [(7, 23, 5, 6), (23, 7, 5, 6), (29, 1, 5, 6), (1, 4, 5, 1), (7, 22, 5, 5), (7, 23, 1, 30), (7, 23, 30, 1)],
)
def test_an_epoch_is_all_slices_by_the_batch_size(labelled: int, unlabelled: int, batch_size: int, length: int) -> None:
    batches = make(labelled, unlabelled, batch_size)
    assert len(batches) == batches.epoch_length == length


@pytest.mark.parametrize(("given", "processes", "length"), [(3, 1, 3), (90, 1, 90), (7, 2, 3)])
def test_an_epoch_is_as_long_as_is_given(given: int, processes: int, length: int) -> None:
    batches = UnpairedBatches(Numbered(7), Numbered(23, labelled=False), 5, epoch_length=given, processes=processes)
    assert len(batches) == batches.epoch_length == length


@pytest.mark.parametrize(("given", "processes"), [(0, 1), (-3, 1), (2.5, 1), (True, 1), ("9", 1), (1, 2)])
def test_an_epoch_of_no_batches_is_refused(given: object, processes: int) -> None:
    with pytest.raises(InputError, match=f"epoch_length must be .* {processes} or more.* got {given!r}"):
        UnpairedBatches(Numbered(7), Numbered(23, labelled=False), epoch_length=given, processes=processes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "unlabelled", [None, Numbered(0, labelled=False), Numbered(23, labelled=False)], ids=["None", "empty", "23"]
)
def test_supervised_training_reads_no_unlabelled_slice(unlabelled: Numbered | None) -> None:
    """Yet the unlabelled ones count in the epoch, so that all methods get the same number of updates."""
    batches = UnpairedBatches(Numbered(7), unlabelled, 5, unlabeled_needed=False)
    assert set(batches.batch(0)) == {"image", "label", "files"}
    assert len(batches) == (7 + (len(unlabelled) if unlabelled else 0)) // 5
    assert len(batches.batch(0)["files"]) == 5


def test_supervised_training_sees_labelled_slices_in_the_same_order() -> None:
    supervised = UnpairedBatches(Numbered(7), Numbered(23, labelled=False), 5, seed=3, unlabeled_needed=False)
    semi = make(seed=3)
    for position in range(8):
        assert torch.equal(supervised.batch(position)["image"], semi.batch(position)["image"])


# What is refused


@pytest.mark.parametrize("labelled", [Numbered(0), Numbered(9, labelled=False)], ids=["none", "without labels"])
def test_no_labelled_case_is_refused(labelled: Numbered) -> None:
    with pytest.raises(InputError, match=r"no labelled case.*section 'labeled' is empty.*labeled_fraction"):
        UnpairedBatches(labelled, Numbered(9, labelled=False))


@pytest.mark.parametrize("unlabelled", [None, Numbered(0, labelled=False)], ids=["None", "empty"])
def test_no_unlabelled_case_is_refused_where_the_method_needs_one(unlabelled: Numbered | None) -> None:
    with pytest.raises(InputError, match=r"no unlabelled case.*smaller labeled_fraction.*supervised only"):
        UnpairedBatches(Numbered(9), unlabelled)


@pytest.mark.parametrize("batch_size", [11, 0, -5])
def test_a_batch_that_cannot_be_filled_is_refused(batch_size: int) -> None:
    with pytest.raises(
        InputError, match=rf"10 training slices do not make one batch of {batch_size}.*batch_size from 1"
    ):
        make(labelled=4, unlabelled=6, batch_size=batch_size)


# The stream itself


def test_a_stream_depends_on_its_length_seed_and_position_alone() -> None:
    stream = ShuffledStream(5, 0, 1)
    backwards = [stream.take(start, 5) for start in (45, 20, 0)]
    fresh = [ShuffledStream(5, 0, 1).take(start, 5) for start in (45, 20, 0)]
    assert backwards == fresh
    assert stream.take(3, 9) == stream.take(0, 12)[3:]
    assert ShuffledStream(5, 0, 2).take(0, 25) != stream.take(0, 25)
