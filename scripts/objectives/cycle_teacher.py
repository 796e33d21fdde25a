"""Cycle consistency that closes: a mean teacher, mixed images, and hearts rendered into unlabelled surroundings.

The paper's two generators, two discriminators and two cycles (``scripts.objectives.cyclegan``), with what ACDC showed them to
lack. ``docs/method.md`` gives the equations and what each piece is worth. S is the segmentor, T the teacher (the moving average of S),
G the image generator, D_S and D_I the discriminators; (x, y) is a labelled pair, x' an unlabelled image, both under a strong
tint where G is concerned, y~ a warped label, E a region around a heart.

The image cycle cannot close through a mask of a few classes, since the texture of the background is not in it. So G is given the
surroundings, and what shade each class has in the image: it sees a window of the image in which E is painted in these shades by the
mask, and changes E alone. And a cycle trains the
generator that closes it, unless it is told otherwise: what the other one made is data, as in back-translation (Sennrich et al. 2016), so
that the two cannot agree on a code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.labels import VOID
from scripts.objectives.cyclegan import (
    cross_entropy,
    image_adversarial,
    image_reconstruction,
    mask_adversarial,
    mask_discrimination,
    segmentation,
)
from scripts.objectives.regions import foreground
from scripts.objectives.rendering import Rendering, Scene
from scripts.objectives.terms import (
    Weights,
    forward_together,
    has_batch_statistics,
    masked_mean,
    one_hot,
    soft_dice_loss,
    straight_through_one_hot,
    valid_pixels,
)


@dataclass(frozen=True)
class CycleTeacherWeights(Weights):
    segmentation: float = 1.0
    dice: float = 1.0
    consistency: float = 1.0
    image_reconstruction: float = 1.0
    image_cycle: float = 1.0
    mask_cycle: float = 0.5
    mask_adversarial: float = 0.02
    image_adversarial: float = 0.05


MASK_INPUTS = ("detached", "straight-through", "soft")
IMAGE_INPUTS = ("detached", "attached")
UNSUPERVISED = {"consistency", "image_cycle", "mask_cycle", "mask_adversarial", "image_adversarial"}
"""Terms that begin after the warm-up and are ramped up."""
PASSING = {"image_reconstruction", "image_cycle", "mask_cycle", "mask_adversarial", "image_adversarial"}
"""Terms that end before the training does."""
OF_MIXED = {"consistency", "mask_adversarial"}
"""Terms of mixed images, which are made of two views."""
TERM_NEEDS = {
    "segmentation": {"logits"},
    "dice": {"logits"},
    "consistency": {"mixed_logits", "teacher"},
    "image_reconstruction": {"restored_image"},
    "image_cycle": {"reconstructed_image", "teacher"},
    "mask_cycle": {"generated_image", "reconstructed_logits", "teacher"},
    "mask_adversarial": {"mixed_logits", "generated_mask", "teacher"},
    "image_adversarial": {"generated_image", "teacher"},
}
"""What each term reads; what no active term reads is not computed."""


def consistency(logits: Tensor, label: Tensor) -> Tensor:
    """Weak-to-strong consistency on mixed images: cross-entropy and Dice loss, halved, against the label in the labelled
    part and the teacher's confident classes in the other.

    Args:
        logits: (B, K, H, W) of S on the strongly tinted, mixed images.
        label: (B, H, W) int64, mixed in the same way; 255 where the teacher is in doubt.
    """
    return 0.5 * (cross_entropy(logits, label) + soft_dice_loss(logits, label))


def with_views(batch: Mapping[str, Any]) -> dict[str, Any]:
    """``batch``, its plain images and labels standing for the views that it has not."""
    plain = {"strong_image": "image", "strong_unlabeled_image": "unlabeled_image", "other_label": "label"}
    return {view: batch[name] for view, name in plain.items()} | dict(batch)


def mixed(ours: Tensor, theirs: Tensor, inside: Tensor) -> Tensor:
    """Ours in theirs and theirs in ours, (2 B, ...), of two batches (B, ...); ``inside``, bool, says where the inner one is."""
    return torch.cat([ours.where(inside, theirs), theirs.where(inside, ours)])


def image_cycle(reconstructed_image: Tensor, image: Tensor, closed: Tensor) -> Tensor:
    """Equation 6 where it can close: mean |G(T(x'), x') - x'| over the pixels of E whose class T is sure of.

    Args:
        reconstructed_image, image: (B, C, H, W) float.
        closed: (B, 1, H, W) bool, these pixels.
    """
    return masked_mean(F.l1_loss(reconstructed_image, image, reduction="none"), closed)


def image_discrimination(scores_real: Tensor, scores_generated: Tensor, rendered: Tensor) -> Tensor:
    """Equation 5 as D_I minimises it, halved: (D_I(x') - 1)^2 and D_I(G(y~, x'))^2, both over E, so that what D_I compares
    are hearts with hearts.

    Args:
        scores_real, scores_generated: (B, 1, H, W) float.
        rendered: (B, 1, H, W) bool, E.
    """
    return 0.5 * (masked_mean((scores_real - 1) ** 2, rendered) + masked_mean(scores_generated**2, rendered))


def mask_cycle(reconstructed_logits: Tensor, label: Tensor) -> Tensor:
    """Equation 7 on rendered hearts: cross-entropy and Dice loss, halved, of S(G(y~, x')) against y~ in E and what T is
    sure of outside, nearly always background. Of E alone, where hearts are half of the pixels, S would learn to see too many."""
    return consistency(reconstructed_logits, label)


class CycleTeacherObjective:
    """Networks and terms, for ``scripts.training.trainer.AlternatingTrainer``.

    A batch holds, beyond the trainer's, the views of ``scripts.data.augmentation.BatchAugmentation``.

    Args:
        segmentor: S, (B, C, H, W) images to (B, K, H, W) logits.
        teacher: T, which ``scripts.training.averaging.MovingAverage`` keeps; None, which is refused, where nobody does.
        image_generator: G, (B, K + C + 1, H, W), the mask within E, the image with E painted flat, and E, to (B, C, H, W),
            which is added to the paint; it is given windows about E.
        mask_discriminator, image_discriminator: D_S and D_I, to scores (B, 1, H, W).
        num_classes: K, class 0 being the background.
        weights: ``CycleTeacherWeights`` or a mapping of its names.
        mask_input: what enters G in the image cycle: "detached", the classes of T, so that the cycle trains G
            alone; or S(x'), which it then trains too, as "straight-through" one-hot or as "soft" probabilities (the paper),
            in which texture can be hidden.
        image_input: what enters S in the mask cycle: G's image "detached", so that the cycle trains S alone, or "attached"
            (the paper): then G is trained, too, to render what S can read.
        confidence: of the teacher, in [0, 1], below which a pixel teaches nothing.
        rendering: ``scripts.objectives.rendering.Rendering``, or a mapping of its names.
        warm_up, ramp: shares of the training, before the unsupervised terms begin and until they have their full weight.
        end, fade: share of the training at which cycles and discriminators begin to fade, 1 for never, and share over which they do.

    Raises:
        TypeError: for a weight, or a setting of ``rendering``, of an unknown name.
        InputError: for another ``mask_input`` or ``image_input``, a share outside [0, 1], or no teacher; see ``Rendering``; in
            ``translate`` for a batch without boxes, or of one item, where a term mixes items.
    """

    needs_unlabeled = True

    def __init__(
        self,
        segmentor: nn.Module,
        teacher: nn.Module | None,
        image_generator: nn.Module,
        mask_discriminator: nn.Module,
        image_discriminator: nn.Module,
        num_classes: int,
        weights: CycleTeacherWeights | Mapping[str, float] | None = None,
        mask_input: str = "detached",
        image_input: str = "detached",
        confidence: float = 0.9,
        rendering: Rendering | Mapping[str, Any] | None = None,
        warm_up: float = 0.1,
        ramp: float = 0.2,
        end: float = 0.6,
        fade: float = 0.1,
    ) -> None:
        if teacher is None:
            raise InputError(
                "the cycle teacher needs a teacher, the moving average: give ema_decay in [0, 1), as 0.99."
            )
        for name, choice, choices in (
            ("mask_input", mask_input, MASK_INPUTS),
            ("image_input", image_input, IMAGE_INPUTS),
        ):
            if choice not in choices:
                raise InputError(f"{name} must be one of {', '.join(choices)}, got {choice!r}.")
        shares = {"confidence": confidence, "warm_up": warm_up, "ramp": ramp, "end": end, "fade": fade}
        for name, value in shares.items():
            if not 0 <= value <= 1:
                raise InputError(f"{name} must lie in [0, 1], got {value!r}.")
        self.weights = weights if isinstance(weights, CycleTeacherWeights) else CycleTeacherWeights(**(weights or {}))
        self.teacher = teacher
        self.num_classes = num_classes
        self.mask_input = mask_input
        self.image_input = image_input
        self.confidence = confidence
        self.rendering = rendering if isinstance(rendering, Rendering) else Rendering(**(rendering or {}))
        self.warm_up = warm_up
        self.ramp = ramp
        self.end = end
        self.fade = fade
        self.generators = nn.ModuleDict({"segmentor": segmentor, "image_generator": image_generator})
        self.discriminators = nn.ModuleDict(
            {"mask_discriminator": mask_discriminator, "image_discriminator": image_discriminator}
        )
        self._merge = {name: not has_batch_statistics(network) for name, network in self.generators.items()}

    def schedule(self, progress: float) -> dict[str, Any]:
        """``factors`` of the terms, in [0, 1], at ``progress`` in [0, 1)."""
        begun, left = self._begun(progress), self._left(progress)
        factors = {
            term: (begun if term in UNSUPERVISED else 1.0) * (left if term in PASSING else 1.0) for term in TERM_NEEDS
        }
        return {"factors": factors}

    def _begun(self, progress: float) -> float:
        """0 in the warm-up, then exp(-5 (1 - s)^2) as s goes from 0 to 1 over the ramp (Laine and Aila 2017)."""
        if progress < self.warm_up:
            return 0.0
        share = min(1.0, (progress - self.warm_up) / self.ramp) if self.ramp else 1.0
        return exp(-5 * (1 - share) ** 2)

    def _left(self, progress: float) -> float:
        """1 until the end of cycles and discriminators, then down to 0, in a line."""
        if progress < self.end:
            return 1.0
        return max(0.0, 1 - (progress - self.end) / self.fade) if self.fade else 0.0

    def active(self, batch: Mapping[str, Any]) -> set[str]:
        """Names of the terms that count by their weights and the batch's ``factors`` (1 if absent)."""
        factors = batch.get("factors", {})
        return {term for term in self.weights.active() if factors.get(term, 1)}

    def translate(self, batch: Mapping[str, Tensor], everything: bool = False) -> dict[str, Tensor]:
        """Both generators, both ways, in two passes of S and one of T and G.

        Returns:
            What is needed of ``logits`` S(x); ``mixed_logits`` and ``mixed_label``, and of these the ``generated_mask``;
            ``unlabeled_logits`` S(x'); ``restored_image`` G(y, x) in ``restored_region``; ``reconstructed_image`` G(T(x'), x') in
            ``cycled_region``, of which T is sure in ``closed_region``; ``generated_image`` G(y~, x') in ``rendered_region`` with its ``rendered_label``;
            ``reconstructed_logits`` S of it; and ``mask`` of the label.
        """
        batch = with_views(batch)
        if not everything:
            self._check(batch)
        active = set(TERM_NEEDS) - OF_MIXED if everything else self.active(batch)
        needed = set().union(*(TERM_NEEDS[term] for term in active))
        if "image_cycle" in active and self.mask_input != "detached":
            needed.add("unlabeled_logits")
        t = {"mask": one_hot(batch["label"], self.num_classes).to(batch["image"].dtype)}
        if "teacher" in needed:
            t["pseudo_label"], t["sure_label"] = self._teach(batch["unlabeled_image"])
        images = {"logits": batch["image"]}
        if "mixed_logits" in needed:
            images["mixed_logits"], t["mixed_label"] = self._mixed(batch, t)
        if "unlabeled_logits" in needed:
            images["unlabeled_logits"] = batch["unlabeled_image"]
        t |= forward_together(self.generators["segmentor"], self._merge["segmentor"], images)
        if "generated_mask" in needed:
            t["generated_mask"] = straight_through_one_hot(t["mixed_logits"].float().softmax(1))
        t |= self._render(batch, t, needed)
        if "reconstructed_logits" in needed:
            image = t["generated_image"]
            image = image.detach() if self.image_input == "detached" else image
            t["reconstructed_logits"] = self.generators["segmentor"](image)
        return t

    def generator_terms(self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The active terms, scalars, times their ``factors``. The discriminators are only read."""
        score_mask, score_image = self.discriminators["mask_discriminator"], self.discriminators["image_discriminator"]
        batch = with_views(batch)
        label, x, unlabeled = batch["label"], batch["strong_image"], batch["strong_unlabeled_image"]
        terms: dict[str, Callable[[], Tensor]] = {
            "segmentation": lambda: segmentation(t["logits"], label),
            "dice": lambda: soft_dice_loss(t["logits"], label),
            "consistency": lambda: consistency(t["mixed_logits"], t["mixed_label"]),
            "image_reconstruction": lambda: image_reconstruction(
                t["restored_image"], x, t["restored_region"] & valid_pixels(label)
            ),
            "image_cycle": lambda: image_cycle(t["reconstructed_image"], unlabeled, t["closed_region"]),
            "mask_cycle": lambda: mask_cycle(t["reconstructed_logits"], t["rendered_label"]),
            "mask_adversarial": lambda: mask_adversarial(score_mask(t["generated_mask"])),
            "image_adversarial": lambda: image_adversarial(score_image(t["generated_image"]), t["rendered_region"]),
        }
        active, factors = self.active(batch), batch.get("factors", {})
        return {name: factors.get(name, 1) * term() for name, term in terms.items() if name in active}

    def fakes(self, t: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, ...]]:
        """Detached fakes of the discriminators whose terms are active."""
        fakes: dict[str, tuple[Tensor, ...]] = {}
        if self.weights.mask_adversarial and "generated_mask" in t:
            fakes["mask_discriminator"] = (t["generated_mask"].detach(),)
        if self.weights.image_adversarial and "generated_image" in t:
            fakes["image_discriminator"] = (t["generated_image"].detach(), t["rendered_region"])
        return fakes

    def discriminator_terms(
        self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor], fakes: Mapping[str, tuple[Tensor, ...]]
    ) -> dict[str, Tensor]:
        """Losses of the active discriminators: D_S learns labels mixed with warped ones of other items against S of mixed
        images, so that both halves have the seam of a box; D_I unlabelled images against rendered ones, both within E."""
        batch, terms = with_views(batch), {}
        if "mask_discriminator" in fakes:
            score, (fake,) = self.discriminators["mask_discriminator"], fakes["mask_discriminator"]
            label = mixed(batch["label"], batch["other_label"].roll(1, 0), batch["mix"].squeeze(1))
            real = one_hot(label, self.num_classes).to(fake.dtype)
            terms["mask_discriminator"] = mask_discrimination(score(real), score(fake), valid_pixels(label))
        if "image_discriminator" in fakes:
            score, (fake, region) = self.discriminators["image_discriminator"], fakes["image_discriminator"]
            real = batch["strong_unlabeled_image"]
            terms["image_discriminator"] = image_discrimination(score(real), score(fake), region)
        return terms

    def _check(self, batch: Mapping[str, Tensor]) -> None:
        """Refuse what would fail, or teach nonsense, once the unsupervised terms begin."""
        mixing = sorted(OF_MIXED & self.weights.active())
        if mixing and "mix" not in batch:
            raise InputError(
                f"{' and '.join(mixing)} mix images, and no boxes are drawn for that: give --augment true and "
                "--augmentation#views true, or a weight of 0."
            )
        if "mask_adversarial" in mixing and len(batch["label"]) < 2:
            raise InputError(
                "mask_adversarial compares mixes of two labelled images, and a batch has one: give --batch_size 2 or more, or "
                "--weights#mask_adversarial 0."
            )

    def _cycled_mask(self, t: Mapping[str, Tensor]) -> Tensor:
        """What G sees in the image cycle, (B, K, H, W), by ``mask_input``."""
        if self.mask_input == "detached":
            return self._taught_mask(t)
        probabilities = t["unlabeled_logits"].softmax(1)
        return probabilities if self.mask_input == "soft" else straight_through_one_hot(probabilities)

    def _taught_mask(self, t: Mapping[str, Tensor]) -> Tensor:
        """Classes of T, (B, K, H, W)."""
        return one_hot(t["pseudo_label"], self.num_classes).to(t["mask"].dtype)

    @torch.no_grad()
    def _teach(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Classes of T, (B, H, W) int64, and the same with 255 where it is not sure of them."""
        highest, label = self.teacher(image).softmax(1).max(1)
        return label, label.where(highest >= self.confidence, VOID)

    def _mixed(self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Labelled boxes in unlabelled images and the reverse (Bai et al. 2023), (2 B, ...), with their labels."""
        inside = batch["mix"]
        image = mixed(batch["strong_image"], batch["strong_unlabeled_image"], inside)
        label = mixed(batch["label"], t["sure_label"], inside.squeeze(1))
        return image, label

    def _render(self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor], needed: set[str]) -> dict[str, Tensor]:
        """Images in which G repaints hearts, each with its region E, in one pass."""
        done: dict[str, Tensor] = {}
        scenes: dict[str, Scene] = {}
        image, unlabeled, how = batch["strong_image"], batch["strong_unlabeled_image"], self.rendering
        if "restored_image" in needed:
            done["restored_region"] = how.region(foreground(batch["label"]))
            scenes["restored_image"] = how.scene(t["mask"], image, done["restored_region"], t["mask"])
        if "reconstructed_image" in needed:
            done["cycled_region"] = how.region(t["pseudo_label"] > 0)
            done["closed_region"] = done["cycled_region"] & valid_pixels(t["sure_label"])
            mask = self._cycled_mask(t)
            scenes["reconstructed_image"] = how.scene(mask, unlabeled, done["cycled_region"], self._taught_mask(t))
        if "generated_image" in needed:
            label, done["rendered_region"] = how.placed(batch["other_label"], t["pseudo_label"])
            mask = one_hot(label, self.num_classes).to(t["mask"].dtype)
            scenes["generated_image"] = how.scene(mask, unlabeled, done["rendered_region"], self._taught_mask(t))
            done["rendered_label"] = self._rendered_label(label, done["rendered_region"], t)
        return done | how.rendered(self.generators["image_generator"], self._merge["image_generator"], scenes)

    def _rendered_label(self, label: Tensor, region: Tensor, t: Mapping[str, Tensor]) -> Tensor:
        """``label`` in E and what T is sure of outside, (B, H, W) int64; 255 throughout where nothing is rendered."""
        inside, rendered = region.squeeze(1), region.flatten(1).any(1)
        return label.where(inside, t["sure_label"]).where(rendered.view(-1, 1, 1), VOID)
