"""The terms of the cycle teacher and their weights, by the letters of ``scripts.objectives.cycle_teacher``; those that are the paper's
as they stand are in ``scripts.objectives.cyclegan``."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from scripts.objectives.mean_teacher import MeanTeacherWeights, consistency
from scripts.objectives.terms import masked_mean


@dataclass(frozen=True)
class CycleTeacherWeights(MeanTeacherWeights):
    image_reconstruction: float = 1.0
    image_cycle: float = 0.0
    mask_cycle: float = 0.5
    mask_adversarial: float = 0.0
    image_adversarial: float = 0.05


PASSING = {"image_reconstruction", "image_cycle", "mask_cycle", "mask_adversarial", "image_adversarial"}
"""Terms that end before the training does."""


def image_cycle(reconstructed_image: Tensor, image: Tensor, closed: Tensor) -> Tensor:
    """Equation 6 where it can close: mean |G(T(x'), x') - x'| over the pixels of E whose class T is sure of.

    Args:
        reconstructed_image, image: (B, C, H, W) float.
        closed: (B, 1, H, W) bool, these pixels.
    """
    return masked_mean(F.l1_loss(reconstructed_image, image, reduction="none"), closed)


def image_discrimination(scores_real: Tensor, scores_generated: Tensor, rendered: Tensor) -> Tensor:
    """Equation 5 as D_I minimises it, halved: (D_I(x') - 1)^2 and D_I(G(y^, x'))^2, both over E, so that what D_I compares
    are hearts with hearts.

    Args:
        scores_real, scores_generated: (B, 1, H, W) float.
        rendered: (B, 1, H, W) bool, E.
    """
    return 0.5 * (masked_mean((scores_real - 1) ** 2, rendered) + masked_mean(scores_generated**2, rendered))


def mask_cycle(reconstructed_logits: Tensor, label: Tensor) -> Tensor:
    """Equation 7 on rendered hearts: cross-entropy and Dice loss, halved, of S(G(y^, x')) against y^ in E and what T is
    sure of outside, nearly always background. Of E alone, where hearts are half of the pixels, S would learn to see too many."""
    return consistency(reconstructed_logits, label)
