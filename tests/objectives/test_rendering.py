"""Rendering: what the generator is shown, where what it makes lies, and what is refused."""

import pytest
import torch
from discs import disc
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.labels import VOID
from scripts.objectives.rendering import Rendering, with_hearts_of_others
from scripts.objectives.terms import one_hot


def heart(row: int, column: int) -> Tensor:
    """A cavity of 2 in a wall of 1, (1, H, W)."""
    return disc(row, column, size=48, outer=9, inner=5).unsqueeze(0)


class Constant(nn.Module):
    """A generator that adds 10 everywhere."""

    def forward(self, seen: Tensor) -> Tensor:
        self.seen = seen
        return torch.full_like(seen[:, :1], 10)


def test_a_heart_is_painted_in_its_shades_and_the_generator_adds_to_it() -> None:
    how, label, generator = Rendering(margin=2, window=0.5), heart(20, 25), Constant()
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
    label = heart(20, 25)
    label[:, :5] = VOID
    placed, region = Rendering().placed(label, heart(28, 18))
    assert torch.equal(placed, heart(28, 18))
    assert torch.equal(region, Rendering().region(placed > 0))


def test_without_a_heart_on_either_side_no_pixel_is_rendered() -> None:
    nothing = torch.zeros_like(heart(20, 25))
    for label, there in ((heart(20, 25), nothing), (nothing, heart(20, 25)), (nothing, nothing)):
        assert not Rendering().placed(label, there)[1].any()


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"window": 1.1}, r"window must lie in \(0, 1\], got 1.1"),
        ({"window": 0}, "got 0: give 1 for the whole image"),
        ({"margin": -1}, "margin must be a whole number of pixels, 0 or more, got -1"),
        ({"margin": 2.5}, r"got 2\.5"),
        ({"shades": "perhaps"}, "must be true or false"),
    ],
)
def test_impossible_settings_are_refused(setting: dict[str, float], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Rendering(**setting)


def test_a_flag_is_read_as_the_command_line_gives_it() -> None:
    assert Rendering(shades="false").shades is False


def test_hearts_of_others_are_taken_where_the_teacher_is_sure_of_more_than_half() -> None:
    label = torch.zeros(12, 2, 4, dtype=torch.int64)
    seen = torch.zeros_like(label)
    seen[::2, 0] = torch.arange(1, 7).view(-1, 1)  # hearts of four pixels, of another class in each
    sure = seen.clone()
    sure[:, 1, 3] = VOID  # background, which does not count
    for item, doubtful in ((2, 1), (4, 2), (6, 4)):
        sure[item, 0, :doubtful] = VOID
    seen[10] = sure[10] = 0  # no heart
    taken = with_hearts_of_others(label + 9, seen, sure)
    assert torch.equal(taken[[1, 3, 9]], seen[[0, 2, 8]])
    kept = [0, 2, 4, 5, 6, 7, 8, 10, 11]
    assert torch.equal(taken[kept], (label + 9)[kept])
    assert torch.equal(with_hearts_of_others(label[:1] + 9, seen[:1], sure[:1]), label[:1] + 9), "no other item"
