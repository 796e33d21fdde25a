"""The objective of Hung et al.: each equation in NumPy loops, what each term reaches, and a training of some steps."""

import copy
import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ignite.engine import Events
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.networks.fully_convolutional_discriminator import FullyConvolutionalDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.adversarial import (
    AdversarialObjective,
    AdversarialWeights,
    adversarial,
    discrimination,
    self_taught,
)
from scripts.training.trainer import AlternatingTrainer, frozen

CLASSES = 3
SIZE = 32  # the smallest that the discriminator bears
TERMS = tuple(field.name for field in dataclasses.fields(AdversarialWeights))
NOTHING: dict[str, float] = dict.fromkeys(TERMS, 0.0)
PAPER: dict[str, float] = {}
LEARNING_RATE, BETAS = 2e-3, (0.5, 0.999)
# In double precision; see tests/training/test_trainer.py.
TOLERANCE = {"rtol": 1e-8, "atol": 1e-8}

Batch = dict[str, Any]


class BatchNormSegmentor(nn.Sequential):
    """A segmentor whose output for one image depends on its batch."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, CLASSES, 1))


class PixelJudge(nn.Sequential):
    """A discriminator that sees one pixel, with scores on both sides of 0, so that void has no neighbours."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(CLASSES, 8, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 1, bias=False))
        nn.init.normal_(self[-1].weight, std=5.0)


def objective(
    weights: Mapping[str, float] | None = None,
    segmentor: nn.Module | None = None,
    judge: type[nn.Module] | None = None,
    **options: Any,
) -> AdversarialObjective:
    torch.manual_seed(0)
    segmentor = segmentor or ResNetGenerator(1, CLASSES, filters=2, blocks=1)
    discriminator = judge() if judge else FullyConvolutionalDiscriminator(CLASSES, filters=2)
    return AdversarialObjective(segmentor, discriminator, CLASSES, weights, **options)


def make_batches(count: int, dtype: torch.dtype = torch.float32) -> list[Batch]:
    """Two labelled and three unlabelled images each; a class is a brightness, and some labels are void."""
    generator = torch.Generator().manual_seed(1)
    batches = []
    for _ in range(count):
        label = torch.randint(0, CLASSES, (2, SIZE // 8, SIZE // 8), generator=generator)
        label = label.repeat_interleave(8, 1).repeat_interleave(8, 2)
        image = label[:, None] - 1 + 0.1 * torch.randn(2, 1, SIZE, SIZE, generator=generator)
        label[0, :6, 3:] = 255
        unlabeled = torch.randn(3, 1, SIZE, SIZE, generator=generator)
        batches.append({"image": image.to(dtype), "label": label, "unlabeled_image": unlabeled.to(dtype)})
    return batches


@pytest.fixture
def batch() -> Batch:
    return make_batches(1)[0]


def networks_of(objective: AdversarialObjective) -> dict[str, nn.Module]:
    return dict(objective.generators.items()) | dict(objective.discriminators.items())


def count_calls(objective: AdversarialObjective) -> Counter:
    calls: Counter = Counter()
    for name, network in networks_of(objective).items():
        network.register_forward_hook(lambda *_, name=name: calls.update([name]))
    return calls


def reached(objective: AdversarialObjective, loss: Tensor) -> set[str]:
    """The networks with a parameter whose gradient of ``loss`` is not zero."""
    if loss.requires_grad:
        loss.backward()
    return {
        name
        for name, network in networks_of(objective).items()
        if any(p.grad is not None and p.grad.any() for p in network.parameters())
    }


# The equations


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=["no void", "some void", "one image void", "all void"])
def valid(request: pytest.FixtureRequest) -> Tensor:
    """(2, 1, 5, 6) bool."""
    valid = torch.ones(2, 1, 5, 6, dtype=torch.bool)
    if request.param == "some void":
        valid[0, :, :3, 2:5] = False
        valid[1, :, 4] = False
    elif request.param == "one image void":
        valid[1] = False
    elif request.param == "all void":
        valid[:] = False
    return valid


def entropy_of_scores(scores: Tensor, real: bool, valid: Tensor) -> float:
    """Mean over known pixels of - log D if ``real``, else - log (1 - D), with D the logistic function of the score."""
    losses = []
    for b, i, j in np.ndindex(*scores[:, 0].shape):
        if valid[b, 0, i, j]:
            probability = 1 / (1 + math.exp(-scores[b, 0, i, j].item()))
            losses.append(-math.log(probability if real else 1 - probability))
    return float(np.mean(losses)) if losses else 0.0


def entropy_of_classes(logits: Tensor, targets: Tensor, counted: Tensor) -> list[float]:
    """- log softmax of the target at each pixel where ``counted`` (B, H, W) holds."""
    losses = []
    for b, i, j in np.ndindex(*targets.shape):
        if counted[b, i, j]:
            exponentials = np.exp(logits[b, :, i, j].detach().numpy())
            losses.append(-math.log(exponentials[int(targets[b, i, j])] / exponentials.sum()))
    return losses


def test_equation_1(valid: Tensor) -> None:
    real, fake = 2 * random(2, 1, 5, 6, seed=1), 2 * random(2, 1, 5, 6, seed=2)
    elsewhere = valid.flip(0)
    expected = entropy_of_scores(real, True, valid) + entropy_of_scores(fake, False, elsewhere)
    assert discrimination(real, valid, fake, elsewhere).item() == pytest.approx(expected, rel=1e-12)


def test_equation_4(valid: Tensor) -> None:
    scores = (2 * random(2, 1, 5, 6, seed=1)).requires_grad_(True)
    value = adversarial(scores, valid)
    assert value.item() == pytest.approx(entropy_of_scores(scores, True, valid), rel=1e-12)
    (gradient,) = torch.autograd.grad(value, scores)
    assert torch.equal(gradient != 0, valid), "void has no part in it"
    assert (gradient <= 0).all(), "a higher score is a lower loss"


def test_a_discriminator_that_knows_everything_loses_nothing_and_numbers_stay_finite() -> None:
    high, valid = torch.full((1, 1, 2, 2), 1e4, requires_grad=True), torch.ones(1, 1, 2, 2, dtype=torch.bool)
    assert discrimination(high, valid, -high, valid) == 0
    assert discrimination(-high, valid, high, valid).item() == pytest.approx(2e4)
    assert discrimination(0 * high, valid, 0 * high, valid).item() == pytest.approx(2 * math.log(2))
    (gradient,) = torch.autograd.grad(adversarial(-high, valid), high)
    assert torch.allclose(gradient, torch.full_like(gradient, 0.25)), "it does not vanish where D is sure"


@pytest.mark.parametrize("confidence", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_equation_5(confidence: float) -> None:
    logits, scores = 2 * random(2, CLASSES, 5, 6, seed=1), 3 * random(2, 1, 5, 6, seed=2)
    trusted = 1 / (1 + np.exp(-scores[:, 0].numpy())) > confidence
    losses = entropy_of_classes(logits, logits.argmax(1), torch.as_tensor(trusted))
    assert 0 < len(losses) < 60 or confidence in (0, 1)
    assert self_taught(logits, scores, confidence).item() == pytest.approx(sum(losses) / 60, rel=1e-12)


@pytest.mark.parametrize(
    ("confidence", "score", "trusted"),
    [
        (0.5, 0.0, False),  # D is exactly 0.5: not above
        (0.5, 1e-6, True),
        (0.5, -1e-6, False),
        (0.2, math.log(0.25) + 1e-5, True),
        (0.2, math.log(0.25) - 1e-5, False),
        (0.0, -50.0, True),
        (1.0, 1000.0, False),
    ],
)
def test_edge_of_confidence(confidence: float, score: float, trusted: bool) -> None:
    logits, scores = torch.randn(1, CLASSES, 2, 2), torch.full((1, 1, 2, 2), score)
    expected = F.cross_entropy(logits, logits.argmax(1)).item() if trusted else 0.0
    assert self_taught(logits, scores, confidence).item() == pytest.approx(expected)


def test_equation_5_moves_logits_towards_their_own_choice_and_no_score() -> None:
    logits = random(2, CLASSES, 5, 6, seed=1).requires_grad_(True)
    scores = random(2, 1, 5, 6, seed=2).requires_grad_(True)
    of_logits, of_scores = torch.autograd.grad(self_taught(logits, scores, 0.5), [logits, scores], allow_unused=True)
    assert of_scores is None
    choice = torch.stack([logits.argmax(1) == k for k in range(CLASSES)], 1)
    trusted = scores > 0
    torch.testing.assert_close(of_logits, (logits.softmax(1) - choice.double()) * trusted / 60)


def test_equation_2() -> None:
    values = {"segmentation": 2.0, "labeled_adversarial": 3.0, "unlabeled_adversarial": 5.0, "self_taught": 7.0}
    terms = {name: torch.tensor(value) for name, value in values.items()}
    assert tuple(values) == TERMS
    assert AdversarialWeights().total(terms).item() == pytest.approx(2 + 0.03 + 0.005 + 0.7)
    assert AdversarialWeights(0.1, 0.2, 0.3, 0.4).total(terms).item() == pytest.approx(0.2 + 0.6 + 1.5 + 2.8)


# The objective


def test_default_weights_are_the_papers() -> None:
    assert dataclasses.astuple(AdversarialWeights()) == (1, 0.01, 0.001, 0.1)
    subject = objective()
    assert subject.weights == AdversarialWeights()
    assert (subject.confidence, subject.warm_up) == (0.2, 0.25)


def test_misspelt_weight_in_a_config_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="self_tought"):
        objective({"self_tought": 0.1})


@pytest.mark.parametrize("name", ["confidence", "warm_up"])
@pytest.mark.parametrize("value", [-0.01, 1.01, 20, math.nan])
def test_settings_outside_their_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"{name} must lie in \[0, 1\], got {value}"):
        objective(**{name: value})


@pytest.mark.parametrize("name", ["confidence", "warm_up"])
@pytest.mark.parametrize("value", [0, 1])
def test_ends_of_the_range_are_accepted(name: str, value: float) -> None:
    assert getattr(objective(**{name: value}), name) == value


@pytest.mark.parametrize("merged", [True, False])
def test_terms_are_the_equations_of_what_the_networks_give(merged: bool) -> None:
    batch = make_batches(1, torch.float64)[0]
    segmentor = None if merged else BatchNormSegmentor()
    subject = objective(segmentor=segmentor, judge=PixelJudge)
    subject.generators.double()
    subject.discriminators.double()
    s, d = copy.deepcopy(subject.generators["segmentor"]), subject.discriminators["mask_discriminator"]
    calls = count_calls(subject)

    t = subject.translate(batch)
    assert calls == {"segmentor": 1 if merged else 2}
    disc = subject.discriminator_terms(batch, t, subject.fakes(t))

    x, y, unlabeled = batch["image"], batch["label"], batch["unlabeled_image"]
    logits, unlabeled_logits = s(x), s(unlabeled)
    known = (y != 255)[:, None]
    everywhere = torch.ones(3, 1, SIZE, SIZE, dtype=torch.bool)
    mask = torch.stack([(y == k).double() for k in range(CLASSES)], 1)
    unlabeled_scores = d(unlabeled_logits.softmax(1)).detach()
    subject.confidence = float(unlabeled_scores.median().sigmoid())
    terms = subject.generator_terms(batch, t)
    trusted = unlabeled_scores[:, 0] > unlabeled_scores.median()
    assert 0 < trusted.sum() < trusted.numel()
    expected = {
        "segmentation": np.mean(entropy_of_classes(logits, y, known[:, 0])),
        "labeled_adversarial": entropy_of_scores(d(logits.softmax(1)), True, known),
        "unlabeled_adversarial": entropy_of_scores(unlabeled_scores, True, everywhere),
        "self_taught": sum(entropy_of_classes(unlabeled_logits, unlabeled_logits.argmax(1), trusted)) / trusted.numel(),
    }
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-8)
    of_mask, of_fake = d(mask), d(logits.softmax(1))
    expected_of_d = entropy_of_scores(of_mask, True, known) + entropy_of_scores(of_fake, False, known)
    assert set(disc) == {"mask_discriminator"}
    assert disc["mask_discriminator"].item() == pytest.approx(expected_of_d, rel=1e-8)


# Weights, calls of segmentor and discriminator for the generators' terms, and further ones of the discriminator.
@pytest.mark.parametrize(
    ("weights", "segmentor", "scored", "learns"),
    [
        (PAPER, 1, 2, True),
        ({"labeled_adversarial": 0.0}, 1, 1, True),
        ({"unlabeled_adversarial": 0.0}, 1, 2, True),
        ({"self_taught": 0.0}, 1, 2, True),
        ({"unlabeled_adversarial": 0.0, "self_taught": 0.0}, 1, 1, True),
        (NOTHING | {"segmentation": 1.0}, 1, 0, False),
        (NOTHING | {"self_taught": 1.0}, 1, 1, True),
    ],
)
def test_computes_what_active_terms_read_and_nothing_else(
    batch: Batch, weights: dict[str, float], segmentor: int, scored: int, learns: bool
) -> None:
    subject = objective(weights)
    calls = count_calls(subject)
    translated = subject.translate(batch)
    assert set(subject.generator_terms(batch, translated)) == AdversarialWeights(**weights).active()
    assert calls["segmentor"] == segmentor
    assert calls["mask_discriminator"] == scored
    fakes = subject.fakes(translated)
    assert set(fakes) == ({"mask_discriminator"} if learns else set())
    if learns:
        assert set(subject.discriminator_terms(batch, translated, fakes)) == {"mask_discriminator"}
        assert calls["mask_discriminator"] == scored + 2


@pytest.mark.parametrize("term", TERMS)
def test_unlabeled_images_are_read_only_where_a_term_needs_them(batch: Batch, term: str) -> None:
    subject = objective(NOTHING | {term: 1.0})
    needed = term in ("unlabeled_adversarial", "self_taught")
    assert subject.needs_unlabeled is needed
    del batch["unlabeled_image"]
    if needed:
        with pytest.raises(KeyError, match="unlabeled_image"):
            subject.translate(batch)
    else:
        assert set(subject.generator_terms(batch, subject.translate(batch, everything=True))) == {term}


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "among all"])
def test_generator_term_reaches_the_segmentor_only(batch: Batch, term: str, alone: bool) -> None:
    subject = objective(NOTHING | {term: 1.0} if alone else PAPER)
    with frozen(subject.discriminators):  # as the trainer does
        terms = subject.generator_terms(batch, subject.translate(batch))
        assert reached(subject, terms[term]) == {"segmentor"}


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("segmentation", {"segmentor"}),
        ("labeled_adversarial", {"segmentor", "mask_discriminator"}),
        ("unlabeled_adversarial", {"segmentor", "mask_discriminator"}),
        ("self_taught", {"segmentor"}),
    ],
)
def test_which_terms_would_train_a_discriminator_that_is_not_frozen(
    batch: Batch, term: str, expected: set[str]
) -> None:
    subject = objective(PAPER)
    terms = subject.generator_terms(batch, subject.translate(batch))
    assert reached(subject, terms[term]) == expected


def test_discriminator_term_reaches_the_discriminator_only(batch: Batch) -> None:
    subject = objective(PAPER)
    translated = subject.translate(batch)
    fakes = subject.fakes(translated)
    assert not any(tensor.requires_grad for tensor in fakes["mask_discriminator"])
    terms = subject.discriminator_terms(batch, translated, fakes)
    assert reached(subject, terms["mask_discriminator"]) == {"mask_discriminator"}


def test_discriminator_learns_from_labeled_images_alone(batch: Batch) -> None:
    subject = objective(PAPER)

    def loss(batch: Batch) -> float:
        t = subject.translate(batch)
        return subject.discriminator_terms(batch, t, subject.fakes(t))["mask_discriminator"].item()

    assert loss(batch | {"unlabeled_image": torch.randn(3, 1, SIZE, SIZE)}) == pytest.approx(loss(batch))
    assert loss(batch | {"image": torch.randn(2, 1, SIZE, SIZE)}) != pytest.approx(loss(batch), rel=1e-9)


@pytest.mark.parametrize("term", ["segmentation", "labeled_adversarial"])
def test_label_that_is_all_void_teaches_nothing(batch: Batch, term: str) -> None:
    subject = objective(NOTHING | {term: 1.0})
    batch["label"][:] = 255
    with frozen(subject.discriminators):
        value = subject.generator_terms(batch, subject.translate(batch))[term]
        assert value.item() == 0
        assert reached(subject, value) == set()


def test_image_under_void_has_no_part_where_networks_see_one_pixel(batch: Batch) -> None:
    torch.manual_seed(0)
    subject = AdversarialObjective(nn.Conv2d(1, CLASSES, 1), nn.Conv2d(CLASSES, 1, 1), CLASSES)

    def values(batch: Batch) -> list[float]:
        t = subject.translate(batch)
        terms = subject.generator_terms(batch, t) | subject.discriminator_terms(batch, t, subject.fakes(t))
        return [terms[n].item() for n in ("segmentation", "labeled_adversarial", "mask_discriminator")]

    void = (batch["label"] == 255)[:, None]
    assert void.any()
    assert values(batch | {"image": batch["image"] + 5 * void}) == values(batch)
    assert all(
        a != b for a, b in zip(values(batch | {"image": batch["image"] + 5 * ~void}), values(batch), strict=True)
    )


@pytest.mark.parametrize(
    ("progress", "taught"), [(0.0, False), (0.2499, False), (0.25, True), (0.9, True), (None, True)]
)
def test_self_teaching_begins_after_the_warm_up(batch: Batch, progress: float | None, taught: bool) -> None:
    subject = objective(warm_up=0.25, confidence=0.0)
    given = batch if progress is None else batch | subject.schedule(progress)
    terms = subject.generator_terms(given, subject.translate(given))
    assert set(terms) == set(TERMS), "a term is there all the time, so that its curve begins with zeros"
    assert (terms["self_taught"].item() > 0) is taught
    assert terms["unlabeled_adversarial"] > 0, "the adversarial terms have no warm-up"
    total = subject.weights.total(terms)
    with frozen(subject.discriminators):
        assert "segmentor" in reached(subject, total)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_masks_have_the_images_number_format(batch: Batch, dtype: torch.dtype) -> None:
    subject = objective()
    subject.generators.to(dtype)
    images = {name: batch[name].to(dtype) for name in ("image", "unlabeled_image")}
    translated = subject.translate(batch | images)
    assert {name for name, tensor in translated.items() if tensor.dtype != dtype} == {"valid"}


# In the trainer


def make_trainer(subject: AdversarialObjective, batches: list[Batch], **options: Any) -> AlternatingTrainer:
    sides = (subject.generators, subject.discriminators)
    optimizer, discriminator_optimizer = (torch.optim.Adam(s.parameters(), LEARNING_RATE, BETAS) for s in sides)
    defaults = {
        "optimizer": optimizer,
        "discriminator_optimizer": discriminator_optimizer,
        "max_epochs": 1,
        "device": "cpu",
        "pool_size": 0,
    }
    return AlternatingTrainer(objective=subject, train_data_loader=batches, **(defaults | options))


class HandWrittenStep:
    """The paper's step in plain torch, every pass by itself; self-teaching from the third of four steps on."""

    def __init__(self, subject: AdversarialObjective) -> None:
        self.s = copy.deepcopy(subject.generators["segmentor"])
        self.d = copy.deepcopy(subject.discriminators["mask_discriminator"])
        self.adam_s, self.adam_d = (torch.optim.Adam(n.parameters(), LEARNING_RATE, BETAS) for n in (self.s, self.d))

    def __call__(self, batch: Batch, number: int) -> dict[str, Tensor]:
        x, y, x_unlabeled = batch["image"], batch["label"], batch["unlabeled_image"]
        known = y != 255
        logits, unlabeled_logits = self.s(x), self.s(x_unlabeled)
        scores, unlabeled_scores = self.d(logits.softmax(1))[:, 0], self.d(unlabeled_logits.softmax(1))[:, 0]
        own = F.cross_entropy(unlabeled_logits, unlabeled_logits.argmax(1), reduction="none")
        trusted = torch.sigmoid(unlabeled_scores).detach() > 0.2
        terms = {
            "segmentation": F.cross_entropy(logits, y, ignore_index=255),
            "labeled_adversarial": F.softplus(-scores)[known].mean(),
            "unlabeled_adversarial": F.softplus(-unlabeled_scores).mean(),
            "self_taught": own[trusted].sum() / own.numel() if number >= 2 else 0 * own.sum(),
        }
        loss = terms["segmentation"] + 0.01 * terms["labeled_adversarial"]
        loss = loss + 0.001 * terms["unlabeled_adversarial"] + 0.1 * terms["self_taught"]
        self.adam_s.zero_grad()
        loss.backward()
        self.adam_s.step()

        mask = torch.stack([y == k for k in range(CLASSES)], 1).to(x.dtype)
        real, fake = self.d(mask)[:, 0], self.d(logits.softmax(1).detach())[:, 0]
        terms["mask_discriminator"] = F.softplus(-real)[known].mean() + F.softplus(fake)[known].mean()
        self.adam_d.zero_grad()
        terms["mask_discriminator"].backward()
        self.adam_d.step()
        return {name: term.detach() for name, term in terms.items()} | {"loss": loss.detach()}


def test_steps_equal_those_written_by_hand() -> None:
    subject = objective(judge=PixelJudge, warm_up=0.5)
    subject.generators.double()
    subject.discriminators.double()
    by_hand, batches = HandWrittenStep(subject), make_batches(4, torch.float64)
    taught: list[bool] = []

    def compare(trainer: AlternatingTrainer) -> None:
        number = trainer.state.iteration - 1
        for name, value in by_hand(batches[number], number).items():
            torch.testing.assert_close(trainer.state.output[name], value, **TOLERANCE)
        for side, wanted in ((subject.generators["segmentor"], by_hand.s), (subject.discriminators, by_hand.d)):
            pairs = zip(side.parameters(), wanted.parameters(), strict=True)
            assert all(torch.allclose(a, b, **TOLERANCE) for a, b in pairs)
        taught.append(bool(trainer.state.output["self_taught"]))

    trainer = make_trainer(subject, batches)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, compare)
    trainer.run()
    assert taught == [False, False, True, True]


def test_training_lowers_the_loss_and_teaches_the_discriminator() -> None:
    subject = objective(segmentor=ResNetGenerator(1, CLASSES, filters=4, blocks=1))
    before = [p.detach().clone() for p in subject.discriminators.parameters()]
    values: list[dict[str, float]] = []
    trainer = make_trainer(subject, make_batches(4) * 10)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda e: values.append({name: e.state.output[name].item() for name in ("loss", "segmentation")}),
    )
    trainer.run()
    assert values[-1]["segmentation"] < 0.6 * values[0]["segmentation"]
    assert values[-1]["loss"] < 0.6 * values[0]["loss"]
    assert all(not torch.equal(a, b) for a, b in zip(before, subject.discriminators.parameters(), strict=True))
    assert set(trainer.state.metrics) >= {*TERMS, "loss", "mask_discriminator"}


def test_discriminator_learns_to_tell_soft_masks_from_true_ones() -> None:
    subject = objective()
    still = torch.optim.SGD(subject.generators.parameters(), lr=0.0)
    batch = make_batches(1)[0]
    values: list[float] = []
    trainer = make_trainer(subject, [batch] * 40, optimizer=still)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: values.append(e.state.output["mask_discriminator"].item())
    )
    trainer.run()
    assert values[0] == pytest.approx(2 * math.log(2), abs=0.2)
    assert values[-1] < 0.7 * values[0]


def test_discriminator_is_still_where_no_term_asks_it() -> None:
    subject = objective(NOTHING | {"segmentation": 1.0})
    before = [p.detach().clone() for p in subject.discriminators.parameters()]
    trainer = make_trainer(subject, make_batches(2))
    trainer.run()
    assert all(torch.equal(a, b) for a, b in zip(before, subject.discriminators.parameters(), strict=True))
    assert "mask_discriminator" not in trainer.state.metrics
