"""The history of fakes that discriminators learn from (Shrivastava et al. 2017; CycleGAN, section 4)."""

import torch
from torch import Tensor


class FakePool:
    """The last ``size`` fakes; each new one is, with probability 1/2, answered by an older one that it replaces.

    A fake may be several tensors (an image and its valid pixels); they travel together. Tensors stay on their device, and
    the host does not wait for it: coins are tossed on the CPU, by a generator of the pool's own, and what they decide is
    carried out for a batch at a time.

    Args:
        size: fakes kept; 50 in CycleGAN; 0 answers with what it is given.
        seed: of the pool's random generator.

    Attributes:
        held: number of fakes in the pool.
    """

    def __init__(self, size: int = 50, seed: int = 0) -> None:
        if size < 0:
            raise ValueError(f"the pool's size must be 0 or more, got {size}.")
        self.size = size
        self.held = 0
        self.random = torch.Generator().manual_seed(seed)
        self._columns: tuple[Tensor, ...] = ()

    @property
    def items(self) -> list[tuple[Tensor, ...]]:
        """The fakes in the pool, each a tuple of tensors without the batch's dimension."""
        return list(zip(*(column[: self.held] for column in self._columns), strict=True))

    def exchange(self, fakes: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Take detached tensors (B, ...) of one batch and give back as many of the same shapes."""
        if self.size == 0:
            return fakes
        # Half precision is kept as float32, so that a run can go on in another precision.
        fakes = tuple(_wide(fake) for fake in fakes)
        if not self._columns:
            self._columns = tuple(fake.new_empty(self.size, *fake.shape[1:]) for fake in fakes)
        from_batch, from_pool, kept = self._toss(len(fakes[0]))
        device = fakes[0].device
        answers = tuple(fake.index_select(0, _indices(from_batch, device)) for fake in fakes)
        if from_pool:
            places, slots = (_indices(numbers, device) for numbers in zip(*from_pool.items(), strict=True))
            for answer, column in zip(answers, self._columns, strict=True):
                answer.index_copy_(0, places, column.index_select(0, slots))
        if kept:
            slots, chosen = (_indices(numbers, device) for numbers in zip(*kept.items(), strict=True))
            for column, fake in zip(self._columns, fakes, strict=True):
                column.index_copy_(0, slots, fake.index_select(0, chosen))
        return answers

    def _toss(self, count: int) -> tuple[list[int], dict[int, int], dict[int, int]]:
        """What becomes of ``count`` fakes that arrive one after the other: for each, which of them answers; where an older one
        answers, the slot it comes from; and for each slot that changes, the fake that it keeps in the end."""
        from_batch, from_pool, kept = list(range(count)), {}, {}
        for number in range(count):
            if self.held < self.size:
                kept[self.held] = number
                self.held += 1
            elif torch.rand((), generator=self.random) < 0.5:
                slot = int(torch.randint(self.size, (), generator=self.random))
                if slot in kept:  # filled by this same batch
                    from_batch[number] = kept[slot]
                else:
                    from_pool[number] = slot
                kept[slot] = number
        return from_batch, from_pool, kept

    def state_dict(self) -> dict:
        return {
            "fakes": [column[: self.held].to("cpu", copy=True) for column in self._columns],
            "random": self.random.get_state(),
        }

    def load_state_dict(self, state: dict, device: torch.device | str = "cpu") -> None:
        fakes = [column.to(device)[: self.size] for column in state["fakes"]]
        self.held = len(fakes[0]) if fakes else 0
        self._columns = tuple(fake.new_empty(self.size, *fake.shape[1:]) for fake in fakes)
        for column, fake in zip(self._columns, fakes, strict=True):
            column[: self.held] = fake
        self.random.set_state(state["random"].cpu())


def _wide(fake: Tensor) -> Tensor:
    return fake.to(torch.promote_types(fake.dtype, torch.float32)) if fake.is_floating_point() else fake


def _indices(numbers: list[int] | tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(numbers).to(device, non_blocking=True)
