"""Each equation of the paper against a computation in NumPy that shares no code with it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from scripts.objectives import cyclegan
from scripts.objectives.cyclegan import CycleGANWeights

CLASSES = 4
VOID_PATTERNS = ("no void", "some void", "one image void", "all void")


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=VOID_PATTERNS)
def label(request: pytest.FixtureRequest) -> Tensor:
    """(2, 5, 6) int64."""
    label = torch.randint(0, CLASSES, (2, 5, 6), generator=torch.Generator().manual_seed(0))
    if request.param == "some void":
        label[0, :3, 2:5] = 255
        label[1, 4] = 255
    elif request.param == "one image void":
        label[1] = 255
    elif request.param == "all void":
        label[:] = 255
    return label


@pytest.fixture
def valid(label: Tensor) -> Tensor:
    return (label != 255)[:, None]


def entropy_by_loops(logits: Tensor, label: Tensor) -> float:
    """Equation 2, pixel by pixel: - log of the softmax of the true class."""
    losses = []
    for b, i, j in np.ndindex(*label.shape):
        if label[b, i, j] != 255:
            exponentials = np.exp(logits[b, :, i, j].numpy())
            losses.append(-np.log(exponentials[int(label[b, i, j])] / exponentials.sum()))
    return float(np.mean(losses)) if losses else 0.0


def mean_over_known(values: np.ndarray, valid: Tensor) -> float:
    """Mean over channels and pixels, pixel by pixel."""
    known = [values[b, :, i, j] for b, i, j in np.ndindex(*valid[:, 0].shape) if valid[b, 0, i, j]]
    return float(np.mean(known)) if known else 0.0


def assert_equal_with_finite_gradient(loss: Callable[[Tensor], Tensor], at: Tensor, expected: float) -> None:
    """The value is as expected, and the gradient is finite, and zero only where the value does not depend on ``at``."""
    at = at.clone().requires_grad_(True)
    value = loss(at)
    assert value.ndim == 0
    assert value.item() == pytest.approx(expected, rel=1e-12, abs=1e-15)
    (gradient,) = torch.autograd.grad(value, at)
    assert torch.isfinite(gradient).all()
    assert gradient.any() == (expected != 0)


@pytest.mark.parametrize("function", [cyclegan.segmentation, cyclegan.cross_entropy, cyclegan.mask_cycle])
def test_equations_1_2_and_7(function: Callable[[Tensor, Tensor], Tensor], label: Tensor) -> None:
    logits = 3 * random(2, CLASSES, 5, 6, seed=1)
    assert_equal_with_finite_gradient(lambda at: function(at, label), logits, entropy_by_loops(logits, label))


@pytest.mark.parametrize("channels", [1, 3])
def test_equation_3(channels: int, label: Tensor, valid: Tensor) -> None:
    generated, image = random(2, channels, 5, 6, seed=1), random(2, channels, 5, 6, seed=2)
    expected = mean_over_known((generated.numpy() - image.numpy()) ** 2, valid)
    assert_equal_with_finite_gradient(lambda at: cyclegan.image_reconstruction(at, image, valid), generated, expected)


def test_equation_4_of_the_generators() -> None:
    scores = random(3, 1, 5, 6, seed=1)
    expected = sum((score - 1) ** 2 for score in scores.flatten().tolist()) / scores.numel()
    assert_equal_with_finite_gradient(cyclegan.mask_adversarial, scores, expected)


def test_equation_4_of_the_discriminator(valid: Tensor) -> None:
    real, fake = random(2, 1, 5, 6, seed=1), random(3, 1, 5, 6, seed=2)
    of_real, of_fake = mean_over_known((real.numpy() - 1) ** 2, valid), float((fake.numpy() ** 2).mean())
    expected = (of_real + of_fake) / 2
    assert cyclegan.mask_discrimination(real, fake, valid).item() == pytest.approx(expected)
    assert_equal_with_finite_gradient(
        lambda at: cyclegan.mask_discrimination(at, 0 * fake, valid),
        real,
        mean_over_known((real.numpy() - 1) ** 2, valid) / 2,
    )


def test_equation_5_of_the_generators(valid: Tensor) -> None:
    scores = random(2, 1, 5, 6, seed=1)
    expected = mean_over_known((scores.numpy() - 1) ** 2, valid)
    assert_equal_with_finite_gradient(lambda at: cyclegan.image_adversarial(at, valid), scores, expected)


def test_equation_5_of_the_discriminator(valid: Tensor) -> None:
    real, fake = random(3, 1, 5, 6, seed=1), random(2, 1, 5, 6, seed=2)
    of_real, of_fake = float(((real.numpy() - 1) ** 2).mean()), mean_over_known(fake.numpy() ** 2, valid)
    assert cyclegan.image_discrimination(real, fake, valid).item() == pytest.approx((of_real + of_fake) / 2)
    assert_equal_with_finite_gradient(
        lambda at: cyclegan.image_discrimination(torch.ones_like(real), at, valid), fake, of_fake / 2
    )


def test_equation_6() -> None:
    reconstructed, image = random(2, 3, 5, 6, seed=1), random(2, 3, 5, 6, seed=2)
    expected = float(np.abs(reconstructed.numpy() - image.numpy()).mean())
    assert_equal_with_finite_gradient(lambda at: cyclegan.image_cycle(at, image), reconstructed, expected)


def test_equation_8() -> None:
    values = {
        "segmentation": 2.0,
        "image_reconstruction": 3.0,
        "mask_cycle": 5.0,
        "image_cycle": 7.0,
        "mask_adversarial": 11.0,
        "image_adversarial": 13.0,
    }
    terms = {name: torch.tensor(value) for name, value in values.items()}
    assert cyclegan.total(terms, CycleGANWeights()).item() == pytest.approx(2 + 3 + 0.05 * 5 + 7 + 11 + 13)
    weights = CycleGANWeights(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    assert cyclegan.total(terms, weights).item() == pytest.approx(0.2 + 0.6 + 1.5 + 2.8 + 5.5 + 7.8)


def test_a_perfect_discriminator_loses_nothing_and_perfect_fakes_lose_nothing() -> None:
    one, zero, valid = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2, dtype=torch.bool)
    assert cyclegan.mask_discrimination(one, zero, valid) == 0
    assert cyclegan.image_discrimination(one, zero, valid) == 0
    assert cyclegan.mask_adversarial(one) == 0
    assert cyclegan.image_adversarial(one, valid) == 0
