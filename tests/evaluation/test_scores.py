"""Scores of one case against independent NumPy and SciPy computations, and the rules for empty structures."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from scripts.evaluation.scores import ABSENT, FOUND, INVENTED, MISSED, at_border, case_scores

SHAPE = (14, 17, 6)
SPACINGS = [(1.0, 1.0, 1.0), (1.37, 1.37, 10.0), (0.7, 1.9, 5.0)]


def random_labels(seed: int, classes: Sequence[int] = (0, 1, 2, 3), void: bool = False) -> NDArray:
    """Blobs of the given classes; with ``void``, some of 255."""
    noise = np.random.default_rng(seed)
    fields = [gaussian_filter(noise.normal(size=SHAPE), 1.5) for _ in (*classes, 255)[: len(classes) + void]]
    return np.array([*classes, 255])[np.argmax(fields, axis=0)]


def surface(mask: NDArray) -> NDArray:
    """Voxels of a mask with at least one of their six neighbours outside it (or outside the volume)."""
    padded = np.pad(mask, 1)
    inside = np.ones_like(mask)
    for axis in range(3):
        for step in (-1, 1):
            inside &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
    return mask & ~inside


def surface_distances(prediction: NDArray, truth: NDArray, spacing: Sequence[float]) -> tuple[NDArray, NDArray]:
    """Millimetres from each surface's voxels to the other surface, by a distance transform."""
    surfaces = surface(prediction), surface(truth)
    to_prediction, to_truth = (distance_transform_edt(~s, sampling=spacing) for s in surfaces)
    return to_truth[surfaces[0]], to_prediction[surfaces[1]]


def borders(label: NDArray) -> NDArray:
    """Voxels with another value among their neighbours in the slice, by shifts."""
    padded = np.pad(label, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows, columns = label.shape[:2]
    shifted = [padded[row : row + rows, column : column + columns] for row in range(3) for column in range(3)]
    return np.any([other != label for other in shifted], axis=0)


def scores(
    prediction: NDArray, label: NDArray, spacing: Sequence[float] = (1.0, 1.0, 1.0), num_classes: int = 4
) -> list:
    return case_scores(torch.as_tensor(prediction), torch.as_tensor(label), spacing, num_classes)[0]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(4))
def test_scores_agree_with_numpy_and_scipy(seed: int, spacing: tuple[float, float, float]) -> None:
    prediction, label = random_labels(seed), random_labels(seed + 100, void=seed % 2 == 1)
    known = label != 255
    for index, found in enumerate(scores(prediction, label, spacing), start=1):
        a, b = (prediction == index) & known, label == index
        assert a.any()
        assert b.any()
        assert found.outcome == FOUND
        assert found.dice == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
        assert found.iou == pytest.approx((a & b).sum() / (a | b).sum())
        there, back = surface_distances(a, b, spacing)
        assert found.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5)
        assert found.assd_mm == pytest.approx(np.concatenate([there, back]).mean(), rel=1e-5)
        assert found.asd_mm == pytest.approx(there.mean(), rel=1e-5)
        there, back = surface_distances(a, b, (1, 1, 1))
        assert found.hd95_voxel == pytest.approx(np.percentile(np.concatenate([there, back]), 95), rel=1e-5)
        assert found.asd_voxel == pytest.approx(there.mean(), rel=1e-5)
        assert found.truth_ml == pytest.approx(b.sum() * np.prod(spacing) / 1000)
        assert found.predicted_ml == pytest.approx(a.sum() * np.prod(spacing) / 1000)


@pytest.mark.parametrize(("axis", "distance"), [(0, 2.8), (1, 5.6), (2, 20.0)])
def test_distances_are_in_millimetres_along_each_axis(axis: int, distance: float) -> None:
    """A plate of one voxel, moved by two voxels, is everywhere two voxel spacings away."""
    label = np.zeros((9, 9, 9), dtype=int)
    plate = [slice(None)] * 3
    plate[axis] = slice(3, 4)
    label[tuple(plate)] = 1
    (found,) = scores(np.roll(label, 2, axis), label, (1.4, 2.8, 10.0), num_classes=2)
    assert found.hd95_mm == pytest.approx(distance)
    assert found.assd_mm == pytest.approx(distance)
    assert found.dice == found.iou == 0


def test_a_perfect_prediction_at_the_border_of_the_volume() -> None:
    label = np.zeros((4, 4, 2), dtype=int)
    label[:2, :, 0] = 1
    (found,) = scores(label, label, (1.5, 1.5, 8.0), num_classes=2)
    assert (found.dice, found.iou, found.hd95_mm, found.assd_mm) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("predicted", "true", "outcome", "overlap", "distance"),
    [
        (False, False, ABSENT, 1.0, 0.0),
        (False, True, MISSED, 0.0, math.nan),
        (True, False, INVENTED, 0.0, math.nan),
        (True, True, FOUND, 1.0, 0.0),
    ],
)
def test_what_an_empty_structure_scores(
    predicted: bool, true: bool, outcome: str, overlap: float, distance: float
) -> None:
    box = np.zeros((5, 5, 3), dtype=int)
    box[1:3, 1:4, 1] = 2
    found = scores(box * predicted, box * true)[1]
    assert found.outcome == outcome
    assert (found.dice, found.iou) == (overlap, overlap)
    np.testing.assert_equal((found.hd95_mm, found.assd_mm), (distance, distance))


def test_all_void_is_nothing_to_find() -> None:
    prediction, label = random_labels(1), np.full(SHAPE, 255)
    structures, confusion, interior = case_scores(torch.as_tensor(prediction), torch.as_tensor(label), (1, 1, 1), 4)
    assert [found.outcome for found in structures] == [ABSENT] * 3
    assert int(confusion.sum()) == int(interior.sum()) == 0


def test_what_is_predicted_on_void_changes_nothing() -> None:
    label = random_labels(3, void=True)
    prediction = random_labels(4)
    other = np.where(label == 255, random_labels(5), prediction)
    assert (other != prediction).any()
    assert scores(other, label) == scores(prediction, label)


def test_the_confusion_matrix_counts_truth_in_rows() -> None:
    label, prediction = random_labels(7, void=True), random_labels(8)
    _, confusion, interior = case_scores(torch.as_tensor(prediction), torch.as_tensor(label), (1, 1, 1), 4)
    expected = [[int(((label == row) & (prediction == column)).sum()) for column in range(4)] for row in range(4)]
    assert confusion.tolist() == expected
    inside = ~borders(label)
    expected = [
        [int(((label == row) & (prediction == column) & inside).sum()) for column in range(4)] for row in range(4)
    ]
    assert interior.tolist() == expected


def test_a_border_is_what_has_another_class_beside_it_in_the_slice() -> None:
    label = np.zeros((7, 8, 3), dtype=int)
    label[2:5, 2:6, 1] = 1
    ring = np.zeros((7, 8), dtype=bool)
    ring[1:6, 1:7] = True
    ring[3, 3:5] = False
    found = at_border(torch.as_tensor(label)).numpy()
    np.testing.assert_array_equal(found[:, :, 1], ring)
    assert not found[:, :, [0, 2]].any()
