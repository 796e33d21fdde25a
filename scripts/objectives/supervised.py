"""Supervised learning on the labelled images alone: the arms "Partial" and "Full" of Mondal et al., arXiv 1908.11569."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from scripts.objectives.cyclegan import segmentation
from scripts.objectives.terms import Weights, soft_dice_loss


@dataclass(frozen=True)
class SupervisedWeights(Weights):
    """The paper's arms have cross-entropy alone."""

    segmentation: float = 1.0
    dice: float = 0.0


class SupervisedObjective:
    """Cross-entropy, and Dice loss if it has a weight, of one network, for ``scripts.training.trainer.AlternatingTrainer``.

    Args:
        segmentor: (B, C, H, W) images to (B, K, H, W) logits.
        weights: ``SupervisedWeights`` or a mapping of its names.

    Raises:
        TypeError: for a weight of an unknown name.
    """

    needs_unlabeled = False
    weights_type: ClassVar[type[Weights]] = SupervisedWeights

    def __init__(self, segmentor: nn.Module, weights: Weights | Mapping[str, float] | None = None) -> None:
        self.weights = self.weights_type.of(weights)
        self.generators = nn.ModuleDict({"segmentor": segmentor})
        self.discriminators = nn.ModuleDict()

    def schedule(self, progress: float) -> dict[str, Any]:
        """Nothing changes with the share of the training that is done."""
        return {}

    def translate(self, batch: Mapping[str, Tensor], everything: bool = False) -> dict[str, Tensor]:
        """``logits`` (B, K, H, W) of ``image`` (B, C, H, W)."""
        return {"logits": self.generators["segmentor"](batch["image"])}

    def generator_terms(self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor]) -> dict[str, Tensor]:
        terms = {"segmentation": segmentation, "dice": soft_dice_loss}
        active = self.weights.active()
        return {name: term(t["logits"], batch["label"]) for name, term in terms.items() if name in active}

    def fakes(self, t: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, ...]]:
        """None: there is no discriminator."""
        return {}

    def discriminator_terms(
        self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor], fakes: Mapping[str, tuple[Tensor, ...]]
    ) -> dict[str, Tensor]:
        return {}
