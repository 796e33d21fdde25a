"""The objective of "Revisiting CycleGAN for semi-supervised segmentation" (Mondal et al., arXiv 1908.11569).

One function an equation. ``G_IS`` is the segmentor (image to mask), ``G_SI`` the image generator (mask to image),
``D_S`` and ``D_I`` the discriminators of masks and images; (x, y) is a labelled pair, x' an unlabelled image.
``docs/paper_map.md`` lists where the text leaves something open and what is done here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.labels import VOID
from scripts.objectives.terms import (
    Weights,
    forward_together,
    has_batch_statistics,
    masked_mean,
    one_hot,
    straight_through_one_hot,
    valid_pixels,
)


@dataclass(frozen=True)
class CycleGANWeights(Weights):
    """Weights of equation 8; lambda_1 to lambda_5 are the last five, in the paper's values."""

    segmentation: float = 1.0
    image_reconstruction: float = 1.0
    mask_cycle: float = 0.05
    image_cycle: float = 1.0
    mask_adversarial: float = 1.0
    image_adversarial: float = 1.0


def segmentation(logits: Tensor, label: Tensor) -> Tensor:
    """Equation 1: supervised loss of the segmentor, H(y, G_IS(x))."""
    return cross_entropy(logits, label)


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Equation 2: pixel-wise cross-entropy, mean over the pixels that are not void.

    Args:
        logits: (B, K, H, W) float, before softmax.
        label: (B, H, W) int64 in [0, K); 255 = void, ignored.
    """
    losses = F.cross_entropy(logits, label, ignore_index=VOID, reduction="none")
    return losses.sum() / (label != VOID).sum().clamp(min=1)


def image_reconstruction(generated_image: Tensor, image: Tensor, valid: Tensor) -> Tensor:
    """Equation 3: mean (G_SI(y) - x)^2 over pixels whose class is known.

    Args:
        generated_image, image: (B, C, H, W) float.
        valid: (B, 1, H, W) bool, False where y is void.
    """
    return masked_mean(F.mse_loss(generated_image, image, reduction="none"), valid)


def mask_adversarial(scores_generated: Tensor) -> Tensor:
    """Equation 4 as the generators see it: D_S should take G_IS(x') for a real mask; (D_S(G_IS(x')) - 1)^2.

    Read literally, equation 8 rewards the generators for the discriminators' loss without bound; this is the
    non-saturating form of least-squares GANs (Mao et al. 2017).
    """
    return ((scores_generated - 1) ** 2).mean()


def mask_discrimination(scores_real: Tensor, scores_generated: Tensor, valid: Tensor) -> Tensor:
    """Equation 4 as D_S minimises it, halved: (D_S(y) - 1)^2 over known pixels and D_S(G_IS(x'))^2."""
    return 0.5 * (masked_mean((scores_real - 1) ** 2, valid) + (scores_generated**2).mean())


def image_adversarial(scores_generated: Tensor, valid: Tensor) -> Tensor:
    """Equation 5 as the generators see it: (D_I(G_SI(y)) - 1)^2 over pixels whose class is known."""
    return masked_mean((scores_generated - 1) ** 2, valid)


def image_discrimination(scores_real: Tensor, scores_generated: Tensor, valid: Tensor) -> Tensor:
    """Equation 5 as D_I minimises it, halved: (D_I(x') - 1)^2 and D_I(G_SI(y))^2 over known pixels."""
    return 0.5 * (((scores_real - 1) ** 2).mean() + masked_mean(scores_generated**2, valid))


def image_cycle(reconstructed_image: Tensor, image: Tensor) -> Tensor:
    """Equation 6: mean |G_SI(G_IS(x')) - x'| over (B, C, H, W)."""
    return F.l1_loss(reconstructed_image, image)


def mask_cycle(reconstructed_logits: Tensor, label: Tensor) -> Tensor:
    """Equation 7: H(y, G_IS(G_SI(y)))."""
    return cross_entropy(reconstructed_logits, label)


def total(terms: Mapping[str, Tensor], weights: CycleGANWeights) -> Tensor:
    """Equation 8: the weighted sum that the two generators minimise together."""
    return weights.total(terms)


TERM_NEEDS = {
    "segmentation": {"logits"},
    "image_reconstruction": {"generated_image"},
    "mask_cycle": {"generated_image", "reconstructed_logits"},
    "image_cycle": {"unlabeled_logits", "reconstructed_image"},
    "mask_adversarial": {"unlabeled_logits"},
    "image_adversarial": {"generated_image"},
}
"""The translations that each term reads; what no active term reads is not computed."""


class CycleGANObjective:
    """The paper's four networks and six terms, for ``scripts.training.trainer.AlternatingTrainer``.

    Args:
        segmentor: G_IS, (B, C, H, W) images to (B, K, H, W) logits.
        image_generator: G_SI, (B, K, H, W) masks to (B, C, H, W) images in [-1, 1].
        mask_discriminator: D_S, masks to per-pixel scores.
        image_discriminator: D_I, images to per-pixel scores.
        num_classes: K.
        weights: of equation 8, as ``CycleGANWeights`` or as a mapping of its names.
        mask_input: how G_IS(x') enters G_SI and D_S: "soft" probabilities (the paper) or a "straight-through" one-hot.

    Raises:
        TypeError: for a weight of an unknown name.
        InputError: for an unknown ``mask_input``.
    """

    def __init__(
        self,
        segmentor: nn.Module,
        image_generator: nn.Module,
        mask_discriminator: nn.Module,
        image_discriminator: nn.Module,
        num_classes: int,
        weights: CycleGANWeights | Mapping[str, float] | None = None,
        mask_input: str = "soft",
    ) -> None:
        if mask_input not in ("soft", "straight-through"):
            raise InputError(f'mask_input must be "soft" or "straight-through", got {mask_input!r}.')
        self.weights = CycleGANWeights.of(weights)
        self.num_classes = num_classes
        self.mask_input = mask_input
        self.generators = nn.ModuleDict({"segmentor": segmentor, "image_generator": image_generator})
        self.discriminators = nn.ModuleDict(
            {"mask_discriminator": mask_discriminator, "image_discriminator": image_discriminator}
        )
        self._merge = {name: not has_batch_statistics(network) for name, network in self.generators.items()}

    @property
    def needs_unlabeled(self) -> bool:
        """Whether an active term reads unlabelled images."""
        return bool(self.weights.active() & {"image_cycle", "mask_adversarial", "image_adversarial"})

    def schedule(self, progress: float) -> dict[str, Any]:
        """Nothing changes with the share of the training that is done."""
        return {}

    def translate(self, batch: Mapping[str, Tensor], everything: bool = False) -> dict[str, Tensor]:
        """Send the batch through both generators, both ways, in as few passes as the data flow permits.

        Args:
            batch: ``image`` (B, C, H, W) float, ``label`` (B, H, W) int64 (255 = void) and ``unlabeled_image``
                (B', C, H, W) float.
            everything: also what no active term reads (for pictures).

        Returns:
            What is needed of ``logits`` G_IS(x), ``unlabeled_logits`` G_IS(x') and its mask ``generated_mask``,
            ``generated_image`` G_SI(y), ``reconstructed_image`` G_SI(G_IS(x')), ``reconstructed_logits``
            G_IS(G_SI(y)); and ``mask`` and ``valid`` of the label.
        """
        active = TERM_NEEDS if everything else self.weights.active()
        needed = set().union(*(TERM_NEEDS[term] for term in active))
        mask = one_hot(batch["label"], self.num_classes).to(batch["image"].dtype)
        t = {"mask": mask, "valid": valid_pixels(batch["label"])}

        images = {"logits": batch["image"]}
        if "unlabeled_image" in batch:
            images["unlabeled_logits"] = batch["unlabeled_image"]
        t |= self._forward("segmentor", images, needed)
        if "unlabeled_logits" in t:
            t["generated_mask"] = self.as_mask(t["unlabeled_logits"])

        masks = {"generated_image": t["mask"]}
        if "generated_mask" in t:
            masks["reconstructed_image"] = t["generated_mask"]
        t |= self._forward("image_generator", masks, needed)
        if "generated_image" in t:
            t |= self._forward("segmentor", {"reconstructed_logits": t["generated_image"]}, needed)
        return t

    def generator_terms(self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The active terms of equation 8, unweighted scalars. The discriminators are only read."""
        score_mask, score_image = self.discriminators["mask_discriminator"], self.discriminators["image_discriminator"]
        terms: dict[str, Callable[[], Tensor]] = {
            "segmentation": lambda: segmentation(t["logits"], batch["label"]),
            "image_reconstruction": lambda: image_reconstruction(t["generated_image"], batch["image"], t["valid"]),
            "mask_cycle": lambda: mask_cycle(t["reconstructed_logits"], batch["label"]),
            "image_cycle": lambda: image_cycle(t["reconstructed_image"], batch["unlabeled_image"]),
            "mask_adversarial": lambda: mask_adversarial(score_mask(t["generated_mask"])),
            "image_adversarial": lambda: image_adversarial(score_image(t["generated_image"]), t["valid"]),
        }
        active = self.weights.active()
        return {name: term() for name, term in terms.items() if name in active}

    def fakes(self, t: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, ...]]:
        """What the active discriminators learn to tell from real, detached: tensors of one batch per discriminator."""
        fakes: dict[str, tuple[Tensor, ...]] = {}
        if self.weights.mask_adversarial:
            fakes["mask_discriminator"] = (t["generated_mask"].detach(),)
        if self.weights.image_adversarial:
            fakes["image_discriminator"] = (t["generated_image"].detach(), t["valid"])
        return fakes

    def discriminator_terms(
        self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor], fakes: Mapping[str, tuple[Tensor, ...]]
    ) -> dict[str, Tensor]:
        """The losses of the active discriminators. Real and fake stay apart: their norm has batch statistics."""
        terms = {}
        if "mask_discriminator" in fakes:
            score, (fake,) = self.discriminators["mask_discriminator"], fakes["mask_discriminator"]
            terms["mask_discriminator"] = mask_discrimination(score(t["mask"]), score(fake), t["valid"])
        if "image_discriminator" in fakes:
            score, (fake, valid) = self.discriminators["image_discriminator"], fakes["image_discriminator"]
            terms["image_discriminator"] = image_discrimination(score(batch["unlabeled_image"]), score(fake), valid)
        return terms

    def as_mask(self, logits: Tensor) -> Tensor:
        """Logits (B, K, H, W) as a mask, soft or straight-through one-hot by ``mask_input``."""
        probabilities = logits.softmax(1)
        return probabilities if self.mask_input == "soft" else straight_through_one_hot(probabilities)

    def _forward(self, name: str, inputs: Mapping[str, Tensor], needed: set[str]) -> dict[str, Tensor]:
        inputs = {output: batch for output, batch in inputs.items() if output in needed}
        return forward_together(self.generators[name], self._merge[name], inputs)
