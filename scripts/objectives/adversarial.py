"""The objective of Hung et al., "Adversarial learning for semi-supervised semantic segmentation" (arXiv 1802.07934).

The paper's third arm. S is the segmentor, D the discriminator, a score a pixel; (x, y) is a labelled pair, x' an
unlabelled image. Networks, optimizer, schedule and number of updates are those of the other arms, as in the comparison
of Mondal et al. (arXiv 1908.11569), not the pretrained DeepLab of the original.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.objectives.cyclegan import segmentation
from scripts.objectives.terms import (
    Weights,
    check_shares,
    forward_together,
    has_batch_statistics,
    masked_mean,
    one_hot,
    valid_pixels,
)


@dataclass(frozen=True)
class AdversarialWeights(Weights):
    """Weights of equation 2: lambda_adv on labelled and on unlabelled images, lambda_semi; the paper's values."""

    segmentation: float = 1.0
    labeled_adversarial: float = 0.01
    unlabeled_adversarial: float = 0.001
    self_taught: float = 0.1


def adversarial(scores: Tensor, valid: Tensor) -> Tensor:
    """Equation 4: -log D(S(x)), mean over known pixels; ``scores`` (B, 1, H, W) are logits of D."""
    return masked_mean(-F.logsigmoid(scores), valid)


def discrimination(
    scores_real: Tensor, valid_real: Tensor, scores_generated: Tensor, valid_generated: Tensor
) -> Tensor:
    """Equation 1: -log D(y) - log(1 - D(S(x))), each the mean over known pixels.

    Args:
        scores_real, scores_generated: (B, 1, H, W), logits of D.
        valid_real, valid_generated: (B, 1, H, W) bool, False where the label of the pixel is void.
    """
    # -log(1 - sigmoid(s)) = -log sigmoid(-s)
    return adversarial(scores_real, valid_real) + adversarial(-scores_generated, valid_generated)


def self_taught(logits: Tensor, scores: Tensor, confidence: float) -> Tensor:
    """Equation 5: cross-entropy with S's own arg-max where D(S(x')) is above ``confidence``; no gradient through D.

    The mean is over all pixels, so that a few confident ones weigh little.

    Args:
        logits: (B, K, H, W) of S.
        scores: (B, 1, H, W), logits of D.
        confidence: in [0, 1].
    """
    trusted = (scores.detach().sigmoid() > confidence).squeeze(1)
    losses = F.cross_entropy(logits, logits.detach().argmax(1), reduction="none")
    return (losses * trusted).mean()


class AdversarialObjective:
    """A segmentor, a discriminator of its masks and four terms, for ``scripts.training.trainer.AlternatingTrainer``.

    Args:
        segmentor: S, (B, C, H, W) images to (B, K, H, W) logits.
        mask_discriminator: D, masks to logits (B, 1, H, W).
        num_classes: K.
        weights: as ``AdversarialWeights`` or as a mapping of its names.
        confidence: T_semi, in [0, 1].
        warm_up: share of the training, in [0, 1], before self-teaching begins (5,000 of 20,000 updates in the paper).

    Raises:
        TypeError: for a weight of an unknown name.
        InputError: for a ``confidence`` or ``warm_up`` outside [0, 1].
    """

    def __init__(
        self,
        segmentor: nn.Module,
        mask_discriminator: nn.Module,
        num_classes: int,
        weights: AdversarialWeights | Mapping[str, float] | None = None,
        confidence: float = 0.2,
        warm_up: float = 0.25,
    ) -> None:
        check_shares(confidence=confidence, warm_up=warm_up)
        self.weights = AdversarialWeights.of(weights)
        self.num_classes = num_classes
        self.confidence = confidence
        self.warm_up = warm_up
        self.generators = nn.ModuleDict({"segmentor": segmentor})
        self.discriminators = nn.ModuleDict({"mask_discriminator": mask_discriminator})
        self._merge = not has_batch_statistics(segmentor)

    @property
    def needs_unlabeled(self) -> bool:
        """Whether an active term reads unlabelled images."""
        return bool(self.weights.active() & {"unlabeled_adversarial", "self_taught"})

    def schedule(self, progress: float) -> dict[str, Any]:
        """``self_taught``: whether the warm-up is over, at ``progress`` in [0, 1)."""
        return {"self_taught": progress >= self.warm_up}

    def translate(self, batch: Mapping[str, Tensor], everything: bool = False) -> dict[str, Tensor]:
        """Send labelled and unlabelled images through S.

        Returns:
            ``logits`` S(x), ``unlabeled_logits`` S(x') if needed, and ``mask`` and ``valid`` of the label.
        """
        images = {"logits": batch["image"]}
        if self.needs_unlabeled:
            images["unlabeled_logits"] = batch["unlabeled_image"]
        mask = one_hot(batch["label"], self.num_classes).to(batch["image"].dtype)
        t = {"mask": mask, "valid": valid_pixels(batch["label"])}
        return t | forward_together(self.generators["segmentor"], self._merge, images)

    def generator_terms(self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The active terms of equation 2, unweighted scalars; self-teaching is 0 unless the batch's ``self_taught`` (True
        if absent) holds."""
        score, active = self.discriminators["mask_discriminator"], self.weights.active()
        terms: dict[str, Callable[[], Tensor]] = {"segmentation": lambda: segmentation(t["logits"], batch["label"])}
        if "labeled_adversarial" in active:
            terms["labeled_adversarial"] = lambda: adversarial(score(_predicted_mask(t)), t["valid"])
        if self.needs_unlabeled:
            scores = score(t["unlabeled_logits"].softmax(1))
            everywhere = torch.ones_like(scores, dtype=torch.bool)
            taught = batch.get("self_taught", True)
            terms["unlabeled_adversarial"] = lambda: adversarial(scores, everywhere)
            terms["self_taught"] = lambda: (
                self_taught(t["unlabeled_logits"], scores, self.confidence) if taught else scores.new_zeros(())
            )
        return {name: term() for name, term in terms.items() if name in active}

    def fakes(self, t: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, ...]]:
        """S(x), detached, with the known pixels: D learns from labelled images alone, as in the paper."""
        if not self.weights.active() - {"segmentation"}:
            return {}
        return {"mask_discriminator": (_predicted_mask(t).detach(), t["valid"])}

    def discriminator_terms(
        self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor], fakes: Mapping[str, tuple[Tensor, ...]]
    ) -> dict[str, Tensor]:
        score, (fake, valid) = self.discriminators["mask_discriminator"], fakes["mask_discriminator"]
        return {"mask_discriminator": discrimination(score(t["mask"]), t["valid"], score(fake), valid)}


def _predicted_mask(t: Mapping[str, Tensor]) -> Tensor:
    """S(x), 0 where y is void, as y is there: D sees 94 pixels around, and would know true masks by their holes."""
    return t["logits"].softmax(1) * t["valid"]
