"""The two losses of a step, whole functions of a batch, eager or compiled."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from scripts.errors import InputError
from scripts.objectives.interface import Objective

Fakes = Mapping[str, tuple[Tensor, ...]]


class StepLosses:
    """What the generators and what the discriminators minimise on one batch.

    Args:
        objective: networks and terms.
        compiled: whether each function is compiled whole (networks, equations and their backward), on CUDA with CUDA graphs; or
            the name of a backend of ``torch.compile``. The networks stay as they are, and so do the names of their weights.
        device: where the networks are.

    Raises:
        InputError: an unknown backend.
    """

    def __init__(self, objective: Objective, compiled: bool | str, device: torch.device) -> None:
        self.objective = objective
        self.graphs = compiled is True and device.type == "cuda"
        compile_whole = _compiler(compiled, self.graphs)
        self.generators = compile_whole(self._generators)
        self.discriminators = compile_whole(self._discriminators)

    def begin(self) -> None:
        """A new step: what the last one's CUDA graphs put out may be overwritten."""
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()

    def _generators(self, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        translated = self.objective.translate(batch)
        terms = self.objective.generator_terms(batch, translated)
        return self.objective.weights.total(terms), terms, translated

    def _discriminators(
        self, batch: Mapping[str, Any], translated: Mapping[str, Tensor], fakes: Fakes
    ) -> tuple[Tensor, dict[str, Tensor]]:
        terms = self.objective.discriminator_terms(batch, translated, fakes)
        return torch.stack(list(terms.values())).sum(), terms


def _compiler(compiled: bool | str, graphs: bool) -> Callable[[Callable], Callable]:
    if compiled is False:
        return lambda function: function
    backend = "inductor" if compiled is True else compiled
    known = torch.compiler.list_backends(exclude_tags=None)
    if backend not in known:
        raise InputError(f"compile must be true, false or one of {', '.join(known)}, got {compiled!r}.")
    mode = "reduce-overhead" if graphs else None
    return lambda function: torch.compile(function, backend=backend, mode=mode, dynamic=False)
