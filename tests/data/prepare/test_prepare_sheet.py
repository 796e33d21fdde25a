"""The picture sheet: which samples, which colours, what stands in the file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from scripts.data.acdc import data_list
from scripts.data.prepare.checks import check_data_list
from scripts.data.prepare.content import Content, Expected
from scripts.data.prepare.facts import ItemFacts
from scripts.data.prepare.sheet import choose, colors_of, draw_sheet, overlay, sample_of
from scripts.palette import COLORS


def facts(section: str, count: int, classes: list[int] | None = None) -> list[ItemFacts]:
    """Readable items of which the n-th shows ``classes[n]`` classes."""
    shown = classes or [1] * count
    pixels = [(5,) * n + (0,) * (5 - n) for n in shown]
    return [ItemFacts(section, f"{section}{n}", None, None, shape=(4, 4), pixels=pixels[n]) for n in range(count)]


def test_samples_are_spread_over_the_sections() -> None:
    chosen = choose([*facts("labeled", 9), *facts("unlabeled", 9), *facts("validation", 9)], samples=8)
    assert [item.section for item in chosen] == ["labeled"] * 3 + ["validation"] * 3 + ["unlabeled"] * 2
    assert [item.image for item in chosen[:3]] == ["labeled0", "labeled3", "labeled6"]


def test_small_sections_leave_their_places_to_others() -> None:
    chosen = choose([*facts("labeled", 1), *facts("validation", 9)], samples=4)
    assert [item.section for item in chosen] == ["labeled"] + ["validation"] * 3
    assert len(choose(facts("labeled", 3), samples=8)) == 3


def test_of_neighbours_that_with_most_classes_is_shown() -> None:
    chosen = choose(facts("labeled", 6, classes=[1, 3, 2, 2, 1, 4]), samples=2)
    assert [item.image for item in chosen] == ["labeled1", "labeled5"]


def test_what_could_not_be_read_is_not_chosen() -> None:
    assert choose([ItemFacts("labeled", "broken", None, None)], samples=3) == []


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("count", [4, 9, 21])
def test_class_colours_differ_and_background_has_none(count: int, background: bool) -> None:
    colors = colors_of({}, Expected(tuple(map(str, range(count))), 3, background=background))
    assert len(colors) == count
    assert (colors[0] is None) == background
    named = [color for color in colors if color is not None]
    assert len(set(named)) == len(named) - (count == 21 and not background)  # tab20 has 20


def test_colours_of_the_list_come_first() -> None:
    own = {"colors": {"0": [1, 2, 3], "2": [255, 0, 51]}}
    colors = colors_of(own, Expected(("a", "b", "c"), 3))
    assert colors == [None, to_rgb(COLORS[1]), (1.0, 0.0, 0.2)]


def test_overlay_leaves_background_and_mixes_classes() -> None:
    image = np.full((1, 3, 3), 0.5)
    mixed = overlay(image, np.asarray([[0, 1, 255]], np.uint8), [None, (1.0, 0.0, 0.0)])
    np.testing.assert_array_equal(mixed[0, 0], [0.5] * 3)
    assert mixed[0, 1, 0] > 0.7 > 0.3 > mixed[0, 1, 1]
    assert mixed[0, 2].min() > 0.7
    np.testing.assert_array_equal(image, 0.5)


def test_of_a_volume_the_slice_with_most_foreground_is_shown_x_to_the_right() -> None:
    image = np.zeros((1, 6, 4, 3), np.float32)
    image[0, 5, 0, 2] = 100
    label = np.zeros((6, 4, 3), np.uint8)
    label[0, 0, 1], label[4:, 1, 2], label[:, :, 0] = 1, 1, 255
    content = Content(image=image, label=label, volume=True, spacing=(1.0, 2.0, 8.0))
    sample = sample_of(ItemFacts("labeled", "a.nii", "b.nii", None, shape=(6, 4, 3)), content)
    assert sample.title == "a.nii\nlabeled, slice 3 of 3"
    assert sample.aspect == 2.0
    assert sample.image.shape == (4, 6, 3)
    assert sample.image[0, 5].min() > 0.9
    assert sample.label is not None
    assert np.argwhere(sample.label).tolist() == [[1, 4], [1, 5]]


def test_large_pictures_are_drawn_small_and_keep_their_label_values() -> None:
    label = np.zeros((1200, 2000, 1), np.uint8)
    label[:, 1000:] = 200
    content = Content(image=np.zeros((3, 1200, 2000, 1), np.uint8), label=label, channels=3)
    sample = sample_of(ItemFacts("labeled", "x" * 99, None, None, shape=(1200, 2000)), content)
    assert sample.image.shape == (288, 480, 3)
    assert sample.label is not None
    assert set(np.unique(sample.label)) == {0, 200}
    assert len(sample.title.splitlines()[0]) < 60


def test_sheet_of_pictures_is_a_png_and_the_same_each_time(pictures: Any, tmp_path: Path) -> None:
    findings = pictures.check()
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    for path in paths:
        assert draw_sheet(path, pictures.data_list, pictures.root, findings, samples=3) == path
    with Image.open(paths[0]) as image:
        assert image.format == "PNG"
        assert image.width > 600
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_sheet_of_volumes(phantom_dir: Path, tmp_path: Path) -> None:
    made = data_list(phantom_dir, labeled_fraction=0.5)
    made |= {section: made[section][:1] for section in ("labeled", "unlabeled", "validation")}
    assert draw_sheet(tmp_path / "sheet.png", made, phantom_dir, check_data_list(made, phantom_dir)) is not None


def test_no_sheet_of_nothing(pictures: Any, tmp_path: Path) -> None:
    for path in (pictures.root / "images").iterdir():
        path.write_bytes(b"")
    assert draw_sheet(tmp_path / "sheet.png", pictures.data_list, pictures.root, pictures.check()) is None
    assert not list(tmp_path.glob("*.png"))
