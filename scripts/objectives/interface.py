"""What an objective offers to the trainer."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn


class WeightedSum(Protocol):
    """Turns named terms into the scalar to minimise."""

    def total(self, terms: Mapping[str, Tensor]) -> Tensor: ...


class Objective(Protocol):
    """The mathematics of a method; ``scripts.objectives.cyclegan`` is the model to read."""

    generators: nn.ModuleDict
    discriminators: nn.ModuleDict

    @property
    def weights(self) -> WeightedSum: ...

    @property
    def needs_unlabeled(self) -> bool: ...

    def schedule(self, progress: float) -> dict[str, Any]: ...

    def translate(self, batch: Mapping[str, Any], everything: bool = False) -> dict[str, Tensor]: ...

    def generator_terms(self, batch: Mapping[str, Any], t: Mapping[str, Tensor]) -> dict[str, Tensor]: ...

    def fakes(self, t: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, ...]]: ...

    def discriminator_terms(
        self, batch: Mapping[str, Any], t: Mapping[str, Tensor], fakes: Mapping[str, tuple[Tensor, ...]]
    ) -> dict[str, Tensor]: ...
