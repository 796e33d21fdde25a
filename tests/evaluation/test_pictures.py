"""What a picture shows of a case: which slices, which part, and what is drawn where."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from scripts.evaluation.pictures import MAX_SLICES, CasePicture, case_picture, draw_case
from scripts.palette import class_colors

NAMES = ("background", "right ventricle", "myocardium", "left ventricle")


def volumes(depth: int = 10, size: tuple[int, int] = (120, 100)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, empty prediction, empty label."""
    shape = (*size, depth)
    return np.random.default_rng(0).random(shape), np.zeros(shape, dtype=np.uint8), np.zeros(shape, dtype=np.uint8)


def test_slices_are_spread_over_truth_and_prediction() -> None:
    image, prediction, label = volumes(depth=20)
    label[50:60, 50:60, 3:9] = 1
    prediction[50:60, 50:60, 6:14] = 2
    picture = case_picture(image, prediction, label, (1, 1, 8))
    assert len(picture.slices) == MAX_SLICES
    assert picture.slices[0] == 3
    assert picture.slices[-1] == 13
    assert (np.diff(picture.slices) >= 2).all()


def test_few_slices_are_all_shown() -> None:
    image, prediction, label = volumes(depth=5)
    label[50:60, 50:60, 1:4] = 1
    assert case_picture(image, prediction, label, (1, 1, 8)).slices == (1, 2, 3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 8.0), (2.0, 0.8, 8.0)])
def test_the_crop_is_a_square_in_millimetres_around_the_truth(spacing: tuple[float, float, float]) -> None:
    image, prediction, label = volumes(size=(100, 160))
    label[40:50, 70:100, 2] = 3
    prediction[40:50, 70:80, 2] = 3
    prediction[0:10, 0:3, 2] = 3
    picture = case_picture(image, prediction, label, spacing)
    width, height = (n * mm for n, mm in zip(picture.image.shape[1:], spacing, strict=False))
    assert width == pytest.approx(height, abs=4)
    assert width == pytest.approx(max(10 * spacing[0], 30 * spacing[1]) + 40, abs=4)
    assert (picture.label == 3).sum() == 300
    assert picture.outside == pytest.approx(30 / 130)


@pytest.mark.parametrize("predicted", [False, True])
def test_a_case_without_truth_has_a_picture(tmp_path: Path, predicted: bool) -> None:
    image, prediction, label = volumes(depth=4)
    prediction[10:20, 10:20, 1] = predicted
    picture = case_picture(image, prediction, label, (1, 1, 8))
    assert picture.slices == ((1,) if predicted else (0, 1, 2, 3))
    assert picture.image.shape[1:] == ((40, 40) if predicted else (120, 100))
    draw_case(picture, tmp_path / "case.png", "nothing there", NAMES)
    assert Image.open(tmp_path / "case.png").size[0] > 200


def test_void_is_not_drawn_as_a_structure(tmp_path: Path) -> None:
    image, prediction, label = volumes(depth=3)
    label[10:20, 10:20, :] = 255
    assert case_picture(image, prediction, label, (1, 1, 8)).image.shape[1:] == (120, 100)


def test_x_runs_right_and_y_down_in_the_class_colours(tmp_path: Path) -> None:
    """The truth of class 1 is drawn on the side of large x, the prediction of class 3 on the side of large y."""
    size = 60
    image, label, prediction = (np.zeros((1, size, size), dtype=np.uint8) for _ in range(3))
    label[0, 40:55, 5:20] = 1
    prediction[0, 5:20, 40:55] = 3
    picture = CasePicture(image, prediction, label, (1.0, 1.0), (0,), 1, 0.0)
    draw_case(picture, tmp_path / "case.png", "title", NAMES)
    pixels = np.asarray(Image.open(tmp_path / "case.png").convert("RGB")).astype(float) / 255
    dark = pixels.max(-1) < 0.02
    rows, columns = (np.flatnonzero(dark.mean(1 - axis) > 0.15) for axis in (0, 1))  # letters are thinner
    drawn = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    colors = [np.array(to_rgb(color)) for color in class_colors(len(NAMES))]
    line = np.argwhere(np.abs(drawn - colors[1]).max(-1) < 0.1)
    fill = np.argwhere(np.abs(drawn - 0.4 * colors[3]).max(-1) < 0.02)
    shape = np.array(drawn.shape[:2])
    np.testing.assert_allclose(line.mean(0) / shape, [12.5 / size, 47.5 / size], atol=0.03)
    np.testing.assert_allclose(fill.mean(0) / shape, [47.5 / size, 12.5 / size], atol=0.03)
