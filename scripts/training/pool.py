"""The history of fakes that discriminators learn from (Shrivastava et al. 2017; CycleGAN, section 4)."""

import torch
from torch import Tensor


class FakePool:
    """The last ``size`` fakes; each new one is, with probability 1/2, answered by an older one that it replaces.

    A fake may be several tensors (an image and its valid pixels); they travel together. Tensors stay on their device;
    only the coin is tossed on the CPU, by a generator of the pool's own.

    Args:
        size: fakes kept; 50 in CycleGAN; 0 answers with what it is given.
        seed: of the pool's random generator.
    """

    def __init__(self, size: int = 50, seed: int = 0) -> None:
        if size < 0:
            raise ValueError(f"the pool's size must be 0 or more, got {size}.")
        self.size = size
        self.items: list[tuple[Tensor, ...]] = []
        self.random = torch.Generator().manual_seed(seed)

    def exchange(self, fakes: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Take detached tensors (B, ...) of one batch and give back as many of the same shapes."""
        if self.size == 0:
            return fakes
        answer = []
        for item in zip(*fakes, strict=True):
            item = tuple(_kept(tensor) for tensor in item)
            if len(self.items) < self.size:
                self.items.append(item)
                answer.append(item)
            elif torch.rand((), generator=self.random) < 0.5:
                index = int(torch.randint(self.size, (), generator=self.random))
                answer.append(self.items[index])
                self.items[index] = item
            else:
                answer.append(item)
        return tuple(torch.stack(column) for column in zip(*answer, strict=True))

    def state_dict(self) -> dict:
        columns = [torch.stack(column) for column in zip(*self.items, strict=True)]
        return {"fakes": columns, "random": self.random.get_state()}

    def load_state_dict(self, state: dict, device: torch.device | str = "cpu") -> None:
        columns = [column.to(device) for column in state["fakes"]]
        self.items = list(zip(*columns, strict=True))
        self.random.set_state(state["random"].cpu())


def _kept(tensor: Tensor) -> Tensor:
    """A copy of its own, since a view would keep its whole batch; half precision as float32, so that a run can go on in
    another precision."""
    wide = torch.promote_types(tensor.dtype, torch.float32) if tensor.is_floating_point() else tensor.dtype
    return tensor.to(wide, copy=True)
