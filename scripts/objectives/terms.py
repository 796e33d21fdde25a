"""What objectives share: named weights, masks from labels, and passes through a network."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.labels import VOID


@dataclass(frozen=True)
class Weights:
    """Non-negative weights of named loss terms; a subclass names them.

    Raises:
        TypeError: for a weight that no term has (a misspelt name in a config).
        InputError: for a negative or non-finite weight, or if all are 0.
    """

    def __post_init__(self) -> None:
        for name, weight in self.items():
            if not (isinstance(weight, int | float) and isfinite(weight) and weight >= 0):
                raise InputError(f"weight {name} must be a finite number >= 0, got {weight!r}.")
        if not self.active():
            raise InputError(
                f"all weights are 0, so nothing would be trained: give one of {', '.join(n for n, _ in self.items())} a "
                "positive weight."
            )

    @classmethod
    def of(cls, given: "Weights | Mapping[str, float] | None") -> Self:
        """``given`` if it is of this class, or weights by these names, the others as they are here.

        Raises:
            TypeError: for a name that no term has, or weights of another class.
        """
        if type(given) is cls:
            return given
        if isinstance(given, Weights):
            raise TypeError(f"{cls.__name__} are needed, got {type(given).__name__}.")
        return cls(**(given or {}))

    def items(self) -> list[tuple[str, float]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]

    def active(self) -> set[str]:
        """Names of the terms whose weight is not zero: the only ones that are computed."""
        return {name for name, weight in self.items() if weight}

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Weighted sum of ``terms``, a scalar."""
        return torch.stack([getattr(self, name) * term for name, term in terms.items()]).sum()


def check_shares(**shares: float) -> None:
    """Raises InputError for one outside [0, 1]."""
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise InputError(f"{name} must lie in [0, 1], got {value!r}.")


def valid_pixels(label: Tensor) -> Tensor:
    """True where ``label`` (B, H, W) int64 is a class, False where it is void: (B, 1, H, W) bool."""
    return (label != VOID).unsqueeze(1)


def one_hot(label: Tensor, num_classes: int) -> Tensor:
    """Turn ``label`` (B, H, W) int64 in [0, num_classes) or 255 = void into a mask (B, K, H, W) float; void is all 0."""
    valid = label != VOID
    mask = F.one_hot(label.where(valid, label.new_zeros(())), num_classes) * valid.unsqueeze(-1)
    return mask.movedim(-1, 1).float()


def straight_through_one_hot(probabilities: Tensor) -> Tensor:
    """Arg-max of ``probabilities`` (B, K, H, W) as one-hot, with the gradient of the probabilities themselves."""
    hard = F.one_hot(probabilities.argmax(1), probabilities.shape[1]).movedim(-1, 1).to(probabilities.dtype)
    # The brackets make the difference an exact 0, so that the value is exactly one-hot.
    return hard + (probabilities - probabilities.detach())


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of ``values`` (B, C, H, W) over pixels where ``valid`` (B, 1, H, W) bool holds; 0 where none does."""
    weight = valid.to(values.dtype).expand_as(values)
    return (values * weight).sum() / weight.sum().clamp(min=1)


def soft_dice_loss(logits: Tensor, label: Tensor) -> Tensor:
    """1 - mean over the classes of 2 sum(p y) / (sum(p) + sum(y)), sums over the known pixels of the whole batch (Milletari et al.
    2016, without squares). A class that the batch does not hold counts by how much of it is predicted.

    Args:
        logits: (B, K, H, W) float, before softmax.
        label: (B, H, W) int64 in [0, K); 255 = void, ignored.
    """
    known = valid_pixels(label)
    truth = one_hot(label, logits.shape[1])
    probabilities = logits.float().softmax(1) * known
    overlap = (probabilities * truth).sum((0, 2, 3))
    total = probabilities.sum((0, 2, 3)) + truth.sum((0, 2, 3))
    return 1 - ((2 * overlap + 1) / (total + 1)).mean()


def has_batch_statistics(network: nn.Module) -> bool:
    """Whether the output for one image depends on the other images of its batch (batch norm in training)."""
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm)
        or (isinstance(module, nn.modules.instancenorm._InstanceNorm) and module.track_running_stats)
        for module in network.modules()
    )


def forward_together(network: nn.Module, merge: bool, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Send named batches through one network, in one call if ``merge`` and their sizes agree."""
    if not inputs:
        return {}
    batches = list(inputs.values())
    if merge and len({batch.shape[1:] for batch in batches}) == 1:
        outputs = network(torch.cat(batches)).split([len(batch) for batch in batches])
    else:
        outputs = [network(batch) for batch in batches]
    return dict(zip(inputs, outputs, strict=True))
