"""Rendering: what the generator is shown, where what it makes lies, and what is refused."""

import pytest
import torch
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.labels import VOID
from scripts.objectives.rendering import Rendering
from scripts.objectives.terms import one_hot


def disc(row: int, column: int, size: int = 48) -> Tensor:
    """A cavity of 2 in a wall of 1, (1, H, W)."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    radius = ((rows - row) ** 2 + (columns - column) ** 2).sqrt()
    return ((radius < 9).long() + (radius < 5).long()).unsqueeze(0)


class Constant(nn.Module):
    """A generator that adds 10 everywhere."""

    def forward(self, seen: Tensor) -> Tensor:
        self.seen = seen
        return torch.full_like(seen[:, :1], 10)


def test_a_heart_is_painted_in_its_shades_and_the_generator_adds_to_it() -> None:
    how, label, generator = Rendering(margin=2, window=0.5), disc(20, 25), Constant()
    image = torch.rand(1, 1, 48, 48) + label.unsqueeze(1)
    region = how.region(label > 0)
    scene = how.scene(one_hot(label, 3).float(), image, region, one_hot(label, 3).float())
    made = how.rendered(generator, True, {"heart": scene})["heart"]
    assert torch.equal(made[~region], image[~region])
    for k in range(3):
        place = region & (label == k).unsqueeze(1)
        assert torch.allclose(made[place], image[place].mean() + 10)
    assert generator.seen.shape == (1, 3 + 1 + 1, 24, 24)
    assert generator.seen[:, -1].sum() == region.sum()


def test_a_label_is_brought_to_the_teachers_heart_and_void_is_background() -> None:
    label = disc(20, 25)
    label[:, :5] = VOID
    placed, region = Rendering(pose="likest").placed(label, disc(28, 18))
    assert torch.equal(placed, disc(28, 18))
    assert torch.equal(region, Rendering().region(placed > 0))


def test_of_one_that_is_too_different_no_pixel_is_rendered() -> None:
    wall_alone = disc(20, 25).clamp(max=1)
    for likeness, rendered in ((0.6, True), (0.8, False)):
        assert Rendering(pose="likest", likeness=likeness).placed(wall_alone, disc(28, 18))[1].any() == rendered
    nothing = torch.zeros_like(wall_alone)
    assert not Rendering(pose="likest", likeness=0).placed(wall_alone, nothing)[1].any()


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"likeness": -0.1}, r"likeness must lie in \[0, 1\]"),
        ({"window": 1.1}, r"window must lie in \[0, 1\]"),
        ({"window": 0}, "window must be above 0: give 1"),
        ({"margin": -1}, "margin must be 0 or more"),
    ],
)
def test_impossible_settings_are_refused(setting: dict[str, float], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Rendering(**setting)
