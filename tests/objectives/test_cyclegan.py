"""The paper's objective: what it computes, in how many passes, and which networks each term reaches."""

import copy
import dataclasses
from collections import Counter
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from scripts.networks.pixel_discriminator import PixelDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.cyclegan import TERM_NEEDS, CycleGANObjective, CycleGANWeights
from scripts.training.trainer import frozen

CLASSES = 3
TERMS = tuple(field.name for field in dataclasses.fields(CycleGANWeights))
NOTHING: dict[str, float] = dict.fromkeys(TERMS, 0.0)
PAPER: dict[str, float] = {}

# From the paper: which generators a term's gradient must reach, and that no other network may take any.
REACHED = {
    "segmentation": {"segmentor"},
    "image_reconstruction": {"image_generator"},
    "mask_cycle": {"segmentor", "image_generator"},
    "image_cycle": {"segmentor", "image_generator"},
    "mask_adversarial": {"segmentor"},
    "image_adversarial": {"image_generator"},
}


class BatchNormGenerator(nn.Module):
    """A generator whose output for one image depends on its batch."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, out_channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def objective(weights: Mapping[str, float], mask_input: str = "soft", batch_norm: bool = False) -> CycleGANObjective:
    torch.manual_seed(0)
    if batch_norm:
        segmentor: nn.Module = BatchNormGenerator(1, CLASSES)
        image_generator: nn.Module = BatchNormGenerator(CLASSES, 1)
    else:
        segmentor = ResNetGenerator(1, CLASSES, filters=2, blocks=1)
        image_generator = ResNetGenerator(CLASSES, 1, filters=2, blocks=1, activation="tanh")
    discriminators = PixelDiscriminator(CLASSES, filters=2), PixelDiscriminator(1, filters=2)
    return CycleGANObjective(segmentor, image_generator, *discriminators, CLASSES, weights, mask_input)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, CLASSES, (2, 8, 8), generator=generator)
    label[0, :3] = 255
    images = {name: torch.randn(2, 1, 8, 8, generator=generator) for name in ("image", "unlabeled_image")}
    return images | {"label": label}


def networks_of(objective: CycleGANObjective) -> dict[str, nn.Module]:
    return dict(objective.generators.items()) | dict(objective.discriminators.items())


def count_calls(objective: CycleGANObjective) -> Counter:
    """A counter that goes up with each forward call of a network."""
    calls: Counter = Counter()
    for name, network in networks_of(objective).items():
        network.register_forward_hook(lambda *_, name=name: calls.update([name]))
    return calls


def reached(objective: CycleGANObjective, loss: Tensor) -> set[str]:
    """The networks with a parameter whose gradient of ``loss`` is not zero."""
    loss.backward()
    return {
        name
        for name, network in networks_of(objective).items()
        if any(p.grad is not None and p.grad.any() for p in network.parameters())
    }


def test_default_weights_are_the_papers() -> None:
    assert dataclasses.astuple(CycleGANWeights()) == (1, 1, 0.05, 1, 1, 1)
    assert objective({}).weights == CycleGANWeights()


def test_every_term_says_what_it_reads() -> None:
    assert tuple(TERM_NEEDS) == TERMS


def test_misspelt_weight_in_a_config_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="mask_cycel"):
        objective({"mask_cycel": 0.05})


def test_unknown_mask_input_is_refused() -> None:
    with pytest.raises(ValueError, match='mask_input must be "soft" or "straight-through", got \'hard\''):
        objective({}, mask_input="hard")


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("segmentation", False),
        ("image_reconstruction", False),
        ("mask_cycle", False),
        ("image_cycle", True),
        ("mask_adversarial", True),
        ("image_adversarial", True),
    ],
)
def test_says_whether_it_reads_unlabeled_images(term: str, expected: bool) -> None:
    assert objective(NOTHING | {term: 1.0}).needs_unlabeled is expected


def test_mask_input_decides_what_discriminator_and_image_generator_see() -> None:
    logits = torch.randn(2, CLASSES, 4, 4)
    soft, hard = (objective({}, mask_input).as_mask(logits) for mask_input in ("soft", "straight-through"))
    torch.testing.assert_close(soft, logits.exp() / logits.exp().sum(1, keepdim=True))
    assert torch.equal(hard, nn.functional.one_hot(logits.argmax(1), CLASSES).movedim(-1, 1).float())


@pytest.mark.parametrize("mask_input", ["soft", "straight-through"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_passes_equal_separate_ones(batch: dict[str, Tensor], mask_input: str, batch_norm: bool) -> None:
    subject = objective(PAPER, mask_input, batch_norm)
    segmentor, image_generator = copy.deepcopy(subject.generators).values()
    mask = torch.stack([(batch["label"] == k).float() for k in range(CLASSES)], 1)
    generated_mask = subject.as_mask(segmentor(batch["unlabeled_image"]))
    expected = {
        "mask": mask,
        "valid": (batch["label"] != 255)[:, None],
        "logits": segmentor(batch["image"]),
        "unlabeled_logits": segmentor(batch["unlabeled_image"]),
        "generated_mask": generated_mask,
        "generated_image": image_generator(mask),
        "reconstructed_image": image_generator(generated_mask),
        "reconstructed_logits": segmentor(image_generator(mask)),
    }
    translated = subject.translate(batch)
    assert translated.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(translated[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("weights", "translation", "adversarial"),
    [
        (PAPER, {"segmentor": 2, "image_generator": 1}, {"mask_discriminator": 1, "image_discriminator": 1}),
        (NOTHING | {"segmentation": 1.0}, {"segmentor": 1}, {}),
        (NOTHING | {"image_reconstruction": 1.0}, {"image_generator": 1}, {}),
        (NOTHING | {"mask_cycle": 1.0}, {"segmentor": 1, "image_generator": 1}, {}),
        (NOTHING | {"image_cycle": 1.0}, {"segmentor": 1, "image_generator": 1}, {}),
        (NOTHING | {"mask_adversarial": 1.0}, {"segmentor": 1}, {"mask_discriminator": 1}),
        (NOTHING | {"image_adversarial": 1.0}, {"image_generator": 1}, {"image_discriminator": 1}),
        ({"mask_adversarial": 0.0, "image_adversarial": 0.0}, {"segmentor": 2, "image_generator": 1}, {}),
    ],
)
def test_computes_what_active_terms_read_and_nothing_else(
    batch: dict[str, Tensor], weights: dict[str, float], translation: dict, adversarial: dict
) -> None:
    subject = objective(weights)
    calls = count_calls(subject)
    translated = subject.translate(batch)
    assert calls == translation
    terms = subject.generator_terms(batch, translated)
    assert set(terms) == CycleGANWeights(**weights).active()
    assert calls == translation | adversarial
    fakes = subject.fakes(translated)
    assert set(fakes) == set(adversarial)
    discriminator_terms = subject.discriminator_terms(batch, translated, fakes)
    assert set(discriminator_terms) == set(adversarial)
    # One pass more for real and one for fake.
    assert calls == translation | {name: 3 for name in adversarial}


def test_passes_stay_apart_where_a_generator_has_batch_norm(batch: dict[str, Tensor]) -> None:
    subject = objective(PAPER, batch_norm=True)
    calls = count_calls(subject)
    subject.translate(batch)
    assert calls == {"segmentor": 3, "image_generator": 2}


def test_images_of_another_size_go_by_themselves(batch: dict[str, Tensor]) -> None:
    subject = objective(PAPER)
    calls = count_calls(subject)
    translated = subject.translate(batch | {"unlabeled_image": torch.randn(3, 1, 12, 8)})
    assert calls == {"segmentor": 3, "image_generator": 2}
    assert translated["reconstructed_image"].shape == (3, 1, 12, 8)


def test_everything_can_be_asked_for(batch: dict[str, Tensor]) -> None:
    subject = objective(NOTHING | {"segmentation": 1.0})
    everything = subject.translate(batch, everything=True)
    assert set(everything) == set(objective(PAPER).translate(batch))
    assert set(subject.translate(batch)) == {"mask", "valid", "logits"}


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("mask_input", ["soft", "straight-through"])
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "among all"])
def test_generator_term_reaches_exactly_its_networks(
    batch: dict[str, Tensor], term: str, mask_input: str, alone: bool
) -> None:
    subject = objective(NOTHING | {term: 1.0} if alone else PAPER, mask_input)
    with frozen(subject.discriminators):  # as the trainer does
        terms = subject.generator_terms(batch, subject.translate(batch))
        assert reached(subject, terms[term]) == REACHED[term]


@pytest.mark.parametrize("term", ["mask_adversarial", "image_adversarial"])
def test_adversarial_terms_would_train_discriminators_that_are_not_frozen(batch: dict[str, Tensor], term: str) -> None:
    subject = objective(PAPER)
    terms = subject.generator_terms(batch, subject.translate(batch))
    assert reached(subject, terms[term]) == REACHED[term] | {term.replace("adversarial", "discriminator")}


@pytest.mark.parametrize("discriminator", ["mask_discriminator", "image_discriminator"])
@pytest.mark.parametrize("mask_input", ["soft", "straight-through"])
def test_discriminator_term_reaches_itself_only(batch: dict[str, Tensor], discriminator: str, mask_input: str) -> None:
    subject = objective(PAPER, mask_input)
    translated = subject.translate(batch)
    terms = subject.discriminator_terms(batch, translated, subject.fakes(translated))
    assert reached(subject, terms[discriminator]) == {discriminator}


def test_fakes_are_detached_and_carry_their_known_pixels(batch: dict[str, Tensor]) -> None:
    subject = objective(PAPER)
    translated = subject.translate(batch)
    fakes = subject.fakes(translated)
    assert not any(tensor.requires_grad for fake in fakes.values() for tensor in fake)
    assert torch.equal(fakes["mask_discriminator"][0], translated["generated_mask"])
    assert torch.equal(fakes["image_discriminator"][0], translated["generated_image"])
    assert torch.equal(fakes["image_discriminator"][1], translated["valid"])


@pytest.mark.parametrize("term", ["segmentation", "image_reconstruction", "mask_cycle", "image_adversarial"])
def test_label_that_is_all_void_teaches_nothing(batch: dict[str, Tensor], term: str) -> None:
    subject = objective(NOTHING | {term: 1.0})
    batch["label"][:] = 255
    with frozen(subject.discriminators):
        value = subject.generator_terms(batch, subject.translate(batch))[term]
        assert value.item() == 0
        assert reached(subject, value) == set()
    assert all(torch.isfinite(p.grad).all() for p in subject.generators.parameters() if p.grad is not None)


def test_image_under_void_has_no_part_in_reconstruction(batch: dict[str, Tensor]) -> None:
    subject = objective(PAPER)
    other = batch | {"image": batch["image"].clone()}
    other["image"][0, :, :3] += 100
    values = [subject.generator_terms(b, subject.translate(b))["image_reconstruction"] for b in (batch, other)]
    assert values[0] == values[1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_masks_have_the_images_number_format(batch: dict[str, Tensor], dtype: torch.dtype) -> None:
    subject = objective(PAPER)
    subject.generators.to(dtype)
    images = {name: batch[name].to(dtype) for name in ("image", "unlabeled_image")}
    translated = subject.translate(batch | images)
    assert {name for name, tensor in translated.items() if tensor.dtype != dtype} == {"valid"}
