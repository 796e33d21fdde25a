"""The mean teacher: its terms in numbers, what is mixed with what, and that it is the cycle teacher without what that adds."""

from collections import Counter

import numpy as np
import pytest
import torch
from discs import CLASSES, Threshold, disc_batch
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.labels import VOID
from scripts.networks.patch_discriminator import PatchDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.cycle_teacher import CycleTeacherObjective
from scripts.objectives.cycle_terms import CycleTeacherWeights
from scripts.objectives.mean_teacher import MeanTeacherObjective, consistency, with_views
from scripts.objectives.terms import soft_dice_loss


def segmentor() -> nn.Module:
    torch.manual_seed(0)
    return ResNetGenerator(1, CLASSES, filters=2, blocks=1)


def objective(**options: object) -> MeanTeacherObjective:
    return MeanTeacherObjective(segmentor(), Threshold(), CLASSES, **({"confidence": 0.0} | options))


@pytest.fixture
def batch() -> dict[str, Tensor]:
    return disc_batch()


def test_it_is_the_cycle_teacher_without_cycles_and_discriminators(batch: dict[str, Tensor]) -> None:
    off = dict.fromkeys(
        ("image_reconstruction", "image_cycle", "mask_cycle", "mask_adversarial", "image_adversarial"), 0
    )
    whole = CycleTeacherObjective(
        segmentor(),
        Threshold(),
        ResNetGenerator(CLASSES + 2, 1, filters=2, blocks=1, activation="tanh"),
        PatchDiscriminator(CLASSES, filters=2, layers=2),
        PatchDiscriminator(1, filters=2, layers=2),
        CLASSES,
        off,
        confidence=0.0,
        warm_up=0.1,
        ramp=0.2,
    )
    for progress in (0.0, 0.2, 0.9):
        parts = []
        for made in (objective(warm_up=0.1, ramp=0.2), whole):
            now = batch | made.schedule(progress)
            t = made.translate(now)
            terms = made.generator_terms(now, t)
            assert made.discriminator_terms(now, t, made.fakes(t)) == {}
            parts.append({name: float(term.detach()) for name, term in terms.items()})
        assert parts[0] == parts[1]
        assert set(parts[0]) == {"segmentation", "dice"} | ({"consistency"} if progress else set())


def test_the_ramp_is_a_gaussian_of_what_is_left_of_it() -> None:
    made = objective(warm_up=0.2, ramp=0.4)
    strengths = [made.schedule(progress)["strength"] for progress in (0.1, 0.2, 0.4, 0.6, 0.9)]
    assert strengths == pytest.approx([0, np.exp(-5), np.exp(-1.25), 1, 1])
    assert [made.schedule(progress)["unsupervised"] for progress in (0.1, 0.2)] == [False, True]


def test_the_teacher_learns_nothing_and_is_sure_from_the_threshold_on(batch: dict[str, Tensor]) -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sharpness = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            """Half for each of two classes, exactly, and none for the others."""
            halves = self.sharpness * x.repeat(1, 2, 1, 1)
            return torch.cat([halves, torch.full((len(x), CLASSES - 2, *x.shape[-2:]), -torch.inf)], 1)

    made = objective(confidence=0.5)
    made.teacher = Half()
    t = made.translate(batch)
    assert (t["sure_label"] != VOID).all()
    made.weights.total(made.generator_terms(batch, t)).backward()
    assert made.teacher.sharpness.grad is None
    made.confidence = 0.501
    assert (made.translate(batch)["sure_label"] == VOID).all()


def test_the_labelled_image_stands_for_its_missing_views(batch: dict[str, Tensor]) -> None:
    bare = {name: batch[name] for name in ("image", "label", "unlabeled_image")}
    views = with_views(bare)
    assert views["strong_image"] is batch["image"]
    assert views["strong_unlabeled_image"] is batch["unlabeled_image"]
    assert views["other_label"] is batch["label"]


def test_it_trains_the_segmentor_in_one_pass(batch: dict[str, Tensor]) -> None:
    made, calls = objective(), Counter()
    made.generators["segmentor"].register_forward_hook(lambda *_: calls.update(["segmentor"]))
    terms = made.generator_terms(batch, made.translate(batch))
    made.weights.total(terms).backward()
    assert calls == {"segmentor": 1}
    assert set(made.generators) == {"segmentor"}
    assert not made.discriminators
    assert all(p.grad is not None for p in made.generators.parameters())


def test_consistency_is_cross_entropy_and_dice_loss_of_the_known_pixels() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, CLASSES, 4, 5, generator=random)
    label = torch.randint(CLASSES, (2, 4, 5), generator=random)
    label[0, :2] = VOID
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    known = label.numpy() != VOID
    chosen = np.take_along_axis(p, np.where(known, label.numpy(), 0)[:, None], 1)[:, 0]
    ce = -np.log(chosen[known]).mean()
    parts = []
    for k in range(CLASSES):
        y, q = (label.numpy() == k)[known], p[:, k][known]
        parts.append((2 * (y * q).sum() + 1) / (y.sum() + q.sum() + 1))
    assert float(soft_dice_loss(logits, label)) == pytest.approx(1 - np.mean(parts), abs=1e-6)
    assert float(consistency(logits, label)) == pytest.approx((ce + 1 - np.mean(parts)) / 2, abs=1e-6)


def test_mixed_images_carry_the_labels_of_their_parts(batch: dict[str, Tensor]) -> None:
    made = objective()
    seen: list[Tensor] = []
    made.generators["segmentor"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    t = made.translate(batch)
    images = seen[0][2:6]
    inside = batch["mix"].squeeze(1)
    assert torch.equal(images[:2, 0][inside], batch["strong_image"][:, 0][inside])
    assert torch.equal(images[:2, 0][~inside], batch["strong_unlabeled_image"][:, 0][~inside])
    assert torch.equal(t["mixed_label"][:2][inside], batch["label"][inside])
    assert torch.equal(t["mixed_label"][2:][inside], t["pseudo_label"][inside])
    assert torch.equal(images[2:, 0][~inside], batch["strong_image"][:, 0][~inside])
    assert torch.equal(t["mixed_label"][2:][~inside], batch["label"][~inside])


def test_a_doubtful_teacher_teaches_nothing(batch: dict[str, Tensor]) -> None:
    t = objective(confidence=1.0).translate(batch)
    inside = batch["mix"].squeeze(1)
    assert (t["mixed_label"][:2][~inside] == VOID).all()
    assert (t["mixed_label"][2:][inside] == VOID).all()


@pytest.mark.parametrize("options", [{"confidence": 1.5}, {"warm_up": -1}, {"ramp": 2}])
def test_shares_outside_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        objective(**options)


def test_without_a_teacher_boxes_or_a_known_weight_it_is_refused(batch: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match="give ema_decay"):
        MeanTeacherObjective(segmentor(), None, CLASSES)
    plain = {name: batch[name] for name in ("image", "label", "unlabeled_image")}
    with pytest.raises(InputError, match=r"no boxes to mix images by, for consistency: give --augment true"):
        objective().translate(plain)
    assert set(objective().translate(plain, everything=True)) == {"logits", "mask"}
    alone = {"segmentation": 0, "dice": 0}
    with pytest.raises(
        InputError, match="in the warm-up nothing would be trained, since nothing but consistency has a weight"
    ):
        objective(weights=alone, warm_up=0.1)
    assert objective(weights=alone).active({}) == {"consistency"}
    with pytest.raises(TypeError, match="mask_cycle"):
        objective(weights={"mask_cycle": 1})
    with pytest.raises(TypeError, match="MeanTeacherWeights are needed, got CycleTeacherWeights"):
        objective(weights=CycleTeacherWeights())
