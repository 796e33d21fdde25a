"""The metrics against scikit-learn, against sets of pixels, and against confusion matrices worked by hand."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from numpy.typing import NDArray
from torch import Tensor

from scripts.metrics import (
    CaseConfusion,
    confusion_matrix,
    dice,
    iou,
    iou_key,
    mean_iou,
    validation_metrics,
)

CLASSES = 5
VOID = 255
CASES = ("random", "void", "absent", "only in truth", "only in prediction", "nothing predicted", "perfect", "one pixel")

Pair = tuple[NDArray, NDArray]


def make_case(kind: str, seed: int = 0) -> Pair:
    """Truth and prediction, (2, 9, 11) int64, of the classes 0 to 4."""
    rng = np.random.default_rng([CASES.index(kind), seed])
    truth = rng.integers(0, CLASSES, (2, 9, 11))
    prediction = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, CLASSES, truth.shape))
    if kind == "void":
        truth[rng.random(truth.shape) < 0.4] = VOID
    elif kind == "absent":
        truth[truth == 3], prediction[prediction == 3] = 0, 1
    elif kind == "only in truth":
        prediction[prediction == 2] = 0
    elif kind == "only in prediction":
        truth[truth == 4] = VOID  # what is predicted there is not counted, what is predicted elsewhere is
    elif kind == "nothing predicted":
        prediction[:] = 0
    elif kind == "perfect":
        prediction = truth.copy()
    elif kind == "one pixel":
        truth[:] = VOID
        truth[1, 4, 4], prediction[1, 4, 4] = 2, 1
    return truth, prediction


@pytest.fixture(params=[(kind, seed) for kind in CASES for seed in range(3)], ids=lambda case: f"{case[0]} {case[1]}")
def case(request: pytest.FixtureRequest) -> Pair:
    return make_case(*request.param)


def matrix_of(truth: NDArray, prediction: NDArray) -> Tensor:
    return confusion_matrix(torch.as_tensor(prediction), torch.as_tensor(truth), CLASSES)


def by_sets(truth: NDArray, prediction: NDArray, num_classes: int = CLASSES) -> tuple[list[float], list[float]]:
    """IoU and Dice of each class from sets of known pixels; NaN where both are empty."""
    known = np.flatnonzero(truth.ravel() != VOID).tolist()
    ious, dices = [], []
    for index in range(num_classes):
        a = {pixel for pixel in known if truth.flat[pixel] == index}
        b = {pixel for pixel in known if prediction.flat[pixel] == index}
        ious.append(len(a & b) / len(a | b) if a | b else np.nan)
        dices.append(2 * len(a & b) / (len(a) + len(b)) if a or b else np.nan)
    return ious, dices


def mean_of_known(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return sum(known) / len(known)


def test_confusion_matrix_counts_pixels_one_by_one(case: Pair) -> None:
    expected = np.zeros((CLASSES, CLASSES), int)
    for true, predicted in zip(case[0].ravel(), case[1].ravel(), strict=True):
        if true != VOID:
            expected[true, predicted] += 1
    assert matrix_of(*case).tolist() == expected.tolist()


def test_iou_and_dice_are_those_of_sets(case: Pair) -> None:
    ious, dices = by_sets(*case)
    matrix = matrix_of(*case)
    assert iou(matrix).tolist() == pytest.approx(ious, nan_ok=True)
    assert dice(matrix).tolist() == pytest.approx(dices, nan_ok=True)
    assert mean_iou(matrix) == pytest.approx(mean_of_known(ious))
    assert mean_iou(matrix, foreground_only=True) == pytest.approx(mean_of_known(ious[1:]))


def test_agrees_with_scikit_learn(case: Pair) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    known = case[0] != VOID
    truth, prediction = case[0][known], case[1][known]
    matrix = matrix_of(*case)
    assert matrix.tolist() == metrics.confusion_matrix(truth, prediction, labels=range(CLASSES)).tolist()
    occurring = np.union1d(truth, prediction)
    for ours, theirs in ((iou, metrics.jaccard_score), (dice, metrics.f1_score)):
        scores = ours(matrix)
        expected = theirs(truth, prediction, labels=occurring, average=None, zero_division=0)
        assert scores[occurring].tolist() == pytest.approx(expected.tolist())
        assert scores.isnan().nonzero().flatten().tolist() == sorted(set(range(CLASSES)) - set(occurring.tolist()))
    expected = metrics.jaccard_score(truth, prediction, labels=occurring, average="macro", zero_division=0)
    assert mean_iou(matrix) == pytest.approx(expected)


def test_absent_class_is_left_out_and_missed_and_invented_ones_count_as_0() -> None:
    assert iou(matrix_of(*make_case("absent")))[3].isnan()
    assert iou(matrix_of(*make_case("only in truth")))[2] == 0
    assert iou(matrix_of(*make_case("only in prediction")))[4] == 0
    nothing = matrix_of(*make_case("nothing predicted"))
    assert mean_iou(nothing, foreground_only=True) == 0
    assert mean_iou(nothing) == pytest.approx(float(iou(nothing)[0]) / CLASSES)


def test_all_void_has_no_score_rather_than_a_wrong_one() -> None:
    matrix = matrix_of(np.full((3, 3), VOID), np.ones((3, 3), int))
    assert matrix.sum() == 0
    assert iou(matrix).isnan().all()
    assert dice(matrix).isnan().all()
    assert np.isnan(mean_iou(matrix))
    assert np.isnan(mean_iou(matrix, foreground_only=True))


# Matrices worked by hand: rows are the truth, columns the prediction.


def pixels_of(matrix: NDArray) -> Pair:
    """Truth and prediction with these counts, and 7 void pixels of whatever prediction, (1, H, W)."""
    pairs = [pair for pair, count in np.ndenumerate(matrix) for _ in range(count)]
    pairs += [(VOID, number % len(matrix)) for number in range(7)]
    order = np.random.default_rng(0).permutation(len(pairs))
    truth, prediction = np.array(pairs)[order].T
    return truth[None, None], prediction[None, None]


def epoch_metrics(
    batches: Sequence[tuple[NDArray, NDArray, Sequence[int]]],
    class_names: Sequence[str],
    background: bool = True,
) -> dict[str, float]:
    """Of a validation epoch over batches of truth, prediction (B, H, W) and case (B,), through ignite's engine."""

    def predict(engine: Engine, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = torch.nn.functional.one_hot(batch["prediction"], len(class_names)).movedim(-1, 1).float()
        return {"pred": 10 * logits - 3, "label": batch["label"]}

    engine = Engine(predict)
    for name, metric in validation_metrics(class_names, background).items():
        metric.attach(engine, name)
    tensors = [[torch.as_tensor(np.asarray(part)) for part in batch] for batch in batches]
    state = engine.run([dict(zip(("label", "prediction", "case"), batch, strict=True)) for batch in tensors])
    return state.metrics


ACDC = np.array([[50, 2, 0, 0], [1, 10, 1, 0], [0, 2, 6, 2], [0, 0, 1, 9]])
# Intersections 50, 10, 6, 9; unions 52 + 51 - 50, 12 + 14 - 10, 10 + 8 - 6, 10 + 11 - 9.
ACDC_IOU = [Fraction(50, 53), Fraction(10, 16), Fraction(6, 12), Fraction(9, 12)]
ACDC_DICE = [Fraction(100, 103), Fraction(20, 26), Fraction(12, 18), Fraction(18, 21)]


def test_acdc_with_three_and_with_four_classes() -> None:
    metrics = epoch_metrics([(*pixels_of(ACDC), [0])], ["background", "RV", "myocardium", "LV"])
    assert metrics["foreground_miou"] == pytest.approx(float(Fraction(15, 24)))
    assert metrics["miou"] == pytest.approx(float((Fraction(50, 53) + Fraction(15, 8)) / 4))
    names = ("iou_background", "iou_RV", "iou_myocardium", "iou_LV")
    assert [metrics[name] for name in names] == pytest.approx([float(value) for value in ACDC_IOU])
    assert metrics["mean_dice"] == pytest.approx(float(sum(ACDC_DICE[1:]) / 3))


def test_voc_with_20_objects_and_the_standard_21_classes() -> None:
    """30 pixels of each object c = 1 to 20, c of them missed and none invented: IoU (30 - c) / 30, mean 1 - 10.5 / 30;
    of the background 790 pixels and the 210 missed ones: IoU 790 / 1000."""
    matrix = np.diag([790] + [30 - c for c in range(1, 21)])
    matrix[1:, 0] = range(1, 21)
    metrics = epoch_metrics([(*pixels_of(matrix), [0])], [f"class {c}" for c in range(21)])
    assert metrics["foreground_miou"] == pytest.approx(0.65), "the paper's"
    assert metrics["miou"] == pytest.approx((20 * 0.65 + 0.79) / 21), "the standard one"


def test_cityscapes_counts_all_19_classes() -> None:
    """20 pixels a class; the classes 2k and 2k + 1 exchange four: IoU 16 / 24; the last is perfect."""
    matrix = np.diag([16] * 18 + [20])
    for even in range(0, 18, 2):
        matrix[even, even + 1] = matrix[even + 1, even] = 4
    metrics = epoch_metrics([(*pixels_of(matrix), [0])], [f"class {c}" for c in range(19)], background=False)
    assert metrics["foreground_miou"] == metrics["miou"] == pytest.approx(13 / 19)
    assert metrics["mean_dice"] == pytest.approx((18 * 0.8 + 1) / 19)
    taken_for_background = epoch_metrics([(*pixels_of(matrix), [0])], [f"class {c}" for c in range(19)])
    assert taken_for_background["foreground_miou"] == pytest.approx(37 / 54)


# An epoch


@pytest.mark.parametrize("background", [True, False])
def test_an_epoch_is_one_data_set_whatever_its_batches(background: bool) -> None:
    pairs = [make_case(kind, seed=7) for kind in ("random", "void", "absent", "nothing predicted")]
    truths, predictions = (np.concatenate(side) for side in zip(*pairs, strict=True))
    cases = np.repeat(range(4), 2)
    ious, _ = by_sets(truths, predictions)
    first = int(background)
    expected = {
        "miou": mean_of_known(ious),
        "foreground_miou": mean_of_known(ious[first:]),
        "mean_dice": mean_of_known([value for pair in pairs for value in by_sets(*pair)[1][first:]]),
    } | {f"iou_{index}": value for index, value in enumerate(ious)}
    names = [str(index) for index in range(CLASSES)]
    for cuts in ([], [3], [1, 2, 5]):  # a case may lie on both sides of a cut
        parts = zip(*(np.split(array, cuts) for array in (truths, predictions, cases)), strict=True)
        assert epoch_metrics(list(parts), names, background) == pytest.approx(expected)


def test_a_class_that_never_occurs_has_no_iou_and_no_part_in_means() -> None:
    truth, prediction = make_case("absent")
    metrics = epoch_metrics([(truth, prediction, [0, 0])], [str(index) for index in range(CLASSES)])
    assert np.isnan(metrics["iou_3"])
    ious, dices = by_sets(truth, prediction)
    assert metrics["foreground_miou"] == pytest.approx(mean_of_known(ious[1:]))
    assert metrics["mean_dice"] == pytest.approx(mean_of_known(dices[1:]))


def test_a_case_without_any_known_pixel_has_no_part_in_the_mean_of_cases() -> None:
    truth, prediction = make_case("random")
    void = np.full_like(truth, VOID)
    names = [str(index) for index in range(CLASSES)]
    alone = epoch_metrics([(truth, prediction, [0, 0])], names)
    beside = epoch_metrics([(truth, prediction, [0, 0]), (void, prediction, [1, 1])], names)
    assert beside == pytest.approx(alone)


def test_an_epoch_without_cases_has_no_score() -> None:
    with pytest.raises(NotComputableError, match="no validation slice was seen"):
        CaseConfusion(CLASSES).compute()


def test_a_new_epoch_starts_from_nothing() -> None:
    truth, prediction = make_case("random")
    confusion = CaseConfusion(CLASSES)
    logits = torch.nn.functional.one_hot(torch.as_tensor(prediction), CLASSES).movedim(-1, 1)
    for _ in range(2):
        confusion.reset()
        confusion.update((logits, torch.as_tensor(truth), torch.tensor([4, 4])))
        assert confusion.compute().tolist() == [matrix_of(truth, prediction).tolist()]


@pytest.mark.parametrize("true", [0, CLASSES - 1])
def test_a_channel_for_void_is_not_read(true: int) -> None:
    """A network with one channel more, trained to give void: scores are over the classes alone."""
    logits = torch.zeros(1, CLASSES + 1, 2, 2)
    logits[:, CLASSES], logits[:, 1] = 2.0, 1.0
    confusion = CaseConfusion(CLASSES)
    confusion.update((logits, torch.full((1, 2, 2), true), torch.tensor([0])))
    expected = np.zeros((CLASSES, CLASSES), int)
    expected[true, 1] = 4
    assert confusion.compute()[0].tolist() == expected.tolist()


def test_metrics_are_named_after_the_classes() -> None:
    assert iou_key("traffic light") == "iou_traffic_light"
    assert list(validation_metrics(["road", "traffic light"], background=False)) == [
        "foreground_miou",
        "miou",
        "mean_dice",
        "iou_road",
        "iou_traffic_light",
    ]
