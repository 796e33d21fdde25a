"""What an image says of its classes, in numbers."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from scripts.likelihood import SMALLEST_SPREAD, explained, log_densities


def disc(size: int = 32, radius: float = 8) -> Tensor:
    """(1, size, size) int64, 1 in a disc about the centre."""
    place = torch.arange(size) - (size - 1) / 2
    return ((place**2 + place.unsqueeze(1) ** 2) < radius**2).long().unsqueeze(0)


def everywhere(label: Tensor) -> Tensor:
    return torch.ones_like(label, dtype=torch.bool).unsqueeze(1)


def test_it_is_the_normal_density_of_the_class_over_all_channels() -> None:
    random = torch.Generator().manual_seed(0)
    label = disc()
    image = torch.stack([label[0] * 0.4, label[0] * -0.3 + 0.1]) + 0.1 * torch.randn(2, 32, 32, generator=random)
    region = everywhere(label)
    region[..., :4] = False
    found = log_densities(image.unsqueeze(0), label, region, 2)
    for k in range(2):
        pixels = image[:, (label[0] == k) & region[0, 0]]
        normal = Normal(pixels.mean(1).view(2, 1, 1), pixels.std(1, correction=0).view(2, 1, 1))
        expected = normal.log_prob(image).sum(0) + torch.log(torch.tensor(2 * torch.pi))
        assert torch.allclose(found[0, k], expected, atol=1e-4)


def test_each_image_has_shades_of_its_own_and_no_class_that_is_not_seen_in_it() -> None:
    label = torch.cat([disc(), torch.zeros_like(disc())])
    image = torch.stack([label[:1] * 1.0, torch.full((1, 32, 32), 7.0)])
    found = log_densities(image, label, everywhere(label), 2)
    assert (found[1, 1] == -torch.inf).all()
    assert found[1, 0] == pytest.approx(-torch.tensor(SMALLEST_SPREAD).log().expand(32, 32))  # flat, and at its mean
    alone = log_densities(image[:1], label[:1], everywhere(label[:1]), 2)
    assert torch.equal(found[:1], alone)


def test_pixels_in_doubt_get_the_class_whose_shade_they_have_and_what_is_far_stays() -> None:
    heart, seen = disc(radius=8), disc(radius=6)
    random = torch.Generator().manual_seed(1)
    image = heart.unsqueeze(1) + 0.05 * torch.randn(1, 1, 32, 32, generator=random)
    image[..., 0, 0] = 1.0  # as bright as the heart, far from it
    logits = torch.stack([0.5 - seen.float(), seen.float() - 0.5], 1)
    given, found = logits.softmax(1), explained(logits, image, 1.0)
    ring = (heart - seen)[0] > 0
    assert (given.argmax(1)[0][ring] == 0).all()
    assert (found.argmax(1)[0][ring] == 1).float().mean() > 0.95
    assert torch.equal(found[..., 0, 0], given[..., 0, 0])
    assert torch.allclose(found.sum(1), torch.ones(1, 32, 32))


def test_the_exponent_says_how_much_the_image_counts() -> None:
    label = disc()
    image = label.unsqueeze(1) * 0.2 + torch.linspace(-0.2, 0.2, 32)
    logits = torch.stack([0.2 - label.float(), label.float() - 0.2], 1)
    share = [explained(logits, image, exponent).log() for exponent in (1e-6, 0.5, 1.0)]
    assert torch.allclose(share[0].exp(), logits.softmax(1), atol=1e-4)
    differences = [each[:, 1] - each[:, 0] for each in share]
    assert torch.allclose(differences[2] - differences[0], 2 * (differences[1] - differences[0]), atol=1e-3)


def test_reduced_precision_and_images_without_anything_give_probabilities_in_full_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = explained(torch.zeros(2, 3, 16, 16, dtype=torch.bfloat16), torch.zeros(2, 1, 16, 16), 0.5)
    assert found.dtype == torch.float32
    assert torch.allclose(found, torch.full_like(found, 1 / 3))
