"""A mean teacher and mixed images: the common core of today's semi-supervised segmentation.

S is the segmentor, T the teacher, the moving average of S (Tarvainen and Valpola 2017); (x, y) is a labelled pair, x' an unlabelled
image. S learns from boxes of the one in the other under a strong tint (CutMix, Yun et al. 2019; both ways round, Bai et al. 2023), with y in
the labelled part and what T sees in the weakly tinted x' in the other. ``scripts.objectives.cycle_teacher`` adds cycles and discriminators.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from math import exp
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.labels import VOID
from scripts.objectives.cyclegan import cross_entropy, segmentation
from scripts.objectives.supervised import SupervisedObjective
from scripts.objectives.terms import (
    Weights,
    check_shares,
    forward_together,
    has_batch_statistics,
    one_hot,
    soft_dice_loss,
)


@dataclass(frozen=True)
class MeanTeacherWeights(Weights):
    segmentation: float = 1.0
    dice: float = 1.0
    consistency: float = 1.0


def consistency(logits: Tensor, label: Tensor) -> Tensor:
    """Weak-to-strong consistency on mixed images: cross-entropy and Dice loss, halved, against the label in the labelled
    part and the teacher's confident classes in the other.

    Args:
        logits: (B, K, H, W) of S on the strongly tinted, mixed images.
        label: (B, H, W) int64, mixed in the same way; 255 where the teacher is in doubt.
    """
    return 0.5 * (cross_entropy(logits, label) + soft_dice_loss(logits, label))


def with_views(batch: Mapping[str, Any]) -> dict[str, Any]:
    """``batch``, its own images and labels standing for the views that it has not."""
    given = {
        "strong_image": "image",
        "strong_unlabeled_image": "unlabeled_image",
        "other_label": "label",
    }
    return {view: batch[name] for view, name in given.items()} | dict(batch)


def mixed(ours: Tensor, theirs: Tensor, inside: Tensor) -> Tensor:
    """Ours in theirs and theirs in ours, (2 B, ...), of two batches (B, ...); ``inside``, bool, says where the inner one is."""
    return torch.cat([ours.where(inside, theirs), theirs.where(inside, ours)])


class MeanTeacherObjective(SupervisedObjective):
    """Networks and terms, for ``scripts.training.trainer.AlternatingTrainer``.

    A batch holds, beyond the trainer's, the views of ``scripts.data.augmentation.BatchAugmentation``.

    Args:
        segmentor: S, (B, C, H, W) images to (B, K, H, W) logits.
        teacher: T, which ``scripts.training.averaging.MovingAverage`` keeps; None, which is refused, where nobody does.
        num_classes: K.
        weights: ``MeanTeacherWeights`` or a mapping of its names.
        confidence: of the teacher, in [0, 1], below which a pixel teaches nothing.
        warm_up, ramp: shares of the training, before the unsupervised terms begin and until they have their full weight.

    Raises:
        TypeError: for a weight of an unknown name, or weights of another method.
        InputError: for a share outside [0, 1], no teacher, or weights that leave nothing for the warm-up; in ``translate`` for a
            batch without boxes, where a term mixes items.
    """

    needs_unlabeled = True
    weights_type: ClassVar[type[Weights]] = MeanTeacherWeights
    unsupervised: ClassVar[Set[str]] = {"consistency"}
    """Terms that begin after the warm-up and are ramped up."""
    of_mixed: ClassVar[Set[str]] = {"consistency"}
    """Terms of mixed images, which are made of two views."""
    term_needs: ClassVar[Mapping[str, Set[str]]] = {
        "segmentation": {"logits"},
        "dice": {"logits"},
        "consistency": {"mixed_logits", "teacher"},
    }
    """What each term reads; what no active term reads is not computed."""

    def __init__(
        self,
        segmentor: nn.Module,
        teacher: nn.Module | None,
        num_classes: int,
        weights: Weights | Mapping[str, float] | None = None,
        confidence: float = 0.9,
        warm_up: float = 0.0,
        ramp: float = 0.0,
    ) -> None:
        if teacher is None:
            raise InputError("this method needs a teacher, the moving average: give ema_decay in [0, 1), as 0.99.")
        check_shares(confidence=confidence, warm_up=warm_up, ramp=ramp)
        super().__init__(segmentor, weights)
        if warm_up and not self.weights.active() - self.unsupervised:
            raise InputError(
                f"in the warm-up nothing would be trained, since nothing but {', '.join(sorted(self.weights.active()))} has a "
                "weight: give segmentation or dice one, or --objective#warm_up 0."
            )
        self.teacher = teacher
        self.num_classes = num_classes
        self.confidence = confidence
        self.warm_up = warm_up
        self.ramp = ramp
        self._merge = {"segmentor": not has_batch_statistics(segmentor)}

    def schedule(self, progress: float) -> dict[str, Any]:
        """``strength``, the factor of the unsupervised terms at ``progress`` in [0, 1): 0 in the warm-up, then exp(-5 (1 - s)^2) as s
        goes from 0 to 1 over the ramp (Laine and Aila 2017); and ``unsupervised``: whether it is more than 0."""
        begun = (progress - self.warm_up) / self.ramp if self.ramp else 1.0
        strength = exp(-5 * (1 - min(1.0, begun)) ** 2) if progress >= self.warm_up else 0.0
        return {"strength": strength, "unsupervised": strength > 0}

    def active(self, batch: Mapping[str, Any]) -> set[str]:
        """Names of the terms that count by their weights and the batch's ``unsupervised`` (True if absent)."""
        active = self.weights.active()
        return active if batch.get("unsupervised", True) else active - self.unsupervised

    def translate(self, batch: Mapping[str, Tensor], everything: bool = False) -> dict[str, Tensor]:
        """One pass of S, and one of T if it is needed.

        Returns:
            What is needed of ``logits`` S(x); ``mixed_image``, ``mixed_logits`` and ``mixed_label``; ``pseudo_label``, the classes of
            T(x'), and ``sure_label``, the same with 255 where T is not sure; and ``mask`` of the label, (B, K, H, W).
        """
        batch = with_views(batch)
        if not everything:
            self._check(batch)
        needed = self._needed(batch, everything)
        t = {"mask": one_hot(batch["label"], self.num_classes).to(batch["image"].dtype)}
        if "teacher" in needed:
            t["pseudo_label"], t["sure_label"] = self._teach(batch["unlabeled_image"])
        if "mixed_logits" in needed:
            t["mixed_image"] = mixed(batch["strong_image"], batch["strong_unlabeled_image"], batch["mix"])
            t["mixed_label"] = mixed(batch["label"], t["sure_label"], batch["mix"].squeeze(1))
        images = self._images(batch, t, needed)
        return t | forward_together(self.generators["segmentor"], self._merge["segmentor"], images)

    def generator_terms(self, batch: Mapping[str, Any], t: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The active terms, scalars, times their strength."""
        active, terms = self.active(batch), self._terms(with_views(batch), t)
        return {name: self._strength(name, batch) * term() for name, term in terms.items() if name in active}

    def _terms(self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor]) -> dict[str, Callable[[], Tensor]]:
        """The terms by name, computed when called."""
        label = batch["label"]
        return {
            "segmentation": lambda: segmentation(t["logits"], label),
            "dice": lambda: soft_dice_loss(t["logits"], label),
            "consistency": lambda: consistency(t["mixed_logits"], t["mixed_label"]),
        }

    def _images(self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor], needed: set[str]) -> dict[str, Tensor]:
        """What S is shown, by the name of its logits."""
        images = {"logits": batch["image"]}
        if "mixed_logits" in needed:
            images["mixed_logits"] = t["mixed_image"]
        return images

    def _needed(self, batch: Mapping[str, Tensor], everything: bool) -> set[str]:
        """What the active terms read, or, for everything, all terms but those of mixed images."""
        terms = set(self.term_needs) - self.of_mixed if everything else self.active(batch)
        return set().union(*(self.term_needs[term] for term in terms))

    def _check(self, batch: Mapping[str, Tensor]) -> None:
        """Refuse what would fail once the unsupervised terms begin."""
        mixing = sorted(self.of_mixed & self.weights.active())
        if mixing and "mix" not in batch:
            raise InputError(
                f"the batch has no boxes to mix images by, for {' and '.join(mixing)}: give --augment true and "
                "--augmentation#views true, or a weight of 0."
            )

    def _strength(self, name: str, batch: Mapping[str, Any]) -> Any:
        """By how much the term counts, a number or a scalar tensor (1 if the batch does not say)."""
        return batch.get("strength", 1) if name in self.unsupervised else 1

    @torch.no_grad()
    def _teach(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Classes of T, (B, H, W) int64, and the same with 255 where it is not sure of them."""
        highest, label = self.teacher(image).softmax(1).max(1)
        return label, label.where(highest >= self.confidence, VOID)
