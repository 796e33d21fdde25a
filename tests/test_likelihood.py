"""What an image says of its classes, in numbers."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from scripts import likelihood
from scripts.likelihood import MARGIN, PRIOR_PIXELS, SMALLEST_SPREAD, explained, log_densities


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
    classes = [image[:, (label[0] == k) & region[0, 0]] for k in range(2)]
    common = sum(c.var(1, correction=0) * c.shape[1] for c in classes) / sum(c.shape[1] for c in classes)
    for k, pixels in enumerate(classes):
        n = pixels.shape[1]
        variance = (n * pixels.var(1, correction=0) + PRIOR_PIXELS * common) / (n + PRIOR_PIXELS)
        normal = Normal(pixels.mean(1).view(2, 1, 1), variance.sqrt().view(2, 1, 1))
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


def test_the_image_counts_up_to_the_margin_and_the_background_is_that_near_objects() -> None:
    seen = torch.zeros(1, 32, 32, dtype=torch.int64)
    seen[:, 14:18, 14:18] = 1
    image = seen.unsqueeze(1) + 0.1 * torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    logits = torch.stack([1.0 - 2 * seen.float(), 2 * seen.float() - 1.0], 1)
    found = explained(logits, image, 0.5)
    changed = (found != logits.softmax(1)).any(1)[0]
    inside = slice(14 - MARGIN, 18 + MARGIN)
    assert changed[inside, inside].float().mean() > 0.9
    changed[inside, inside] = False
    assert not changed.any()
    elsewhere = image.clone()
    elsewhere[..., :5, :] = 9.0  # far from all objects
    assert torch.equal(explained(logits, elsewhere, 0.5)[..., inside, inside], found[..., inside, inside])


def test_a_stray_pixel_of_another_class_takes_over_less_by_the_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    heart, random = disc(48, 12), torch.Generator().manual_seed(3)
    label = heart.clone()
    label[0, 24, 24] = 2
    logits = torch.nn.functional.one_hot(label, 3).movedim(-1, 1).float().expand(8, -1, -1, -1)
    image = heart.unsqueeze(1) * 0.5 + 0.1 * torch.randn(8, 1, 48, 48, generator=random)
    taken = []
    for pixels in (0, PRIOR_PIXELS):
        monkeypatch.setattr(likelihood, "PRIOR_PIXELS", pixels)
        taken.append(int((explained(logits, image, 0.5).argmax(1) == 2).sum()) - len(image))
    assert taken[1] < 0.4 * taken[0]


def test_reduced_precision_gives_what_full_precision_gives_and_no_object_leaves_all_as_it_is() -> None:
    label = disc()
    image = label.unsqueeze(1) * 0.7 + 0.05 * torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(4))
    logits = torch.stack([0.25 - label.float(), label.float() - 0.25], 1)  # exact in bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        found = explained(logits.bfloat16(), image, 0.5)
    assert found.dtype == torch.float32
    assert torch.equal(found, explained(logits, image, 0.5))
    nothing = explained(torch.zeros(2, 3, 16, 16), torch.zeros(2, 1, 16, 16), 0.5)
    assert torch.allclose(nothing, torch.full_like(nothing, 1 / 3))
