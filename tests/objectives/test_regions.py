"""Regions and places of hearts."""

import pytest
import torch

from scripts.labels import VOID
from scripts.objectives.regions import around, class_means, foreground, moved_to, painted, windows_about


def square(row: int, column: int, half: int = 3, size: int = 40) -> torch.Tensor:
    label = torch.zeros(1, size, size, dtype=torch.int64)
    label[:, row - half : row + half + 1, column - half : column + half + 1] = 2
    label[:, row, column] = 1
    return label


def test_foreground_is_neither_background_nor_void() -> None:
    label = torch.tensor([[[0, 1, 3, VOID]]])
    assert foreground(label).tolist() == [[[False, True, True, False]]]


def test_around_grows_by_the_margin_on_each_side() -> None:
    heart = square(20, 15) > 0
    grown = around(heart, 2)[0, 0]
    assert grown.sum() == 11 * 11
    assert grown[15:26, 10:21].all()
    assert not around(torch.zeros_like(heart), 2).any()


def test_a_label_is_brought_to_the_place_of_the_heart() -> None:
    assert torch.equal(moved_to(square(12, 10), square(25, 30)), square(25, 30))


def test_and_scaled_to_its_size_within_bounds() -> None:
    larger = moved_to(square(20, 20, 6), square(20, 20, 7))
    assert abs(int((larger > 0).sum()) - 15 * 15) < 30
    bounded = moved_to(square(20, 20, 4), square(20, 20, 12))
    assert 9 * 9 * 1.25**2 * 0.8 < int((bounded > 0).sum()) < 9 * 9 * 1.25**2 * 1.2


def test_what_is_brought_over_the_border_is_lost_and_nothing_comes_in() -> None:
    there = torch.zeros(1, 40, 40, dtype=torch.int64)
    there[:, 15:26, :4] = 1
    label = torch.zeros(1, 40, 40, dtype=torch.int64)
    label[:, 15:26, 15:26] = 1
    found = moved_to(label, there)
    assert 0 < int((found > 0).sum()) < 11 * 11
    assert not found[:, :, 12:].any()
    empty = torch.zeros(1, 8, 8, dtype=torch.int64)
    assert not moved_to(empty, empty + 1).any()


def test_a_label_is_brought_alike_in_reduced_precision() -> None:
    there = torch.cat([square(row, column, 8, size=128) for row in range(20, 100, 13) for column in range(15, 110, 17)])
    label = square(30, 20, 9, size=128).expand(len(there), -1, -1)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = moved_to(label, there)
    assert torch.equal(reduced, moved_to(label, there))


def test_shades_are_the_means_of_the_classes_within_the_region() -> None:
    image = torch.tensor([[[[1.0, 3, 7, 9]]], [[[2.0, 4, 6, 8]]]])
    mask = torch.tensor(
        [[[[1.0, 1, 0, 0]], [[0, 0, 1, 1]], [[0, 0, 0, 0]]], [[[1.0, 0, 0, 0]], [[0, 0, 0, 0]], [[0] * 4]]]
    )
    region = torch.tensor([[[[True, True, True, False]]], [[[True] * 4]]])
    shades = class_means(image, mask, region)
    third = pytest.approx(11 / 3)
    assert shades[0].flatten().tolist() == [2, 7, third]
    assert shades[1].flatten().tolist() == [2, 7, 2], "of the first, or where nobody has it of all"
    assert painted(mask, shades).flatten(1).tolist() == [[2, 2, 7, 7], [2, 0, 0, 0]]


def test_windows_lie_about_each_heart_and_within_the_image() -> None:
    region = around(torch.cat([square(20, 15), square(3, 37)]) > 0, 1)
    windows = windows_about(region, 0.4)
    assert windows.rows.flatten(1)[:, [0, -1]].tolist() == [[12, 27], [0, 15]]
    assert windows.columns.flatten(1)[:, [0, -1]].tolist() == [[7, 22], [24, 39]]
    assert windows.cut(region).flatten(1).sum(1).tolist() == region.flatten(1).sum(1).tolist()


def test_what_is_cut_comes_back_to_its_place_and_nothing_else() -> None:
    image = torch.arange(2 * 3 * 40 * 24.0).view(2, 3, 40, 24) + 1
    region = torch.zeros(2, 1, 40, 24, dtype=torch.bool)
    region[0, :, 4:9, 10:20] = True  # the second has none: its window is about the centre
    windows = windows_about(region, 0.5)
    back = windows.paste(windows.cut(image), (40, 24))
    inside = windows.paste(torch.ones(2, 1, 24, 16, dtype=torch.bool), (40, 24))
    assert windows.cut(image).shape == (2, 3, 24, 16)
    assert torch.equal(back, image * inside)
    assert inside[1, 0, 8:32, 4:20].all()
    assert inside[1].sum() == 24 * 16


def test_a_window_of_the_whole_side_is_the_image() -> None:
    image = torch.rand(1, 1, 20, 12)
    assert torch.equal(windows_about(image > 0.5, 1.0).cut(image), image)
