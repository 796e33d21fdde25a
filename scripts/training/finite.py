"""A loss that is not finite stops the run, with the place where it began."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

REMEDY = (
    "look at the files of the batch, resume with --clip_norm 1 or --precision float32, or start anew with a smaller "
    "--learning_rate."
)


class NonFiniteLossError(RuntimeError):
    """A loss term became NaN or infinite; says which, when, and on which files."""


class FiniteGuard:
    """Remembers the terms of recent iterations and looks at them every ``interval`` iterations.

    Reading a value makes the host wait for the device, so on CUDA it is done rarely; on the CPU each time. The state
    is saved only after a look, so the last good checkpoint stays intact.
    """

    def __init__(self, interval: int = 1) -> None:
        if interval < 1:
            raise ValueError(f"the interval between looks must be 1 iteration or more, got {interval}.")
        self.interval = interval
        self.history: list[tuple[int, list[str], Tensor, Sequence[str]]] = []

    def watch(self, iteration: int, terms: Mapping[str, Tensor], files: Sequence[str]) -> None:
        """Remember scalar ``terms`` of one iteration and the files of its batch.

        Raises:
            NonFiniteLossError: if a remembered term is NaN or infinite and it is time to look.
        """
        self.history.append((iteration, list(terms), torch.stack([t.detach().float() for t in terms.values()]), files))
        if iteration - self.history[0][0] + 1 >= self.interval:
            self.check()

    def check(self) -> None:
        """Look at everything remembered since the last look.

        Raises:
            NonFiniteLossError: naming the first term that is NaN or infinite, its iteration and its files.
        """
        history, self.history = self.history, []
        for iteration, names, values, files in history:
            finite = torch.isfinite(values).tolist()
            if not all(finite):
                bad = {n: v for n, v, ok in zip(names, values.tolist(), finite, strict=True) if not ok}
                raise NonFiniteLossError(
                    f"loss term {', '.join(f'{n} = {v}' for n, v in bad.items())} at iteration {iteration}; "
                    f"batch of {', '.join(files) or 'unnamed images'}. The last saved state is intact: {REMEDY}"
                )
