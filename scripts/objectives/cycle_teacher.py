"""Cycle consistency that closes: a mean teacher, mixed images, and hearts rendered into unlabelled surroundings.

The paper's two generators, two discriminators and two cycles (``scripts.objectives.cyclegan``), with what ACDC showed them to
lack; D_S and the image cycle are off by default, since they are not seen to help. ``docs/method.md`` gives the equations and what each
piece is worth. S is the segmentor, T the teacher (the moving average of S), G the image generator, D_S and D_I the discriminators;
(x, y) is a labelled pair, x' an unlabelled image, both under a strong tint where G is concerned, y^ a warped label (or, by ``shapes``,
what T sees in another unlabelled image), E a region around a heart.

The image cycle cannot close through a mask of a few classes, since the texture of the background is not in it. So G is given the
surroundings, and what shade each class has in the image: it sees a window of the image in which E is painted in these shades by the
mask, and changes E alone. And a cycle trains the generator that closes it, unless it is told otherwise: what the other one made is
data, as in back-translation (Sennrich et al. 2016), so that the two cannot agree on a code.
"""

from collections.abc import Callable, Mapping, Set
from typing import Any, ClassVar

from torch import Tensor, nn

from scripts.configuration import flag
from scripts.errors import InputError
from scripts.labels import VOID
from scripts.objectives.cycle_terms import (
    PASSING,
    CycleTeacherWeights,
    image_cycle,
    image_discrimination,
    mask_cycle,
)
from scripts.objectives.cyclegan import (
    image_adversarial,
    image_reconstruction,
    mask_adversarial,
    mask_discrimination,
)
from scripts.objectives.mean_teacher import MeanTeacherObjective, mixed, with_views
from scripts.objectives.regions import foreground
from scripts.objectives.rendering import Rendering, Scene, with_hearts_of_others
from scripts.objectives.terms import (
    Weights,
    check_shares,
    has_batch_statistics,
    one_hot,
    straight_through_one_hot,
    valid_pixels,
)

MASK_INPUTS = ("detached", "straight-through", "soft")
IMAGE_INPUTS = ("detached", "attached")
SHAPES = ("labels", "both")


class CycleTeacherObjective(MeanTeacherObjective):
    """Networks and terms, for ``scripts.training.trainer.AlternatingTrainer``.

    A batch holds, beyond the trainer's, the views of ``scripts.data.augmentation.BatchAugmentation``.

    Args:
        segmentor: S, (B, C, H, W) images to (B, K, H, W) logits.
        teacher: T, which ``scripts.training.averaging.MovingAverage`` keeps; None, which is refused, where nobody does.
        image_generator: G, (B, K + C + 1, H, W), the mask within E, the image with E painted flat, and E, to (B, C, H, W),
            which is added to the paint; it is given windows about E.
        mask_discriminator, image_discriminator: D_S and D_I, to scores (B, 1, H, W).
        num_classes: K.
        weights: ``CycleTeacherWeights`` or a mapping of its names.
        mask_input: what enters G in the image cycle, if that has a weight: "detached", the classes of T, so that the cycle trains G
            alone; or S(x'), which it then trains too, as "straight-through" one-hot or as "soft" probabilities (the paper),
            in which texture can be hidden.
        image_input: what enters S in the mask cycle: G's image "detached", so that the cycle trains S alone, or "attached"
            (the paper): then G is trained, too, to render what S can read.
        shapes: which hearts are rendered: of "labels", the warped ones, or of "both": in every second item what T sees in the
            unlabelled image before it, if T is sure of most of it. It is the label of what is rendered, so T need not be right.
        confidence: of the teacher, in [0, 1], below which a pixel teaches nothing.
        rendering: ``scripts.objectives.rendering.Rendering``, or a mapping of its names.
        warm_up, ramp: shares of the training, before the unsupervised terms begin and until they have their full weight.
        end, fade: share of the training at which cycles and discriminators begin to fade, 1 for never, and share over which they do.
        background: whether class 0 is background, the surroundings in which the others are rendered; data without is refused.

    Raises:
        TypeError: for a weight, or a setting of ``rendering``, of an unknown name.
        InputError: for another ``mask_input``, ``image_input`` or ``shapes``, a share outside [0, 1], an ``end`` before ``warm_up``, no
            teacher, no background, or weights that leave nothing to train at some time; see ``Rendering``; in ``translate`` for a
            batch without boxes, or of one item, where a term mixes items.
    """

    weights_type: ClassVar[type[Weights]] = CycleTeacherWeights
    unsupervised: ClassVar[Set[str]] = MeanTeacherObjective.unsupervised | PASSING - {"image_reconstruction"}
    of_mixed: ClassVar[Set[str]] = MeanTeacherObjective.of_mixed | {"mask_adversarial"}
    term_needs: ClassVar[Mapping[str, Set[str]]] = {
        **MeanTeacherObjective.term_needs,
        "image_reconstruction": {"restored_image"},
        "image_cycle": {"reconstructed_image", "teacher"},
        "mask_cycle": {"generated_image", "reconstructed_logits", "teacher"},
        "mask_adversarial": {"mixed_logits", "generated_mask", "teacher"},
        "image_adversarial": {"generated_image", "teacher"},
    }

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
        shapes: str = "labels",
        confidence: float = 0.9,
        rendering: Rendering | Mapping[str, Any] | None = None,
        warm_up: float = 0.0,
        ramp: float = 0.0,
        end: float = 0.6,
        fade: float = 0.1,
        background: bool = True,
    ) -> None:
        if not flag(background, "objective#background"):
            raise InputError(
                "this method renders what is not background into its surroundings, and no class of this data is background: take "
                "configs/method_mean_teacher.json, or the paper's method."
            )
        super().__init__(segmentor, teacher, num_classes, weights, confidence, warm_up, ramp)
        check_shares(end=end, fade=fade)
        if end <= warm_up:
            raise InputError(
                f"cycles and discriminators would end, at {end}, before they begin: give end above warm_up, {warm_up}."
            )
        if end + fade < 1 and not self.weights.active() - PASSING:
            raise InputError(
                "nothing would be trained once cycles and discriminators have ended: give segmentation, dice or consistency a "
                "weight, or --objective#end 1."
            )
        for name, choice, choices in (
            ("mask_input", mask_input, MASK_INPUTS),
            ("image_input", image_input, IMAGE_INPUTS),
            ("shapes", shapes, SHAPES),
        ):
            if choice not in choices:
                raise InputError(f"{name} must be one of {', '.join(choices)}, got {choice!r}.")
        self.mask_input = mask_input
        self.image_input = image_input
        self.shapes = shapes
        self.rendering = rendering if isinstance(rendering, Rendering) else Rendering(**(rendering or {}))
        self.end = end
        self.fade = fade
        self.generators["image_generator"] = image_generator
        self.discriminators["mask_discriminator"] = mask_discriminator
        self.discriminators["image_discriminator"] = image_discriminator
        self._merge["image_generator"] = not has_batch_statistics(image_generator)

    def schedule(self, progress: float) -> dict[str, Any]:
        """The mean teacher's, and ``left``, the further factor of the terms that end, and ``passing``, whether it is more than 0."""
        faded = self.end + self.fade
        left = 1.0 if progress < self.end else max(0.0, faded - progress) / self.fade if self.fade else 0.0
        return super().schedule(progress) | {"left": left, "passing": left > 0}

    def active(self, batch: Mapping[str, Any]) -> set[str]:
        """Names of the terms that count by their weights and the batch's ``unsupervised`` and ``passing`` (True if absent)."""
        active = super().active(batch)
        return active if batch.get("passing", True) else active - PASSING

    def translate(self, batch: Mapping[str, Tensor], everything: bool = False) -> dict[str, Tensor]:
        """Both generators, both ways, in two passes of S and one of T and G.

        Returns:
            What is needed of the mean teacher's; ``unlabeled_logits`` S(x'); the ``generated_mask`` of its mixed images;
            ``restored_image`` G(y, x) in ``restored_region``; ``reconstructed_image`` G(T(x'), x'), or of S(x') by ``mask_input``, in
            ``cycled_region``, of which T is sure in ``closed_region``; ``generated_image`` G(y^, x') in ``rendered_region`` with its ``rendered_label``; and
            ``reconstructed_logits`` S of it.
        """
        t = super().translate(batch, everything)
        batch = with_views(batch)
        needed = self._needed(batch, everything)
        if "generated_mask" in needed:
            t["generated_mask"] = straight_through_one_hot(t["mixed_logits"].float().softmax(1))
        t |= self._render(batch, t, needed)
        if "reconstructed_logits" in needed:
            image = t["generated_image"].detach() if self.image_input == "detached" else t["generated_image"]
            t["reconstructed_logits"] = self.generators["segmentor"](image)
        return t

    def fakes(self, t: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, ...]]:
        """Detached fakes of the discriminators whose terms are active."""
        fakes: dict[str, tuple[Tensor, ...]] = {}
        if "generated_mask" in t:
            fakes["mask_discriminator"] = (t["generated_mask"].detach(),)
        if "image_adversarial" in self.weights.active() and "generated_image" in t:
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

    def _terms(self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor]) -> dict[str, Callable[[], Tensor]]:
        score_mask, score_image = self.discriminators["mask_discriminator"], self.discriminators["image_discriminator"]
        x, label = batch["strong_image"], batch["label"]
        return super()._terms(batch, t) | {
            "image_reconstruction": lambda: image_reconstruction(
                t["restored_image"], x, t["restored_region"] & valid_pixels(label)
            ),
            "image_cycle": lambda: image_cycle(
                t["reconstructed_image"], batch["strong_unlabeled_image"], t["closed_region"]
            ),
            "mask_cycle": lambda: mask_cycle(t["reconstructed_logits"], t["rendered_label"]),
            "mask_adversarial": lambda: mask_adversarial(score_mask(t["generated_mask"])),
            "image_adversarial": lambda: image_adversarial(score_image(t["generated_image"]), t["rendered_region"]),
        }

    def _images(self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor], needed: set[str]) -> dict[str, Tensor]:
        images = super()._images(batch, t, needed)
        if "unlabeled_logits" in needed:
            images["unlabeled_logits"] = batch["unlabeled_image"]
        return images

    def _needed(self, batch: Mapping[str, Tensor], everything: bool) -> set[str]:
        needed = super()._needed(batch, everything)
        if self.mask_input != "detached" and "reconstructed_image" in needed:
            needed = needed | {"unlabeled_logits"}
        return needed

    def _check(self, batch: Mapping[str, Tensor]) -> None:
        super()._check(batch)
        if "mask_adversarial" in self.weights.active() and len(batch["label"]) < 2:
            raise InputError(
                "mask_adversarial compares mixes of two labelled images, and a batch has one: give --batch_size 2 or more, or "
                "--weights#mask_adversarial 0."
            )

    def _strength(self, name: str, batch: Mapping[str, Any]) -> Any:
        strength = super()._strength(name, batch)
        return strength * batch.get("left", 1) if name in PASSING else strength

    def _cycled_mask(self, t: Mapping[str, Tensor]) -> Tensor:
        """What G sees in the image cycle, (B, K, H, W), by ``mask_input``."""
        if self.mask_input == "detached":
            return self._taught_mask(t)
        probabilities = t["unlabeled_logits"].softmax(1)
        return probabilities if self.mask_input == "soft" else straight_through_one_hot(probabilities)

    def _taught_mask(self, t: Mapping[str, Tensor]) -> Tensor:
        """Classes of T, (B, K, H, W)."""
        return one_hot(t["pseudo_label"], self.num_classes).to(t["mask"].dtype)

    def _render(self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor], needed: set[str]) -> dict[str, Tensor]:
        """Images in which G repaints hearts, each with its region E, in one pass."""
        done: dict[str, Tensor] = {}
        scenes: dict[str, Scene] = {}
        unlabeled, how = batch["strong_unlabeled_image"], self.rendering
        if "restored_image" in needed:
            done["restored_region"] = how.region(foreground(batch["label"]))
            scenes["restored_image"] = how.scene(t["mask"], batch["strong_image"], done["restored_region"], t["mask"])
        if "reconstructed_image" in needed:
            done["cycled_region"] = how.region(t["pseudo_label"] > 0)
            done["closed_region"] = done["cycled_region"] & valid_pixels(t["sure_label"])
            mask = self._cycled_mask(t)
            scenes["reconstructed_image"] = how.scene(mask, unlabeled, done["cycled_region"], self._taught_mask(t))
        if "generated_image" in needed:
            hearts = batch["other_label"]
            if self.shapes == "both":
                hearts = with_hearts_of_others(hearts, t["pseudo_label"], t["sure_label"])
            label, done["rendered_region"] = how.placed(hearts, t["pseudo_label"])
            mask = one_hot(label, self.num_classes).to(t["mask"].dtype)
            scenes["generated_image"] = how.scene(mask, unlabeled, done["rendered_region"], self._taught_mask(t))
            done["rendered_label"] = self._rendered_label(label, done["rendered_region"], t)
        return done | how.rendered(self.generators["image_generator"], self._merge["image_generator"], scenes)

    def _rendered_label(self, label: Tensor, region: Tensor, t: Mapping[str, Tensor]) -> Tensor:
        """``label`` in E and what T is sure of outside, (B, H, W) int64; 255 throughout where nothing is rendered."""
        inside, rendered = region.squeeze(1), region.flatten(1).any(1)
        return label.where(inside, t["sure_label"]).where(rendered.view(-1, 1, 1), VOID)
