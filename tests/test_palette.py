"""Class colours: the bundle's, a data set's, and how a picture uses them."""

import pytest
from matplotlib.colors import Normalize, to_rgba

from scripts.palette import COLORS, class_colormap, class_colors

TRANSPARENT = (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("num_classes", [2, 4, 9])
def test_up_to_eight_objects_have_okabe_and_itos_colors(num_classes: int) -> None:
    assert class_colors(num_classes) == list(COLORS[:num_classes])


def test_without_background_the_first_class_has_the_first_color() -> None:
    assert class_colors(8, background=False) == list(COLORS[1:])


@pytest.mark.parametrize(("num_classes", "background"), [(10, True), (21, True), (9, False), (19, False), (20, False)])
def test_up_to_twenty_objects_have_colors_of_their_own(num_classes: int, background: bool) -> None:
    objects = class_colors(num_classes, background=background)[int(background) :]
    assert len(objects) == len(set(objects)) == num_classes - background
    assert all(to_rgba(color)[3] == 1 for color in objects)


@pytest.mark.parametrize("background", [True, False])
def test_further_objects_repeat_the_colors(background: bool) -> None:
    objects = class_colors(45, background=background)[int(background) :]
    assert objects[20:40] == objects[:20]
    assert len(set(objects)) == 20


def test_colors_of_the_data_set_come_first() -> None:
    colors = class_colors(4, {"0": [9, 9, 9], "2": [0, 128, 255], "7": [1, 2, 3]})
    assert colors == [COLORS[0], COLORS[1], "#0080ff", COLORS[3]], "background is see-through; there is no class 7"
    colors = class_colors(3, {"0": [128, 64, 128]}, background=False)
    assert colors == ["#804080", *COLORS[2:4]]


@pytest.mark.parametrize(("num_classes", "background"), [(2, True), (4, True), (21, True), (19, False), (1, False)])
def test_a_picture_shows_each_class_in_its_color(num_classes: int, background: bool) -> None:
    colormap = class_colormap(num_classes, alpha=0.5, background=background)
    assert num_classes == colormap.N
    scale = Normalize(0, max(num_classes - 1, 1))
    for index, color in enumerate(class_colors(num_classes, background=background)):
        expected = TRANSPARENT if background and index == 0 else (*to_rgba(color)[:3], 0.5)
        assert colormap(scale(index)) == pytest.approx(expected)
    assert colormap(scale(-1)) == TRANSPARENT, "void is drawn as -1"


def test_a_data_sets_colors_reach_the_picture() -> None:
    colormap = class_colormap(2, colors={"1": [255, 0, 51]})
    assert colormap(1.0) == pytest.approx([1.0, 0.0, 0.2, 1.0])
