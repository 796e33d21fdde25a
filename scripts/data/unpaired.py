"""Batches of labelled slices and, beside them, of unlabelled ones that they are not paired with."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from scripts.errors import InputError
from scripts.labels import VOID


class Slices(Protocol):
    """What batches are drawn from, such as ``scripts.data.slices.SliceDataset``."""

    def __len__(self) -> int: ...

    def take(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Some slices: ``image`` (n, C, H, W) float32 and, if labelled, ``label`` (n, H, W) int64."""
        ...

    def names(self, indices: Iterable[int]) -> list[str]:
        """The files that slices are of."""
        ...


class ShuffledStream:
    """An endless sequence of the numbers 0 to n - 1: pass after pass, each a permutation of its own.

    What stands at a position depends on (n, seed, position) alone, so a run can go on anywhere.
    """

    def __init__(self, n: int, *seed: int) -> None:
        self.n = n
        self.seed = seed
        self._pass = lru_cache(maxsize=2)(self._permutation)

    def take(self, start: int, count: int) -> list[int]:
        """The numbers at positions ``start`` to ``start + count - 1``."""
        return [int(self._pass(position // self.n)[position % self.n]) for position in range(start, start + count)]

    def _permutation(self, number: int) -> np.ndarray:
        return np.random.default_rng([*self.seed, number]).permutation(self.n)


class UnpairedBatches:
    """Endless batches, each ``batch_size`` labelled and as many unlabelled slices, each stream shuffled by itself.

    An epoch is ``(all training slices) // batch_size`` batches, whatever is labelled, so that every method and
    fraction gets the same number of updates, or ``epoch_length`` batches; ``len`` tells it. Iterating starts at
    ``position``, a number of batches, and goes on for ever: batch i is the same however the run came there.

    Of several processes each gets its share: batch i of all of them together is what batch i of ``batch_size`` times
    ``processes`` would be, and an epoch, a given one too, has as many fewer batches.

    Args:
        labeled: slices with labels.
        unlabeled: slices without; None or empty only if no term needs them.
        batch_size: slices of each kind.
        seed: of the order.
        unlabeled_needed: whether the objective reads unlabelled images.
        void_class: the class that void pixels are taken for in training; None leaves them void.
        augmentation: what is made of a batch and its number, as ``scripts.data.augmentation.BatchAugmentation`` does.
        epoch_length: batches in an epoch, of all processes together; None for all training slices once.
        rank, processes: number of this process, from 0 on, and of all.

    Raises:
        InputError: no labelled slice; no unlabelled one though needed; fewer slices than one batch; an epoch of less than a
            batch for each process.
    """

    def __init__(
        self,
        labeled: Slices,
        unlabeled: Slices | None,
        batch_size: int = 5,
        seed: int = 0,
        unlabeled_needed: bool = True,
        void_class: int | None = None,
        augmentation: Callable[[dict[str, Any], int], dict[str, Any]] | None = None,
        epoch_length: int | None = None,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        if len(labeled) == 0 or "label" not in labeled.take([0]):
            raise InputError(
                "no labelled case: the data list's section 'labeled' is empty or its items have no label. Give another split, "
                "or a larger labeled_fraction or labeled_patients."
            )
        count = len(unlabeled) if unlabeled is not None else 0
        if unlabeled_needed and count == 0:
            raise InputError(
                "no unlabelled case, and the method learns from unlabelled images: choose a smaller labeled_fraction or "
                "labeled_patients, add unlabelled cases, or train supervised only (configs/method_supervised.json)."
            )
        if not 1 <= batch_size * processes <= len(labeled) + count:
            each = "" if processes == 1 else f" for each of {processes} processes"
            raise InputError(
                f"{len(labeled) + count} training slices do not make one batch of {batch_size}{each}: give more training "
                "patients or a batch_size from 1 to that number."
            )
        if epoch_length is not None and not (type(epoch_length) is int and epoch_length >= processes):
            raise InputError(
                f"epoch_length must be a whole number of batches, {processes} or more, one for each process, or null for all "
                f"training slices once, got {epoch_length!r}."
            )
        self.labeled = labeled
        self.unlabeled = unlabeled if unlabeled_needed else None
        self.batch_size = batch_size
        self.void_class = void_class
        self.augmentation = augmentation
        self.rank = rank
        self.processes = processes
        self.epoch_length = (epoch_length or (len(labeled) + count) // batch_size) // processes
        self.position = 0
        self._labeled_order = ShuffledStream(len(labeled), seed, 0)
        self._unlabeled_order = ShuffledStream(max(count, 1), seed, 1)

    def __len__(self) -> int:
        return self.epoch_length

    def __iter__(self) -> Iterator[dict]:
        position = self.position
        while True:
            yield self.batch(position)
            position += 1

    def batch(self, position: int) -> dict:
        """Batch number ``position``: ``image`` (B, C, H, W) float32, ``label`` (B, H, W) int64, ``unlabeled_image``
        (B, C, H, W) float32 if needed, what the augmentation adds, and ``files``, the names of both."""
        number = position * self.processes + self.rank
        start = number * self.batch_size
        indices = self._labeled_order.take(start, self.batch_size)
        taken = self.labeled.take(indices)
        label = taken["label"]
        if self.void_class is not None:
            label = label.where(label != VOID, self.void_class)
        batch = {"image": taken["image"], "label": label}
        files = self.labeled.names(indices)
        if self.unlabeled is not None:
            indices = self._unlabeled_order.take(start, self.batch_size)
            batch["unlabeled_image"] = self.unlabeled.take(indices)["image"]
            files += self.unlabeled.names(indices)
        if self.augmentation is not None:
            batch = self.augmentation(batch, number)
        return batch | {"files": files}
