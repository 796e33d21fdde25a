"""The objective of the arms "Partial" and "Full": cross-entropy of the labelled images and nothing else."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.supervised import SupervisedObjective, SupervisedWeights

CLASSES = 3


def objective(weights: dict[str, float] | None = None) -> SupervisedObjective:
    torch.manual_seed(0)
    return SupervisedObjective(ResNetGenerator(1, CLASSES, filters=2, blocks=1), weights)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Without unlabelled images, which this objective must not need."""
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, CLASSES, (2, 8, 8), generator=generator)
    label[0, :3] = 255
    return {"image": torch.randn(2, 1, 8, 8, generator=generator), "label": label}


def entropy_by_loops(logits: Tensor, label: Tensor) -> float:
    """Mean over the known pixels of - log of the softmax of the true class."""
    losses = []
    for b, i, j in np.ndindex(*label.shape):
        if label[b, i, j] != 255:
            exponentials = np.exp(logits[b, :, i, j].double().numpy())
            losses.append(-np.log(exponentials[int(label[b, i, j])] / exponentials.sum()))
    return float(np.mean(losses))


def test_its_term_is_the_entropy_of_known_pixels(batch: dict[str, Tensor]) -> None:
    subject = objective()
    translated = subject.translate(batch)
    terms = subject.generator_terms(batch, translated)
    assert set(terms) == {"segmentation"}
    expected = entropy_by_loops(translated["logits"].detach(), batch["label"])
    assert terms["segmentation"].item() == pytest.approx(expected, rel=1e-5)
    assert subject.weights.total(terms).item() == pytest.approx(expected, rel=1e-5)


def test_weight_scales_the_loss(batch: dict[str, Tensor]) -> None:
    subject = objective({"segmentation": 2.5})
    terms = subject.generator_terms(batch, subject.translate(batch))
    assert subject.weights.total(terms).item() == pytest.approx(2.5 * terms["segmentation"].item())


@pytest.mark.parametrize("everything", [False, True])
def test_one_pass_of_the_labeled_images_is_all(batch: dict[str, Tensor], everything: bool) -> None:
    subject = objective()
    seen: list[Tensor] = []
    subject.generators["segmentor"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with_unlabeled = batch | {"unlabeled_image": torch.randn(2, 1, 8, 8)}
    assert set(subject.translate(with_unlabeled, everything=everything)) == {"logits"}
    assert len(seen) == 1
    assert torch.equal(seen[0], batch["image"])
    assert subject.needs_unlabeled is False


def test_gradient_reaches_every_layer_of_the_segmentor(batch: dict[str, Tensor]) -> None:
    subject = objective()
    subject.generator_terms(batch, subject.translate(batch))["segmentation"].backward()
    weights = [p for name, p in subject.generators.named_parameters() if name.endswith("weight")]
    assert weights
    assert all(p.grad is not None and p.grad.any() for p in weights)


def test_there_is_no_discriminator(batch: dict[str, Tensor]) -> None:
    subject = objective()
    translated = subject.translate(batch)
    assert list(subject.generators) == ["segmentor"]
    assert isinstance(subject.discriminators, nn.ModuleDict)
    assert len(subject.discriminators) == 0
    fakes = subject.fakes(translated)
    assert fakes == {}
    assert subject.discriminator_terms(batch, translated, fakes) == {}


def test_label_that_is_all_void_teaches_nothing(batch: dict[str, Tensor]) -> None:
    subject = objective()
    batch["label"][:] = 255
    value = subject.generator_terms(batch, subject.translate(batch))["segmentation"]
    assert value.item() == 0
    value.backward()
    assert all(p.grad is not None and not p.grad.any() for p in subject.generators.parameters())


def test_weights_are_checked() -> None:
    assert objective().weights == SupervisedWeights(segmentation=1.0)
    assert objective({"segmentation": 3}).weights == SupervisedWeights(3)
    with pytest.raises(TypeError, match="mask_cycle"):
        objective({"mask_cycle": 0.05})
    with pytest.raises(InputError, match="all weights are 0"):
        objective({"segmentation": 0})
